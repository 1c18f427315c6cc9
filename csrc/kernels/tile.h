/* From an operation on n rows to passes over vectors of the type computed in.
 *
 * A *panel* is a sequence of vectors: either one row, ALONG which the lanes run, so that a reduction
 * ends across the lanes; or W rows, one to a lane (ACROSS), where it does not.  Short rows are packed
 * ACROSS, for no lane is idle then and no reduction across lanes needed, on which they would spend
 * their time; rows that lie side by side in memory (an axis other than the last) are across by nature.
 *
 * A *tile* is as many panels as stay near between passes.  Its passes take one panel after the
 * other, so that the processor goes on with the next while a reduction waits for its latency.  What there is
 * one of for each row, its maximum or its sum, is held for a *lane block* of W rows in one vector, whichever way
 * their panels run: along, the partial results of W panels are reduced together.
 *
 * What lies in memory as such vectors, in the type computed in, is a panel there.  All else is *staged*:
 * copied to a buffer on the stack, converted and in order, and back.  Rows that are long, or far from
 * each other's elements, are taken a *block* of classes at a time; where the exponentials of a row cannot
 * be kept from one pass to the next it is worked on *online*, with a maximum that may still rise.  A row so
 * long that several threads may share it is taken in *parts*, each a tile of its own for a pass.  A short
 * row that comes *alone* lies along, but its sums are in the order of those of packed rows: its bits are the
 * same, and a vector has W of its classes instead of one.
 *
 * Whether lanes run along a row or across rows, and where blocks and parts end, depends on the length and the
 * strides of a row alone, never on its place in the batch; so the bits of its result do not.
 */
#ifndef SMC_TILE_H
#define SMC_TILE_H

#include "pack.h"
#include "stores.h"

enum { SMC_MAX_OPERANDS = 3 }; /* with an element for each class */

/* n rows of k classes, in memory: the first `inputs` operands are read, the others written; one without
 * data takes no part.  An output may be the very memory of an input; if staged, it shares the buffer of
 * operand 0. */
typedef struct {
  smc_view operands[SMC_MAX_OPERANDS];
  int count, inputs;
  int light;      /* passes take no longer than fetching what they work on */
  int single_row; /* passes know what to do with a single row */
  int along;      /* rows are not packed */
  int once; /* results, if there are any, are stored when they are final, and not read again */
  int lane_blocks; /* passes know what to do with W rows that lie in memory */
  int prefetches;  /* passes over rows fetch what comes next (prefetcher); those over columns do */
  size_t n, k;
  const smc_spread *spread; /* of the parts of a row over threads, or NULL */
} batch;

typedef struct {
  const batch *call;
  int across, staged, online, touches;
  int single_row;      /* a row that would be packed, were it not the only one */
  int lane_blocks;     /* a tile is a lane block, along */
  int far;             /* operands come from memory */
  int past;            /* results are stored non-temporally, where they fill a line */
  int combines;        /* or collected in a buffer first */
  int streams;         /* and what comes next is fetched meanwhile (prefetcher) */
  size_t k_block;      /* classes in all blocks but the last */
  size_t part_classes; /* classes in all parts of the row but the last */
  size_t parts;        /* more than one only where the tile has one row, along */
  size_t row, rows;    /* of this tile */
  size_t panels;       /* rows, or vectors of W rows */
  size_t lane_rows;    /* rows whose values share a vector: W or 1 */
  size_t before;       /* classes of the row before the part at hand */
  size_t begin;        /* the first class of the block at hand, from there */
  panel first[SMC_MAX_OPERANDS];
  ptrdiff_t apart[SMC_MAX_OPERANDS]; /* bytes from one panel to the next */
  real *buffer[SMC_MAX_OPERANDS];
  vec *maxima;  /* of panels of operand 0, in the block at hand, if they are packed; or long, */
  vec *places;  /* and then where they are: */
  size_t known; /* of so many */
  epilogue epilogue; /* of packed panels */
} tile;

typedef void tile_function(tile *t, const void *args);

/* Numbers that the buffer of an operand has room for; loads may go beyond what is in use. */
enum { SMC_STAGE = SMC_STAGE_BYTES / sizeof(real) + 4 * W };

/* (Never, where a vector has one lane: said in a way that the compiler sees.) */
SMC_INLINE int is_across(const tile *t) { return W > 1 && t->across; }

/* Panels in buffers: always, where elements are converted. */
SMC_INLINE int is_staged(const tile *t) { return sizeof(elem) != sizeof(real) || t->staged; }

/* Panels of rows that lie side by side in memory.  (Where a vector has one lane, each is a row along, whose step is
 * the distance between classes.) */
SMC_INLINE int is_columns(const tile *t) { return t->across && !is_staged(t); }

/* Panels in a buffer. */
SMC_INLINE int is_packed(const tile *t) { return is_across(t) && is_staged(t); }

SMC_INLINE int is_single_row(const tile *t) { return W > 1 && t->single_row; }

SMC_INLINE int is_lane_block(const tile *t) {
  return W >= SMC_MANY_LANES && t->lane_blocks && t->rows == W;
}

SMC_INLINE int is_nontemporal(const tile *t) { return SMC_NONTEMPORAL && t->past; }

