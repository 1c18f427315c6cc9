/* The thresholds: what decides by size alone how a call is carried out.  All of them are here.
 *
 * SMC_THRESHOLD(name, usual, tiny): with SMC_TINY defined, for tests, the second value counts, by
 * which some thousands of elements go every way that takes tens of megabytes otherwise.  A tiny
 * build keeps every promise but the bits: those of results depend on what is marked (bits) here.
 *
 * Beside each stands its unit, what it stands for, and a cell that it was measured on: a shape is
 * (n, k), "columns of" are rows that are neighbours, and times are of float32, one thread, target
 * avx512, on a Zen 4 with caches of 32 KiB, 1 MiB and 32 MiB, unless another is named.  "63: 177,
 * 127: 158" says that the cell takes 158 us with the value as it is, and 177 with 63 in its place.
 * Cells from memory vary by a tenth from run to run there.  docs/kernels.md tells the rest. */
#ifndef SMC_TUNING_H
#define SMC_TUNING_H

#include "../simd/common.h"
#include "../smcore_plan.h"

#ifdef SMC_TINY
#define SMC_THRESHOLD(name, usual, tiny) enum { name = (tiny) }
#else
#define SMC_THRESHOLD(name, usual, tiny) enum { name = (usual) }
#endif

/* ---- the machine ----------------------------------------------------------------------------- */

/* Bytes of a cache line. */
enum { SMC_LINE = 64 };
/* Bytes after which the sets of a first-level cache of eight ways and 32 KiB recur. */
enum { SMC_PAGE = 4096 };

/* Bytes of a row, as computed with, from which on it is online (bits): half of a second-level
 * cache of 1 MiB, as the row and its exponentials share it. softmax (60, 200000), from memory:
 * 2^18: 7700, 2^19: 7700, 2^20: 5970; (100, 100000): 2^18: 6410, 2^19: 5240, 2^20: 5210.  On this
 * machine a row gains by being online from where the third-level cache does not hold it: (1,
 * 1048576) takes 495, and 264 with exponentials kept; (1, 16777216) 9570, and 15600. */
SMC_THRESHOLD(SMC_KEEP_BYTES, 1 << 19, 1024);
/* Bytes of all columns that a last-level cache may hold, by what lies between two classes (bits):
 * half of 32 MiB. 1024 columns of 3072: 2^23: 1640, 2^24: 1600, 2^25: 1560 (softmax); 1700, 1750,
 * 1960 (log_softmax). */
SMC_THRESHOLD(SMC_CACHE_BYTES, 1 << 24, 16384);

/* What follows from the caches of the machine, and decides how long kernels take alone.  A tiny
 * build has constants here, too. */
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
/* Bytes of a tile of rows that stay in the first-level cache from pass to pass, where passes are
 * light. log_softmax_vjp (256, 300): 3/8: 32.4, 3/4: 30.5, 3/2: 29.0; softmax_vjp (60, 2000):
 * 21.9, 22.2, 25.6. */
SMC_FROM_CACHES(near_l1_bytes, c->l1 / 4 * 3, 512)
/* Bytes of a tile of rows, or of a strip of columns, that stay in the second-level cache from pass
 * to pass, where exponentials hide that it is slower; an eighth of it, as the next strip is
 * prefetched beside. softmax (128, 1000): 1/16: 37.4, 1/8: 36.3, 1/4: 36.4; 3000 columns of 1000:
 * 2410, 2320, 2400. */
SMC_FROM_CACHES(near_l2_bytes, c->l2 / 8, 1024)
/* Bytes of which a good part stays in the second-level cache, beside what else is there. softmax
 * (16000, 10): 1/4: 94.7, 1/2: 94.0, 1: 86.4; 3000 columns, pages apart, of 300: 373, 373, 392. */
SMC_FROM_CACHES(kept_bytes, c->l2 / 2, 1024)
/* Bytes of a call's operands that this core may find in the last-level cache, which others use,
 * too. softmax (750, 1000): 1/8: 234, 1/4: 215, 1/2: 216; (1500, 1000): 479, 477, 455. */
