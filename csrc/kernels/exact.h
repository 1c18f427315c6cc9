/* Error-free transformations: numbers held as the unevaluated sum of two floats.
 *
 * Dekker, "A floating-point technique for extending the available precision" (1971); Knuth, The Art
 * of Computer Programming 2, 4.2.2; Ogita, Rump & Oishi, "Accurate sum and dot product" (2005).
 */
#ifndef SMC_EXACT_H
#define SMC_EXACT_H

#include "../simd/common.h"

typedef struct {
  vec hi, lo;
} pair;

SMC_INLINE pair pair_of(real a) { return (pair){v_set1(a), v_set1(0)}; }

/* a + b exactly, if |a| >= |b| or a is a multiple of b's last place. */
SMC_INLINE pair fast_two_sum(vec a, vec b) {
  vec s = v_add(a, b);
  return (pair){s, v_sub(b, v_sub(s, a))};
}

/* a + b exactly. */
SMC_INLINE pair two_sum(vec a, vec b) {
  vec s = v_add(a, b), from_b = v_sub(s, a), from_a = v_sub(s, from_b);
  return (pair){s, v_add(v_sub(a, from_a), v_sub(b, from_b))};
}

SMC_INLINE pair pair_add(pair a, pair b) {
  pair s = two_sum(a.hi, b.hi);
  return (pair){s.hi, v_add(s.lo, v_add(a.lo, b.lo))};
}

/* a + b; first: a is nothing yet.  For as many terms as there may be: lo stays a rounding error of
 * hi, so that its own do not add up.  (Of a sum that is finite, or comes to nothing.) */
SMC_INLINE pair running_sum(pair a, pair b, int first) {
  if (first) return b;
  const pair s = pair_add(a, b);
  return fast_two_sum(s.hi, s.lo);
}

/* hi as near to the value as it can be, lo what is left; an infinite sum stays one. */
SMC_INLINE pair normalized(pair a) {
  pair s = fast_two_sum(a.hi, a.lo);
  mask finite = v_lt(v_abs(a.hi), v_set1((real)INFINITY));
  return (pair){v_select(finite, s.hi, a.hi), v_select(finite, s.lo, v_set1(0))};
}

SMC_INLINE pair pair_times_power(pair a, vec power_of_two) {
  return (pair){v_mul(a.hi, power_of_two), v_mul(a.lo, power_of_two)};
}

SMC_INLINE vec pair_value(pair a) { return v_add(a.hi, a.lo); }

/* a/b with its rounding error, where inverse is 1/b.hi rounded: the remainder a - q*b makes good
 * for the roundings of that and of q. */
SMC_INLINE pair pair_quotient(pair a, pair b, vec inverse) {
  vec q = v_mul(a.hi, inverse), p = v_mul(q, b.hi);
  vec rest = v_sub(v_sub(a.hi, p), v_mul_err(q, b.hi, p));
  rest = v_add(rest, v_fnma(q, b.lo, a.lo));
  return (pair){q, v_mul(rest, inverse)};
}

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

#endif
