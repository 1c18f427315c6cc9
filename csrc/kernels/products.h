/* Products with the Jacobians of softmax, log_softmax and logsumexp: for the first two the place of each row's
 * peak, a sum about it, then one elementwise pass (product_passes.h); for the last the pass alone.
 */
#ifndef SMC_PRODUCTS_H
#define SMC_PRODUCTS_H

#include "product_passes.h"
#include "softmax.h"

/* The largest s (or log_s) of each row so far, and the g there: by lane, or along in all lanes. */
typedef struct {
  vec most, center;
} strand_peak;

typedef struct {
  smc_product which;
  strand_peak *peak;  /* of each strand of the tile, or of each part of its row; */
  strand_sums *sums;  /* likewise; */
  product_sums *rows; /* and of each group of rows */
} row_products;

/* How many strands of a tile go through the passes so: fewer are summed in registers. */
SMC_INLINE size_t whole_columns(const tile *t) {
  return W > 1 && is_columns(t) && t->rows >= SMC_GROUP * W ? t->rows / W : 0;
}

/* ---- pass 1: the peak of each row, where something is taken from g --------------------------------- */

SMC_INLINE void raise_peak(strand_peak *p, vec most, vec center) {
  const mask higher = v_lt(p->most, most);
  p->center = v_select(higher, center, p->center);
  p->most = v_select(higher, most, p->most);
}

/* Of some strands across, class after class.  (`abreast` is a constant.) */
SMC_INLINE void peaks_across(const tile *t, size_t u, const int abreast, size_t lanes,
                             strand_peak *peak) {
  const size_t classes = block_classes(t);
  strand s = strand_of(t, SMC_S, u), g = strand_of(t, SMC_G, u);
  strand_peak p[SMC_GROUP];
  SMC_EACH(j, abreast) p[j] = peak[u + (size_t)j];
  for (size_t i = 0; i < classes; ++i, s = ahead(s, 1), g = ahead(g, 1)) {
    SMC_EACH(j, abreast) {
      const vec a = load_lanes(beside(s, (size_t)j), lanes, v_set1(0));
      raise_peak(&p[j], a, load_lanes(beside(g, (size_t)j), lanes, v_set1(0)));
    }
  }
  SMC_EACH(j, abreast) peak[u + (size_t)j] = p[j];
}

/* The same of so many strands of long columns, that are whole, class after class across all of them: so they are read
 * as they lie in memory.  Their g is looked up afterwards, as few blocks raise a peak. */
static SMC_OUTLINE void peaks_abreast(const tile *t, size_t strands, strand_peak *peak) {
  const size_t classes = block_classes(t);
  strand s = strand_of(t, SMC_S, 0);
  vec most[SMC_MAX_STRANDS], place[SMC_MAX_STRANDS], number = v_set1(0);
  for (size_t u = 0; u < strands; ++u) most[u] = peak[u].most, place[u] = v_set1(-1);
  for (size_t i = 0; i < classes; ++i, s = ahead(s, 1), number = v_add(number, v_set1(1))) {
    for (size_t u = 0; u < strands; ++u) {
      const vec a = v_load(beside(s, u).p);
      place[u] = v_select(v_lt(most[u], a), number, place[u]);
      most[u] = v_max(most[u], a);
    }
  }
  for (size_t u = 0; u < strands; ++u) {
    const strand g = strand_of(t, SMC_G, u);
    real center[W], class[W];
    uint32_t higher = v_lane_bits(v_lt(peak[u].most, most[u]));
    if (!higher) continue;
    v_store(center, peak[u].center), v_store(class, place[u]);
    for (; higher; higher &= higher - 1) {
      const size_t l = smc_lowest_bit(higher);
      center[l] = vector_at(g, (size_t)class[l])[l];
    }
    raise_peak(&peak[u], most[u], v_load(center));
  }
}

/* Of a strand along. */
SMC_INLINE void peak_along(const tile *t, size_t u, strand_peak *peak) {
  const strand s = strand_of(t, SMC_S, u), g = strand_of(t, SMC_G, u);
  const size_t class = place_of_peak(s, extent_of(t, u), SMC_COMPUTED);
  const real *at = vector_at(s, class / W) + class % W, *from = vector_at(g, class / W) + class % W;
  raise_peak(peak, v_set1(*at), v_set1(*from));
}

