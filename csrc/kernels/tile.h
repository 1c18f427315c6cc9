/* From an operation on n rows to passes over vectors of the type computed in.
 *
 * A *strand* is a sequence of vectors: either one row, ALONG which the lanes run, so that a reduction
 * ends across the lanes; or W rows, one to a lane (ACROSS), where it does not.  Short rows are packed
 * ACROSS, for no lane is idle then and no reduction across lanes needed, on which they would spend
 * their time; rows that lie side by side in memory (an axis other than the last) are across by nature.
 *
 * A *tile* is as many strands as stay near between passes.  Its passes take one strand after the
 * other, so that the processor goes on with the next while a reduction waits for its latency.  What there is
 * one of for each row, its maximum or its sum, is held for a *group* of W rows in one vector, whichever way
 * their strands run: along, the partial results of W strands are reduced together.
 *
 * What lies in memory as such vectors, in the type computed in, is a strand there.  All else is *staged*:
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

#include "storage.h"

enum { SMC_MAX_OPERANDS = 3 }; /* with an element for each class */
typedef enum { SMC_BY_MAX, SMC_BY_ADD, SMC_BY_PAIR_ADD } smc_reduction;

/* Whether numbers so many bytes apart lie at nearly the same place of their pages, or half pages: in a few
 * sets of the first-level cache, where they drive out each other; and what is loaded then looks like what
 * was just stored somewhere else, for which the processor waits. */
SMC_INLINE int smc_is_pages_apart(ptrdiff_t bytes) {
  const size_t beyond = (size_t)bytes % (SMC_PAGE / 2);
  return beyond < SMC_LINE || beyond > SMC_PAGE / 2 - SMC_LINE;
}

/* n rows of k classes, in memory: the first `inputs` operands are read, the others written; one without
 * data takes no part.  An output may be the very memory of an input; if staged, it shares the buffer of
 * operand 0. */
typedef struct {
  smc_view operands[SMC_MAX_OPERANDS];
  int count, inputs;
  int light;   /* passes take no longer than fetching what they work on */
  int lone;    /* passes know what to do with a lone row */
  int along;   /* rows are not packed */
  int once;    /* results, if there are any, are stored when they are final, and not read again */
  int grouped; /* passes know what to do with W rows that lie in memory */
  int fetches; /* passes over rows fetch what comes next (lines_ahead); those over columns do */
  size_t n, k;
  const smc_spread *spread; /* of the parts of a row over threads, or NULL */
} batch;

typedef struct {
  real *p;
  ptrdiff_t step; /* bytes from one vector to the next */
} strand;

/* Of what a product with a Jacobian is made of, and its own. */
typedef struct {
  strand s, g, y;
} product_strands;

/* The sum of a strand, lane by lane; and the g of a class that has nearly all, of log_softmax's vjp. */
typedef struct {
  pair sum;
  vec sure;
} strand_sums;

/* What the product of each row is made of: what is taken from each g; the sum; and of log_softmax's vjp the g of a
 * class that has nearly all, and the sum without it; and whether there is one in any lane, of a class or of a row. */
typedef struct {
  vec center, sum, sure, others;
  int are_sure, along;
} product_sums;

/* Vectors of a strand.  Of two words, which are passed in registers. */
typedef struct {
  size_t count;
  uint32_t lanes; /* in use in each: W, unless rows that lie side by side are left over */
  uint32_t rest;  /* in use in one more, at the end of a row; or 0 */
} extent;

typedef struct {
  const batch *of;
  int across, staged, online, prefetch;
  int lone;         /* a row that would be packed, were it not the only one */
  int grouped;      /* a tile is a group of W rows, along */
  int far;          /* operands come from memory */
  int past;         /* results are stored past the caches, where they fill a line */
  int collects;     /* or collected in a buffer first */
  int streams;      /* and what comes next is fetched meanwhile (lines_ahead) */
  size_t block;     /* classes in all blocks but the last */
  size_t part;      /* classes in all parts of the row but the last */
  size_t parts;     /* more than one only where the tile has one row, along */
  size_t row, rows; /* of this tile */
  size_t strands;   /* rows, or vectors of W rows */
  size_t group;     /* rows whose values share a vector: W or 1 */
  size_t before;    /* classes of the row before the part at hand */
  size_t begin;     /* the first class of the block at hand, from there */
  strand first[SMC_MAX_OPERANDS];
  ptrdiff_t apart[SMC_MAX_OPERANDS]; /* bytes from one strand to the next */
  real *buffer[SMC_MAX_OPERANDS];
  vec *maxima;  /* of strands of operand 0, in the block at hand, if they are packed; or long, */
  vec *places;  /* and then where they are: */
  size_t known; /* of so many */
  last_touch results; /* of packed strands */
} tile;

typedef void tile_function(tile *t, const void *how);

/* (Never, where a vector has one lane: said in a way that the compiler sees.) */
SMC_INLINE int is_across(const tile *t) { return W > 1 && t->across; }

/* Strands in buffers: always, where elements are converted. */
SMC_INLINE int is_staged(const tile *t) { return sizeof(elem) != sizeof(real) || t->staged; }

/* Strands of rows that lie side by side in memory.  (Where a vector has one lane, each is a row along, whose step is
 * the distance between classes.) */
SMC_INLINE int is_columns(const tile *t) { return t->across && !is_staged(t); }

/* Strands in a buffer. */
SMC_INLINE int is_packed(const tile *t) { return is_across(t) && is_staged(t); }

/* Numbers that the buffer of an operand has room for; loads may go beyond what is in use. */
enum { SMC_STAGE = SMC_STAGE_BYTES / sizeof(real) + 4 * W };

SMC_INLINE strand strand_of(const tile *t, int operand, size_t u) {
  const strand *s = &t->first[operand];
  return (strand){(real *)((char *)s->p + (ptrdiff_t)u * t->apart[operand]), s->step};
}

