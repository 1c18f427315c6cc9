/* A tile: as many rows of a call as stay near between its passes, as panels.
 *
 * A *panel* is a sequence of vectors: either one row, *along* which the lanes run, so that a
 * reduction ends across the lanes; or W rows, one to a lane (*across*), where it does not.  Short
 * rows are packed across: no lane is idle then, and no reduction across lanes is needed, on which
 * they would spend their time.  Rows that lie side by side in memory (an axis other than the last)
 * are across by nature.
 *
 * Passes take one panel of a tile after the other, so that the processor goes on with the next
 * while a reduction waits for its latency.  What there is one of for each row, its maximum or its
 * sum, is held for a *lane block* of W rows in one vector, whichever way their panels run: along,
 * the partial results of W panels are reduced together.
 *
 * What lies in memory as vectors of the type computed in is a panel there.  All else is *packed* or
 * *staged*: copied to a buffer in the workspace, converted and in order, and back.  Rows that are
 * long, or whose elements are far from each other, go through a pass a *k-block* of classes at a
 * time.  Where the exponentials of a row cannot be kept from one pass to the next it is worked on
 * *online*, with a maximum that may still rise.  A row so long that several threads may share it is
 * cut into *row parts*, each a tile of its own for a pass.  A *single row*, if short, lies along,
 * but its sums are in the order of packed rows: its bits are theirs, and a vector has W of its
 * classes instead of one.
 *
 * Whether lanes run along a row or across rows, and where k-blocks and row parts end, depends on
 * the length and the strides of a row alone, never on its place in the batch; so the bits of its
 * result do not. */
#ifndef SMC_TILE_H
#define SMC_TILE_H

#include <stdlib.h>

#include "pack.h"
#include "stores.h"
#include "traits.h"

/* A tile of a call.  An operand without data takes no part.  An output may be the very memory of an
 * input; in buffers, it shares that of operand 0. */
typedef struct {
  const smc_call *call;
  const traits *op;
  smc_plan plan;
  size_t row, rows; /* of this tile */
  size_t panels;    /* rows, or vectors of W rows */
  size_t before;    /* classes of the row before the part at hand */
  size_t begin;     /* the first class of the k-block at hand, from there */
  int stopped;      /* parts of the row were left out */
  panel first[SMC_MAX_PANEL_OPERANDS];
  ptrdiff_t apart[SMC_MAX_PANEL_OPERANDS]; /* bytes from one panel to the next */
  real *buffer[SMC_MAX_PANEL_OPERANDS];
  char *free, *end; /* what is left of the workspace */
  vec *maxima;  /* of panels of operand 0, in the k-block at hand, if they are packed; or long, */
  vec *places;  /* and then where they are: */
  size_t known; /* of so many */
  epilogue epilogue; /* of packed panels */
} tile;

typedef void tile_function(tile *t);

/* Take memory of the workspace, for a pass or for a tile; whoever sets `free` back to where it was
 * releases it. */
SMC_INLINE void *reserve(tile *t, size_t bytes) {
  void *p = t->free;
  t->free += (bytes + SMC_LINE - 1) / SMC_LINE * SMC_LINE;
#ifdef SMC_TINY
  if (t->free > t->end) abort();
#endif
  return p;
}

SMC_INLINE int is_across(const tile *t) { return are_across(t->plan.layout); }
SMC_INLINE int is_staged(const tile *t) { return are_in_buffers(t->plan.layout); }

/* Whether panels are columns, where they lie.  (Where a vector has one lane, each is a row along,
 * whose step is the distance between classes.) */
SMC_INLINE int is_columns(const tile *t) {
  return sizeof(elem) == sizeof(real) && t->plan.layout == SMC_COLUMNS;
}

/* Whether panels are across, in buffers. */
SMC_INLINE int is_packed(const tile *t) { return is_across(t) && is_staged(t); }

SMC_INLINE int is_single_row(const tile *t) { return W > 1 && t->plan.layout == SMC_SINGLE_ROW; }

SMC_INLINE int is_lane_block(const tile *t) {
  return W >= SMC_MANY_LANES && t->plan.layout == SMC_LANE_BLOCKS && t->rows == W;
}

SMC_INLINE int is_nontemporal(const tile *t) {
  return SMC_NONTEMPORAL && t->plan.stores == SMC_STORED_NONTEMPORAL;
}

SMC_INLINE int is_combined(const tile *t) {
  return can_combine() && t->plan.stores == SMC_COMBINED;
}

SMC_INLINE void fence_results(const tile *t) {
  fence_nontemporal(is_nontemporal(t) || is_combined(t));
}

SMC_INLINE panel panel_of(const tile *t, int operand, size_t u) {
  const panel *s = &t->first[operand];
  return (panel){(real *)((char *)s->p + (ptrdiff_t)u * t->apart[operand]), s->step};
}

SMC_INLINE int has_single_k_block(const tile *t) { return t->plan.k_block == t->call->k; }

SMC_INLINE int is_last_k_block(const tile *t) { return t->call->k - t->begin <= t->plan.k_block; }

SMC_INLINE size_t k_block_classes(const tile *t) {
  const size_t left = t->call->k - t->begin;
  return left < t->plan.k_block ? left : t->plan.k_block;
}

