/* Products with the Jacobians of softmax and log_softmax: the place of each row's peak, a sum about
 * it, then one elementwise pass. */
#ifndef SMC_VJP_VJP_H
#define SMC_VJP_VJP_H

#include "columns.h"
#include "rows.h"

SMC_INLINE panel_sums dot_of_panel(const panel s, const panel g, const extent n, vec center,
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

SMC_INLINE void product_panel(const tile *t, product_panels of, extent n, const product_sums *sums,
                              smc_product which) {
  const int rows = is_dense(of.s, n) && is_dense(of.g, n) && is_dense(of.y, n);
  switch (which) {
  case SMC_SOFTMAX_VJP:
    for (size_t head; rows && (head = lanes_to_line(t, of.y, n)) > 0; n = without(n, head)) {
      const vec s = v_load(of.s.p), g = v_load(of.g.p);
      v_store_n(of.y.p, one_product(s, g, sums, SMC_SOFTMAX_VJP), head);
      of.s.p += head, of.g.p += head, of.y.p += head;
    }
    if (rows) {
      dense_products(of, n, sums, fills_lines(t, of.y, n));
    } else {
      stored_products(of, n, sums, fills_lines(t, of.y, n), SMC_SOFTMAX_VJP, SMC_COMPUTED);
    }
    break;
  case SMC_LOG_SOFTMAX_VJP:
    stored_products(of, n, sums, 0, SMC_LOG_SOFTMAX_VJP, SMC_COMPUTED);
    break;
  default: stored_products(of, n, sums, 0, SMC_LOG_SOFTMAX_JVP, SMC_COMPUTED);
  }
}

/* The sums of panel u in the k-block at hand; those of what is sure go on from the first k-block.
 * A single row is summed in the order of a packed one: one lane, class after class. */
SMC_INLINE panel_sums sums_of_block(const tile *t, size_t u, const row_products *of) {
  const vec center = of->peak[u].center, sure = of->sums[u].sure;
  panel s = panel_of(t, SMC_S, u), g = panel_of(t, SMC_G, u);
  extent n = extent_of(t, u);
  if (!is_single_row(t)) return dot_of_panel(s, g, n, center, sure, of->which);
  s.step = g.step = sizeof(real);
  const panel_sums all = dot_of_panel(s, g, (extent){t->call->k, 1, 0}, center, sure, of->which);
  return (panel_sums){{first_lane(all.sum.hi), first_lane(all.sum.lo)}, all.sure};
}

static void dots_of_part(tile *t, size_t part, const void *args) {
  row_products of = *(const row_products *)args; /* all parts of a row are about its one peak */
  panel_sums *sums = of.sums += part;
  for (size_t u = 0; u < t->panels; ++u) sums[u] = (panel_sums){pair_of(0), v_set1(0)};
  for (size_t begin = 0; begin < t->call->k; begin += t->plan.k_block) {
    enter_k_block(t, begin);
    size_t u = whole_columns(t);
    if (u > 0) dots_jammed(t, u, &of);
    for (; u < t->panels; ++u) {
      const panel_sums block = sums_of_block(t, u, &of);
      sums[u].sum = running_sum(sums[u].sum, block.sum, begin == 0);
      sums[u].sure = block.sure;
      if (is_single_row(t)) {
        sums[u].sum = normalized(sums[u].sum);
      } else if (t->plan.lane_rows == 1 && !is_across(t) && is_last_k_block(t)) {
        sums[u].sum = sum_of_lanes(sums[u].sum);
      }
    }
  }
}

/* The dot products of short rows that are not dense, in the order of those that are. */
static void dots_of_short_rows(tile *t, const row_products *of) {
  enter_k_block(t, 0);
  for (size_t u = 0; u < t->panels; ++u) {
    const panel s = panel_of(t, SMC_S, u), g = panel_of(t, SMC_G, u);
    const size_t whole_vectors = (t->call->k - 1) / W, rest = t->call->k - whole_vectors * W;
    const vec center = of->peak[u].center;
    of->sums[u] = (panel_sums){pair_of(0), v_set1(0)};
    of->sums[u].sum.hi = is_across(t) ? dot_by_lanes(s, g, extent_of(t, u), center)
                                      : short_dot(s.p, g.p, whole_vectors, rest, center);
  }
  count_by_row(t, &of->sums->sum.hi, sizeof *of->sums);
}

/* What the products of each lane block are made of, from the peaks and sums of panels, or of the
 * parts of one. */
static void gather_sums(const tile *t, const row_products *of) {
  for (size_t p = 1; p < t->plan.parts; ++p) {
    of->sums[0].sum = normalized(pair_add(of->sums[0].sum, of->sums[p].sum));
    of->sums[0].sure = v_add(of->sums[0].sure, of->sums[p].sure);
  }
  if (of->which == SMC_LOG_SOFTMAX_VJP) count_by_row(t, &of->sums->sure, sizeof *of->sums);
  for (size_t g = 0; g < lane_blocks_of(t); ++g) {
    const panel_sums *s = &of->sums[g];
    product_sums *r = &of->rows[g];
    r->others = normalized(s->sum).hi, r->sure = s->sure, r->center = of->peak[g].center;
    r->are_sure = is_some(s->sure), r->along = !is_across(t);
    r->sum = of->which == SMC_LOG_SOFTMAX_VJP
                 ? normalized(pair_add(s->sum, (pair){s->sure, v_set1(0)})).hi
                 : r->others;
  }
}

/* What the products of panel u are made of: what its lane block has, but the center that was found
 * in the panel itself. */
SMC_INLINE product_sums sums_of_panel(const tile *t, size_t u, const row_products *of) {
  const product_sums *r = &of->rows[lane_block_of(t, u)];
  const vec sure = of_panel(t, u, &r->sure);
  return (product_sums){of->peak[u].center,         of_panel(t, u, &r->sum), sure,
                        of_panel(t, u, &r->others), is_some(sure),           !is_across(t)};
}

static void products_of_block(tile *t, const void *args) {
  const row_products *of = args;
  size_t u = whole_columns(t);
  if (u > 0) products_jammed(t, u, of);
  for (; u < t->panels; ++u) {
    const product_panels panels = {panel_of(t, SMC_S, u), panel_of(t, SMC_G, u),
                                   panel_of(t, SMC_PRODUCT, u)};
    const product_sums sums = sums_of_panel(t, u, of);
    product_panel(t, panels, extent_of(t, u), &sums, of->which);
  }
}

/* The products of rows whose pairs of classes are summed, in the order of rows that share a vector:
 * from each class on, and after the last from the first. */
static void products_of_pairs(tile *t, const void *args) {
  const size_t k = t->call->k;
  (void)args;
  for (size_t u = 0; u < t->panels; ++u) {
    const panel s = panel_of(t, SMC_S, u), g = panel_of(t, SMC_G, u);
    const panel y = panel_of(t, SMC_PRODUCT, u);
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

/* The products of a tile, with h = g - center:
 *   SMC_SOFTMAX_VJP      s (h - sum s h)
 *   SMC_LOG_SOFTMAX_VJP  g - s sum g
 *   SMC_LOG_SOFTMAX_JVP  h - sum s h */
SMC_INLINE void product_tile(tile *t, const smc_product which) {
  /* There is one peak and one sum for each panel, or for each part of the one row. */
  const size_t count = t->panels > t->plan.parts ? t->panels : t->plan.parts;
  panel_peak *peak = reserve(t, count * sizeof *peak);
  panel_sums *sums = reserve(t, count * sizeof *sums);
  row_products of = {which, peak, sums, NULL};
  const size_t k = t->call->k;
  const int by_lanes = is_short(k) && !(is_columns(t) && k > SMC_SUM_STEPS);
  if (of.which == SMC_SOFTMAX_VJP && are_paired(k)) {
    for_results(t, products_of_pairs, NULL);
    return;
  }
  if (of.which == SMC_LOG_SOFTMAX_VJP) {
    for (size_t u = 0; u < t->panels; ++u) peak[u].center = v_set1(0);
  } else {
    for_parts(t, peaks_of_part, &of);
    for (size_t p = 1; p < t->plan.parts; ++p) raise_peak(&peak[0], peak[p].most, peak[p].center);
  }
  if (of.which == SMC_SOFTMAX_VJP && by_lanes && has_single_k_block(t)) {
    dots_of_short_rows(t, &of);
  } else {
    for_parts(t, dots_of_part, &of);
    if (t->plan.lane_rows > 1) sum_by_row(t, &sums->sum, sizeof *sums);
  }
  of.rows = reserve(t, t->panels * sizeof *of.rows);
  gather_sums(t, &of);
  for_results(t, products_of_block, &of);
}

static void softmax_vjp_tile(tile *t) { product_tile(t, SMC_SOFTMAX_VJP); }
static void log_softmax_vjp_tile(tile *t) { product_tile(t, SMC_LOG_SOFTMAX_VJP); }
static void log_softmax_jvp_tile(tile *t) { product_tile(t, SMC_LOG_SOFTMAX_JVP); }

#endif