/* Vector i of a strand. */
SMC_INLINE real *vector_at(const strand s, size_t i) {
  return (real *)((char *)s.p + (ptrdiff_t)i * s.step);
}

/* Whether whole vectors lie side by side; then said in a way that the compiler sees: that is worth an
 * instance of its own.  (Columns as far apart as a vector is long may be fewer than it has lanes.) */
SMC_INLINE int is_dense(const strand s, const extent n) {
  return W > 1 && s.step == (ptrdiff_t)sizeof(vec) && n.lanes == W;
}
SMC_INLINE strand dense(const strand s) { return (strand){s.p, sizeof(vec)}; }
SMC_INLINE extent whole(const extent n) { return (extent){n.count, W, n.rest}; }

SMC_INLINE int is_past(const tile *t) { return SMC_STREAMS && t->past; }

/* From vectors of half a line it gains as often as it loses. */
SMC_INLINE int can_collect(void) { return SMC_STREAMS && sizeof(vec) == SMC_LINE; }
SMC_INLINE int is_collected(const tile *t) { return can_collect() && t->collects; }

/* The lanes of a dense strand along a row before the next multiple of a vector's size, if what follows is
 * long: from there on no store is into two cache lines, which takes longer.  If results are stored past the
 * caches, before the next line.  For passes that treat all lanes alike. */
SMC_INLINE size_t lanes_to_line(const tile *t, const strand s, const extent n) {
  const size_t beyond = (uintptr_t)s.p / sizeof(real) % W;
  if (sizeof(vec) < SMC_LINE / 2 || is_across(t) || n.count < SMC_MANY) return 0;
  if (beyond == 0) return is_past(t) && (uintptr_t)s.p % SMC_LINE != 0 ? W : 0;
  return W - beyond;
}

/* What is left of a row without some lanes. */
SMC_INLINE extent without(const extent n, size_t lanes) {
  const size_t left = n.count * W + n.rest - lanes;
  return (extent){left / W, W, (uint32_t)(left % W)};
}

/* The strand from there on. */
SMC_INLINE strand ahead(const strand s, size_t i) { return (strand){vector_at(s, i), s.step}; }

/* The first vector. */
SMC_INLINE vec load_lanes(const strand s, size_t lanes, vec fill) {
  return lanes >= W ? v_load(s.p) : v_load_n(s.p, lanes, fill);
}

SMC_INLINE void store_lanes(const strand s, vec a, size_t lanes) {
  if (lanes >= W) {
    v_store(s.p, a);
  } else {
    v_store_n(s.p, a, lanes);
  }
}

/* Whether groups of a strand of results fill lines, that are stored past the caches. */
SMC_INLINE int goes_past(const tile *t, const strand s, const extent n) {
  const size_t step = is_across(t) ? (size_t)s.step : SMC_LINE;
  return is_past(t) && n.lanes == W && ((uintptr_t)s.p | step) % SMC_LINE == 0;
}

/* The first SMC_GROUP. */
SMC_INLINE void load_group(const strand s, vec *a, size_t lanes, vec fill) {
  SMC_EACH(j, SMC_GROUP) a[j] = load_lanes(ahead(s, (size_t)j), lanes, fill);
}

/* The first vector, past the caches. */
SMC_INLINE void store_past(const strand s, vec a) {
#if SMC_STREAMS
  v_stream(s.p, a);
#else
  v_store(s.p, a);
#endif
}

SMC_INLINE void store_group(const strand s, const vec *a, size_t lanes, int past) {
  if (SMC_STREAMS && past) {
    SMC_EACH(j, SMC_GROUP) store_past(ahead(s, (size_t)j), a[j]);
  } else {
    SMC_EACH(j, SMC_GROUP) store_lanes(ahead(s, (size_t)j), a[j], lanes);
  }
}

/* The strand of columns so many places further on. */
SMC_INLINE strand beside(const strand s, size_t u) { return (strand){s.p + u * W, s.step}; }

/* Of so many columns `abreast` the first n vectors, class after class.  (Both are constants.) */
SMC_INLINE void load_abreast(const strand s, vec *a, const int n, const int abreast) {
  SMC_EACH(j, n) a[j] = v_load(vector_at(beside(s, (size_t)(j % abreast)), (size_t)(j / abreast)));
}

SMC_INLINE void store_abreast(const strand s, const vec *a, const int n, const int abreast) {
  SMC_EACH(j, n) v_store(vector_at(beside(s, (size_t)(j % abreast)), (size_t)(j / abreast)), a[j]);
}

/* Whoever has stored results past the caches, before others may read them. */
SMC_INLINE void end_past(int past) {
#if SMC_STREAMS
  if (past) smc_fence();
#else
  (void)past;
#endif
}
SMC_INLINE void end_results(const tile *t) { end_past(t->past || is_collected(t)); }

SMC_INLINE size_t steps_of(const extent n) { return n.count + (n.rest > 0); }

/* Lanes in use in vector i. */
SMC_INLINE size_t lanes_at(const extent n, size_t i) { return i < n.count ? n.lanes : n.rest; }

/* Rows in groups of W, one to a lane: whatever there is one of for each row (its maximum, its sum) is
 * computed so, across and along.  But where a tile has few rows each is a group, in all lanes. */
SMC_INLINE size_t groups_of(const tile *t) {
  return t->group == 1 ? t->rows : (t->rows + W - 1) / W;
}

SMC_INLINE size_t group_of(const tile *t, size_t u) {
  return is_across(t) || t->group == 1 ? u : u / W;
}

SMC_INLINE size_t group_rows(const tile *t, size_t g) {
  const size_t left = t->rows - g * t->group;
  return left < t->group ? left : t->group;
}

/* The first of them. */
SMC_INLINE size_t group_row(const tile *t, size_t g) { return t->row + g * t->group; }

SMC_INLINE vec first_lane(const vec a) { return v_set1(real_at(&a)); }

