/* The shape of a call, and which layout its panels have: where they lie, or copied to buffers,
 * along rows or across them. It decides bits of results, and so follows from the length and the
 * strides of a row alone. (But lane blocks, which have the bits of rows, are left out for rows from
 * memory.) */
#ifndef SMC_LAYOUT_H
#define SMC_LAYOUT_H

#include "traits.h"

/* Whether numbers so many bytes apart lie at nearly the same place of their pages, or half pages:
 * in a few sets of the first-level cache, where they drive out each other; and what is loaded then
 * looks like what was just stored somewhere else, for which the processor waits. */
SMC_INLINE int are_pages_apart(ptrdiff_t bytes) {
  const size_t beyond = (size_t)bytes % (SMC_PAGE / 2);
  return beyond < SMC_LINE || beyond > SMC_PAGE / 2 - SMC_LINE;
}

/* What a plan follows from. */
typedef struct {
  const smc_call *call;
  const traits *op;
  const smc_caches *caches;
  size_t operands; /* that have data, of those with an element for each class */
  size_t row;      /* bytes of a row in all of them, as stored */
  int are_columns; /* neighbours are rows of each other, not classes of one row */
  int are_dense;   /* the classes of a row are neighbours */
  int is_far;      /* operands come from memory */
} shape;

static shape shape_of(const smc_call *call, const traits *op, const smc_caches *caches) {
  const ptrdiff_t size = sizeof(elem);
  shape s = {.call = call, .op = op, .caches = caches, .are_dense = 1};
  int side_by_side = 1;
  for (int i = 0; i < op->panels; ++i) {
    const smc_view *o = &call->operands[i];
    if (!o->data) continue;
    ++s.operands;
    side_by_side &= o->row == size;
    s.are_dense &= o->col == size;
  }
  s.are_columns = side_by_side && !s.are_dense;
  s.row = s.operands * call->k * sizeof(elem);
  s.is_far = call->n * s.row > far_bytes(caches);
  return s;
}

/* Whether columns whole pages apart are better copied: unless all passes go through them jammed,
 * and they fit the first-level cache or are taken a k-block at a time; or products do, of more than
 * a few classes. */
SMC_INLINE int are_copied(const shape *s) {
  const size_t k = s->call->k, most = SMC_STAGE_NUMBERS / (SMC_COPIED_PANELS * W);
  if (!are_pages_apart(s->call->operands[0].col) || k < SMC_COPIED_MIN || k > most) return 0;
  if (s->op->light) return k <= SMC_SUM_STEPS;
  const int jammed = s->op->prefetches && s->op->panels < SMC_MAX_PANEL_OPERANDS;
  return !jammed || (k > SMC_SET_LINES && k <= SMC_SUM_STEPS);
}

/* Whether rows are so short that lanes along them would idle, or wait for reductions. */
SMC_INLINE int are_packed(const shape *s) {
  const size_t k = s->call->k;
  const size_t most = s->op->light ? SMC_PACKED_LIGHT_BYTES / sizeof(real) : SMC_PACKED_MAX;
  const int in_parts = s->op->short_along && SMC_FAST_MASKS && is_short(k) && !are_paired(k);
  return W > 1 && !in_parts && k <= most;
}

static smc_layout layout_of(const shape *s) {
  const int as_they_lie = sizeof(elem) == sizeof(real);
  const size_t k = s->call->k;
  if (s->are_columns && as_they_lie && !(W > 1 && are_copied(s))) return SMC_COLUMNS;
  if (s->are_columns) return W > 1 ? SMC_COPIED_COLUMNS : SMC_STAGED_ROWS;
  const int rows_lie_so = as_they_lie && s->are_dense;
  if (are_packed(s)) {
    return rows_lie_so && s->op->single_row && s->call->n == 1 ? SMC_SINGLE_ROW : SMC_PACKED_ROWS;
  }
  if (!rows_lie_so) return SMC_STAGED_ROWS;
  /* From memory only if a lane block, and what is kept of it, leave room in the first-level cache.
   */
  const int is_near = !s->is_far || W * k * sizeof(real) < near_l1_bytes(s->caches) / 2;
  return s->op->lane_blocks && are_few_vectors(k) && is_near ? SMC_LANE_BLOCKS : SMC_ROWS;
}

#endif