static void peaks_of_part(tile *t, size_t part, const void *how) {
  strand_peak *peak = ((const row_products *)how)->peak + part;
  /* Whether the next pass finds in the second-level cache what this one reads, g included. */
  const int are_near = 2 * t->of->k * t->rows * sizeof(real) <= 2 * SMC_KEEP_BYTES;
  for (size_t u = 0; u < t->strands; ++u) {
    peak[u] = (strand_peak){v_set1((real)-INFINITY), v_set1(0)};
  }
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    size_t u = are_near ? 0 : whole_columns(t);
    if (u > 0) peaks_abreast(t, u, peak);
    for (; is_columns(t) && is_across(t) && (u + SMC_GROUP) * W <= t->rows; u += SMC_GROUP) {
      peaks_across(t, u, SMC_GROUP, W, peak);
    }
    for (; u < t->strands; ++u) {
      if (is_across(t)) {
        peaks_across(t, u, 1, extent_of(t, u).lanes, peak);
      } else {
        peak_along(t, u, &peak[u]);
      }
    }
  }
}

/* ---- pass 2: sums ---------------------------------------------------------------------------------- */

SMC_INLINE strand_sums dot_of_strand(const strand s, const strand g, const extent n, vec center,
                                     vec sure, smc_product which) {
  switch (which) {
  case SMC_SOFTMAX_VJP:
    if (is_dense(s, n) && is_dense(g, n)) {
      return stored_dot(dense(s), dense(g), whole(n), center, sure, SMC_SOFTMAX_VJP, SMC_COMPUTED);
    }
    return stored_dot(s, g, n, center, sure, SMC_SOFTMAX_VJP, SMC_COMPUTED);
  case SMC_LOG_SOFTMAX_VJP:
    return stored_dot(s, g, n, center, sure, SMC_LOG_SOFTMAX_VJP, SMC_COMPUTED);
  default: return stored_dot(s, g, n, center, sure, SMC_LOG_SOFTMAX_JVP, SMC_COMPUTED);
  }
}

SMC_INLINE void product_strand(const tile *t, product_strands of, extent n,
                               const product_sums *sums, smc_product which) {
  const int rows = is_dense(of.s, n) && is_dense(of.g, n) && is_dense(of.y, n);
  switch (which) {
  case SMC_SOFTMAX_VJP:
    for (size_t head; rows && (head = lanes_to_line(t, of.y, n)) > 0; n = without(n, head)) {
      const vec s = v_load(of.s.p), g = v_load(of.g.p);
      v_store_n(of.y.p, one_product(s, g, sums, SMC_SOFTMAX_VJP), head);
      of.s.p += head, of.g.p += head, of.y.p += head;
    }
    if (rows) {
      dense_products(of, n, sums, goes_past(t, of.y, n));
    } else {
      stored_products(of, n, sums, goes_past(t, of.y, n), SMC_SOFTMAX_VJP, SMC_COMPUTED);
    }
    break;
  case SMC_LOG_SOFTMAX_VJP:
    stored_products(of, n, sums, 0, SMC_LOG_SOFTMAX_VJP, SMC_COMPUTED);
    break;
  default: stored_products(of, n, sums, 0, SMC_LOG_SOFTMAX_JVP, SMC_COMPUTED);
  }
}

/* Of so many strands of columns that are whole, class after class: so they are read and written as they lie in memory.
 * The next class is fetched where it will be written, or while exponentials are computed.  (`which` and `past` are
 * constants.) */
SMC_INLINE void class_of_dots(strand s, strand g, size_t strands, const strand_peak *peak,
                              const smc_product which, vec *sum, strand_sums *sums) {
  for (size_t u = 0; u < strands; ++u, s = beside(s, 1), g = beside(g, 1)) {
    if (which == SMC_LOG_SOFTMAX_JVP) {
      SMC_PREFETCH((const char *)vector_at(s, 1));
      SMC_PREFETCH((const char *)vector_at(g, 1));
    }
    plus_product(&sum[u], &sums[u].sure, v_load(s.p), v_load(g.p), peak[u].center, which);
  }
}

SMC_INLINE void class_of_products(product_strands of, size_t strands, const smc_product which,
                                  const product_sums *sums, const int past) {
  for (size_t u = 0; u < strands; ++u) {
    const strand s = beside(of.s, u), g = beside(of.g, u), y = beside(of.y, u);
    const vec product = one_product(v_load(s.p), v_load(g.p), &sums[u], which);
    if (which == SMC_LOG_SOFTMAX_VJP) SMC_PREFETCH((const char *)vector_at(s, 1));
    if (past) {
      store_past(y, product);
    } else {
      SMC_PREFETCH_TO_WRITE((const char *)vector_at(y, 1));
      v_store(y.p, product);
    }
  }
}

