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
#define max_group SMC_K(max_group)
#define row_max SMC_K(row_max)
#define exp_group SMC_K(exp_group)
#define add_term SMC_K(add_term)
#define add_two_terms SMC_K(add_two_terms)
#define pairs_terms SMC_K(pairs_terms)
#define sum_of_exp SMC_K(sum_of_exp)
#define count_peaks SMC_K(count_peaks)
#define inverse_of SMC_K(inverse_of)
#define times_inverse SMC_K(times_inverse)
#define quotient_group SMC_K(quotient_group)
#define quotient_rows SMC_K(quotient_rows)
#define infinite_row SMC_K(infinite_row)
#define log_group SMC_K(log_group)
#define log_rows SMC_K(log_rows)
#define keeps_exp SMC_K(keeps_exp)
#define forward_tile SMC_K(forward_tile)

#ifndef SMC_FORWARD_CONSTANTS
#define SMC_FORWARD_CONSTANTS
typedef enum { SMC_SOFTMAX, SMC_LOG_SOFTMAX, SMC_LOGSUMEXP } smc_ending;
typedef struct {
  smc_ending ending;
  double scale;
} smc_forward;
enum { SMC_UNPAIRED_MAX = 256 };
enum { SMC_TOTAL, SMC_TAIL }; /* all exponentials; all but that of one maximum */
enum {
  SMC_KEEP_BYTES = 1 << 19
}; /* of output that stays in the second-level cache between passes */
#endif

/* What a lane without data holds: nothing beside the maximum of a row it might be part of. */
SMC_INLINE vec vacant(vec sign, const int layout) {
  return SMC_IS_ALONG(layout) ? v_mul(sign, v_set1((real)-INFINITY)) : v_set1(0);
}

/* ---- pass 1: the maximum of sign*x -------------------------------------------------------------- */

SMC_INLINE void max_group(const tile t, const operand x, size_t i, const scaling scale, vec *m,
                          const int n, const int layout, const int full) {
  vec a[SMC_GROUP];
  load_group(t, x, i, a, vacant(scale.sign, layout), n, layout, full);
  if (scale.active) {
    SMC_EACH(j, n) a[j] = v_mul(a[j], scale.sign);
  }
  SMC_EACH(j, n) m[j] = v_max(m[j], a[j]);
}

SMC_INLINE void row_max(const tile t, const operand x, const scaling scale, vec m[SMC_GROUP],
                        const int layout) {
  size_t full = tile_full_steps(t, layout), steps = tile_steps(t, layout), i = 0;
  SMC_EACH(j, SMC_GROUP) m[j] = v_set1((real)-INFINITY);
  for (; i + SMC_STRIDE(layout) <= full; i += SMC_STRIDE(layout)) {
    max_group(t, x, i, scale, m, SMC_GROUP, layout, 1);
  }
  for (; i < steps; ++i) max_group(t, x, i, scale, m, SMC_WIDTH(layout), layout, 0);
  if (!SMC_IS_WIDE(layout)) {
    SMC_EACH(j, SMC_GROUP) m[0] = v_max(m[0], m[j]);
  }
  SMC_EACH(u, SMC_WIDTH(layout)) m[u] = reduce_max(m[u], layout);
}

/* ---- pass 2: sums of exponentials --------------------------------------------------------------- */

/* The exponentials of a group; in a tail each lane leaves out the first maximum that it meets, and seen
 * marks the lanes that have met one. */
SMC_INLINE void exp_group(const tile t, const operand x, const operand y, size_t i, const vec *m,
                          const shift *sh, const scaling scale, mask *seen, int keep, vec *e,
                          const int which, const int n, const int layout, const int full) {
  const int wide = SMC_IS_WIDE(layout);
  vec a[SMC_GROUP];
  load_group(t, x, i, a, vacant(scale.sign, layout), n, layout, full);
  if (scale.active) {
    SMC_EACH(j, n) a[j] = v_mul(a[j], scale.sign);
  }
  SMC_EACH(j, n) e[j] = a[j];
  exp_shifted(e, sh, scale, n, wide);
  if (keep) store_group(t, y, i, e, n, layout, full);
  if (which == SMC_TOTAL) return;
  SMC_EACH(j, n) {
    const int u = wide ? j : 0;
    mask peak = v_eq(a[j], m[u]);
    e[j] = v_select(v_andnot(peak, seen[u]), v_set1(0), e[j]);
    seen[u] = v_or(seen[u], peak);
  }
}

