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
#define load_by_row SMC_V(load_by_row)

#ifndef SMC_PRODUCT_CONSTANTS
#define SMC_PRODUCT_CONSTANTS
typedef enum { SMC_SOFTMAX_VJP, SMC_LOG_SOFTMAX_VJP, SMC_LOG_SOFTMAX_JVP } smc_product;
enum { SMC_DOT_STEPS = 8 };         /* groups whose products an accumulator takes before it is flushed */
enum { SMC_S, SMC_G, SMC_PRODUCT }; /* operands: s or log_s; g or v; the product */
typedef struct {
  smc_view lse, g; /* one value for each row */
} smc_rowwise;
#endif

/* sum + s*g (SMC_SOFTMAX_VJP), g (SMC_LOG_SOFTMAX_VJP), exp(s)*g (SMC_LOG_SOFTMAX_JVP) */
SMC_INLINE vec add_product(vec sum, vec s, vec g, const smc_product which) {
  if (which == SMC_LOG_SOFTMAX_VJP) return v_add(sum, g);
  return v_fma(which == SMC_LOG_SOFTMAX_JVP ? exp_of_negative(s) : s, g, sum);
}

/* Lane by lane; the order is that of the strand's length alone. */
SMC_INLINE pair dot_sum(const real *s, const real *g, size_t n, const smc_product which) {
  const vec zero = v_set1(0);
  pair total[SMC_GROUP];
  size_t i = 0;
  SMC_EACH(j, SMC_GROUP) total[j] = pair_of(0);
  while (i + SMC_GROUP * W <= n) {
    vec sum[SMC_GROUP];
    SMC_EACH(j, SMC_GROUP) sum[j] = zero;
    for (int q = 0; q < SMC_DOT_STEPS && i + SMC_GROUP * W <= n; ++q, i += SMC_GROUP * W) {
      SMC_EACH(j, SMC_GROUP) {
        const size_t at = i + (size_t)j * W;
        sum[j] = add_product(sum[j], v_load(s + at), v_load(g + at), which);
      }
    }
    SMC_EACH(j, SMC_GROUP) total[j] = pair_add(total[j], (pair){sum[j], zero});
  }
  for (; i < n; i += W) {
    vec part = add_product(zero, load_left(s + i, n - i, zero), load_left(g + i, n - i, zero), which);
    total[0] = pair_add(total[0], (pair){part, zero});
  }
  return pair_add(pair_add(total[0], total[1]), pair_add(total[2], total[3]));
}

static pair dot_of_strand(const real *s, const real *g, size_t n, smc_product which) {
  switch (which) {
  case SMC_SOFTMAX_VJP: return dot_sum(s, g, n, SMC_SOFTMAX_VJP);
  case SMC_LOG_SOFTMAX_VJP: return dot_sum(s, g, n, SMC_LOG_SOFTMAX_VJP);
  default: return dot_sum(s, g, n, SMC_LOG_SOFTMAX_JVP);
  }
}

SMC_INLINE vec product_of(vec s, vec g, vec dot, const smc_product which) {
  switch (which) {
  case SMC_SOFTMAX_VJP: return v_mul(s, v_sub(g, dot));
  case SMC_LOG_SOFTMAX_VJP: return v_fnma(exp_of_negative(s), dot, g);
  default: return v_sub(g, dot);
  }
}

SMC_INLINE void product_pass(const real *s, const real *g, real *y, size_t n, vec dot,
                             const smc_product which) {
  const vec zero = v_set1(0);
  size_t i = 0;
  for (; i + SMC_GROUP * W <= n; i += SMC_GROUP * W) {
    vec a[SMC_GROUP];
    SMC_EACH(j, SMC_GROUP) {
      const size_t at = i + (size_t)j * W;
      a[j] = product_of(v_load(s + at), v_load(g + at), dot, which);
    }
    SMC_EACH(j, SMC_GROUP) v_store(y + i + (size_t)j * W, a[j]);
  }
  for (; i < n; i += W) {
    vec a = load_left(s + i, n - i, zero), b = load_left(g + i, n - i, zero);
    store_left(y + i, product_of(a, b, dot, which), n - i);
  }
}

static void product_strand(const real *s, const real *g, real *y, size_t n, vec dot,
                           smc_product which) {
  switch (which) {
  case SMC_SOFTMAX_VJP: product_pass(s, g, y, n, dot, SMC_SOFTMAX_VJP); break;
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
      pair part = dot_of_strand(strand(t, SMC_S, u), strand(t, SMC_G, u), t->length, which);
      dot[u] = begin ? pair_add(dot[u], part) : part;
    }
  }
  for (size_t u = 0; u < t->strands; ++u) dot[u].hi = pair_value(reduce_sum(t, dot[u]));
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    for (size_t u = 0; u < t->strands; ++u) {
      product_strand(strand(t, SMC_S, u), strand(t, SMC_G, u), strand(t, SMC_PRODUCT, u), t->length,
                     dot[u].hi, which);
    }
    leave_block(t);
  }
}

/* The values of the rows in strand u: one to a lane or, along, that of the row in all. */
SMC_INLINE vec load_by_row(const tile *t, size_t u, const smc_view *o) {
  real lane[SMC_V(lanes)] = {0};
  size_t first, rows = strand_rows(t, u, &first);
  t->of->as->get((const char *)o->data + (ptrdiff_t)first * o->row, o->row, rows, lane);
  return t->across ? v_load(lane) : v_set1(lane[0]);
}

/* operands: x, the product exp(x - lse) g; the rounding error of x - lse is carried into exp */
static void lse_product_tile(tile *t, const void *extra) {
  const smc_rowwise *how = extra;
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    for (size_t u = 0; u < t->strands; ++u) {
      const vec lse = load_by_row(t, u, &how->lse), g = load_by_row(t, u, &how->g);
      const real *x = strand(t, SMC_X, u);
      real *y = strand(t, SMC_Y, u);
      for (size_t i = 0; i < t->length; i += W) {
        vec a = load_left(x + i, t->length - i, v_set1(0));
        pair d = two_sum(a, v_sub(v_set1(0), lse));
        store_left(y + i, v_mul(exp_full(d.hi, d.lo), g), t->length - i);
      }
    }
    leave_block(t);
  }
}