/* What a pass over strand u needs of a value by row, that of its group. */
SMC_INLINE vec of_strand(const tile *t, size_t u, const vec *value) {
  if (is_across(t) || t->group == 1) return *value;
  return v_set1(real_at((const char *)value + u % W * sizeof(real)));
}

/* Where part of a vector is loaded as fast as all of it, light passes do not pack rows; these are so short that they
 * need no compensated sums either.  (Where it is not stored as fast, for the types computed in alone.) */
SMC_INLINE int is_short(size_t k, size_t size) {
  const int in_parts = SMC_FAST_MASKS || (SMC_FAST_MASKED_LOADS && size == sizeof(real));
  return in_parts && k <= SMC_SHORT_VECTORS * W;
}

/* Rows of a few vectors, too long to be packed, are worked on W at a time for softmax, if vectors are long: so few
 * vectors, that their sums are of one accumulator, and not of pairs. */
SMC_INLINE int are_few_vectors(size_t k) {
  return W >= SMC_MANY_LANES && k > SMC_PACKED_MAX && k <= SMC_UNPAIRED_MAX &&
         k <= SMC_SUM_STEPS * W;
}

SMC_INLINE int is_lone(const tile *t) { return W > 1 && t->lone; }

SMC_INLINE int is_group(const tile *t) { return W >= SMC_MANY_LANES && t->grouped && t->rows == W; }

SMC_INLINE int is_single_block(const tile *t) { return t->block == t->of->k; }

SMC_INLINE int is_last_block(const tile *t) { return t->of->k - t->begin <= t->block; }

SMC_INLINE size_t block_classes(const tile *t) {
  const size_t left = t->of->k - t->begin;
  return left < t->block ? left : t->block;
}

/* Of strand u in the block at hand. */
SMC_INLINE extent extent_of(const tile *t, size_t u) {
  const size_t classes = block_classes(t);
  if (!is_across(t)) return (extent){classes / W, W, classes % W};
  return (extent){classes, is_staged(t) ? W : (uint32_t)group_rows(t, u), 0};
}

/* The first strands of a tile of columns, SMC_GROUP at a time, which are whole: they go through the passes of
 * softmax and its like abreast. */
SMC_INLINE size_t strands_abreast(const tile *t) {
  if (W == 1 || !is_columns(t)) return 0;
  return t->rows / W / SMC_GROUP * SMC_GROUP;
}

/* The block that begins with that class: its inputs are in the strands, operand 0 last, so that its maxima stay. */
static void enter_block(tile *t, size_t begin) {
  const batch *b = t->of;
  if (t->begin == begin) return;
  t->begin = begin;
  t->known = 0;
  const size_t classes = block_classes(t);
  for (int i = b->count - 1; i >= 0; --i) {
    const smc_view *o = &b->operands[i];
    if (!o->data) continue;
    if (!is_staged(t)) {
      char *p = (char *)o->data + (ptrdiff_t)t->row * o->row + (ptrdiff_t)begin * o->col;
      t->first[i] = (strand){(real *)p, t->across ? o->col : (ptrdiff_t)sizeof(vec)};
      t->apart[i] = is_across(t) ? (ptrdiff_t)sizeof(vec) : o->row;
      continue;
    }
    const size_t apart = t->block * (is_across(t) ? W : 1);
    t->first[i] = (strand){t->buffer[i], sizeof(vec)};
    t->apart[i] = (ptrdiff_t)(apart * sizeof(real));
    if (i >= b->inputs) continue;
    if (is_across(t)) {
      t->known = fill_across(*o, t->row, t->rows, begin, classes, t->buffer[i], apart, t->maxima);
    } else {
      fill_along(*o, t->row, t->rows, begin, classes, t->buffer[i], apart);
    }
  }
}

/* Its outputs are in memory. */
static void leave_block(tile *t) {
  const batch *b = t->of;
  for (int i = b->inputs; is_staged(t) && i < b->count; ++i) {
    const smc_view *o = &b->operands[i];
    const size_t apart = (size_t)t->apart[i] / sizeof(real), classes = block_classes(t);
    if (!o->data) continue;
    if (is_across(t)) {
      spill_across(*o, t->row, t->rows, t->begin, classes, t->buffer[i], apart, t->results);
    } else {
      spill_along(*o, t->row, t->rows, t->begin, classes, t->buffer[i], apart);
    }
  }
}

/* ---- from what each lane of a strand holds to one value for each row ------------------------------- */

SMC_INLINE pair joined(pair a, pair b, const smc_reduction by) {
  switch (by) {
  case SMC_BY_MAX: return (pair){v_max(a.hi, b.hi), a.lo};
  case SMC_BY_ADD: return (pair){v_add(a.hi, b.hi), a.lo};
  default: return pair_add(a, b);
  }
}

/* The value of the row in every lane. */
SMC_INLINE pair reduce_lanes(pair a, const smc_reduction by) {
  SMC_UNROLL for (size_t d = W / 2; d; d /= 2) {
    a = joined(a, (pair){v_xor_lanes(a.hi, (int)d), v_xor_lanes(a.lo, (int)d)}, by);
  }
  return a;
}

/* Two rows come to share a vector, `upper` being the lanes of the second: each lane joins what it would,
 * were its row alone. */
SMC_INLINE pair merged(pair a, pair b, mask upper, const int d, const smc_reduction by) {
  pair own = {v_select(upper, b.hi, a.hi), v_select(upper, b.lo, a.lo)};
  pair other = {v_xor_lanes(v_select(upper, a.hi, b.hi), d),
                v_xor_lanes(v_select(upper, a.lo, b.lo), d)};
  return joined(own, other, by);
}

/* The lanes whose number has that bit: 1, 2, 4 or 8. */
SMC_INLINE mask upper_lanes(const size_t bit) {
  static const real has[][16] = {
      {0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1},
      {0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1},
      {0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1},
      {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1},
  };
  return v_lt(v_set1(0), v_load(has[bit == 8 ? 3 : bit / 2]));
}

