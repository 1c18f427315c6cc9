/* A dot product, or another sum, of one panel; and its products, which may go beside the sum of the next row. */
#ifndef SMC_VJP_DOT_H
#define SMC_VJP_DOT_H

#include "pass.h"
#include "search.h"

/* Groups whose products an accumulator takes before it is flushed: of columns, those of a block. */
enum { SMC_DOT_STEPS = SMC_SUM_STEPS / SMC_UNROLL };

/* Of rows of some pages, asks for what is so many bytes further on in each: vectors of a line touch it but once, and
 * the processor prefetches too little ahead. */
SMC_INLINE void prefetch_soon(const panel s, const panel g, const panel y, const extent n) {
  if (sizeof(vec) < SMC_LINE || n.count < SMC_MANY) return;
  SMC_EACH(j, SMC_UNROLL) {
    const size_t at = SMC_SOON_BYTES + (size_t)j * SMC_LINE;
    SMC_PREFETCH_NEAR((const char *)s.p + at);
    SMC_PREFETCH_NEAR((const char *)g.p + at);
    SMC_PREFETCH_TO_WRITE((const char *)y.p + at);
  }
}

/* A row of which the product is computed, as its sums are known, and one of which the peak is sought. */
typedef struct {
  product_panels product;
  product_sums sums;
  peak_search search;
  int is_searched;
} other_rows;

/* Lane by lane, a few products to each accumulator before all join the running sum; the order is that of
 * the panel's length alone.  The sum of what is sure goes on from `sure`, class after class, whatever the blocks: a row
 * that is no result of log_softmax may have many such classes.  Meanwhile, unless `beside` is NULL, what there is to do
 * for other rows as long. */
SMC_INLINE panel_sums stored_dot_beside(panel s, panel g, const extent n, vec center, vec sure,
                                        const smc_product which, const smc_format of,
                                        other_rows *beside) {
  const vec zero = v_set1(0);
  /* Lanes beyond the end of a row, and whose sum is not changed by them: an s of 0; a log_s that is not sure, with a g
   * of 0; an h of 0. */
  const vec no_s = which == SMC_LOG_SOFTMAX_VJP ? v_set1((real)-INFINITY) : zero;
  const vec no_g = which == SMC_LOG_SOFTMAX_JVP ? center : zero;
  vec a[SMC_UNROLL], b[SMC_UNROLL], sum[SMC_UNROLL];
  panel_sums total = {pair_of(0), sure};
  size_t i = 0, from;
  do {
    from = i;
    SMC_EACH(j, SMC_UNROLL) sum[j] = zero;
    int q = 0;
    for (; q < SMC_DOT_STEPS && i + SMC_UNROLL <= n.count; ++q, i += SMC_UNROLL) {
      SMC_EACH(j, SMC_UNROLL) a[j] = load_from(ahead(s, (size_t)j), n.lanes, no_s, of);
      SMC_EACH(j, SMC_UNROLL) b[j] = load_from(ahead(g, (size_t)j), n.lanes, no_g, of);
      SMC_EACH(j, SMC_UNROLL) { plus_product(&sum[j], &total.sure, a[j], b[j], center, which); }
      s = ahead(s, SMC_UNROLL), g = ahead(g, SMC_UNROLL);
      if (beside) {
        next_products(&beside->product, SMC_UNROLL, n.lanes, &beside->sums, 0, which, of);
        if (beside->is_searched) search_on(&beside->search, i, SMC_UNROLL, W, of);
        prefetch_soon(s, g, beside->product.y, n);
      }
    }
    for (; q < SMC_DOT_STEPS && i + SMC_UNROLL > n.count && i < steps_of(n); ++i) {
      const size_t lanes = lanes_at(n, i);
      a[0] = load_from(s, lanes, no_s, of), b[0] = load_from(g, lanes, no_g, of);
      plus_product(&sum[0], &total.sure, a[0], b[0], center, which);
      s = ahead(s, 1), g = ahead(g, 1);
      if (beside) {
        next_products(&beside->product, 1, lanes, &beside->sums, 0, which, of);
        if (beside->is_searched) search_on(&beside->search, i, 1, lanes, of);
      }
    }
    pair part = pair_add(two_sum(sum[0], sum[1]), two_sum(sum[2], sum[3]));
    total.sum = running_sum(total.sum, part, from == 0);
  } while (i < steps_of(n));
  return total;
}

SMC_INLINE panel_sums stored_dot(panel s, panel g, const extent n, vec center, vec sure,
                                 const smc_product which, const smc_format of) {
  return stored_dot_beside(s, g, n, center, sure, which, of, NULL);
}

SMC_INLINE void stored_products(product_panels of, const extent n, const product_sums *sums,
                                int past, const smc_product which, const smc_format format) {
  const int unrolled = which != SMC_LOG_SOFTMAX_VJP; /* whose exp fills the processor by itself */
  size_t i = 0;
  for (; unrolled && i + SMC_UNROLL <= n.count; i += SMC_UNROLL) {
    next_products(&of, SMC_UNROLL, n.lanes, sums, past, which, format);
  }
  for (; i < steps_of(n); ++i) next_products(&of, 1, lanes_at(n, i), sums, 0, which, format);
}

/* Of rows of the type computed in whose elements lie side by side. */
SMC_INLINE void dense_products(product_panels of, const extent n, const product_sums *sums,
                               int past) {
  const product_panels row = {dense(of.s), dense(of.g), dense(of.y)};
  const product_sums own = *sums;
  stored_products(row, whole(n), &own, past, SMC_SOFTMAX_VJP, SMC_COMPUTED);
}

#endif
