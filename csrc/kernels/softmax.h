/* softmax, log_softmax, logsumexp: one algorithm, three endings.
 *
 *   1. the maximum;
 *   2. the sum of the exponentials, kept for the third pass where there is room;
 *   3. each element's result.
 *
 * softmax divides by the whole sum.  The other two need log(sum) = max + log1p(S'/e_k), where S' is
 * summed without one position k of the maximum: nothing cancels (SciPy issue 19521 shows what does).
 * Included once for each type stored (SMC_D).
 */

#define vacant SMC_K(vacant)
#define max_step SMC_K(max_step)
#define row_max SMC_K(row_max)
#define sum_step SMC_K(sum_step)
#define sum_of_exp SMC_K(sum_of_exp)
#define count_peaks SMC_K(count_peaks)
#define inverse_of SMC_K(inverse_of)
#define times_inverse SMC_K(times_inverse)
#define quotient_step SMC_K(quotient_step)
#define quotient_rows SMC_K(quotient_rows)
#define infinite_row SMC_K(infinite_row)
#define log_step SMC_K(log_step)
#define log_rows SMC_K(log_rows)
#define keeps_exp SMC_K(keeps_exp)
#define forward SMC_K(forward)

#ifndef SMC_FORWARD_CONSTANTS
#define SMC_FORWARD_CONSTANTS
enum { SMC_SOFTMAX, SMC_LOG_SOFTMAX, SMC_LOGSUMEXP };
enum { SMC_TOTAL, SMC_TAIL };      /* all exponentials; all but that of one maximum */
enum { SMC_KEEP_BYTES = 1 << 19 }; /* of output that stays in the second-level cache between passes */
#endif

/* What a lane without data holds: nothing beside the maximum of a row it might be part of. */
SMC_INLINE vec vacant(vec sign, const int layout) {
  return SMC_IS_ALONG(layout) ? v_mul(sign, v_set1((real)-INFINITY)) : v_set1(0);
}

/* ---- pass 1: the maximum of sign*x -------------------------------------------------------------- */

SMC_INLINE void max_step(const tile t, const operand x, size_t i, vec sign, vec *m, int abreast,
                         const int layout, const int scaled, const int full) {
  size_t n = tile_count(t, i, layout, full);
  SMC_UNROLL for (int u = 0; u < abreast; ++u) {
    vec a = tile_load(x, i, (size_t)u, n, vacant(sign, layout), layout, full);
    m[u] = v_max(m[u], scaled ? v_mul(a, sign) : a);
  }
}

SMC_INLINE void row_max(const tile t, const operand x, vec sign, vec m[SMC_WIDE],
                        const int layout, const int scaled) {
  size_t full = tile_full_steps(t, layout), steps = tile_steps(t, layout), i = 0;
  vec chain[SMC_CHAINS];
  for (int u = 0; u < SMC_CHAINS; ++u) chain[u] = v_set1((real)-INFINITY);
  if (layout == SMC_ALONG) {
    for (; i + SMC_CHAINS <= full; i += SMC_CHAINS) {
      max_step(t, x, i, sign, chain, SMC_CHAINS, layout, scaled, 1);
    }
  }
  for (; i < full; ++i) max_step(t, x, i, sign, chain, SMC_WIDTH(layout), layout, scaled, 1);
  for (; i < steps; ++i) max_step(t, x, i, sign, chain, SMC_WIDTH(layout), layout, scaled, 0);
  if (layout == SMC_ALONG) {
    for (int u = 1; u < SMC_CHAINS; ++u) chain[0] = v_max(chain[0], chain[u]);
  }
  for (int u = 0; u < SMC_WIDTH(layout); ++u) m[u] = reduce_max(chain[u], layout);
}

/* ---- pass 2: sums of exponentials --------------------------------------------------------------- */

/* The whole sum starts from an offset above any term, which is at most sqrt(2) 2^LIFT: the rounding error of each addition is then
 * exact in three operations (fast_two_sum) instead of six.  In a tail each lane leaves out the first
 * maximum that it meets; seen marks the lanes that have met one. */
SMC_INLINE void sum_step(const tile t, const operand x, const operand y, size_t i, const vec *m,
                         const shift *sh, const scaling scale, pair *sum, mask *seen, int keep,
                         const int which, const int layout, const int scaled, const int full) {
  size_t n = tile_count(t, i, layout, full);
  SMC_UNROLL for (int u = 0; u < SMC_WIDTH(layout); ++u) {
    vec a = tile_load(x, i, (size_t)u, n, vacant(scale.sign, layout), layout, full);
    if (scaled) a = v_mul(a, scale.sign);
    vec e = exp_shifted(a, sh[u], scale, scaled);
    if (keep) tile_store(y, i, (size_t)u, n, e, layout, full);
    pair s;
    if (which == SMC_TOTAL) {
      s = fast_two_sum(sum[u].hi, e);
    } else {
      mask peak = v_eq(a, m[u]), first = v_andnot(peak, seen[u]);
      seen[u] = v_or(seen[u], peak);
      s = two_sum(sum[u].hi, v_select(first, v_set1(0), e));
    }
    sum[u] = (pair){s.hi, v_add(sum[u].lo, s.lo)};
  }
}

