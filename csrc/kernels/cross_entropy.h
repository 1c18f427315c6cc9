/* Cross-entropy and its gradient in one pass over a tile: sum_c a_c (logsumexp(x) - x_c), where the
 * target a is one-hot with smoothing or a whole distribution (smc_targets).
 *
 * With the tail S' of softmax.h, logsumexp(x) - x_c = log1p(S'/e_k) + (max - x_c): two terms that are
 * never negative.  The gradient A s - a, A = sum a, cancels where the target is at the peak; there it
 * is (A - a_k) s_k - a_k S'/S, with A - a_k summed without k (PyTorch issue 195684 and JAX issue 40386
 * show what A s_k - a_k gives).  A z-loss z lse^2 (Chowdhery et al., "PaLM", 2022) has the gradient
 * 2 z lse s: in both forms it joins A, as mass that lies away from the peak.  Included once for each
 * type stored (SMC_D).
 */

#define targets SMC_K(targets)
#define distribution SMC_K(distribution)
#define distribution_step SMC_K(distribution_step)
#define sum_distribution SMC_K(sum_distribution)
#define add_labels SMC_K(add_labels)
#define store_values SMC_K(store_values)
#define slope SMC_K(slope)
#define gradient_of SMC_K(gradient_of)
#define row_label SMC_K(row_label)
#define loss_and_slope SMC_K(loss_and_slope)
#define gradient_group SMC_K(gradient_group)
#define gradient_rows SMC_K(gradient_rows)
#define gradient_at_labels SMC_K(gradient_at_labels)
#define cross_entropy_tile SMC_K(cross_entropy_tile)

#ifndef SMC_CROSS_ENTROPY_CONSTANTS
#define SMC_CROSS_ENTROPY_CONSTANTS
enum { SMC_X, SMC_SOFT, SMC_GRAD }; /* the operands */
#endif

/* What a tile's rows have of the target, each row in its lane: a = a spread part + `at_label` at the
 * row's label, whose logit is x_label. */
typedef struct {
  vec at_label, base_at_label, x_label;
  mask ignored;
  pair others, peak; /* the mass of a away from the maximum, and at it */
  pair distance;     /* sum of the spread part times (max - x) */
} targets;

/* The spread part of a, for vector j of the group at step i: w_c off or, without labels,
 * w_c (on soft_c + off). */
SMC_INLINE vec distribution(const tile t, const operand *o, const smc_targets *how, size_t i,
                            size_t j, const int layout, const int full) {
  const size_t step = SMC_IS_WIDE(layout) ? i : i + j;
  vec a = v_set1((real)how->off);
  if (!how->labels) {
    vec soft = tile_load(t, o[SMC_SOFT], i, j, v_set1(0), layout, full);
    a = v_fma(v_set1((real)how->on), soft, a);
  }
  if (!how->weight) return a;
  const real *w = how->weight;
  if (!SMC_IS_ALONG(layout)) return v_mul(a, v_set1(w[step]));
  size_t n = tile_count(t, i, layout, full);
  return v_mul(a, SMC_V(load_n)(w + step * W, n, v_set1(0)));
}

SMC_INLINE void distribution_step(const tile t, const operand *o, size_t i, const vec *m,
                                  const smc_targets *how, targets *a, const int layout) {
  const int full = layout == SMC_ACROSS;
  vec zero = v_set1(0);
  for (int u = 0; u < SMC_WIDTH(layout); ++u) {
    vec x = tile_load(t, o[SMC_X], i, (size_t)u, m[u], layout, full);
    vec d = distribution(t, o, how, i, (size_t)u, layout, full);
    mask peak = v_eq(x, m[u]);
    vec far = v_select(v_eq(d, zero), zero, v_mul(d, v_sub(m[u], x)));
    a[u].others = pair_add(a[u].others, (pair){v_select(peak, zero, d), zero});
    a[u].peak = pair_add(a[u].peak, (pair){v_select(peak, d, zero), zero});
    a[u].distance = pair_add(a[u].distance, (pair){far, zero});
  }
}

SMC_INLINE void sum_distribution(const tile t, const operand *o, const vec *m,
                                 const smc_targets *how, targets *a, const int layout) {
  for (size_t i = 0; i < tile_steps(t, layout); ++i) distribution_step(t, o, i, m, how, a, layout);
  for (int u = 0; u < SMC_WIDTH(layout); ++u) {
    a[u].others = reduce_sum(a[u].others, layout);
    a[u].peak = reduce_sum(a[u].peak, layout);
    a[u].distance = reduce_sum(a[u].distance, layout);
  }
}

/* Negative if the row is ignored.  Labels have been judged, but another thread may have written over
 * them since: none may lead outside of the row. */
SMC_INLINE int64_t row_label(const smc_targets *how, size_t row, size_t k) {
  int64_t label;
  memcpy(&label, (const char *)how->labels + (ptrdiff_t)row * how->labels_row, sizeof label);
  return label < (int64_t)k ? label : -1;
}