/* The whole sum starts from an offset above any term, which is at most two terms of sqrt(2) 2^LIFT each,
 * and C of the table: the rounding error of each addition is then exact in three operations
 * (fast_two_sum) instead of six. */
SMC_INLINE void add_term(pair *sum, vec e, const int which) {
  pair s = which == SMC_TOTAL ? fast_two_sum(sum->hi, e) : two_sum(sum->hi, e);
  *sum = (pair){s.hi, v_add(sum->lo, s.lo)};
}

/* Two terms to a sum: `paired`, they are added to each other first, for one more rounding and less work. */
SMC_INLINE void add_two_terms(pair *sum, vec a, vec b, const int which, int paired) {
  if (paired) {
    add_term(sum, v_add(a, b), which);
  } else {
    add_term(sum, a, which);
    add_term(sum, b, which);
  }
}

/* Whether terms are paired: for a logarithm, which hardly feels that one rounding, and in long rows,
 * where it is lost among the others, if exp has left room for it. */
SMC_INLINE int pairs_terms(const tile t, const int which, const int layout) {
  const int precise = SMC_C(OCTAVE) > 1;
  return which == SMC_TAIL || (precise && SMC_IS_ALONG(layout) && t.k > SMC_UNPAIRED_MAX);
}

/* Along a row a tail's lanes have each left out a maximum, where the row leaves out one. */
SMC_INLINE pair count_peaks(pair tail, size_t peaks, pair peak) {
  for (; peaks > 1; --peaks) tail = pair_add(tail, peak);
  return normalized(tail);
}

SMC_INLINE void sum_of_exp(const tile t, const operand x, const operand y, const vec *m,
                           const shift *sh, const scaling scale, pair total[SMC_GROUP], int keep,
                           const int which, const int layout) {
  const size_t full = tile_full_steps(t, layout), steps = tile_steps(t, layout);
  const int wide = SMC_IS_WIDE(layout), width = SMC_WIDTH(layout);
  const size_t stride = wide ? 2 : SMC_GROUP; /* steps a time */
  const int paired = pairs_terms(t, which, layout);
  const vec offset = v_set1(which == SMC_TOTAL ? 4 * SMC_C(LIFTED) : 0);
  pair sum[SMC_GROUP];
  mask seen[SMC_GROUP];
  vec e[SMC_GROUP], f[SMC_GROUP];
  SMC_EACH(u, width) total[u] = pair_of(0);
  SMC_EACH(u, width) seen[u] = v_none();
  for (size_t i = 0; i < steps;) {
    size_t end = steps - i < SMC_SUM_STEPS ? steps : i + SMC_SUM_STEPS;
    SMC_EACH(u, width) sum[u] = (pair){offset, v_set1(0)};
    for (; i + stride <= end && i + stride <= full; i += stride) {
      exp_group(t, x, y, i, m, sh, scale, seen, keep, e, which, SMC_GROUP, layout, 1);
      if (wide) {
        exp_group(t, x, y, i + 1, m, sh, scale, seen, keep, f, which, SMC_GROUP, layout, 1);
        SMC_EACH(u, width) add_two_terms(&sum[u], e[u], f[u], which, paired);
      } else {
        add_two_terms(sum, e[0], e[1], which, paired);
        add_two_terms(sum, e[2], e[3], which, paired);
      }
    }
    for (; i < end; i += 2) {
      SMC_EACH(u, width) f[u] = v_set1(0);
      exp_group(t, x, y, i, m, sh, scale, seen, keep, e, which, width, layout, 0);
      if (i + 1 < end) {
        exp_group(t, x, y, i + 1, m, sh, scale, seen, keep, f, which, width, layout, 0);
      }
      SMC_EACH(u, width) add_two_terms(&sum[u], e[u], f[u], which, paired);
    }
    SMC_EACH(u, width) {
      total[u] = pair_add(total[u], (pair){v_sub(sum[u].hi, offset), sum[u].lo});
    }
  }
  SMC_EACH(u, width) total[u] = reduce_sum(total[u], layout);
  for (int u = 0; which == SMC_TAIL && SMC_IS_ALONG(layout) && u < width; ++u) {
    if (v_count(seen[u]) < 2) continue;
    total[u] = count_peaks(total[u], v_count(seen[u]), exp_of_peak(m[u], sh[u], scale));
  }
}