/* Along a row a tail's lanes have each left out a maximum, where the row leaves out one. */
SMC_INLINE pair count_peaks(pair tail, size_t peaks, pair peak) {
  for (; peaks > 1; --peaks) tail = pair_add(tail, peak);
  return fast_two_sum(tail.hi, tail.lo);
}

SMC_INLINE void sum_of_exp(const tile t, const operand x, const operand y, const vec *m,
                           const shift *sh, const scaling scale, pair total[SMC_WIDE], int keep,
                           const int which, const int layout, const int scaled) {
  size_t full = tile_full_steps(t, layout), steps = tile_steps(t, layout);
  const vec offset = v_set1(which == SMC_TOTAL ? 2 * SMC_C(LIFTED) : 0);
  pair sum[SMC_WIDE];
  mask seen[SMC_WIDE];
  for (int u = 0; u < SMC_WIDTH(layout); ++u) {
    total[u] = pair_of(0);
    seen[u] = v_none();
  }
  for (size_t i = 0; i < steps;) {
    size_t end = steps - i < SMC_SUM_STEPS ? steps : i + SMC_SUM_STEPS;
    for (int u = 0; u < SMC_WIDTH(layout); ++u) sum[u] = (pair){offset, v_set1(0)};
    for (; i < end && i < full; ++i) {
      sum_step(t, x, y, i, m, sh, scale, sum, seen, keep, which, layout, scaled, 1);
    }
    for (; i < end; ++i) {
      sum_step(t, x, y, i, m, sh, scale, sum, seen, keep, which, layout, scaled, 0);
    }
    for (int u = 0; u < SMC_WIDTH(layout); ++u) {
      total[u] = pair_add(total[u], (pair){v_sub(sum[u].hi, offset), sum[u].lo});
    }
  }
  for (int u = 0; u < SMC_WIDTH(layout); ++u) total[u] = reduce_sum(total[u], layout);
  for (int u = 0; which == SMC_TAIL && SMC_IS_ALONG(layout) && u < SMC_WIDTH(layout); ++u) {
    if (v_count(seen[u]) < 2) continue;
    total[u] = count_peaks(total[u], v_count(seen[u]), exp_of_peak(m[u], sh[u], scale, scaled));
  }
}

/* ---- pass 3: the results ------------------------------------------------------------------------ */

/* What times_inverse needs of a sum S: 1/S with its rounding error or, unfused, S and its relative
 * rounding error. */
SMC_INLINE pair inverse_of(pair sum) {
#if SMC_FUSED
  vec inverse = v_div(v_set1(1), sum.hi);
  vec rest = v_fnma(sum.lo, inverse, v_fnma(sum.hi, inverse, v_set1(1)));
  return (pair){inverse, v_mul(rest, inverse)};
#else
  return (pair){sum.hi, v_div(sum.lo, sum.hi)};
#endif
}

/* e/S, with little more than the rounding of the result. */
SMC_INLINE vec times_inverse(vec e, const pair inverse) {
#if SMC_FUSED
  return v_fma(e, inverse.hi, v_mul(e, inverse.lo));
#else
  vec q = v_div(e, inverse.hi);
  return v_fnma(q, inverse.lo, q);
#endif
}

SMC_INLINE void quotient_step(const tile t, const operand x, const operand y, size_t i,
                              const shift *sh, const scaling scale, const pair *inverse,
                              const int layout, const int scaled, const int keep, const int full) {
  size_t n = tile_count(t, i, layout, full);
  SMC_UNROLL for (int u = 0; u < SMC_WIDTH(layout); ++u) {
    vec e = tile_load(keep ? y : x, i, (size_t)u, n, v_set1(0), layout, full);
    if (!keep) e = exp_shifted(scaled ? v_mul(e, scale.sign) : e, sh[u], scale, scaled);
    tile_store(y, i, (size_t)u, n, times_inverse(e, inverse[u]), layout, full);
  }
}

SMC_INLINE void quotient_rows(const tile t, const operand x, const operand y, const shift *sh,
                              const scaling scale, const pair *total, const int layout,
                              const int scaled, const int keep) {
  size_t full = tile_full_steps(t, layout), steps = tile_steps(t, layout);
  pair inverse[SMC_WIDE];
  for (int u = 0; u < SMC_WIDTH(layout); ++u) inverse[u] = inverse_of(total[u]);
  for (size_t i = 0; i < full; ++i) {
    quotient_step(t, x, y, i, sh, scale, inverse, layout, scaled, keep, 1);
  }
  for (size_t i = full; i < steps; ++i) {
    quotient_step(t, x, y, i, sh, scale, inverse, layout, scaled, keep, 0);
  }
}

/* scale*(x - max) - log1p(S'/e_k): two terms of one sign.  In halves if scaled, for x - max may
 * overflow where scale*(x - max) does not. */