/* Each row's label, one lane at a time. */
SMC_INLINE void add_labels(const tile t, const operand *o, size_t u, vec m, const smc_targets *how,
                           targets *a, const int layout) {
  const real *weight = how->weight;
  real on[SMC_V(lanes)], off[SMC_V(lanes)], x[SMC_V(lanes)], ignored[SMC_V(lanes)];
  for (size_t l = 0; l < W; ++l) {
    size_t r = tile_row(u, l, layout);
    int64_t label = r < t.rows ? row_label(how, t.row + r, t.k) : -1;
    real w = label < 0 ? 0 : weight ? weight[label] : 1;
    on[l] = (real)how->on * w;
    off[l] = (real)how->off * w;
    x[l] = label < 0 ? 0 : SMC_K(get)(tile_element(o[SMC_X], (size_t)label, r, layout));
    ignored[l] = label < 0;
  }
  vec zero = v_set1(0);
  a->at_label = SMC_V(load)(on);
  a->base_at_label = SMC_V(load)(off);
  a->x_label = SMC_V(load)(x);
  a->ignored = v_eq(SMC_V(load)(ignored), v_set1(1));
  mask peak = v_eq(a->x_label, m);
  a->others = pair_add(a->others, (pair){v_select(peak, zero, a->at_label), zero});
  a->peak = pair_add(a->peak, (pair){v_select(peak, a->at_label, zero), zero});
}

/* One value for each row, of the type computed in. */
SMC_INLINE void store_values(const tile t, size_t u, vec value, void *data, ptrdiff_t step,
                             const int layout) {
  real lane[SMC_V(lanes)];
  SMC_V(store)(lane, value);
  for (size_t l = 0; l < tile_rows(t, layout); ++l) {
    SMC_V(put)((char *)data + (ptrdiff_t)(t.row + tile_row(u, l, layout)) * step, lane[l]);
  }
}

/* What the gradient of one row (or a lane's) is made of. */
typedef struct {
  shift sh;
  vec m, factor;
  pair per_exp;      /* factor A/S: the gradient's part for each unit of an exponential */
  mask dominant;     /* rows whose peak has more than half of the probability: */
  vec tail, at_peak; /* S'/S, which is 1 - s_k there, and factor (A - a_k) s_k */
  mask ignored;
} slope;

/* factor (A s - a), by its tail at a dominant peak */
SMC_INLINE vec gradient_of(vec x, vec e, vec a, const slope *g) {
  vec part = v_mul(g->factor, a);
  vec plain = v_fma(e, g->per_exp.hi, v_sub(v_mul(e, g->per_exp.lo), part));
  vec exact = v_fnma(part, g->tail, g->at_peak);
  return v_select(v_and(v_eq(x, g->m), g->dominant), exact, plain);
}

SMC_INLINE void gradient_group(const tile t, const operand *o, size_t i, const slope *g,
                               const scaling scale, const smc_targets *how, const int spread,
                               const int keep, const int n, const int layout, const int full) {
  const int wide = SMC_IS_WIDE(layout);
  shift sh[SMC_GROUP];
  vec x[SMC_GROUP], e[SMC_GROUP];
  load_group(t, o[keep ? SMC_GRAD : SMC_X], i, x, v_set1(0), n, layout, full);
  SMC_EACH(j, n) e[j] = x[j];
  if (!keep) {
    SMC_EACH(u, SMC_WIDTH(layout)) sh[u] = g[u].sh;
    exp_shifted(e, sh, scale, n, wide);
  }
  SMC_EACH(j, n) {
    const slope *row = &g[wide ? j : 0];
    if (spread) {
      vec a = distribution(t, o, how, i, (size_t)j, layout, full);
      e[j] = gradient_of(x[j], e[j], a, row);
    } else {
      e[j] = v_fma(e[j], row->per_exp.hi, v_mul(e[j], row->per_exp.lo));
    }
    e[j] = v_select(row->ignored, v_set1(0), e[j]);
  }
  store_group(t, o[SMC_GRAD], i, e, n, layout, full);
}

SMC_INLINE void gradient_rows(const tile t, const operand *o, const slope *g, const scaling scale,
                              const smc_targets *how, const int spread, const int keep,
                              const int layout) {
  size_t full = tile_full_steps(t, layout), steps = tile_steps(t, layout), i = 0;
  for (; i + SMC_STRIDE(layout) <= full; i += SMC_STRIDE(layout)) {
    gradient_group(t, o, i, g, scale, how, spread, keep, SMC_GROUP, layout, 1);
  }
  for (; i < steps; ++i) {
    gradient_group(t, o, i, g, scale, how, spread, keep, SMC_WIDTH(layout), layout, 0);
  }
}