/* Of a block, added up as stored_dot does. */
static SMC_OUTLINE void dots_abreast(const tile *t, size_t strands, const row_products *of) {
  const size_t k = block_classes(t), grouped = k / SMC_GROUP * SMC_GROUP;
  strand s = strand_of(t, SMC_S, 0), g = strand_of(t, SMC_G, 0);
  vec sum[SMC_GROUP][SMC_MAX_STRANDS];
  SMC_EACH(j, SMC_GROUP) {
    for (size_t u = 0; u < strands; ++u) sum[j][u] = v_set1(0);
  }
  for (size_t i = 0; i < k; ++i, s = ahead(s, 1), g = ahead(g, 1)) {
    vec *to = sum[i < grouped ? i % SMC_GROUP : 0];
    switch (of->which) {
    case SMC_SOFTMAX_VJP:
      class_of_dots(s, g, strands, of->peak, SMC_SOFTMAX_VJP, to, of->sums);
      break;
    case SMC_LOG_SOFTMAX_VJP:
      class_of_dots(s, g, strands, of->peak, SMC_LOG_SOFTMAX_VJP, to, of->sums);
      break;
    default: class_of_dots(s, g, strands, of->peak, SMC_LOG_SOFTMAX_JVP, to, of->sums);
    }
  }
  for (size_t u = 0; u < strands; ++u) {
    const pair part = pair_add(two_sum(sum[0][u], sum[1][u]), two_sum(sum[2][u], sum[3][u]));
    of->sums[u].sum = running_sum(of->sums[u].sum, part, t->begin == 0);
  }
}

static SMC_OUTLINE void products_abreast(const tile *t, size_t strands, const row_products *how) {
  const size_t k = block_classes(t);
  const strand s = strand_of(t, SMC_S, 0), g = strand_of(t, SMC_G, 0);
  const strand y = strand_of(t, SMC_PRODUCT, 0);
  const int past = goes_past(t, y, extent_of(t, 0));
  for (size_t i = 0; i < k; ++i) {
    const product_strands of = {ahead(s, i), ahead(g, i), ahead(y, i)};
    switch (how->which) {
    case SMC_SOFTMAX_VJP:
      if (past) {
        class_of_products(of, strands, SMC_SOFTMAX_VJP, how->rows, 1);
      } else {
        class_of_products(of, strands, SMC_SOFTMAX_VJP, how->rows, 0);
      }
      break;
    case SMC_LOG_SOFTMAX_VJP:
      class_of_products(of, strands, SMC_LOG_SOFTMAX_VJP, how->rows, 0);
      break;
    default: class_of_products(of, strands, SMC_LOG_SOFTMAX_JVP, how->rows, 0);
    }
  }
}

/* Of strand u in the block at hand; what is sure, from the first block on. */
SMC_INLINE strand_sums sums_of_block(const tile *t, size_t u, const row_products *of) {
  const vec center = of->peak[u].center, sure = of->sums[u].sure;
  strand s = strand_of(t, SMC_S, u), g = strand_of(t, SMC_G, u);
  extent n = extent_of(t, u);
  if (!is_lone(t)) return dot_of_strand(s, g, n, center, sure, of->which);
  s.step = g.step =
      sizeof(real); /* in the order of a row that is packed: one lane, class after class */
  const strand_sums all = dot_of_strand(s, g, (extent){t->of->k, 1, 0}, center, sure, of->which);
  return (strand_sums){{first_lane(all.sum.hi), first_lane(all.sum.lo)}, all.sure};
}

static void dots_of_part(tile *t, size_t part, const void *how) {
  row_products of = *(const row_products *)how;
  strand_sums *sums = of.sums += part;
  /* All parts of a row are about its peak. */
  for (size_t u = 0; u < t->strands; ++u) sums[u] = (strand_sums){pair_of(0), v_set1(0)};
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    size_t u = whole_columns(t);
    if (u > 0) dots_abreast(t, u, &of);
    for (; u < t->strands; ++u) {
      const strand_sums block = sums_of_block(t, u, &of);
      sums[u].sum = running_sum(sums[u].sum, block.sum, begin == 0);
      sums[u].sure = block.sure;
      if (is_lone(t)) {
        sums[u].sum = normalized(sums[u].sum);
      } else if (t->group == 1 && !is_across(t) && is_last_block(t)) {
        sums[u].sum = sum_of_lanes(sums[u].sum);
      }
    }
  }
}