/* The values of some rows, one to a lane, from vectors that lie `apart` bytes from each other. */
SMC_INLINE void reduce_group(char *first, size_t rows, size_t apart, const smc_reduction by) {
  const int last = by == SMC_BY_PAIR_ADD; /* vector of an entry */
  SMC_UNROLL for (size_t d = W / 2; d; d /= 2) {
    const mask upper = upper_lanes(d);
    const size_t left = rows < d ? rows : d;
    for (size_t r = 0; r < left; ++r) {
      vec *p = (vec *)(first + r * apart);
      const vec *q = r + d < rows ? (const vec *)(first + (r + d) * apart) : p;
      const pair a = merged((pair){p[0], p[last]}, (pair){q[0], q[last]}, upper, (int)d, by);
      p[0] = a.hi;
      if (last) p[1] = a.lo;
    }
    rows = left;
  }
}

/* The same for SMC_GROUP rows in registers: the lanes of row u, merged into quarter u of a vector. */
SMC_INLINE pair merged_quarters(const pair *rows, const smc_reduction by) {
  const mask half = upper_lanes(W / 2), quarter = upper_lanes(W / 4);
  const pair a = merged(rows[0], rows[2], half, W / 2, by);
  const pair b = merged(rows[1], rows[3], half, W / 2, by);
  return merged(a, b, quarter, W / 4, by);
}

/* The sums, or the maxima, of their lanes. */
SMC_INLINE vec reduced_quarters(const vec v[SMC_GROUP], const smc_reduction by) {
  pair rows[SMC_GROUP];
  SMC_EACH(u, SMC_GROUP) rows[u] = (pair){v[u], v[u]};
  pair all = merged_quarters(rows, by);
  SMC_UNROLL for (size_t d = W / 8; d; d /= 2) {
    all = joined(all, (pair){v_xor_lanes(all.hi, (int)d), all.lo}, by);
  }
  return all.hi;
}
SMC_INLINE vec add_up_group(const vec v[SMC_GROUP]) { return reduced_quarters(v, SMC_BY_ADD); }
SMC_INLINE vec max_of_rows(const vec v[SMC_GROUP]) { return reduced_quarters(v, SMC_BY_MAX); }

/* Whether rows are so short that their products are sums over all pairs of classes, wherever they lie: a rotation and
 * its term for each class but one, of as many rows as a vector holds, take less than to find a peak. */
SMC_INLINE int are_paired(size_t k) {
  return SMC_FAST_MASKS && k >= 2 && k <= W && k - 1 <= SMC_PAIRED_TERMS * (W / k);
}

#if SMC_FAST_MASKS
/* Of rows of k classes that share a vector, side by side, the lane of the next class of each; of the last one, that
 * of the first. */
SMC_INLINE vec next_lanes(size_t k) {
  const vec lane = lane_numbers(), last = v_set1((real)(k - 1)), length = v_set1((real)k);
  const vec middle = v_sub(lane, v_set1((real)(k - 1) / 2));
  const vec row = v_round(v_mul(middle, v_set1(1 / (real)k)));
  const mask is_last = v_eq(v_fma(row, length, last), lane);
  const vec next = v_select(is_last, v_sub(lane, last), v_add(lane, v_set1(1)));
  return v_add(next, v_set1(SMC_C(ROUNDER)));
}
#endif

/* Vectors of each strand, `apart` bytes from each other, become those of each group; a pair is two of
 * them. */
SMC_INLINE void reduce_strands(const tile *t, vec *values, size_t apart, const smc_reduction by) {
  const int last = by == SMC_BY_PAIR_ADD;
  for (size_t g = 0; !is_across(t) && g < groups_of(t); ++g) {
    vec *to = (vec *)((char *)values + g * apart);
    const vec *from = (const vec *)((char *)values + g * t->group * apart);
    pair a = {from[0], from[last]};
    if (t->group == 1) {
      a = reduce_lanes(a, by);
    } else {
      reduce_group((char *)from, group_rows(t, g), apart, by);
      a = (pair){from[0], from[last]};
    }
    to[0] = a.hi;
    if (last) to[1] = a.lo;
  }
}

static void max_by_row(const tile *t, vec *m) { reduce_strands(t, m, sizeof *m, SMC_BY_MAX); }

static void count_by_row(const tile *t, vec *count, size_t apart) {
  reduce_strands(t, count, apart, SMC_BY_ADD);
}

/* One row's, as soon as it is complete, while the next row is read: where rows are groups. */
SMC_INLINE pair sum_of_lanes(pair sum) { return normalized(reduce_lanes(sum, SMC_BY_PAIR_ADD)); }

static void sum_by_row(const tile *t, pair *sum, size_t apart) {
  reduce_strands(t, &sum->hi, apart, SMC_BY_PAIR_ADD);
  for (size_t g = 0; g < groups_of(t); ++g) {
    pair *s = (pair *)((char *)sum + g * apart);
    *s = normalized(*s);
  }
}

/* A number for each row of a group. */
SMC_INLINE vec by_lane(const tile *t, const real *lane) {
  return t->group == 1 ? v_set1(lane[0]) : v_load(lane);
}

/* n <= W values of one for each row, from row i on; beyond them, zeros. */
SMC_INLINE vec load_values(const smc_view *from, size_t i, size_t n) {
  const char *p = (const char *)from->data + (ptrdiff_t)i * from->row;
  if (n == W && sizeof(elem) == sizeof(real) && from->row == sizeof(real)) return v_load(p);
  real lane[W];
  v_store(lane, v_set1(0));
  get_elements(p, from->row, n, lane);
  return v_load(lane);
}