SMC_INLINE int is_combined(const tile *t) { return can_combine() && t->combines; }

SMC_INLINE void fence_results(const tile *t) { fence_nontemporal(t->past || is_combined(t)); }

SMC_INLINE panel panel_of(const tile *t, int operand, size_t u) {
  const panel *s = &t->first[operand];
  return (panel){(real *)((char *)s->p + (ptrdiff_t)u * t->apart[operand]), s->step};
}

SMC_INLINE int has_single_k_block(const tile *t) { return t->k_block == t->call->k; }

SMC_INLINE int is_last_k_block(const tile *t) { return t->call->k - t->begin <= t->k_block; }

SMC_INLINE size_t k_block_classes(const tile *t) {
  const size_t left = t->call->k - t->begin;
  return left < t->k_block ? left : t->k_block;
}

/* Rows in groups of W, one to a lane: whatever there is one of for each row (its maximum, its sum) is
 * computed so, across and along.  But where a tile has few rows each is a group, in all lanes. */
SMC_INLINE size_t lane_blocks_of(const tile *t) {
  return t->lane_rows == 1 ? t->rows : (t->rows + W - 1) / W;
}

SMC_INLINE size_t lane_block_of(const tile *t, size_t u) {
  return is_across(t) || t->lane_rows == 1 ? u : u / W;
}

SMC_INLINE size_t lane_block_rows(const tile *t, size_t g) {
  const size_t left = t->rows - g * t->lane_rows;
  return left < t->lane_rows ? left : t->lane_rows;
}

/* The first of them. */
SMC_INLINE size_t lane_block_row(const tile *t, size_t g) { return t->row + g * t->lane_rows; }

/* What a pass over panel u needs of a value by row, that of its group. */
SMC_INLINE vec of_panel(const tile *t, size_t u, const vec *value) {
  if (is_across(t) || t->lane_rows == 1) return *value;
  return v_set1(real_at((const char *)value + u % W * sizeof(real)));
}

/* Of panel u in the block at hand. */
SMC_INLINE extent extent_of(const tile *t, size_t u) {
  const size_t classes = k_block_classes(t);
  if (!is_across(t)) return (extent){classes / W, W, classes % W};
  return (extent){classes, is_staged(t) ? W : (uint32_t)lane_block_rows(t, u), 0};
}

/* The first panels of a tile of columns, SMC_UNROLL at a time, which are whole: they go through the passes of
 * softmax and its like jammed. */
SMC_INLINE size_t panels_jammed(const tile *t) {
  if (W == 1 || !is_columns(t)) return 0;
  return t->rows / W / SMC_UNROLL * SMC_UNROLL;
}

/* The lanes of a dense panel along a row before the next multiple of a vector's size, if what follows is
 * long: from there on no store is into two cache lines, which takes longer.  If results are stored past the
 * caches, before the next line.  For passes that treat all lanes alike. */
SMC_INLINE size_t lanes_to_line(const tile *t, const panel s, const extent n) {
  const size_t beyond = (uintptr_t)s.p / sizeof(real) % W;
  if (sizeof(vec) < SMC_LINE / 2 || is_across(t) || n.count < SMC_MANY) return 0;
  if (beyond == 0) return is_nontemporal(t) && (uintptr_t)s.p % SMC_LINE != 0 ? W : 0;
  return W - beyond;
}

/* Whether groups of a panel of results fill lines, that are stored non-temporally. */
SMC_INLINE int fills_lines(const tile *t, const panel s, const extent n) {
  const size_t step = is_across(t) ? (size_t)s.step : SMC_LINE;
  return is_nontemporal(t) && n.lanes == W && ((uintptr_t)s.p | step) % SMC_LINE == 0;
}

/* The block that begins with that class: its inputs are in the panels, operand 0 last, so that its maxima stay. */
static void enter_k_block(tile *t, size_t begin) {
  const batch *b = t->call;
  if (t->begin == begin) return;
  t->begin = begin;
  t->known = 0;
  const size_t classes = k_block_classes(t);
  for (int i = b->count - 1; i >= 0; --i) {
    const smc_view *o = &b->operands[i];
    if (!o->data) continue;
    if (!is_staged(t)) {
      char *p = (char *)o->data + (ptrdiff_t)t->row * o->row + (ptrdiff_t)begin * o->col;
      t->first[i] = (panel){(real *)p, t->across ? o->col : (ptrdiff_t)sizeof(vec)};
      t->apart[i] = is_across(t) ? (ptrdiff_t)sizeof(vec) : o->row;
      continue;
    }
    const size_t apart = t->k_block * (is_across(t) ? W : 1);
    t->first[i] = (panel){t->buffer[i], sizeof(vec)};
    t->apart[i] = (ptrdiff_t)(apart * sizeof(real));
    if (i >= b->inputs) continue;
    if (is_across(t)) {
      t->known = pack_across(*o, t->row, t->rows, begin, classes, t->buffer[i], apart, t->maxima);
    } else {
      pack_along(*o, t->row, t->rows, begin, classes, t->buffer[i], apart);
    }
  }
}

/* Its outputs are in memory. */
static void leave_k_block(tile *t) {
  const batch *b = t->call;
  for (int i = b->inputs; is_staged(t) && i < b->count; ++i) {
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