/* ---- pass 3: the results ------------------------------------------------------------------------ */

/* 1/S, with its rounding error. */
SMC_INLINE pair inverse_of(pair sum) {
  vec inverse = v_div(v_set1(1), sum.hi), product = v_mul(sum.hi, inverse);
  vec rest = v_sub(v_sub(v_set1(1), product), v_mul_err(sum.hi, inverse, product));
  return (pair){inverse, v_mul(v_fnma(sum.lo, inverse, rest), inverse)};
}

/* e/S, with little more than the rounding of the result. */
SMC_INLINE vec times_inverse(vec e, const pair inverse) {
#if SMC_FUSED
  return v_fma(e, inverse.hi, v_mul(e, inverse.lo));
#else
  vec product = v_mul(e, inverse.hi);
  vec error = v_mul_err(e, inverse.hi, product);
  return v_add(product, v_fma(e, inverse.lo, error));
#endif
}

SMC_INLINE void quotient_group(const tile t, const operand x, const operand y, size_t i,
                               const shift *sh, const scaling scale, const pair *inverse,
                               const int keep, const int n, const int layout, const int full) {
  const int wide = SMC_IS_WIDE(layout);
  vec e[SMC_GROUP];
  load_group(t, keep ? y : x, i, e, v_set1(0), n, layout, full);
  if (!keep) {
    if (scale.active) {
      SMC_EACH(j, n) e[j] = v_mul(e[j], scale.sign);
    }
    exp_shifted(e, sh, scale, n, wide);
  }
  SMC_EACH(j, n) e[j] = times_inverse(e[j], inverse[wide ? j : 0]);
  store_group(t, y, i, e, n, layout, full);
}

SMC_INLINE void quotient_rows(const tile t, const operand x, const operand y, const shift *sh,
                              const scaling scale, const pair *total, const int keep,
                              const int layout) {
  size_t full = tile_full_steps(t, layout), steps = tile_steps(t, layout), i = 0;
  pair inverse[SMC_GROUP];
  SMC_EACH(u, SMC_WIDTH(layout)) inverse[u] = inverse_of(total[u]);
  for (; i + SMC_STRIDE(layout) <= full; i += SMC_STRIDE(layout)) {
    quotient_group(t, x, y, i, sh, scale, inverse, keep, SMC_GROUP, layout, 1);
  }
  for (; i < steps; ++i) {
    quotient_group(t, x, y, i, sh, scale, inverse, keep, SMC_WIDTH(layout), layout, 0);
  }
}

/* scale*(x - max) - log1p(S'/e_k): two terms of one sign.  In halves if scaled, for x - max may
 * overflow where scale*(x - max) does not. */