SMC_INLINE void store_values(vec a, const smc_view *to, size_t i, size_t n) {
  char *p = (char *)to->data + (ptrdiff_t)i * to->row;
  if (n == W && sizeof(elem) == sizeof(real) && to->row == sizeof(real)) {
    v_store(p, a);
    return;
  }
  real lane[W];
  v_store(lane, a);
  put_elements(p, to->row, n, lane);
}

/* Those of group g. */
SMC_INLINE vec load_by_row(const tile *t, size_t g, const smc_view *from) {
  const vec a = load_values(from, group_row(t, g), group_rows(t, g));
  return by_lane(t, (const real *)&a);
}

SMC_INLINE void store_by_row(const tile *t, size_t g, vec a, const smc_view *to) {
  store_values(a, to, group_row(t, g), group_rows(t, g));
}

/* Those of group g, of the type computed in. */
SMC_INLINE void store_results(const tile *t, size_t g, vec value, void *to, ptrdiff_t step) {
  real lane[W];
  const size_t first = group_row(t, g), rows = group_rows(t, g);
  if (rows == W && step == sizeof(real)) {
    v_store((real *)to + first, value);
    return;
  }
  v_store(lane, value);
  for (size_t l = 0; l < rows; ++l) {
    memcpy((char *)to + (ptrdiff_t)(first + l) * step, &lane[l], sizeof(real));
  }
}

/* Memory that a pass over rows or columns fetches meanwhile, as what a tile reads is too short a stream for the
 * processor to see: of inputs, the strand after it; and what its results will be written to. */
typedef struct {
  const char *first[SMC_MAX_OPERANDS]; /* or NULL, where there is nothing to fetch */
  size_t step;                         /* bytes from one vector to the next, as stored */
  size_t apart;                        /* from one line to the next */
} lines_ahead;

/* Of strand u.  (Of columns, the first strand of those that share lines fetches them.) */
static SMC_OUTLINE void find_lines(const tile *t, size_t u, lines_ahead *a) {
  const batch *b = t->of;
  const ptrdiff_t col = b->operands[0].col;
  const size_t row = t->row + u * (is_across(t) ? W : 1);
  const int count = t->online || is_collected(t) || is_past(t) ? b->inputs : b->count;
  if (is_columns(t) && u * sizeof(vec) % SMC_LINE != 0) return;
  a->step = is_columns(t) ? (size_t)col : W * sizeof(elem);
  a->apart = is_columns(t) ? (size_t)col : SMC_LINE;
  for (int i = 0; i < count; ++i) {
    const smc_view *o = &b->operands[i];
    if (!o->data || o->col != col) continue;
    const ptrdiff_t next = t->online ? (ptrdiff_t)t->block * col : (ptrdiff_t)t->rows * o->row;
    a->first[i] = (const char *)o->data + (ptrdiff_t)row * o->row + (ptrdiff_t)t->begin * col +
                  (i < b->inputs ? next : 0);
  }
}

SMC_INLINE lines_ahead lines_of(const tile *t, size_t u) {
  lines_ahead a = {{NULL}, 0, 0};
  if (W > 1 && t->streams) find_lines(t, u, &a);
  return a;
}

/* While so many vectors from vector i on are computed with. */
SMC_INLINE void fetch_lines(const lines_ahead *a, size_t i, size_t vectors) {
  if (W == 1 || !a->first[0]) return;
  for (size_t at = i * a->step, end = at + vectors * a->step; at < end; at += a->apart) {
    SMC_EACH(j, SMC_MAX_OPERANDS) {
      if (a->first[j]) SMC_PREFETCH(a->first[j] + at);
    }
  }
}

/* While class i of columns abreast is computed with. */
SMC_INLINE void fetch_abreast(const lines_ahead *a, size_t i, const int abreast) {
  if (!a->first[0]) return;
  SMC_UNROLL for (size_t at = 0; at < (size_t)abreast * sizeof(vec); at += SMC_LINE) {
    SMC_EACH(j, SMC_MAX_OPERANDS) {
      if (a->first[j]) SMC_PREFETCH(a->first[j] + i * a->step + at);
    }
  }
}

/* Columns abreast that are gone through class after class, once more: so many classes further on, as few lines
 * of a page are too short a stream for the processor. */
SMC_INLINE void fetch_later_class(const tile *t, const strand x) {
  if (!t->online || !t->streams) return;
  const char *later = (const char *)vector_at(x, SMC_LATER_CLASSES);
  SMC_UNROLL for (size_t at = 0; at < SMC_GROUP * sizeof(vec); at += SMC_LINE) {
    SMC_PREFETCH(later + at);
  }
}

/* Their results, that are stored once. */
SMC_INLINE void fetch_later_results(const strand y, int past) {
  const char *later = (const char *)vector_at(y, SMC_LATER_CLASSES);
  if (past) return;
  SMC_UNROLL for (size_t at = 0; at < SMC_GROUP * sizeof(vec); at += SMC_LINE) {
    SMC_PREFETCH_TO_WRITE(later + at);
  }
}

/* All that go with strand u, of so many vectors. */
static SMC_OUTLINE void fetch_all_lines(const tile *t, size_t u, size_t vectors) {
  const lines_ahead a = lines_of(t, u);
  fetch_lines(&a, 0, vectors);
}

SMC_INLINE void fetch_strand(const tile *t, size_t u, size_t vectors) {
  if (W > 1 && t->streams) fetch_all_lines(t, u, vectors);
}

/* The processor sees no stream in rows of some lines that are transposed, a quarter of a line at a time: all
 * their lines are touched before, in order.  Nor does it in columns of which a tile has a few lines in each
 * of many places: it is told what this tile will write, and the next one read.  (To touch is to read: only what
 * lies forward and side by side, as nothing else is known to be there.) */
