/* Products with the Jacobians of softmax, log_softmax and logsumexp: a dot product, then one element-
 * wise pass.  Included once for each type stored (SMC_D).
 */

#define dot_group SMC_K(dot_group)
#define dot_rows SMC_K(dot_rows)
#define product_group SMC_K(product_group)
#define product_tile SMC_K(product_tile)
#define lse_step SMC_K(lse_step)
#define logsumexp_product_tile SMC_K(logsumexp_product_tile)

#ifndef SMC_PRODUCT_CONSTANTS
#define SMC_PRODUCT_CONSTANTS
enum { SMC_SOFTMAX_VJP, SMC_LOG_SOFTMAX_VJP, SMC_LOG_SOFTMAX_JVP };
enum { SMC_DOT_STEPS = 8 }; /* products to an accumulator before it joins the running sum: groups */
#endif

/* sum += g*s (SMC_SOFTMAX_VJP), g (SMC_LOG_SOFTMAX_VJP), g*exp(s) (SMC_LOG_SOFTMAX_JVP); each vector of
 * the group to a sum of its own if `apart`, else to that of its row. */
SMC_INLINE void dot_group(const tile t, const operand s, const operand g, size_t i, vec *sum,
                          const int op, const int apart, const int n, const int layout,
                          const int full) {
  vec a[SMC_GROUP], b[SMC_GROUP];
  load_group(t, g, i, b, v_set1(0), n, layout, full);
  if (op == SMC_LOG_SOFTMAX_VJP) {
    SMC_EACH(j, n) sum[apart ? j : 0] = v_add(sum[apart ? j : 0], b[j]);
    return;
  }
  load_group(t, s, i, a, v_set1(0), n, layout, full);
  if (op == SMC_LOG_SOFTMAX_JVP) {
    SMC_EACH(j, n) a[j] = exp_of_negative(a[j]);
  }
  SMC_EACH(j, n) sum[apart ? j : 0] = v_fma(a[j], b[j], sum[apart ? j : 0]);
}

/* A row too long for ABREAST is summed in as many chains as a group has vectors; a shorter one in one,
 * wherever it lies: the order must depend on its length alone. */
SMC_INLINE void dot_rows(const tile t, const operand s, const operand g, vec dot[SMC_GROUP],
                         const int op, const int layout) {
  const size_t full = tile_full_steps(t, layout), steps = tile_steps(t, layout);
  const size_t stride = SMC_STRIDE(layout);
  const int wide = SMC_IS_WIDE(layout), chained = layout == SMC_ALONG && t.k > SMC_ABREAST_MAX;
  const size_t block = SMC_DOT_STEPS * (chained ? stride : 1);
  const size_t whole = chained ? t.k / W / stride * stride : 0;
  pair total[SMC_GROUP];
  SMC_EACH(j, SMC_GROUP) total[j] = pair_of(0);
  for (size_t i = 0; i < steps;) {
    size_t end = steps - i < block ? steps : i + block;
    vec sum[SMC_GROUP];
    SMC_EACH(j, SMC_GROUP) sum[j] = v_set1(0);
    for (; chained && i + stride <= end && i < whole; i += stride) {
      if (full) {
        dot_group(t, s, g, i, sum, op, 1, SMC_GROUP, layout, 1);
      } else {
        dot_group(t, s, g, i, sum, op, 1, SMC_GROUP, layout, 0);
      }
    }
    for (; i + stride <= end && i + stride <= full; i += stride) {
      dot_group(t, s, g, i, sum, op, wide, SMC_GROUP, layout, 1);
    }
    for (; i < end; ++i) {
      dot_group(t, s, g, i, sum, op, wide, SMC_WIDTH(layout), layout, 0);
    }
    SMC_EACH(j, SMC_GROUP) total[j] = pair_add(total[j], (pair){sum[j], v_set1(0)});
  }
  if (chained) {
    for (int j = 1; j < SMC_GROUP; ++j) total[0] = pair_add(total[0], total[j]);
  }
  SMC_EACH(u, SMC_WIDTH(layout)) dot[u] = pair_value(reduce_sum(total[u], layout));
}

SMC_INLINE void product_group(const tile t, const operand *o, size_t i, const vec *dot,
                              const int op, const int n, const int layout, const int full) {
  const int wide = SMC_IS_WIDE(layout);
  vec a[SMC_GROUP], b[SMC_GROUP];
  load_group(t, o[1], i, b, v_set1(0), n, layout, full);
  if (op != SMC_LOG_SOFTMAX_JVP) load_group(t, o[0], i, a, v_set1(0), n, layout, full);
  SMC_EACH(j, n) {
    vec d = dot[wide ? j : 0];
    if (op == SMC_SOFTMAX_VJP) {
      b[j] = v_mul(a[j], v_sub(b[j], d));
    } else if (op == SMC_LOG_SOFTMAX_VJP) {
      b[j] = v_fnma(exp_of_negative(a[j]), d, b[j]);
    } else {
      b[j] = v_sub(b[j], d);
    }
  }
  store_group(t, o[2], i, b, n, layout, full);
}

/* operands: s or log_s; g or v; the product
 *   SMC_SOFTMAX_VJP      s (g - sum g s)
 *   SMC_LOG_SOFTMAX_VJP  g - s sum g
 *   SMC_LOG_SOFTMAX_JVP  v - sum s v */
SMC_INLINE void product_tile(const tile t, const operand *o, const int op, const int layout) {
  size_t full = tile_full_steps(t, layout), steps = tile_steps(t, layout), i = 0;
  vec dot[SMC_GROUP];
  dot_rows(t, o[0], o[1], dot, op, layout);
  for (; i + SMC_STRIDE(layout) <= full; i += SMC_STRIDE(layout)) {
    product_group(t, o, i, dot, op, SMC_GROUP, layout, 1);
  }
  for (; i < steps; ++i) product_group(t, o, i, dot, op, SMC_WIDTH(layout), layout, 0);
}

/* exp(x - lse) g: the rounding error of x - lse is carried into exp. */
SMC_INLINE void lse_step(const tile t, const operand x, const operand y, size_t i, const vec *lse,
                         const vec *g, const int layout) {
  const int full = layout == SMC_ACROSS;
  for (int u = 0; u < SMC_WIDTH(layout); ++u) {
    vec a = tile_load(t, x, i, (size_t)u, v_set1(0), layout, full);
    pair d = two_sum(a, v_sub(v_set1(0), lse[u]));
    tile_store(t, y, i, (size_t)u, v_mul(exp_full(d.hi, d.lo), g[u]), layout, full);
  }
}

/* operands: x; lse, g, one value for each row; the product */
SMC_INLINE void logsumexp_product_tile(const tile t, const operand *o, const int layout) {
  vec lse[SMC_GROUP], g[SMC_GROUP];
  for (int u = 0; u < SMC_WIDTH(layout); ++u) {
    lse[u] = tile_load_row(t, o[1], (size_t)u, layout);
    g[u] = tile_load_row(t, o[2], (size_t)u, layout);
  }
  for (size_t i = 0; i < tile_steps(t, layout); ++i) lse_step(t, o[0], o[3], i, lse, g, layout);
}