/* Of columns: added up as the lanes of a row are. */
SMC_INLINE vec dot_by_lanes(strand s, strand g, const extent n, vec center) {
  vec sum[W];
  size_t left = n.count < W ? n.count : W;
  for (size_t i = 0; i < n.count; ++i, s = ahead(s, 1), g = ahead(g, 1)) {
    const vec a = load_lanes(s, n.lanes, v_set1(0)), b = load_lanes(g, n.lanes, v_set1(0));
    sum[i % W] = v_fma(a, v_sub(b, center), i < W ? v_set1(0) : sum[i % W]);
  }
  for (size_t d = W / 2; d; d /= 2) {
    for (size_t j = 0; j + d < left; ++j) sum[j] = v_add(sum[j], sum[j + d]);
    left = left < d ? left : d;
  }
  return sum[0];
}

/* The dot products of short rows that are not dense. */
static void dots_of_short_rows(tile *t, const row_products *of) {
  enter_block(t, 0);
  for (size_t u = 0; u < t->strands; ++u) {
    const strand s = strand_of(t, SMC_S, u), g = strand_of(t, SMC_G, u);
    const size_t whole_vectors = (t->of->k - 1) / W, rest = t->of->k - whole_vectors * W;
    const vec center = of->peak[u].center;
    of->sums[u] = (strand_sums){pair_of(0), v_set1(0)};
    of->sums[u].sum.hi = t->across ? dot_by_lanes(s, g, extent_of(t, u), center)
                                   : short_dot(s.p, g.p, whole_vectors, rest, center);
  }
  count_by_row(t, &of->sums->sum.hi, sizeof *of->sums);
}

/* Whether some lane is not 0. */
SMC_INLINE int is_some(vec a) { return v_count(v_eq(a, v_set1(0))) < W; }

/* Of each group of rows, from the peaks and sums of strands, or of the parts of one. */
static void gather_sums(const tile *t, const row_products *of) {
  for (size_t p = 1; p < t->parts; ++p) {
    of->sums[0].sum = normalized(pair_add(of->sums[0].sum, of->sums[p].sum));
    of->sums[0].sure = v_add(of->sums[0].sure, of->sums[p].sure);
  }
  if (of->which == SMC_LOG_SOFTMAX_VJP) count_by_row(t, &of->sums->sure, sizeof *of->sums);
  for (size_t g = 0; g < groups_of(t); ++g) {
    const strand_sums *s = &of->sums[g];
    product_sums *r = &of->rows[g];
    r->others = normalized(s->sum).hi, r->sure = s->sure, r->center = of->peak[g].center;
    r->are_sure = is_some(s->sure), r->along = !is_across(t);
    r->sum = of->which == SMC_LOG_SOFTMAX_VJP
                 ? normalized(pair_add(s->sum, (pair){s->sure, v_set1(0)})).hi
                 : r->others;
  }
}

/* ---- pass 3: products ------------------------------------------------------------------------------- */

/* What the passes over strand u need of its rows; along, the center is that of the strand itself. */
SMC_INLINE product_sums sums_of_strand(const tile *t, size_t u, const row_products *of) {
  const product_sums *r = &of->rows[group_of(t, u)];
  const vec sure = of_strand(t, u, &r->sure);
  return (product_sums){of->peak[u].center,
                        of_strand(t, u, &r->sum),
                        sure,
                        of_strand(t, u, &r->others),
                        is_some(sure),
                        !is_across(t)};
}

static void products_of_block(tile *t, const void *how) {
  const row_products *of = how;
  size_t u = whole_columns(t);
  if (u > 0) products_abreast(t, u, of);
  for (; u < t->strands; ++u) {
    const product_strands strands = {strand_of(t, SMC_S, u), strand_of(t, SMC_G, u),
                                     strand_of(t, SMC_PRODUCT, u)};
    const product_sums sums = sums_of_strand(t, u, of);
    product_strand(t, strands, extent_of(t, u), &sums, of->which);
  }
}

/* The products of rows whose pairs of classes are summed, in the order of those that share a vector: from each class
 * on, and after the last from the first. */