static void prefetch_tile(const tile *t) {
  const batch *b = t->of;
  const ptrdiff_t size = (ptrdiff_t)sizeof(elem);
  for (int i = 0; i < b->count; ++i) {
    const smc_view *o = &b->operands[i];
    const int columns = o->row == size;
    const int rows = o->col == size && o->row == (ptrdiff_t)b->k * size;
    if (!o->data || !(columns || rows)) continue;
    const size_t bytes = t->rows * (size_t)o->row, count = columns ? b->k : 1;
    const char *p = (const char *)o->data + (ptrdiff_t)t->row * o->row;
    for (size_t c = 0; c < count; ++c, p += o->col) {
      for (size_t at = 0; at < bytes; at += SMC_LINE) {
        if (!columns) {
          (void)*(const volatile char *)(p + at);
        } else if (i < b->inputs) {
          SMC_PREFETCH(p + bytes + at);
        } else {
          SMC_PREFETCH_TO_WRITE(p + at);
        }
      }
    }
  }
}

/* Classes of columns in memory that a pass takes at a time, so that it finds the rest of a line again; or, where
 * lines are whole pages apart, all that the next pass finds.  (Online it looks for none in the first-level cache.) */
SMC_INLINE size_t column_block(const tile *t, size_t operands) {
  const batch *b = t->of;
  const ptrdiff_t apart = b->operands[0].col;
  const int in_few_sets = smc_is_pages_apart(apart) && !t->online;
  const size_t sets = apart % SMC_PAGE ? 2 : 1;
  if (b->k <= SMC_SUM_STEPS) return b->k;
  const size_t lines = in_few_sets ? sets * SMC_SET_LINES : SMC_COLUMN_LINES;
  return lines / operands / SMC_GROUP * SMC_GROUP;
}

/* Of a tile of columns in memory: as many as stay in the second-level cache, but a strip no narrower than the
 * processor reads well.  If not even a few lines of each class do, and they come from memory, it is as wide as can
 * be; and worked on online, where to compute exponentials once more takes less time than to fetch them: sooner where
 * no cache holds the whole, or lines are pages apart.  (Of the whole array, by what lies between two classes: a result
 * does not depend on how many of the columns come together.)  While one strip is computed with, the next is fetched,
 * or if it is wide, the next block; but not lines whole pages apart, which drive out each other before their time. */
static size_t column_strands(tile *t, size_t operands) {
  const batch *b = t->of;
  const ptrdiff_t apart = b->operands[0].col;
  const size_t all = operands * b->k * (size_t)(apart < 0 ? -apart : apart);
  const int pages_apart = smc_is_pages_apart(apart);
  const size_t near = SMC_KEEP_BYTES / (operands * b->k); /* bytes of each class that stay */
  const size_t strip = pages_apart ? near : SMC_L2_BYTES / (operands * b->k);
  const size_t strands = (strip > SMC_STRIP_BYTES ? strip : SMC_STRIP_BYTES) / sizeof(vec);
  const size_t few = pages_apart                 ? 8 * SMC_FEW_LINES_BYTES
                     : all > 4 * SMC_CACHE_BYTES ? 2 * SMC_FEW_LINES_BYTES
                                                 : SMC_FEW_LINES_BYTES;
  const int is_wide = all > SMC_CACHE_BYTES / 2 && near < few;
  /* Half of what is far elsewhere, as the planes of an array come one by one. */
  const int is_far = operands * b->n * b->k * sizeof(real) > SMC_CACHE_BYTES / 4;
  t->online =
      is_wide && sizeof(vec) >= SMC_LINE / 2 && all > SMC_CACHE_BYTES * (SMC_LINE / sizeof(vec));
  t->streams = is_far && apart > 0 && (t->online || !(is_wide || pages_apart));
  return is_wide || strands > SMC_MAX_STRANDS ? SMC_MAX_STRANDS : strands;
}

/* Whether the rows of a packed strand are read a quarter of a line at a time from so many lines that it
 * looks like no stream. */
SMC_INLINE int are_scattered(const batch *b) {
  return b->k * sizeof(elem) * sizeof(vec) > SMC_LINE * SMC_LINE;
}

/* Of a tile of packed rows that do not stay in the second-level cache. */
SMC_INLINE size_t far_strands(const tile *t, size_t strands) {
  const size_t strand_bytes = t->block * W * sizeof(elem);
  const size_t most = t->streams    ? SMC_FAR_BYTES / strand_bytes
                      : t->prefetch ? SMC_TOUCHED_BYTES / strand_bytes
                                    : SMC_FAR_STRANDS;
  return strands < most ? strands : most;
}

/* Whether columns whole pages apart are better copied: unless all passes go through them abreast, and they fit the
 * first-level cache or are taken a block at a time; or products do, of more than a few classes. */
SMC_INLINE int are_copied(const batch *b) {
  if (b->light) return b->k <= SMC_SUM_STEPS;
  const int abreast = b->fetches && b->count < SMC_MAX_OPERANDS;
  return !abreast || (b->k > SMC_SET_LINES && b->k <= SMC_SUM_STEPS);
}

/* Whether passes that compute little, as results are stored once or there are none, would wait for a cache beyond the
 * second: of long rows, where the stream is worth looking up. */
SMC_INLINE int waits_for_lines(const batch *b, size_t operands) {
  const size_t row = operands * b->k * sizeof(elem);
  return b->once && row >= SMC_LONG_BYTES && b->n * row > 2 * SMC_KEEP_BYTES;
}