/* The one class of each row that a label makes different. */
SMC_INLINE void gradient_at_labels(const tile t, const operand *o, size_t u, const targets *a,
                                   const slope *g, const scaling scale, const smc_targets *how,
                                   const int layout) {
  vec e = a->x_label;
  exp_shifted(&e, &g->sh, scale, 1, 0);
  vec d = gradient_of(a->x_label, e, v_add(a->at_label, a->base_at_label), g);
  real lane[SMC_V(lanes)];
  SMC_V(store)(lane, d);
  for (size_t l = 0; l < tile_rows(t, layout); ++l) {
    size_t r = tile_row(u, l, layout);
    int64_t label = row_label(how, t.row + r, t.k);
    if (label < 0) continue;
    SMC_K(put)(tile_element(o[SMC_GRAD], (size_t)label, r, layout), lane[l]);
  }
}

/* The loss of the rows in vector u, and what their gradient will need; infinite is what a row with an
 * infinite maximum has for a logsumexp above it: 0, or NaN if the row holds one. */
SMC_INLINE slope loss_and_slope(const tile t, size_t u, vec m, vec infinite, shift sh,
                                const scaling scale, pair tail, const targets *a,
                                const smc_targets *how, const int layout) {
  vec zero = v_set1(0), undefined = v_sub(m, m); /* NaN if the maximum is infinite */
  pair e = exp_of_peak(m, sh, scale);
  pair total = pair_add(tail, e);
  vec excess = log1p_of_pair(pair_quotient(tail, e)), log = v_add(excess, undefined);
  vec lse = v_add(m, v_select(v_eq(undefined, zero), excess, infinite));
  pair others = a->others;
  vec mass = pair_value(pair_add(others, a->peak));
  vec far = v_mul(a->at_label, v_sub(m, a->x_label));
  far = v_select(v_eq(a->at_label, zero), zero, far);
  vec loss = v_fma(mass, log, v_add(pair_value(a->distance), far));
  if (how->z_loss != 0) { /* as 0 times an infinite square is NaN */
    vec z = v_mul(v_set1((real)how->z_loss), lse);
    loss = v_fma(z, lse, loss);
    others = pair_add(others, (pair){v_add(z, z), zero});
    mass = pair_value(pair_add(others, a->peak));
  }
  store_values(t, u, v_select(a->ignored, zero, loss), how->loss, how->loss_row, layout);
  if (how->lse) store_values(t, u, lse, how->lse, how->lse_row, layout);

  vec factor = v_set1((real)how->factor), one = v_set1(1);
  slope g = {.sh = sh, .m = m, .factor = factor, .ignored = a->ignored};
  total = fast_two_sum(v_add(total.hi, undefined), total.lo);
  g.per_exp = pair_quotient((pair){v_mul(factor, mass), zero}, total);
  g.tail = pair_value(pair_quotient(tail, total));
  g.dominant = v_lt(g.tail, v_set1((real)0.5));
  g.at_peak = v_mul(v_mul(factor, pair_value(others)), v_sub(one, g.tail));
  return g;
}

SMC_INLINE void cross_entropy_tile(const tile t, const operand *o, const void *extra,
                                   const int layout) {
  const smc_targets *how = extra;
  scaling scale = scaling_by(1);
  const int spread = !how->labels || how->off != 0, grad = o[SMC_GRAD].p != NULL;
  /* Exponentials are kept in the gradient where nothing else needs the logits there. */
  const int keep = grad && !spread && keeps_exp(t, layout);
  vec m[SMC_GROUP], infinite[SMC_GROUP];
  shift sh[SMC_GROUP];
  pair tail[SMC_GROUP];
  targets a[SMC_GROUP];
  slope g[SMC_GROUP];

  row_max(t, o[SMC_X], scale, m, layout);
  for (int u = 0; u < SMC_WIDTH(layout); ++u) {
    sh[u] = make_shift(m[u], scale);
    vec zero = v_set1(0);
    a[u] = (targets){zero, zero, m[u], v_none(), pair_of(0), pair_of(0), pair_of(0)};
    infinite[u] = how->lse ? infinite_row(t, o[SMC_X], (size_t)u, m[u], zero, layout) : zero;
  }
  note_centers(&scale, sh, SMC_WIDTH(layout));
  if (spread) sum_distribution(t, o, m, how, a, layout);
  for (int u = 0; how->labels && u < SMC_WIDTH(layout); ++u) {
    add_labels(t, o, (size_t)u, m[u], how, &a[u], layout);
  }
  sum_of_exp(t, o[SMC_X], o[SMC_GRAD], m, sh, scale, tail, keep, SMC_TAIL, layout);
  for (int u = 0; u < SMC_WIDTH(layout); ++u) {
    g[u] =
        loss_and_slope(t, (size_t)u, m[u], infinite[u], sh[u], scale, tail[u], &a[u], how, layout);
  }
  if (!grad) return;
  if (spread) {
    gradient_rows(t, o, g, scale, how, 1, 0, layout);
  } else if (keep) {
    gradient_rows(t, o, g, scale, how, 0, 1, layout);
  } else {
    gradient_rows(t, o, g, scale, how, 0, 0, layout);
  }
  for (int u = 0; how->labels && u < SMC_WIDTH(layout); ++u) {
    gradient_at_labels(t, o, (size_t)u, &a[u], &g[u], scale, how, layout);
  }
}