SMC_INLINE void log_step(const tile t, const operand x, const operand y, size_t i, const vec *m,
                         const vec *log, const scaling scale, const int layout, const int scaled,
                         const int full) {
  size_t n = tile_count(t, i, layout, full);
  vec half = v_set1((real)0.5);
  SMC_UNROLL for (int u = 0; u < SMC_WIDTH(layout); ++u) {
    vec a = tile_load(x, i, (size_t)u, n, v_set1(0), layout, full), result;
    if (scaled) {
      a = v_sub(v_mul(v_mul(a, scale.sign), half), v_mul(m[u], half));
      vec bounded = v_max(v_set1(-SMC_C(MAX)), a); /* as infinity times a rest of 0 is NaN */
      result = v_fma(bounded, v_add(scale.rest, scale.rest), v_sub(v_set1(0), log[u]));
      result = v_fma(a, v_add(scale.magnitude, scale.magnitude), result);
    } else {
      result = v_sub(v_sub(a, m[u]), log[u]);
    }
    tile_store(y, i, (size_t)u, n, result, layout, full);
  }
}

SMC_INLINE void log_rows(const tile t, const operand x, const operand y, const vec *m,
                         const vec *log, const scaling scale, const int layout, const int scaled) {
  size_t full = tile_full_steps(t, layout), steps = tile_steps(t, layout);
  for (size_t i = 0; i < full; ++i) log_step(t, x, y, i, m, log, scale, layout, scaled, 1);
  for (size_t i = full; i < steps; ++i) log_step(t, x, y, i, m, log, scale, layout, scaled, 0);
}

/* An infinite maximum is the logsumexp unless the row holds NaN: rare, so looked at only then. */
SMC_INLINE vec infinite_row(const tile t, const operand x, size_t u, vec m, vec log,
                            const int layout) {
  mask finite = v_lt(v_abs(m), v_set1((real)INFINITY));
  if (v_count(finite) == W) return log;
  vec nan = v_set1(0);
  for (size_t i = 0; i < tile_steps(t, layout); ++i) {
    size_t n = tile_count(t, i, layout, layout == SMC_ACROSS);
    vec a = tile_load(x, i, u, n, v_set1(0), layout, layout == SMC_ACROSS);
    nan = v_select(v_eq(a, a), nan, a);
  }
  if (SMC_IS_ALONG(layout)) {
    SMC_UNROLL for (size_t d = W / 2; d; d /= 2) nan = v_add(nan, v_xor_lanes(nan, (int)d));
  }
  return v_select(finite, log, nan);
}

/* Whether pass 2 leaves the exponentials in the output: it must be of the precision computed in, and
 * small enough to be still near in pass 3. */
SMC_INLINE int keeps_exp(const tile t, const int layout) {
  size_t lanes = layout == SMC_ALONG ? 1 : layout == SMC_ABREAST ? SMC_WIDE : SMC_WIDTH(layout) * W;
  return sizeof(elem) == sizeof(real) && t.k * lanes * sizeof(elem) <= SMC_KEEP_BYTES;
}

/* operands: x; y, of x's shape or (logsumexp) one value for each row */
SMC_INLINE void forward(const tile t, const operand *o, double factor, const int op,
                        const int layout, const int scaled) {
  const operand x = o[0], y = o[1];
  const scaling scale = scaling_by(factor);
  const int keep = op == SMC_SOFTMAX && keeps_exp(t, layout);
  vec m[SMC_WIDE], log[SMC_WIDE];
  shift sh[SMC_WIDE];
  pair sum[SMC_WIDE];

  row_max(t, x, scale.sign, m, layout, scaled);
  for (int u = 0; u < SMC_WIDTH(layout); ++u) {
    sh[u] = make_shift(m[u], scale, scaled);
  }
  sum_of_exp(t, x, y, m, sh, scale, sum, keep, op == SMC_SOFTMAX ? SMC_TOTAL : SMC_TAIL, layout,
             scaled);

  if (op == SMC_SOFTMAX) {
    if (keep) {
      quotient_rows(t, x, y, sh, scale, sum, layout, scaled, 1);
    } else {
      quotient_rows(t, x, y, sh, scale, sum, layout, scaled, 0);
    }
    return;
  }
  for (int u = 0; u < SMC_WIDTH(layout); ++u) {
    pair e = exp_of_peak(m[u], sh[u], scale, scaled);
    log[u] = log1p_of_pair(pair_quotient(sum[u], e));
    if (op == SMC_LOG_SOFTMAX) { /* no element of a row with an infinite maximum has a logarithm */
      log[u] = v_add(log[u], v_sub(m[u], m[u]));
    } else {
      log[u] = infinite_row(t, x, (size_t)u, m[u], log[u], layout);
      tile_store_row(t, y, (size_t)u, v_add(m[u], log[u]), layout);
    }
  }
  if (op == SMC_LOG_SOFTMAX) log_rows(t, x, y, m, log, scale, layout, scaled);
}