/* How the rows are cut into tiles and blocks; the strands of a whole tile. */
static size_t plan_tiles(tile *t, const batch *b) {
  const ptrdiff_t size = (ptrdiff_t)sizeof(elem);
  const size_t room = SMC_STAGE_BYTES / sizeof(real), bytes = b->n * b->k * sizeof(elem);
  size_t operands = 0, packed = b->light ? SMC_PACKED_LIGHT_BYTES / sizeof(real) : SMC_PACKED_MAX;
  if (b->along) packed = 0;
  int side_by_side = 1, whole_rows = 1;
  for (int i = 0; i < b->count; ++i) {
    if (!b->operands[i].data) continue;
    ++operands;
    side_by_side &= b->operands[i].row == size;
    whole_rows &= b->operands[i].col == size;
  }
  t->block = b->k;
  const int is_far = operands * bytes > SMC_CACHE_BYTES / 2; /* others use it, too */
  /* A group, and what is kept of it. */
  const int is_near = !is_far || W * b->k * sizeof(real) < SMC_L1_BYTES / 2;
  t->grouped = b->grouped && whole_rows && size == sizeof(real) && is_near;
  t->lone = W > 1 && b->lone && b->n == 1 && b->k <= packed && whole_rows && size == sizeof(real);
  if (is_lone(t)) return 1;
  const int columns = side_by_side && !whole_rows;
  if (columns) packed = room / (SMC_COPIED_STRANDS * W);
  const int copied = W > 1 && columns && smc_is_pages_apart(b->operands[0].col) &&
                     b->k >= SMC_COPIED_MIN && b->k <= packed && are_copied(b);
  t->far = is_far;
  t->across = columns || (W > 1 && b->k <= packed);
  t->staged = size != sizeof(real) || copied || !(columns || (whole_rows && !is_across(t)));
  size_t strands;
  if (W > 1 && is_columns(t) && b->light) { /* products: abreast; or of few, some steps at a time */
    const size_t block = SMC_SUM_STEPS * (b->n < SMC_GROUP * W ? SMC_GROUP : 1);
    if (b->k > block) t->block = block;
    return SMC_MAX_STRANDS;
  }
  if (is_columns(t)) {
    strands = column_strands(t, operands);
    t->block = column_block(t, operands);
    return strands;
  }
  if (is_across(t)) {
    if (b->k > packed) t->block = room / (SMC_MAX_ROWS * W);
    strands = room / (t->block * W);
    t->streams = is_far && b->fetches && whole_rows && t->block == b->k &&
                 b->operands[0].row == (ptrdiff_t)b->k * size;
    t->prefetch = columns ? bytes > SMC_CACHE_BYTES : is_far && are_scattered(b) && !t->streams;
    if (!columns && bytes > SMC_KEEP_BYTES) strands = far_strands(t, strands);
  } else if (is_staged(t)) {
    if (b->k > room) t->block = room;
    strands = room / t->block;
  } else {
    const size_t row = b->k * sizeof(real);
    const int many = sizeof(vec) == SMC_LINE && b->once && operands * row <= SMC_MANY_BYTES;
    const size_t far = !b->fetches ? SMC_FAR_BYTES : many ? SMC_L2_BYTES : SMC_AHEAD_BYTES;
    const size_t near = is_far ? far : b->light ? SMC_L1_BYTES : SMC_L2_BYTES;
    if (row > SMC_KEEP_BYTES) t->block = SMC_BLOCK_BYTES / sizeof(real);
    strands = t->grouped ? W : near / (operands * row);
  }
  t->online = t->block < b->k;
  const int fetched = is_far || waits_for_lines(b, operands);
  if (!is_across(t)) t->streams = fetched && b->fetches && whole_rows;
  if (t->online && !is_across(t)) return 1;
  return strands < 1 ? 1 : strands > SMC_MAX_ROWS ? SMC_MAX_ROWS : strands;
}

/* Whether results replace no input, as otherwise their lines are there when they are stored. */
static int are_apart(const batch *b) {
  const void *out = b->operands[b->count - 1].data;
  int apart = out != NULL;
  for (int i = 0; i < b->inputs; ++i) apart &= b->operands[i].data != out;
  return apart;
}

/* Whether results are stored past the caches: a line that is stored whole need not be fetched before. */
static int are_past_caches(const tile *t, const batch *b) {
  const size_t row = b->k * sizeof(real);
  const int filled = is_across(t) ? sizeof(vec) == SMC_LINE : row >= SMC_MANY * sizeof(vec);
  return SMC_STREAMS && (b->once || t->online) && !is_staged(t) && filled &&
         b->n * row > SMC_STREAM_BYTES && are_apart(b);
}

/* Results of rows that no cache will hold, and whose ends fill no lines: they are collected in a buffer, and stored
 * past the caches from there.  `held` bytes of it are in use, of which the first `before` are others'. */
typedef struct {
  char *line; /* in memory, where the first byte of the buffer goes */
  size_t before, held;
  SMC_ALIGN(64) char bytes[SMC_STAGE_BYTES + SMC_LINE];
} collected;

/* Whether those of so many rows at a time are, side by side in memory. */
SMC_INLINE int are_collected(smc_view y, size_t size, size_t n, size_t k, size_t rows) {
  return can_collect() && y.col == (ptrdiff_t)size && y.row == (ptrdiff_t)(k * size) &&
         n * k * size > SMC_STREAM_BYTES && rows * k * size <= SMC_STAGE_BYTES;
}

SMC_INLINE void collect(collected *c, smc_view y) {
  c->before = c->held = (uintptr_t)y.data % SMC_LINE;
  c->line = (char *)y.data - c->held;
}

/* Where the next row goes, for whoever calls it that row of the operand. */
SMC_INLINE smc_view place_of(collected *c, smc_view y, size_t row) {
  return (smc_view){c->bytes + c->held - (ptrdiff_t)row * y.row, y.row, y.col};
}

/* So many bytes more are there. */
static SMC_OUTLINE void store_collected(collected *c, size_t bytes, int last) {
  const size_t end = c->held + bytes;
  size_t at = 0;
  for (; at + SMC_LINE <= end; at += SMC_LINE, c->before = 0) {
    if (c->before > 0) {
      memcpy(c->line + c->before, c->bytes + c->before, SMC_LINE - c->before);
      continue;
    }
    for (size_t j = at; j < at + SMC_LINE; j += sizeof(vec)) {
      store_past((strand){(real *)(c->line + j), 0}, v_load(c->bytes + j));
    }
  }
  c->line += at, c->held = end - at;
  memcpy(c->bytes, c->bytes + at, SMC_LINE);
  if (last) memcpy(c->line + c->before, c->bytes + c->before, c->held - c->before);
}

