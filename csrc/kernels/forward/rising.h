/* Sums about a maximum that may still rise. */
#ifndef SMC_FORWARD_RISING_H
#define SMC_FORWARD_RISING_H

#include "expsum.h"

/* The sum a, from one shift to another that is not lower.  What is less than the share of the
 * least term is as good as nothing: so the power of two has a bound, and is applied in halves. */
SMC_INLINE pair moved(pair a, const shift *from, const shift *to) {
  vec n = v_mul(v_sub(to->origin, from->origin), v_set1((real)1 / SMC_C(OCTAVE)));
  n = v_max(v_set1(-3 * SMC_C(LIFT)), n);
  vec half = v_round(v_mul(n, v_set1((real)0.5)));
  a = pair_times_power(a, v_ldexp(v_set1(1), half));
  return pair_times_power(a, v_ldexp(v_set1(1), v_sub(n, half)));
}

/* Where the maximum is so large that sums will be made once more, when that of the row is known. */
SMC_INLINE mask are_in_vain(vec m, const scaling *scale) {
  return v_lt(v_set1(SMC_C(SHIFT_LIMIT)), scaled_maximum(m, scale));
}

/* Sums of nothing about a maximum that may still rise: without a center, unless in vain, and with a
 * shift that is not below one without a center. */
SMC_INLINE softmax_sums sums_so_far(vec m, const scaling *scale) {
  const vec zero = v_set1(0), limit = v_set1(SMC_C(SHIFT_LIMIT));
  const mask in_vain = are_in_vain(m, scale);
  const vec least = v_max(v_sub(zero, limit), scaled_maximum(m, scale));
  const vec peak = v_select(in_vain, limit, least); /* not lower than one that was not in vain */
  softmax_sums s = {m, zero, shift_about(peak), pair_of(0), pair_of(0), zero};
  s.sh.center = v_select(in_vain, m, zero);
  return s;
}

/* What a tail leaves out of a k-block whose maximum is m: nothing where all of it is lower than the
 * maximum so far, or that is too low for its shift. */
SMC_INLINE vec absent_in_block(const softmax_sums *s, vec m, const scaling *scale) {
  mask low = v_lt(scaled_maximum(s->m, scale), v_set1(-SMC_C(SHIFT_LIMIT)));
  return v_select(v_or(low, v_lt(m, s->m)), v_set1((real)INFINITY), s->m);
}

/* Raise the maximum to at least m: sums move to it, and terms that were left out join them. */
static void raise_maximum(softmax_sums *s, vec m, const scaling *scale) {
  const vec zero = v_set1(0);
  mask higher = v_lt(s->m, m);
  if (v_count(higher) == 0) return;
  softmax_sums top = sums_so_far(v_select(higher, m, s->m), scale);
  const pair back = {v_select(higher, s->peaks.hi, zero), v_select(higher, s->peaks.lo, zero)};
  pair rest = exps_of_peaks(s, back, scale);
  mask none = v_eq(back.hi, zero); /* whatever e is */
  rest = (pair){v_select(none, zero, rest.hi), v_select(none, zero, rest.lo)};
  top.sum = moved(pair_add(s->sum, rest), &s->sh, &top.sh);
  top.peaks = (pair){v_select(higher, zero, s->peaks.hi), v_select(higher, zero, s->peaks.lo)};
  *s = top;
}

#endif