SMC_FROM_CACHES(far_bytes, c->l3 / 4, 8192)
/* Bytes of a result that no cache will hold for whoever reads it: the last-level cache.  From
 * there on products gain (softmax_vjp (16384, 1000): 12800 cached, 8780 non-temporal), on this
 * machine log_softmax does not ((12000, 1000): 1/2: 6950, 1: 7200, 2: 5840); (4095, 4097) took a
 * tenth less when that was added. */
SMC_FROM_CACHES(uncached_bytes, c->l3, 8192)

/* Bytes of the shortest row of a Jacobian that is stored non-temporally: half a page, since each
 * row costs a call.  What set it is not on record, and here times of such results vary by more
 * than its neighbours make. */
SMC_THRESHOLD(SMC_NONTEMPORAL_ROW_BYTES, SMC_PAGE / 2, 256);

/* ---- sums (bits) ----------------------------------------------------------------------------- */

/* Vectors that an accumulator takes before it joins the running sum; a multiple of SMC_UNROLL.  It
 * bounds what rounding errors, added up as they are, may lose.  It costs little: softmax (1024,
 * 100) 16: 38.3, 32: 37.7; (128, 1000) 37.4, 36.4. */
enum { SMC_SUM_STEPS = 32 };
/* Classes of the longest row whose whole sum takes each term by itself: in longer ones two terms
 * are added first, whose rounding the table of exp leaves room for.  Lane blocks end there, too:
 * softmax (1000, 200): 128: 78.0, 256: 70.3, 512: 70.5; (1000, 300): 110, 110, 105; (500, 500):
 * 82, 82, 85. */
SMC_THRESHOLD(SMC_UNPAIRED_MAX, 256, 64);
/* Vectors of the longest row of which a product's sum has one accumulator, and which is not packed
 * where part of a vector is loaded fast. softmax_vjp (1024, 128): 4: 33.4, 8: 26.0, 16: 25.8;
 * (1024, 200): 49.7, 49.7, 40.9. */
enum { SMC_SHORT_VECTORS = 8 };
/* Terms of one row's pairs of classes that take as long as to find its peak and center: with it,
 * rows of up to 8 floats share vectors. softmax_vjp (4096, 8): 3: 21.9, 6: 12.5; (4096, 9): 6:
 * 22.3, 8: 30.5. */
enum { SMC_PAIRED_TERMS = 6 };

/* ---- rows: packed, by themselves, in blocks, in parts ---------------------------------------- */

/* Classes of the longest row that is packed (bits): two panels fill a buffer. softmax (4096, 100):
 * 63: 177, 127: 158; (1024, 150): 127: 58.8, 191: 61.4; log_softmax (1024, 150): 81, 66. */
SMC_THRESHOLD(SMC_PACKED_MAX, 127, 39);
/* Bytes of the longest row that is packed where passes are light, as to transpose takes the longer
 * part of the time there (bits): 47 floats, 23 doubles. log_softmax_vjp (1024, 40): 127: 34.0,
 * 191: 22.7; (1024, 56): 191: 38.1, 255: 30.3. */
enum { SMC_PACKED_LIGHT_BYTES = 191 };
/* Lanes of a vector from which on few vectors make a row, and reductions across them take long:
 * lane blocks are for these.  With eight (avx2, Zen 3): softmax (12288, 128)
 * 1190 without, 890 with. */
enum { SMC_MANY_LANES = 8 };
/* Rows of a tile that are lane blocks by themselves, each in all lanes: to merge so few takes
 * longer. softmax (3, 1000): 1: .87, 3: .85; (5, 1000): 3: 1.44, 5: 1.46; log_softmax (5, 1000):
 * 1.59, 1.71. */
enum { SMC_FEW_ROWS = 3 };
/* Panels of a tile of columns: a few KiB of each class, a stream. 25600 columns of 1000: 32:
 * 48100, 64: 51100 (log_softmax_vjp); 15600, 14500 (softmax).  More are not on record. */