/* Into how many parts a row is cut. */
static void plan_parts(tile *t, size_t k) {
  const size_t parts = t->online && !is_across(t) ? k / SMC_PART : 1;
  t->part = k, t->parts = 1;
  if (parts < 2) return;
  const size_t least = parts < SMC_MAX_PARTS ? SMC_PART : k / SMC_MAX_PARTS + 1;
  t->part = (least + t->block - 1) / t->block * t->block;
  t->parts = (k + t->part - 1) / t->part;
}

/* Rows before the first whose numbers of each class start a cache line: where lines are as far apart as
 * columns, strands that start there, too, are read and written a line at a time. */
static size_t rows_to_line(const tile *t) {
  const batch *b = t->of;
  size_t beyond = 0;
  if (is_staged(t) || !is_across(t)) return 0;
  for (int i = 0; i < b->count; ++i) {
    if (!b->operands[i].data) continue;
    if (b->operands[i].col % SMC_LINE != 0) return 0;
    beyond = (uintptr_t)b->operands[i].data % SMC_LINE; /* of the last, which is written */
  }
  return (SMC_LINE - beyond) % SMC_LINE / sizeof(real) % W;
}

/* A pass over a tile, or over one of the parts of a row, which is a tile then. */
typedef void part_pass(tile *t, size_t part, const void *how);

typedef struct {
  const tile *row;
  part_pass *pass;
  const void *how;
} parts_of_row;

static void do_parts(void *work, size_t begin, size_t end) {
  const parts_of_row *all = work;
  const batch *b = all->row->of;
  SMC_ALIGN(64) real buffers[2][SMC_STAGE];
  vec maximum, place;
  for (size_t p = begin; p < end; ++p) {
    tile t = *all->row;
    batch part = *b;
    t.of = &part;
    t.before = p * t.part;
    t.begin = (size_t)-1;
    t.maxima = &maximum, t.places = &place;
    part.k = b->k - t.before < t.part ? b->k - t.before : t.part;
    for (int i = 0; i < b->count; ++i) {
      smc_view *o = &part.operands[i];
      if (o->data) o->data = (char *)o->data + (ptrdiff_t)t.before * o->col;
      t.buffer[i] = buffers[i == 1 && i < b->inputs];
    }
    all->pass(&t, p, all->how);
  }
  end_results(all->row);
}

static SMC_OUTLINE void spread_parts(const tile *t, part_pass *pass, const void *how) {
  const smc_spread *spread = t->of->spread;
  parts_of_row all = {t, pass, how};
  if (spread) {
    spread->over(spread->context, t->parts, do_parts, &all);
  } else {
    do_parts(&all, 0, t->parts);
  }
}

/* All parts of the tile's rows, in any order. */
SMC_INLINE void for_parts(tile *t, part_pass *pass, const void *how) {
  if (t->parts == 1) {
    pass(t, 0, how);
  } else {
    spread_parts(t, pass, how);
  }
}

/* The last pass: the outputs of the block at hand. */
typedef void block_pass(tile *t, const void *how);

typedef struct {
  block_pass *pass;
  const void *how;
} results_of_blocks;

static void results_of_part(tile *t, size_t part, const void *all) {
  const results_of_blocks *of = all;
  (void)part;
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    of->pass(t, of->how);
    leave_block(t);
  }
}

static void for_results(tile *t, block_pass *pass, const void *how) {
  for_parts(t, results_of_part, &(results_of_blocks){pass, how});
}

/* Whether a tile's results are collected: those that passes read again, for others are stored past the caches as they
 * come, where rows are long; and not of a few lines, which are none the faster for it. */
SMC_INLINE int collects(const tile *t, const batch *b, size_t rows) {
  const size_t size = sizeof(elem);
  return b->fetches && !b->once && !t->online && !is_staged(t) && !is_across(t) &&
         b->k * size > SMC_FEW_LINES_BYTES + SMC_LINE && are_apart(b) &&
         are_collected(b->operands[b->count - 1], size, b->n, b->k, rows);
}

/* The operation, tile by tile. */
static void for_tiles(tile_function *operation, const batch *b, const void *how) {
  SMC_ALIGN(64) real buffers[2][SMC_STAGE];
  vec maxima[SMC_MAX_STRANDS], places[SMC_MAX_STRANDS];
  tile t = {.of = b, .maxima = maxima, .places = places};
  const size_t strands = plan_tiles(&t, b), rows = strands * (is_across(&t) ? W : 1);
  plan_parts(&t, b->k);
  t.past = are_past_caches(&t, b);
  t.group = is_across(&t) || (strands > SMC_FEW_ROWS && b->n > SMC_FEW_ROWS) ? W : 1;
  for (int i = 0; i < b->count; ++i) t.buffer[i] = buffers[i == 1 && i < b->inputs];
  const size_t lead = rows_to_line(&t);
  const smc_view y = b->operands[b->count - 1];
  batch with_buffer = *b;
  collected c;
  t.collects = collects(&t, b, rows);
  if (is_collected(&t)) {
    collect(&c, y);
    t.of = &with_buffer;
  }
  for (t.row = 0; t.row < b->n; t.row += t.rows) {
    const size_t most = t.row == 0 && lead > 0 ? lead : rows;
    t.rows = b->n - t.row < most ? b->n - t.row : most;
    t.strands = is_across(&t) ? (t.rows + W - 1) / W : t.rows;
    t.begin = (size_t)-1; /* none yet */
    if (t.prefetch) prefetch_tile(&t);
    if (is_collected(&t)) with_buffer.operands[b->count - 1] = place_of(&c, y, t.row);
    operation(&t, how);
    if (is_collected(&t)) store_collected(&c, t.rows * (size_t)y.row, t.row + t.rows == b->n);
  }
  end_results(&t);
}

#endif
