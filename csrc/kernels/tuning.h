/* The thresholds: what decides by size alone which way rows are taken.  All of them are here, each with what it measures.
 *
 * SMC_THRESHOLD(name, usual, tiny): with SMC_TINY defined, for tests, the second value counts, by which some thousands of
 * elements go every way that takes tens of megabytes otherwise.  A tiny build keeps every promise but the bits: those of
 * results depend on what is marked so here.
 */
#ifndef SMC_TUNING_H
#define SMC_TUNING_H

#include "../simd/common.h"
#include "../smcore_plan.h"

#ifdef SMC_TINY
#define SMC_THRESHOLD(name, usual, tiny) enum { name = (tiny) }
#else
#define SMC_THRESHOLD(name, usual, tiny) enum { name = (usual) }
#endif

/* ---- the machine ------------------------------------------------------------------------------------ */

enum { SMC_LINE = 64 };   /* bytes of a cache line */
enum { SMC_PAGE = 4096 }; /* bytes after which the sets of the first-level cache recur */

/* Bytes that stay in the second-level cache; longer rows are taken block by block (bits). */
SMC_THRESHOLD(SMC_KEEP_BYTES, 1 << 19, 1024);
/* Bytes that a cache may hold (bits of columns). */
SMC_THRESHOLD(SMC_CACHE_BYTES, 1 << 24, 16384);

/* What follows from the caches of the machine, and decides how long kernels take alone.  A tiny build has constants here, too. */
#ifdef SMC_TINY
#define SMC_FROM_CACHES(name, of_caches, tiny)                                                     \
  SMC_INLINE size_t name(const smc_caches *c) {                                                    \
    (void)c;                                                                                       \
    return tiny;                                                                                   \
  }
#else
#define SMC_FROM_CACHES(name, of_caches, tiny)                                                     \
  SMC_INLINE size_t name(const smc_caches *c) { return of_caches; }
#endif
/* Bytes that stay near from pass to pass: in the first-level cache or, where prefetching hides behind computing, in the
 * second-level one. */
SMC_FROM_CACHES(near_l1_bytes, c->l1 / 4 * 3, 512)
SMC_FROM_CACHES(near_l2_bytes, c->l2 / 8, 1024)
/* Bytes of which a good part stays in the second-level cache. */
SMC_FROM_CACHES(kept_bytes, c->l2 / 2, 1024)
/* Bytes that this core may find in the last-level cache, which others use, too. */
SMC_FROM_CACHES(far_bytes, c->l3 / 4, 8192)
/* Bytes of a result that no cache will hold for whoever reads it. */
SMC_FROM_CACHES(uncached_bytes, c->l3, 8192)

/* Bytes of the shortest row of a Jacobian that is stored non-temporally. */
SMC_THRESHOLD(SMC_NONTEMPORAL_ROW_BYTES, SMC_PAGE / 2, 256);

/* ---- sums (bits) ------------------------------------------------------------------------------------ */

/* Vectors to an accumulator before it joins the running sum; a multiple of SMC_UNROLL. */
enum { SMC_SUM_STEPS = 32 };
/* Classes of the longest row whose whole sum takes each term by itself. */
SMC_THRESHOLD(SMC_UNPAIRED_MAX, 256, 64);
/* Vectors of the longest row whose products one accumulator takes. */
enum { SMC_SHORT_VECTORS = 8 };
/* Terms of one row's pairs of classes that take as long as its peak and center. */
enum { SMC_PAIRED_TERMS = 6 };

/* ---- rows: packed, by themselves, in blocks, in parts ------------------------------------------------ */

/* Classes of the longest row worth packing, and its bytes where passes are light: to transpose takes the longer part of
 * the time there (bits). */
