/* Sums and products down columns, class after class across all panels of a tile, so that memory is
 * read and written as it lies. */
#ifndef SMC_VJP_COLUMNS_H
#define SMC_VJP_COLUMNS_H

#include "../prefetch.h"
#include "peaks.h"

/* Adds one class of so many whole panels to their sums.  The next class is prefetched while
 * exponentials are computed.  (`which` is a constant.) */
SMC_INLINE void class_of_dots(panel s, panel g, size_t panels, const panel_peak *peak,
                              const smc_product which, vec *sum, panel_sums *sums) {
  for (size_t u = 0; u < panels; ++u, s = beside(s, 1), g = beside(g, 1)) {
    if (which == SMC_LOG_SOFTMAX_JVP) {
      prefetch_next_class(s), prefetch_next_class(g);
    }
    plus_product(&sum[u], &sums[u].sure, v_load(s.p), v_load(g.p), peak[u].center, which);
  }
}

/* Stores one class of the products of so many whole panels.  The next class is prefetched where it
 * will be written, or while exponentials are computed.  (`which` and `past` are constants.) */
SMC_INLINE void class_of_products(product_panels of, size_t panels, const smc_product which,
                                  const product_sums *sums, const int past) {
  for (size_t u = 0; u < panels; ++u) {
    const panel s = beside(of.s, u), g = beside(of.g, u), y = beside(of.y, u);
    const vec product = one_product(v_load(s.p), v_load(g.p), &sums[u], which);
    if (which == SMC_LOG_SOFTMAX_VJP) prefetch_next_class(s);
    if (past) {
      store_nontemporal(y, product);
    } else {
      prefetch_next_results(y);
      v_store(y.p, product);
    }
  }
}

/* The sums of a k-block of so many whole panels, in the order of stored_dot(). */
static SMC_OUTLINE void dots_jammed(tile *t, size_t panels, const row_products *of) {
  const size_t k = k_block_classes(t), unrolled = k / SMC_UNROLL * SMC_UNROLL;
  panel s = panel_of(t, SMC_S, 0), g = panel_of(t, SMC_G, 0);
  char *const free = t->free;
  vec *sum[SMC_UNROLL];
  SMC_EACH(j, SMC_UNROLL) sum[j] = reserve(t, panels * sizeof(vec));
  SMC_EACH(j, SMC_UNROLL) {
    for (size_t u = 0; u < panels; ++u) sum[j][u] = v_set1(0);
  }
  for (size_t i = 0; i < k; ++i, s = ahead(s, 1), g = ahead(g, 1)) {
    vec *to = sum[i < unrolled ? i % SMC_UNROLL : 0];
    switch (of->which) {
    case SMC_SOFTMAX_VJP:
      class_of_dots(s, g, panels, of->peak, SMC_SOFTMAX_VJP, to, of->sums);
      break;
    case SMC_LOG_SOFTMAX_VJP:
      class_of_dots(s, g, panels, of->peak, SMC_LOG_SOFTMAX_VJP, to, of->sums);
      break;
    default: class_of_dots(s, g, panels, of->peak, SMC_LOG_SOFTMAX_JVP, to, of->sums);
    }
  }
  for (size_t u = 0; u < panels; ++u) {
    const pair part = pair_add(two_sum(sum[0][u], sum[1][u]), two_sum(sum[2][u], sum[3][u]));
    of->sums[u].sum = running_sum(of->sums[u].sum, part, t->begin == 0);
  }
  t->free = free;
}

/* The products of a k-block of so many whole panels. */
static SMC_OUTLINE void products_jammed(const tile *t, size_t panels, const row_products *args) {
  const size_t k = k_block_classes(t);
  const panel s = panel_of(t, SMC_S, 0), g = panel_of(t, SMC_G, 0);
  const panel y = panel_of(t, SMC_PRODUCT, 0);
  const int past = fills_lines(t, y, extent_of(t, 0));
  for (size_t i = 0; i < k; ++i) {
    const product_panels of = {ahead(s, i), ahead(g, i), ahead(y, i)};
    switch (args->which) {
    case SMC_SOFTMAX_VJP:
      if (past) {
        class_of_products(of, panels, SMC_SOFTMAX_VJP, args->rows, 1);
      } else {
        class_of_products(of, panels, SMC_SOFTMAX_VJP, args->rows, 0);
      }
      break;
    case SMC_LOG_SOFTMAX_VJP:
      class_of_products(of, panels, SMC_LOG_SOFTMAX_VJP, args->rows, 0);
      break;
    default: class_of_products(of, panels, SMC_LOG_SOFTMAX_JVP, args->rows, 0);
    }
  }
}

/* The dot product of a panel of columns, in the order in which the lanes of a row are added up: so
 * that a short row has the same bits wherever it lies. */
SMC_INLINE vec dot_by_lanes(panel s, panel g, const extent n, vec center) {
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

#endif