SMC_THRESHOLD(SMC_MAX_PANELS, 64, 16);
/* Rows of a tile along, or panels of a packed one: no fewer than a vector has lanes.  With 32
 * softmax and log_softmax (128, 1000), (4096, 10) and (4096, 40) take the same to 1 %. */
enum { SMC_MAX_ROWS = 16 };
/* Vectors of the shortest row whose stores are aligned: as many as repay the part of one that
 * comes first.  Arrays 16 bytes after a line, softmax (128, 1000), 62 vectors: 32: 37.8, 64: 40.2;
 * (300, 500), 31 vectors: 16: 48.3, 32: 48.8. */
SMC_THRESHOLD(SMC_MANY, 32, 4);
/* Vectors of the shortest row of which it is noted where its maximum is. log_softmax (300, 400),
 * 25 vectors: 16: 42.7, 32: 44.3; (1024, 200), 12 vectors: 8: 91.2, 16: 92.8. */
SMC_THRESHOLD(SMC_SOUGHT_MIN, 16, 4);
/* Bytes of a k-block of a long row, as computed with; a multiple of SMC_UNROLL vectors (bits).  So
 * few that the processor does not cease to prefetch while it computes. softmax (1, 16777216):
 * 1024: 15800, 2048: 14500, 4096: 13700; logsumexp: 6390, 4850, 5130; softmax (1, 400000): 226,
 * 188, 174. */
SMC_THRESHOLD(SMC_BLOCK_BYTES, 2048, 256);
/* Bytes of the buffer of one operand (bits): two stay in the first-level cache. softmax (4096,
 * 100): 10240: 166, 16384: 158, 32768: 158; every other element of (1000, 2000): 908, 895, 877. */
SMC_THRESHOLD(SMC_STAGE_BYTES, 16384, 10240);
/* Classes of a row part, some 20 us of work, several times what it takes to wake a thread (bits).
 * On one thread softmax (1, 1048576): 2^15: 508, 2^16: 501, 2^17: 500; on more, not on record. */
SMC_THRESHOLD(SMC_PART, 1 << 16, 256);
/* The most parts of a row, which bounds what is held of them; longer rows have longer parts
 * (bits). */
SMC_THRESHOLD(SMC_MAX_PARTS, 64, 16);

/* ---- rows from memory ------------------------------------------------------------------------ */

/* Bytes, in all operands, of the rows of a tile from memory: of those along whose passes do not
 * prefetch, two pages; of packed ones where the next tile is. softmax (1048576, 40): 4096: 34700,
 * 8192: 24200, 16384: 24600; log_softmax_vjp (40000, 300): 7100, 7150, 8370. */
SMC_THRESHOLD(SMC_FAR_BYTES, 8192, 512);
/* Bytes, in all operands, of the rows of a tile from memory that lie along, where the next tile is
 * prefetched meanwhile. softmax (16384, 1000): 16384: 8760, 32768: 8600, 65536: 9340.  On a Zen 5
 * (16777, 1000) takes 4600 with it, where a page at a time took 6300 (log_softmax). */
SMC_THRESHOLD(SMC_AHEAD_BYTES, 32768, 1024);
/* Bytes, in all operands, of the longest row of which a tile has as many as near_l2_bytes hold,
 * where vectors are lines and results are stored once: (16777, 1000) took 5 to 9 % less when it
 * was added (log_softmax).  On this machine the difference is within the noise. */
SMC_THRESHOLD(SMC_MANY_BYTES, 8192, 512);
/* Bytes of a row in all operands from which on the next tile is prefetched from the third-level
 * cache, too, where results are stored once: a row that is a stream for longer than it takes to
 * look it up. log_softmax (400, 1000): 6144: 131, 12288: 135; (255, 4097): 3072, 6144 and 12288
 * the same to 1 %; when that was added 182, and 218 without. */
SMC_THRESHOLD(SMC_LONG_BYTES, 6144, 384);
/* Panels of a tile of packed rows that exceed kept_bytes, and are not prefetched. softmax (100000,
 * 10): 2: 701, 4: 593, 8: 566; log_softmax_vjp: 842, 778, 806. */
