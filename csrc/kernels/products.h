/* Products with the Jacobians of softmax, log_softmax and logsumexp: a dot product, then one element-
 * wise pass.  Included once for each type computed in (SMC_T).
 */

#define dot_sum SMC_V(dot_sum)
#define dot_of_strand SMC_V(dot_of_strand)
#define add_product SMC_V(add_product)
#define product_of SMC_V(product_of)
#define product_pass SMC_V(product_pass)
#define product_strand SMC_V(product_strand)
#define product_tile SMC_V(product_tile)
#define lse_product_tile SMC_V(lse_product_tile)

#ifndef SMC_PRODUCT_CONSTANTS
#define SMC_PRODUCT_CONSTANTS
typedef enum { SMC_SOFTMAX_VJP, SMC_LOG_SOFTMAX_VJP, SMC_LOG_SOFTMAX_JVP } smc_product;
enum { SMC_DOT_STEPS = 8 }; /* groups whose products an accumulator takes before it is flushed */
enum { SMC_S, SMC_G, SMC_PRODUCT }; /* operands: s or log_s; g or v; the product */
typedef struct {
  smc_view lse, g; /* one value for each row */
} smc_rowwise;
#endif

/* sum + s*g (SMC_SOFTMAX_VJP), g (SMC_LOG_SOFTMAX_VJP), exp(s)*g (SMC_LOG_SOFTMAX_JVP) */
SMC_INLINE vec add_product(vec sum, vec s, vec g, const smc_product which) {
  if (which == SMC_LOG_SOFTMAX_VJP) return v_add(sum, g);
  return v_fma(which == SMC_LOG_SOFTMAX_JVP ? exp_of_negative(s, v_set1(0)) : s, g, sum);
}

/* Lane by lane, a few products to each accumulator before all join the running sum; the order is that of
 * the strand's length alone. */
SMC_INLINE pair dot_sum(strand s, strand g, const extent n, const smc_product which) {
  const vec zero = v_set1(0);
  vec a[SMC_GROUP], b[SMC_GROUP], sum[SMC_GROUP];
  pair total = pair_of(0);
  size_t i = 0, from;
  do {
    from = i;
    SMC_EACH(j, SMC_GROUP) sum[j] = zero;
    for (int q = 0; q < SMC_DOT_STEPS && i + SMC_GROUP <= n.count; ++q, i += SMC_GROUP) {
      load_group(s, a, n.lanes, zero);
      load_group(g, b, n.lanes, zero);
      SMC_EACH(j, SMC_GROUP) sum[j] = add_product(sum[j], a[j], b[j], which);
      s = ahead(s, SMC_GROUP), g = ahead(g, SMC_GROUP);
    }
    for (; i + SMC_GROUP > n.count && i < steps_of(n); ++i) {
      const size_t lanes = lanes_at(n, i);
      a[0] = load_lanes(s, lanes, zero), b[0] = load_lanes(g, lanes, zero);
      sum[0] = add_product(sum[0], a[0], b[0], which);
      s = ahead(s, 1), g = ahead(g, 1);
    }
    pair part = pair_add(two_sum(sum[0], sum[1]), two_sum(sum[2], sum[3]));
    total = pair_add_to(total, part, from == 0);
  } while (i < steps_of(n));
  return total;
}

SMC_INLINE pair dot_of_strand(const strand s, const strand g, const extent n, smc_product which) {
  switch (which) {
  case SMC_SOFTMAX_VJP:
    if (is_dense(s, n) && is_dense(g, n))
      return dot_sum(dense(s), dense(g), whole(n), SMC_SOFTMAX_VJP);
    return dot_sum(s, g, n, SMC_SOFTMAX_VJP);
  case SMC_LOG_SOFTMAX_VJP: return dot_sum(s, g, n, SMC_LOG_SOFTMAX_VJP);
  default: return dot_sum(s, g, n, SMC_LOG_SOFTMAX_JVP);
  }
}

SMC_INLINE vec product_of(vec s, vec g, vec dot, const smc_product which) {
  switch (which) {
  case SMC_SOFTMAX_VJP: return v_mul(s, v_sub(g, dot));
  case SMC_LOG_SOFTMAX_VJP: return v_fnma(exp_of_negative(s, v_set1(0)), dot, g);
  default: return v_sub(g, dot);
  }
}

