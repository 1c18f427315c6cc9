/* Pass 3 over one panel: each element's result. */
#ifndef SMC_FORWARD_RESULTS_H
#define SMC_FORWARD_RESULTS_H

#include "../prefetch.h"
#include "expsum.h"

/* y = e/S, where e is in y already */
SMC_INLINE void scale_values(panel y, const extent n, const pair inverse) {
  vec e[SMC_UNROLL];
  size_t i = 0;
  for (; i + SMC_UNROLL <= n.count; i += SMC_UNROLL, y = ahead(y, SMC_UNROLL)) {
    load_unrolled(y, e, n.lanes, v_set1(0));
    SMC_EACH(j, SMC_UNROLL) e[j] = times_inverse(e[j], inverse);
    store_unrolled(y, e, n.lanes, 0);
  }
  for (; i < steps_of(n); ++i, y = ahead(y, 1)) {
    const size_t lanes = lanes_at(n, i);
    store_lanes(y, times_inverse(load_lanes(y, lanes, v_set1(0)), inverse), lanes);
  }
}

static void scale_columns(const panel y, const extent n, const pair inverse) {
  scale_values(y, n, inverse);
}

SMC_INLINE void scale_panel(const tile *t, panel y, extent n, const pair inverse) {
  if (is_dense(y, n)) {
    const size_t head = lanes_to_line(t, y, n);
    if (head > 0) {
      v_store_n(y.p, times_inverse(v_load(y.p), inverse), head);
      y.p += head, n = without(n, head);
    }
    scale_values(dense(y), whole(n), inverse);
  } else {
    scale_columns(y, n, inverse);
  }
}

/* y = e/S, e computed once more: online.  One vector after the other, whatever its arguments are. */
static SMC_OUTLINE void general_quotients(panel x, panel y, const extent n, const shift *sh,
                                          const scaling *scale, const pair *inverse) {
  for (size_t i = 0; i < steps_of(n); ++i, x = ahead(x, 1), y = ahead(y, 1)) {
    const size_t lanes = lanes_at(n, i);
    vec a = load_lanes(x, lanes, scale->vacant), e = a;
    exp_unrolled(&a, &e, sh, scale, 1, 1);
    store_lanes(y, times_inverse(e, *inverse), lanes);
  }
}

static void quotient_panel(const tile *t, size_t u, panel x, panel y, extent n, const shift *sh,
                           const scaling *scale, const pair inverse) {
  const prefetcher lines = prefetcher_of(t, u);
  const int general = is_general(scale, sh);
  for (size_t head; !general && (head = lanes_to_line(t, y, n)) > 0; n = without(n, head)) {
    general_quotients(x, y, (extent){0, W, (uint32_t)head}, sh, scale, &inverse);
    x.p += head, y.p += head;
  }
  const int past = fills_lines(t, y, n);
  for (size_t i = 0; !general && n.count >= SMC_UNROLL; i += SMC_UNROLL, n.count -= SMC_UNROLL) {
    vec a[SMC_UNROLL], e[SMC_UNROLL];
    load_unrolled(x, a, n.lanes, scale->vacant);
    exp_unrolled(a, e, sh, scale, SMC_UNROLL, 0);
    SMC_EACH(j, SMC_UNROLL) e[j] = times_inverse(e[j], inverse);
    store_unrolled(y, e, n.lanes, past);
    prefetch_vectors(&lines, i, SMC_UNROLL);
    x = ahead(x, SMC_UNROLL), y = ahead(y, SMC_UNROLL);
  }
  general_quotients(x, y, n, sh, scale, &inverse);
}

/* scale*(x - max) - log1p(S'/e_k): two terms of one sign.  The first may be infinite, and then has no rest. */
SMC_INLINE vec log_of(vec a, const pair by, const scaling *scale, const int scaled) {
  const vec m = by.hi, log = by.lo;
  if (!scaled) return v_sub(v_sub(a, m), log);
  const vec distance = grown(v_sub(v_mul(a, scale->unit), m), scale);
  const vec product = v_mul(distance, scale->magnitude);
  const mask finite = v_lt(v_abs(product), v_set1((real)INFINITY));
  const vec d = v_select(finite, distance, v_set1(0));
  const vec rest = v_fma(d, scale->rest, v_sub(v_set1(0), log));
  return v_select(finite, v_fma(d, scale->magnitude, rest), v_sub(product, log));
}

SMC_INLINE void logarithms(panel x, panel y, const extent n, const pair by, const scaling *scale,
                           int past, const int scaled) {
  vec a[SMC_UNROLL];
  size_t i = 0;
  for (; !scaled && i + SMC_UNROLL <= n.count;
       i += SMC_UNROLL) { /* scaled is rare: so it is short */
    load_unrolled(x, a, n.lanes, scale->vacant);
    SMC_EACH(j, SMC_UNROLL) a[j] = log_of(a[j], by, scale, scaled);
    store_unrolled(y, a, n.lanes, past);
    x = ahead(x, SMC_UNROLL), y = ahead(y, SMC_UNROLL);
  }
  for (; i < steps_of(n); ++i, x = ahead(x, 1), y = ahead(y, 1)) {
    const size_t lanes = lanes_at(n, i);
    store_lanes(y, log_of(load_lanes(x, lanes, scale->vacant), by, scale, scaled), lanes);
  }
}

SMC_INLINE void log_panel(const tile *t, panel x, panel y, extent n, const pair by,
                          const scaling *scale) {
  const int rows = is_dense(x, n) && is_dense(y, n);
  if (scale->active) {
    logarithms(x, y, n, by, scale, 0, 1);
    return;
  }
  for (size_t head; rows && (head = lanes_to_line(t, y, n)) > 0; n = without(n, head)) {
    v_store_n(y.p, log_of(v_load(x.p), by, scale, 0), head);
    x.p += head, y.p += head;
  }
  const int past = fills_lines(t, y, n);
  if (rows) {
    logarithms(dense(x), dense(y), whole(n), by, scale, past, 0);
  } else {
    logarithms(x, y, n, by, scale, past, 0);
  }
}

#endif
