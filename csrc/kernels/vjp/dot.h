/* The sum of one panel, or stored row, and the products made of it. */
#ifndef SMC_VJP_DOT_H
#define SMC_VJP_DOT_H

#include "pass.h"

/* Times that SMC_UNROLL accumulators take a product each before they join the running sum; of
 * columns these are the classes of a k-block. */
enum { SMC_DOT_STEPS = SMC_SUM_STEPS / SMC_UNROLL };

/* The next term of each of so many accumulators.  (`vectors` is a constant.) */
SMC_INLINE void next_terms(panel s, panel g, const int vectors, size_t lanes, vec center, vec *sum,
                           vec *sure, const smc_product which, const smc_format of) {
  /* Lanes beyond the end of a row add nothing: an s of 0; a log_s that is not sure, with a g of 0;
   * an h of 0. */
  const vec zero = v_set1(0), no_g = which == SMC_LOG_SOFTMAX_JVP ? center : zero;
  const vec no_s = which == SMC_LOG_SOFTMAX_VJP ? v_set1((real)-INFINITY) : zero;
  vec a[SMC_UNROLL], b[SMC_UNROLL];
  SMC_EACH(j, vectors) a[j] = load_from(ahead(s, (size_t)j), lanes, no_s, of);
  SMC_EACH(j, vectors) b[j] = load_from(ahead(g, (size_t)j), lanes, no_g, of);
  SMC_EACH(j, vectors) plus_product(&sum[j], sure, a[j], b[j], center, which);
}

/* The sum of a panel, lane by lane: a few products to each accumulator before all join the running
 * sum, in an order that follows from the panel's length alone.  The sum of what is sure goes on
 * from `sure`, class after class, whatever the k-blocks: a row that is no result of log_softmax may
 * have many such classes. */
SMC_INLINE panel_sums stored_dot(panel s, panel g, const extent n, vec center, vec sure,
                                 const smc_product which, const smc_format of) {
  vec sum[SMC_UNROLL];
  panel_sums total = {pair_of(0), sure};
  size_t i = 0, from;
  do {
    int q = 0;
    from = i;
    SMC_EACH(j, SMC_UNROLL) sum[j] = v_set1(0);
    for (; q < SMC_DOT_STEPS && i + SMC_UNROLL <= n.count; ++q, i += SMC_UNROLL) {
      next_terms(s, g, SMC_UNROLL, n.lanes, center, sum, &total.sure, which, of);
      s = ahead(s, SMC_UNROLL), g = ahead(g, SMC_UNROLL);
    }
    for (; q < SMC_DOT_STEPS && i + SMC_UNROLL > n.count && i < steps_of(n); ++i) {
      next_terms(s, g, 1, lanes_at(n, i), center, sum, &total.sure, which, of);
      s = ahead(s, 1), g = ahead(g, 1);
    }
    const pair part = pair_add(two_sum(sum[0], sum[1]), two_sum(sum[2], sum[3]));
    total.sum = running_sum(total.sum, part, from == 0);
  } while (i < steps_of(n));
  return total;
}

/* The dot product of softmax's vjp, lane by lane, of a row of so many whole vectors and `rest`
 * lanes, at least one. */
SMC_INLINE vec short_dot(const real *s, const real *g, const size_t whole_vectors, size_t rest,
                         vec center) {
  vec sum = v_set1(0);
  for (size_t i = 0; i < whole_vectors; ++i, s += W, g += W) {
    sum = v_fma(v_load(s), v_sub(v_load(g), center), sum);
  }
  const vec last = v_load_n(g, rest, v_set1(0));
  return v_fma(v_load_n(s, rest, v_set1(0)), v_sub(last, center), sum);
}

/* The products of a panel; `past` the caches if they fill lines.  log_softmax's vjp takes a vector
 * at a time, as its exp fills the processor by itself. */
SMC_INLINE void stored_products(product_panels of, const extent n, const product_sums *sums,
                                int past, const smc_product which, const smc_format format) {
  const int unrolled = which != SMC_LOG_SOFTMAX_VJP;
  size_t i = 0;
  for (; unrolled && i + SMC_UNROLL <= n.count; i += SMC_UNROLL) {
    next_products(&of, SMC_UNROLL, n.lanes, sums, past, which, format);
  }
  for (; i < steps_of(n); ++i) next_products(&of, 1, lanes_at(n, i), sums, 0, which, format);
}

/* The products with softmax's Jacobian of a panel of which is_dense() holds: an instance that the
 * compiler makes for vectors side by side. */
SMC_INLINE void dense_products(product_panels of, const extent n, const product_sums *sums,
                               int past) {
  const product_panels row = {dense(of.s), dense(of.g), dense(of.y)};
  const product_sums own = *sums;
  stored_products(row, whole(n), &own, past, SMC_SOFTMAX_VJP, SMC_COMPUTED);
}

#endif