SMC_INLINE void log_group(const tile t, const operand x, const operand y, size_t i, const vec *m,
                          const vec *log, const scaling scale, const int n, const int layout,
                          const int full) {
  const int wide = SMC_IS_WIDE(layout);
  vec a[SMC_GROUP], half = v_set1((real)0.5);
  load_group(t, x, i, a, v_set1(0), n, layout, full);
  if (scale.active) {
    SMC_EACH(j, n) {
      const int u = wide ? j : 0;
      vec d = v_sub(v_mul(v_mul(a[j], scale.sign), half), v_mul(m[u], half));
      vec bounded = v_max(v_set1(-SMC_C(MAX)), d); /* as infinity times a rest of 0 is NaN */
      vec rest = v_fma(bounded, v_add(scale.rest, scale.rest), v_sub(v_set1(0), log[u]));
      a[j] = v_fma(d, v_add(scale.magnitude, scale.magnitude), rest);
    }
  } else {
    SMC_EACH(j, n) a[j] = v_sub(v_sub(a[j], m[wide ? j : 0]), log[wide ? j : 0]);
  }
  store_group(t, y, i, a, n, layout, full);
}

SMC_INLINE void log_rows(const tile t, const operand x, const operand y, const vec *m,
                         const vec *log, const scaling scale, const int layout) {
  size_t full = tile_full_steps(t, layout), steps = tile_steps(t, layout), i = 0;
  for (; i + SMC_STRIDE(layout) <= full; i += SMC_STRIDE(layout)) {
    log_group(t, x, y, i, m, log, scale, SMC_GROUP, layout, 1);
  }
  for (; i < steps; ++i) log_group(t, x, y, i, m, log, scale, SMC_WIDTH(layout), layout, 0);
}

/* An infinite maximum is the logsumexp unless the row holds NaN: rare, so looked at only then. */
SMC_INLINE vec infinite_row(const tile t, const operand x, size_t u, vec m, vec log,
                            const int layout) {
  mask finite = v_lt(v_abs(m), v_set1((real)INFINITY));
  if (v_count(finite) == W) return log;
  vec nan = v_set1(0);
  for (size_t i = 0; i < tile_steps(t, layout); ++i) {
    vec a = tile_load(t, x, i, u, v_set1(0), layout, layout == SMC_ACROSS);
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
  size_t rows = (size_t)SMC_WIDTH(layout) * (SMC_IS_ALONG(layout) ? 1 : W);
  return sizeof(elem) == sizeof(real) && t.k * rows * sizeof(elem) <= SMC_KEEP_BYTES;
}

/* operands: x; y, of x's shape or (logsumexp) one value for each row */
SMC_INLINE void forward_tile(const tile t, const operand *o, const void *extra, const int layout) {
  const smc_ending ending = ((const smc_forward *)extra)->ending;
  scaling scale = scaling_by(((const smc_forward *)extra)->scale);
  const operand x = o[0], y = o[1];
  const int width = SMC_WIDTH(layout);
  vec m[SMC_GROUP], log[SMC_GROUP];
  shift sh[SMC_GROUP];
  pair sum[SMC_GROUP];

  row_max(t, x, scale, m, layout);
  SMC_EACH(u, width) sh[u] = make_shift(m[u], scale);
  note_centers(&scale, sh, width);
  if (ending == SMC_SOFTMAX) {
    const int keep = keeps_exp(t, layout);
    sum_of_exp(t, x, y, m, sh, scale, sum, keep, SMC_TOTAL, layout);
    if (keep) {
      quotient_rows(t, x, y, sh, scale, sum, 1, layout);
    } else {
      quotient_rows(t, x, y, sh, scale, sum, 0, layout);
    }
    return;
  }
  sum_of_exp(t, x, y, m, sh, scale, sum, 0, SMC_TAIL, layout);
  SMC_EACH(u, width) log[u] = log1p_of_pair(pair_quotient(sum[u], exp_of_peak(m[u], sh[u], scale)));
  if (ending == SMC_LOG_SOFTMAX) {
    /* NaN where the maximum is infinite: no element of such a row has a logarithm. */
    SMC_EACH(u, width) log[u] = v_add(log[u], v_sub(m[u], m[u]));
    log_rows(t, x, y, m, log, scale, layout);
    return;
  }
  for (int u = 0; u < width; ++u) {
    log[u] = infinite_row(t, x, (size_t)u, m[u], log[u], layout);
    tile_store_row(t, y, (size_t)u, v_add(m[u], log[u]), layout);
  }
}
