/* What an operation, a row and a layout are like: what plans and tiles both follow from. */
#ifndef SMC_TRAITS_H
#define SMC_TRAITS_H

#include "tuning.h"

enum { SMC_MAX_PANEL_OPERANDS = 3 }; /* with an element for each class */

/* What an operation is like, for the plan of a call. */
typedef struct {
  int panels;         /* operands with an element for each class: the first ones; */
  int inputs;         /* those of them that are read */
  size_t panel_bytes; /* that passes reserve for each panel of a tile, at most */
  int light;          /* passes take no longer than fetching what they work on */
  int single_row;     /* passes know what to do with a single row */
  int short_along;    /* short rows are not packed, if parts of vectors are loaded fast */
  int once;           /* results, if any, are stored when they are final, and not read again */
  int lane_blocks;    /* passes know what to do with W rows that lie in memory */
  int prefetches;     /* passes over rows prefetch what comes next; those over columns do */
} traits;

/* Whether a row is short: on a target that loads part of a vector as fast as all of it, light
 * passes do not pack such rows, and their sums need no compensation.  (A target that only loads so
 * fast, and does not store, takes rows of the type computed in alone.) */
SMC_INLINE int is_short(size_t k) {
  const int in_parts = SMC_FAST_MASKS || (SMC_FAST_MASKED_LOADS && sizeof(elem) == sizeof(real));
  return in_parts && k <= SMC_SHORT_VECTORS * W;
}

/* Whether a row is a few vectors, too long to be packed, and softmax takes W such rows as one: so
 * few vectors that their sums are of one accumulator, and not of pairs. */
SMC_INLINE int are_few_vectors(size_t k) {
  return W >= SMC_MANY_LANES && k > SMC_PACKED_MAX && k <= SMC_UNPAIRED_MAX &&
         k <= SMC_SUM_STEPS * W;
}

/* Whether rows are so short that their products are sums over all pairs of classes, wherever they
 * lie: a rotation and its term for each class but one, of as many rows as a vector holds, take less
 * time than to find a peak. */
SMC_INLINE int are_paired(size_t k) {
  return SMC_FAST_MASKS && k >= 2 && k <= W && k - 1 <= SMC_PAIRED_TERMS * (W / k);
}

/* Whether panels are across.  (Never, where a vector has one lane: written so that the compiler
 * sees it.) */
SMC_INLINE int are_across(smc_layout layout) {
  return W > 1 &&
         (layout == SMC_COLUMNS || layout == SMC_PACKED_ROWS || layout == SMC_COPIED_COLUMNS);
}

/* Whether panels are in buffers: always, where elements are converted. */
SMC_INLINE int are_in_buffers(smc_layout layout) {
  return sizeof(elem) != sizeof(real) || layout == SMC_PACKED_ROWS || layout == SMC_STAGED_ROWS ||
         layout == SMC_COPIED_COLUMNS;
}

/* Numbers that the buffer of an operand has room for; loads may go beyond what is in use. */
enum { SMC_STAGE_NUMBERS = SMC_STAGE_BYTES / sizeof(real) };
enum { SMC_STAGE = SMC_STAGE_NUMBERS + 4 * W };

/* Bytes of a workspace, which is on the stack of run.h: for rows in buffers, two of them and what
 * passes reserve of each panel; for rows where they lie, what passes reserve of as many panels of
 * columns as there may be; for a row in parts, what they reserve of each part; and for one part,
 * whose row's workspace is on the stack, too. */
enum {
  SMC_BUFFER_BYTES = SMC_STAGE * sizeof(real),
  SMC_BUFFERED_BYTES = 54 << 10,
  SMC_IN_PLACE_BYTES = 57 << 10,
  SMC_IN_PARTS_BYTES = 23 << 10,
  SMC_PART_BYTES = 2 * SMC_BUFFER_BYTES + 256
};

#endif
