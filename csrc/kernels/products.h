/* Products with the Jacobians of softmax, log_softmax and logsumexp: a dot product, then one element-
 * wise pass.  Included once for each type stored (SMC_D).
 */

#define dot_step SMC_K(dot_step)
#define dot_rows SMC_K(dot_rows)
#define product_step SMC_K(product_step)
#define product SMC_K(product)
#define lse_step SMC_K(lse_step)
#define logsumexp_product SMC_K(logsumexp_product)

#ifndef SMC_PRODUCT_CONSTANTS
#define SMC_PRODUCT_CONSTANTS
enum { SMC_SOFTMAX_VJP, SMC_LOG_SOFTMAX_VJP, SMC_LOG_SOFTMAX_JVP };
enum { SMC_DOT_STEPS = 8 }; /* products to an accumulator before it joins the running sum */
#endif

/* sum += g*s (SMC_SOFTMAX_VJP), g (SMC_LOG_SOFTMAX_VJP), g*exp(s) (SMC_LOG_SOFTMAX_JVP) */
SMC_INLINE void dot_step(const tile t, const operand s, const operand g, size_t i, vec *sum,
                         int abreast, const int op, const int layout, const int full) {
  size_t n = tile_count(t, i, layout, full);
  SMC_UNROLL for (int u = 0; u < abreast; ++u) {
    vec b = tile_load(g, i, (size_t)u, n, v_set1(0), layout, full);
    if (op == SMC_LOG_SOFTMAX_VJP) {
      sum[u] = v_add(sum[u], b);
    } else {
      vec a = tile_load(s, i, (size_t)u, n, v_set1(0), layout, full);
      sum[u] = v_fma(op == SMC_LOG_SOFTMAX_JVP ? exp_of_negative(a) : a, b, sum[u]);
    }
  }
}

/* A row too long for ABREAST is summed in chains; a shorter one is not, wherever it lies: the order
 * must depend on its length alone. */
SMC_INLINE void dot_rows(const tile t, const operand s, const operand g, vec dot[SMC_WIDE],
                         const int op, const int layout) {
  size_t full = tile_full_steps(t, layout), steps = tile_steps(t, layout);
  const int chained = layout == SMC_ALONG && t.k > SMC_ABREAST_MAX;
  const size_t whole = chained ? t.k / W / SMC_CHAINS * SMC_CHAINS : 0;
  const size_t block = SMC_DOT_STEPS * (chained ? SMC_CHAINS : 1);
  pair total[SMC_CHAINS];
  for (int u = 0; u < SMC_CHAINS; ++u) total[u] = pair_of(0);
  for (size_t i = 0; i < steps;) {
    size_t end = steps - i < block ? steps : i + block;
    vec sum[SMC_CHAINS];
    for (int u = 0; u < SMC_CHAINS; ++u) sum[u] = v_set1(0);
    if (layout == SMC_ALONG && full) {
      for (; i + SMC_CHAINS <= end && i < whole; i += SMC_CHAINS) {
        dot_step(t, s, g, i, sum, SMC_CHAINS, op, layout, 1);
      }
    } else if (layout == SMC_ALONG) {
      for (; i + SMC_CHAINS <= end && i < whole; i += SMC_CHAINS) {
        dot_step(t, s, g, i, sum, SMC_CHAINS, op, layout, 0);
      }
    }
    for (; i < end && i < full; ++i) dot_step(t, s, g, i, sum, SMC_WIDTH(layout), op, layout, 1);
    for (; i < end; ++i) dot_step(t, s, g, i, sum, SMC_WIDTH(layout), op, layout, 0);
    for (int u = 0; u < SMC_CHAINS; ++u) {
      if (layout == SMC_ALONG || u < SMC_WIDTH(layout)) {
        total[u] = pair_add(total[u], (pair){sum[u], v_set1(0)});
      }
    }
  }
  if (chained) {
    for (int u = 1; u < SMC_CHAINS; ++u) total[0] = pair_add(total[0], total[u]);
  }
  for (int u = 0; u < SMC_WIDTH(layout); ++u) dot[u] = pair_value(reduce_sum(total[u], layout));
}

SMC_INLINE void product_step(const tile t, const operand *o, size_t i, const vec *dot, const int op,
                             const int layout, const int full) {
  size_t n = tile_count(t, i, layout, full);
  SMC_UNROLL for (int u = 0; u < SMC_WIDTH(layout); ++u) {
    vec b = tile_load(o[1], i, (size_t)u, n, v_set1(0), layout, full), result;
    if (op == SMC_LOG_SOFTMAX_JVP) {
      result = v_sub(b, dot[u]);
    } else {
      vec a = tile_load(o[0], i, (size_t)u, n, v_set1(0), layout, full);
      result = op == SMC_SOFTMAX_VJP ? v_mul(a, v_sub(b, dot[u])) : v_fnma(exp_of_negative(a), dot[u], b);
    }
    tile_store(o[2], i, (size_t)u, n, result, layout, full);
  }
}

/* operands: s or log_s; g or v; the product
 *   SMC_SOFTMAX_VJP      s (g - sum g s)
 *   SMC_LOG_SOFTMAX_VJP  g - s sum g
 *   SMC_LOG_SOFTMAX_JVP  v - sum s v */
SMC_INLINE void product(const tile t, const operand *o, const int op, const int layout) {
  size_t full = tile_full_steps(t, layout), steps = tile_steps(t, layout);
  vec dot[SMC_WIDE];
  dot_rows(t, o[0], o[1], dot, op, layout);
  for (size_t i = 0; i < full; ++i) product_step(t, o, i, dot, op, layout, 1);
  for (size_t i = full; i < steps; ++i) product_step(t, o, i, dot, op, layout, 0);
}

/* exp(x - lse) g: the rounding error of x - lse is carried into exp. */
SMC_INLINE void lse_step(const tile t, const operand x, const operand y, size_t i, const vec *lse,
                         const vec *g, const int layout, const int full) {
  size_t n = tile_count(t, i, layout, full);
  SMC_UNROLL for (int u = 0; u < SMC_WIDTH(layout); ++u) {
    vec a = tile_load(x, i, (size_t)u, n, v_set1(0), layout, full);
    pair d = two_sum(a, v_sub(v_set1(0), lse[u]));
    tile_store(y, i, (size_t)u, n, v_mul(exp_full(d.hi, d.lo), g[u]), layout, full);
  }
}

/* operands: x; lse, g, one value for each row; the product */
SMC_INLINE void logsumexp_product(const tile t, const operand *o, const int layout) {
  size_t full = tile_full_steps(t, layout), steps = tile_steps(t, layout);
  vec lse[SMC_WIDE], g[SMC_WIDE];
  for (int u = 0; u < SMC_WIDTH(layout); ++u) {
    lse[u] = tile_load_row(t, o[1], (size_t)u, layout);
    g[u] = tile_load_row(t, o[2], (size_t)u, layout);
  }
  for (size_t i = 0; i < full; ++i) lse_step(t, o[0], o[3], i, lse, g, layout, 1);
  for (size_t i = full; i < steps; ++i) lse_step(t, o[0], o[3], i, lse, g, layout, 0);
}