/* Count the lane blocks of a tile: W rows, one to a lane, for which whatever there is one of for
 * each row (its maximum, its sum) is computed together.  But where a tile has few rows each is a
 * lane block, with its value in all lanes. */
SMC_INLINE size_t lane_blocks_of(const tile *t) {
  return t->plan.lane_rows == 1 ? t->rows : (t->rows + W - 1) / W;
}

SMC_INLINE size_t lane_block_of(const tile *t, size_t u) {
  return is_across(t) || t->plan.lane_rows == 1 ? u : u / W;
}

SMC_INLINE size_t lane_block_rows(const tile *t, size_t g) {
  const size_t left = t->rows - g * t->plan.lane_rows;
  return left < t->plan.lane_rows ? left : t->plan.lane_rows;
}

/* The first of them. */
SMC_INLINE size_t lane_block_row(const tile *t, size_t g) { return t->row + g * t->plan.lane_rows; }

/* Give a pass over panel u the value of its rows, from the vector of their lane block. */
SMC_INLINE vec of_panel(const tile *t, size_t u, const vec *value) {
  if (is_across(t) || t->plan.lane_rows == 1) return *value;
  return v_set1(real_at((const char *)value + u % W * sizeof(real)));
}

/* Count the vectors of panel u in the k-block at hand. */
SMC_INLINE extent extent_of(const tile *t, size_t u) {
  const size_t classes = k_block_classes(t);
  if (!is_across(t)) return (extent){classes / W, W, classes % W};
  return (extent){classes, is_staged(t) ? W : (uint32_t)lane_block_rows(t, u), 0};
}

/* Count the panels of a tile of columns that go through the passes of softmax and its like jammed:
 * the first ones, SMC_UNROLL at a time, that are whole. */
SMC_INLINE size_t panels_jammed(const tile *t) {
  if (W == 1 || !is_columns(t)) return 0;
  return t->rows / W / SMC_UNROLL * SMC_UNROLL;
}

/* Count the lanes of a dense panel along before the next multiple of a vector's size, if what
 * follows is long: from there on no store is into two cache lines, which takes longer.  Where
 * results are stored non-temporally, count those before the next line.  (For passes that treat all
 * lanes alike.) */
SMC_INLINE size_t lanes_to_line(const tile *t, const panel s, const extent n) {
  const size_t beyond = (uintptr_t)s.p / sizeof(real) % W;
  if (sizeof(vec) < SMC_LINE / 2 || is_across(t) || n.count < SMC_MANY) return 0;
  if (beyond == 0) return is_nontemporal(t) && (uintptr_t)s.p % SMC_LINE != 0 ? W : 0;
  return W - beyond;
}

/* Whether vectors of a panel of results, SMC_UNROLL at a time, fill lines that are stored
 * non-temporally. */
SMC_INLINE int fills_lines(const tile *t, const panel s, const extent n) {
  const size_t step = is_across(t) ? (size_t)s.step : SMC_LINE;
  return is_nontemporal(t) && n.lanes == W && ((uintptr_t)s.p | step) % SMC_LINE == 0;
}

/* Enter the k-block that begins with that class: its inputs are in the panels, operand 0 last, so
 * that its maxima stay. */
static void enter_k_block(tile *t, size_t begin) {
  const smc_call *b = t->call;
  if (t->begin == begin) return;
  t->begin = begin;
  t->known = 0;
  const size_t classes = k_block_classes(t);
  for (int i = t->op->panels - 1; i >= 0; --i) {
    const smc_view *o = &b->operands[i];
    if (!o->data) continue;
    if (!is_staged(t)) {
      char *p = (char *)o->data + (ptrdiff_t)t->row * o->row + (ptrdiff_t)begin * o->col;
      t->first[i] = (panel){(real *)p, is_columns(t) ? o->col : (ptrdiff_t)sizeof(vec)};
      t->apart[i] = is_across(t) ? (ptrdiff_t)sizeof(vec) : o->row;
      continue;
    }
    const size_t apart = t->plan.k_block * (is_across(t) ? W : 1);
    t->first[i] = (panel){t->buffer[i], sizeof(vec)};
    t->apart[i] = (ptrdiff_t)(apart * sizeof(real));
    if (i >= t->op->inputs) continue;
    if (is_across(t)) {
      t->known = pack_across(*o, t->row, t->rows, begin, classes, t->buffer[i], apart, t->maxima);
    } else {
      pack_along(*o, t->row, t->rows, begin, classes, t->buffer[i], apart);
    }
  }
}

/* Leave the k-block: its outputs are in memory. */
static void leave_k_block(tile *t) {
  const smc_call *b = t->call;
  for (int i = t->op->inputs; is_staged(t) && i < t->op->panels; ++i) {
    const smc_view *o = &b->operands[i];
    const size_t apart = (size_t)t->apart[i] / sizeof(real), classes = k_block_classes(t);
    if (!o->data) continue;
    if (is_across(t)) {
      unpack_across(*o, t->row, t->rows, t->begin, classes, t->buffer[i], apart, t->epilogue);
    } else {
      unpack_along(*o, t->row, t->rows, t->begin, classes, t->buffer[i], apart);
    }
  }
}

#endif