static void products_of_pairs(tile *t, const void *how) {
  const size_t k = t->of->k;
  (void)how;
  for (size_t u = 0; u < t->strands; ++u) {
    const strand s = strand_of(t, SMC_S, u), g = strand_of(t, SMC_G, u);
    const strand y = strand_of(t, SMC_PRODUCT, u);
    const size_t lanes = extent_of(t, u).lanes;
    vec a[W], b[W];
    for (size_t i = 0; i < k; ++i) {
      a[i] = load_lanes(ahead(s, i), lanes, v_set1(0));
      b[i] = load_lanes(ahead(g, i), lanes, v_set1(0));
    }
    for (size_t i = 0; i < k; ++i) {
      vec sum = v_set1(0);
      for (size_t c = 1, j = i; c < k; ++c) {
        j = j + 1 < k ? j + 1 : 0;
        sum = v_fma(a[j], v_sub(b[i], b[j]), sum);
      }
      store_lanes(ahead(y, i), v_mul(a[i], sum), lanes);
    }
  }
}

/* The product, with h = g - center
 *   SMC_SOFTMAX_VJP      s (h - sum s h)
 *   SMC_LOG_SOFTMAX_VJP  g - s sum g
 *   SMC_LOG_SOFTMAX_JVP  h - sum s h */
static void product_tile(tile *t, const void *extra) {
  /* Of strands or parts, of which there are no more. */
  strand_peak peak[SMC_MAX_PARTS];
  strand_sums sums[SMC_MAX_PARTS];
  product_sums rows[SMC_MAX_STRANDS];
  const row_products of = {*(const smc_product *)extra, peak, sums, rows};
  const size_t k = t->of->k;
  const int by_lanes = is_short(k, sizeof(elem)) && !(is_columns(t) && k > SMC_SUM_STEPS);
  if (of.which == SMC_SOFTMAX_VJP && are_paired(k)) {
    for_results(t, products_of_pairs, NULL);
    return;
  }
  if (of.which == SMC_LOG_SOFTMAX_VJP) {
    for (size_t u = 0; u < t->strands; ++u) peak[u].center = v_set1(0);
  } else {
    for_parts(t, peaks_of_part, &of);
    for (size_t p = 1; p < t->parts; ++p) raise_peak(&peak[0], peak[p].most, peak[p].center);
  }
  if (of.which == SMC_SOFTMAX_VJP && by_lanes && is_single_block(t)) {
    dots_of_short_rows(t, &of);
  } else {
    for_parts(t, dots_of_part, &of);
    if (t->group > 1) sum_by_row(t, &sums->sum, sizeof *sums);
  }
  gather_sums(t, &of);
  for_results(t, products_of_block, &of);
}

typedef struct {
  const vec *lse, *g; /* of each group */
} lse_products;

static void lse_products_of_block(tile *t, const void *how) {
  const lse_products *of = how;
  for (size_t u = 0; u < t->strands; ++u) {
    const vec lse = of_strand(t, u, &of->lse[group_of(t, u)]);
    const vec g = of_strand(t, u, &of->g[group_of(t, u)]);
    strand x = strand_of(t, SMC_X, u), y = strand_of(t, SMC_Y, u);
    const extent n = extent_of(t, u);
    fetch_strand(t, u, steps_of(n));
    /* What is less gives 0; and from there on the difference does not overflow. */
    const mask finite = v_lt(v_abs(lse), v_set1((real)INFINITY));
    const vec low = v_sub(lse, v_set1(SMC_C(EXP_UNDERFLOW)));
    const vec least = v_select(finite, low, v_set1((real)-INFINITY));
    for (size_t i = 0; i < steps_of(n); ++i, x = ahead(x, 1), y = ahead(y, 1)) {
      const size_t lanes = lanes_at(n, i);
      const vec a = v_max(least, load_lanes(x, lanes, lse));
      const pair d = two_sum(a, v_sub(v_set1(0), lse));
      store_lanes(y, v_mul(exp_full(d.hi, d.lo), g), lanes);
    }
  }
}

/* operands: x, the product exp(x - lse) g; the rounding error of x - lse is carried into exp */
static void lse_product_tile(tile *t, const void *extra) {
  const smc_rowwise *how = extra;
  vec lse[SMC_MAX_STRANDS], g[SMC_MAX_STRANDS];
  for (size_t i = 0; i < groups_of(t); ++i) {
    lse[i] = load_by_row(t, i, &how->lse);
    if (t->group >
        1) { /* a lane without a row may hold numbers of another: from none the most can be taken */
      const mask rows = v_lt(lane_numbers(), v_set1((real)group_rows(t, i)));
      lse[i] = v_select(rows, lse[i], v_set1(SMC_C(MAX)));
    }
    g[i] = load_by_row(t, i, &how->g);
  }
  for_results(t, lse_products_of_block, &(lse_products){lse, g});
}

#endif
