/* log(1 + t) for t >= 0 held as a pair.
 *
 * 1 + t = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); then with s = f/(2 + f),
 * log(1 + f) = 2 atanh(s) = f - (f^2/2 - s (f^2/2 + s^2 q(s^2))), the arrangement of W. Cody and
 * W. Waite, Software Manual for the Elementary Functions (1980), whose large terms are exact: below
 * 0.9 units in the last place.
 */
#ifndef SMC_LOG1P_H
#define SMC_LOG1P_H

#include "exp.h"

/* With its rounding error; but what 1 + f adds to k log 2 is rounded before. */
SMC_INLINE pair log1p_of_pair(pair t) {
  static const real q[] = SMC_C(LOG);
  pair u = two_sum(v_set1(1), t.hi);
  vec k = v_logb(v_mul(u.hi, v_set1((real)1.41421356237309504880)));
  vec power = v_ldexp(v_set1(1), v_sub(v_set1(0), k));
  vec f = v_add(v_sub(v_mul(u.hi, power), v_set1(1)), v_mul(u.lo, power));
  vec s = v_div(f, v_add(v_set1(2), f)), z = v_mul(s, s);
  vec half = v_mul(v_set1((real)0.5), v_mul(f, f));
  vec series = v_mul(z, polynomial(q, sizeof q / sizeof *q, z));
  vec small = v_fma(k, v_set1(SMC_C(LN2_SHORT_LO)), v_div(t.lo, u.hi));
  small = v_fma(s, v_add(half, series), small);
  vec large = v_mul(k, v_set1(SMC_C(LN2_SHORT_HI))); /* exact */
  return fast_two_sum(large, v_sub(f, v_sub(half, small)));
}

#endif