SMC_THRESHOLD(SMC_FAR_PANELS, 4, 2);
/* Bytes of a tile of packed rows all of whose lines are touched before. log_softmax_jvp (1048576,
 * 40): 1024: 64800, 2048: 61400, 4096: 72000; log_softmax_vjp (400000, 40): 33200, 32000, 34800. */
SMC_THRESHOLD(SMC_TOUCHED_BYTES, 2048, 1024);
/* Bytes of the longest row whose products are computed by themselves: s and g stay in the
 * first-level cache from pass to pass. softmax_vjp, so and by tiles: (128, 1000): 24.3, 30.6;
 * (32, 2500): 19.6, 17.5; of double (128, 1000): 51.8, 55.9; (64, 1280): 36.4, 34.7. */
SMC_THRESHOLD(SMC_SINGLY_BYTES, 8192, 1024);
/* Bytes of short rows between what is computed with and what is prefetched: a page, some hundred
 * cycles of work. softmax_vjp (1048576, 16): 2048: 11000, 4096: 11100, 8192: 12000, and on a Zen 5
 * (1677721, 10) took 4600 with it, 13000 without. */
enum { SMC_LATER_BYTES = 4096 };

/* ---- columns --------------------------------------------------------------------------------- */

/* Lines, in as many pages, that a pass over columns reads before it goes on to the next columns: a
 * quarter of a first-level cache of 32 KiB (bits). softmax of 48 columns of 64: 64: .96, 128: .89,
 * 256: .89; 16048 of 1000: 13400, 12900, 13600. */
SMC_THRESHOLD(SMC_COLUMN_LINES, 128, 32);
/* Lines that such a pass reads where classes lie whole pages apart, in one set of the cache: twice
 * its ways; and twice as many where they lie half pages apart (bits). softmax of 1000 columns,
 * pages apart, of 100: 8: 42.0, 16: 39.0, 32: 43.6. */
enum { SMC_SET_LINES = 16 };
/* Bytes of each class that a strip of columns has at least: sixteen lines, which the processor
 * reads as a stream.  When it was set, softmax_vjp of 25600 columns of 1000 went from 51000 to
 * 27000 (sse2, Zen 5).  On this machine its neighbours are within the noise. */
SMC_THRESHOLD(SMC_STRIP_BYTES, 1024, 128);
/* Bytes of each class, four lines, below which a strip that stays in a cache would be too narrow,
 * and is as wide as can be instead (bits); and of the longest row of a few lines. 20000 columns of
 * 1000: 128: 20100, 256: 15400, 512: 15100 (softmax). */
SMC_THRESHOLD(SMC_FEW_LINES_BYTES, 256, 64);
/* Classes between what is computed with and what is prefetched, where columns are gone through
 * class after class for their results. 25600 columns of 1000: 4: 28900, 8: 29000, 16: 35000
 * (log_softmax). */
enum { SMC_LATER_CLASSES = 8 };
/* The fewest classes, and panels that share the buffer, of columns pages apart that are copied:
 * fewer classes fit the ways of a set. 1024 columns of 4: 3: 2.00, 5: 1.28 (softmax_vjp); of 8: 5:
 * 4.81, 9: 3.86.  Of 3, 5 and 8 panels the times are the same to 3 %. */
enum { SMC_COPIED_MIN = 5, SMC_COPIED_PANELS = 5 };

/* ---- what the thresholds must keep ----------------------------------------------------------- */

/* Arrays for a tile hold what there is one of for each panel, or for each part of its row. */
_Static_assert((int)SMC_MAX_PARTS >= (int)SMC_MAX_PANELS, "arrays of parts serve panels");
_Static_assert((int)SMC_MAX_PANELS >= (int)SMC_MAX_ROWS, "a tile of rows has as many panels");
/* Labels are compared with each class of packed rows of a step of the sums: one block holds it. */
_Static_assert((int)SMC_STAGE_BYTES >= SMC_COPIED_PANELS * SMC_SUM_STEPS * SMC_LINE,
               "the buffer holds panels of a step of the sums");

#endif