SMC_THRESHOLD(SMC_PACKED_MAX, 127, 39);
enum { SMC_PACKED_LIGHT_BYTES = 191 };
/* Lanes of a vector, from which on to transpose takes so long that rows are not packed without need. */
enum { SMC_MANY_LANES = 8 };
/* Rows of a tile that are groups by themselves. */
enum { SMC_FEW_ROWS = 3 };
/* Panels in a tile; rows in one whose rows are packed, or lie along: at least the lanes of a vector. */
SMC_THRESHOLD(SMC_MAX_PANELS, 64, 16);
enum { SMC_MAX_ROWS = 16 };
/* Vectors of a row that are worth aligning. */
SMC_THRESHOLD(SMC_MANY, 32, 4);
/* Vectors of a row where it is noted which of them hold its maximum. */
SMC_THRESHOLD(SMC_SOUGHT_MIN, 16, 4);
/* Bytes of a block of a long row: so few that the processor does not cease to fetch ahead while it computes (bits).  A
 * multiple of SMC_UNROLL vectors. */
SMC_THRESHOLD(SMC_BLOCK_BYTES, 2048, 256);
/* Bytes of the buffer of one operand (bits). */
SMC_THRESHOLD(SMC_STAGE_BYTES, 16384, 10240);
/* Classes of a part of a long row, some 20 us of work, and the most parts: longer rows have longer ones (bits). */
SMC_THRESHOLD(SMC_PART, 1 << 16, 256);
SMC_THRESHOLD(SMC_MAX_PARTS, 64, 16);

/* ---- rows from memory -------------------------------------------------------------------------------- */

/* Bytes of rows along that are taken at a time, in all operands; where passes fetch what comes next; and where vectors
 * are lines and results are stored once, of rows of up to so many bytes as many as L2_BYTES hold. */
SMC_THRESHOLD(SMC_FAR_BYTES, 8192, 512);
SMC_THRESHOLD(SMC_AHEAD_BYTES, 32768, 1024);
SMC_THRESHOLD(SMC_MANY_BYTES, 8192, 512);
/* Bytes of a row in all operands from which on what comes next is fetched from the third-level cache, too. */
SMC_THRESHOLD(SMC_LONG_BYTES, 6144, 384);
/* Panels of packed rows that are taken at a time; or bytes, where all their lines are touched before. */
SMC_THRESHOLD(SMC_FAR_PANELS, 4, 2);
SMC_THRESHOLD(SMC_TOUCHED_BYTES, 2048, 1024);
/* Bytes of the longest row whose products are computed by themselves: of two operands, in the
 * first-level cache, from pass to pass. */
SMC_THRESHOLD(SMC_SINGLY_BYTES, 8192, 1024);
/* Bytes of short rows between what is computed with and what is fetched. */
enum { SMC_LATER_BYTES = 4096 };

/* ---- columns ----------------------------------------------------------------------------------------- */

/* Lines that a pass asks for, in as many pages, before it goes on to the next columns; those of one set (bits). */
SMC_THRESHOLD(SMC_COLUMN_LINES, 128, 32);
enum { SMC_SET_LINES = 16 };
/* Bytes of a class in a strip of columns that the processor reads well; in one of a few lines. */
SMC_THRESHOLD(SMC_STRIP_BYTES, 1024, 128);
SMC_THRESHOLD(SMC_FEW_LINES_BYTES, 256, 64);
/* Classes that are fetched ahead of columns gone through class after class. */
enum { SMC_LATER_CLASSES = 8 };
/* The fewest classes and panels of columns that are worth copying to a buffer. */
enum { SMC_COPIED_MIN = 5, SMC_COPIED_PANELS = 5 };

/* ---- what the thresholds must keep ------------------------------------------------------------------- */

/* Arrays for a tile hold what there is one of for each panel, or for each part of its row. */
_Static_assert((int)SMC_MAX_PARTS >= (int)SMC_MAX_PANELS, "arrays of parts serve panels");
_Static_assert((int)SMC_MAX_PANELS >= (int)SMC_MAX_ROWS, "a tile of rows has as many panels");
/* Labels are compared with each class of packed rows of a step of the sums, which one block holds. */
_Static_assert((int)SMC_STAGE_BYTES >= SMC_COPIED_PANELS * SMC_SUM_STEPS * SMC_LINE,
               "the buffer holds panels of a step of the sums");

#endif