SMC_INLINE void product_pass(strand s, strand g, strand y, const extent n, vec dot,
                             const smc_product which) {
  const int grouped = which != SMC_LOG_SOFTMAX_VJP; /* whose exp fills the processor by itself */
  const vec zero = v_set1(0);
  vec a[SMC_GROUP], b[SMC_GROUP];
  size_t i = 0;
  for (; grouped && i + SMC_GROUP <= n.count; i += SMC_GROUP) {
    load_group(s, a, n.lanes, zero);
    load_group(g, b, n.lanes, zero);
    SMC_EACH(j, SMC_GROUP) a[j] = product_of(a[j], b[j], dot, which);
    store_group(y, a, n.lanes);
    s = ahead(s, SMC_GROUP), g = ahead(g, SMC_GROUP), y = ahead(y, SMC_GROUP);
  }
  for (; i < steps_of(n); ++i, s = ahead(s, 1), g = ahead(g, 1), y = ahead(y, 1)) {
    const size_t lanes = lanes_at(n, i);
    a[0] = load_lanes(s, lanes, zero), b[0] = load_lanes(g, lanes, zero);
    store_lanes(y, product_of(a[0], b[0], dot, which), lanes);
  }
}

SMC_INLINE void product_strand(const tile *t, strand s, strand g, strand y, extent n, vec dot,
                               smc_product which) {
  switch (which) {
  case SMC_SOFTMAX_VJP:
    if (is_dense(s, n) && is_dense(g, n) && is_dense(y, n)) {
      const size_t head = lanes_to_line(t, y, n);
      if (head > 0) {
        v_store_n(y.p, product_of(v_load(s.p), v_load(g.p), dot, SMC_SOFTMAX_VJP), head);
        s.p += head, g.p += head, y.p += head, n = without(n, head);
      }
      product_pass(dense(s), dense(g), dense(y), whole(n), dot, SMC_SOFTMAX_VJP);
    } else {
      product_pass(s, g, y, n, dot, SMC_SOFTMAX_VJP);
    }
    break;
  case SMC_LOG_SOFTMAX_VJP: product_pass(s, g, y, n, dot, SMC_LOG_SOFTMAX_VJP); break;
  default: product_pass(s, g, y, n, dot, SMC_LOG_SOFTMAX_JVP);
  }
}

/* The product
 *   SMC_SOFTMAX_VJP      s (g - sum g s)
 *   SMC_LOG_SOFTMAX_VJP  g - s sum g
 *   SMC_LOG_SOFTMAX_JVP  v - sum s v */
static void product_tile(tile *t, const void *extra) {
  const smc_product which = *(const smc_product *)extra;
  pair dot[SMC_MAX_STRANDS];
  for (size_t u = 0; u < t->strands; ++u) dot[u] = pair_of(0);
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    for (size_t u = 0; u < t->strands; ++u) {
      pair part =
          dot_of_strand(strand_of(t, SMC_S, u), strand_of(t, SMC_G, u), extent_of(t, u), which);
      dot[u] = pair_add_to(dot[u], part, begin == 0);
      if (t->group == 1 && is_last_block(t)) dot[u] = sum_of_lanes(dot[u]);
    }
  }
  if (t->group > 1) sum_by_row(t, dot, sizeof *dot);
  for (size_t g = 0; g < groups_of(t); ++g) dot[g].hi = pair_value(dot[g]);
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    for (size_t u = 0; u < t->strands; ++u) {
      product_strand(t, strand_of(t, SMC_S, u), strand_of(t, SMC_G, u),
                     strand_of(t, SMC_PRODUCT, u), extent_of(t, u),
                     of_strand(t, u, &dot[group_of(t, u)].hi), which);
    }
    leave_block(t);
  }
}

/* operands: x, the product exp(x - lse) g; the rounding error of x - lse is carried into exp */
static void lse_product_tile(tile *t, const void *extra) {
  const smc_rowwise *how = extra;
  vec lses[SMC_MAX_STRANDS], gs[SMC_MAX_STRANDS];
  for (size_t g = 0; g < groups_of(t); ++g) {
    lses[g] = load_by_row(t, g, &how->lse);
    gs[g] = load_by_row(t, g, &how->g);
  }
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    for (size_t u = 0; u < t->strands; ++u) {
      const vec lse = of_strand(t, u, &lses[group_of(t, u)]);
      const vec g = of_strand(t, u, &gs[group_of(t, u)]);
      strand x = strand_of(t, SMC_X, u), y = strand_of(t, SMC_Y, u);
      const extent n = extent_of(t, u);
      for (size_t i = 0; i < steps_of(n); ++i, x = ahead(x, 1), y = ahead(y, 1)) {
        const size_t lanes = lanes_at(n, i);
        vec a = load_lanes(x, lanes, v_set1(0));
        pair d = two_sum(a, v_sub(v_set1(0), lse));
        store_lanes(y, v_mul(exp_full(d.hi, d.lo), g), lanes);
      }
    }
    leave_block(t);
  }
}
