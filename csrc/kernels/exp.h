/* exp(x - max) without rounding x - max.
 *
 * With exp(x) = 2^n (1 + p), or 2^(n/8) (1 + p) where the target can look up 2^(j/8), the maximum
 * is taken away as an integer N = rint(max log2(e)) from n, in the exponent, where nothing rounds.
 * Only a row whose maximum exceeds SHIFT_LIMIT has that maximum subtracted first: x - max is then
 * exact if x is within a factor of two of it (Sterbenz), and otherwise at most -SHIFT_LIMIT/2,
 * where exp underflows to zero.
 *
 * All exponentials of a row come out 2^LIFT times too large, which no sum or quotient minds: 2^n is
 * then a normal number for every term that matters, and no subnormal is rounded before the result
 * is.
 *
 * The table holds C 2^(j/8), C being such that its eight entries are all next to a float: they add
 * some 0.03 units in the last place to the error, not the 0.5 of a rounding (an idea like that of
 * S. Gal, "An accurate elementary mathematical library for the IEEE floating point standard",
 * 1991).  Exponentials of one row share the factor C as they share 2^LIFT.
 *
 * Error of 2^n (1 + p), in units in the last place: 0.5 for the last addition, up to 0.25 for p,
 * and the polynomial's; by the table little more than the 0.5 (docs/accuracy.md). */
#ifndef SMC_EXP_H
#define SMC_EXP_H

#include "coefficients.h"
#include "shift.h"

#undef LN2_HI
#undef LN2_LO
#undef EXP_BY_STEPS
#if SMC_C(OCTAVE) == 1
#define EXP_BY_STEPS SMC_C(EXP_1)
#else
#define EXP_BY_STEPS SMC_C(EXP_8)
#endif
#if SMC_FUSED
#define LN2_HI SMC_C(LN2_HI)
#define LN2_LO SMC_C(LN2_LO)
#else
#define LN2_HI SMC_C(LN2_SHORT_HI)
#define LN2_LO SMC_C(LN2_SHORT_LO)
#endif

/* coefficients: highest degree first */
SMC_INLINE vec polynomial(const real *coefficients, int count, vec x) {
  vec y = v_set1(coefficients[0]);
  SMC_UNROLLED for (int i = 1; i < count; ++i) y = v_fma(y, x, v_set1(coefficients[i]));
  return y;
}

/* A group of n <= SMC_UNROLL vectors, n a constant, goes through exp together, operation by
 * operation: the chain of one is some 60 cycles long, and a processor looks too short a way ahead
 * to fill them. */

/* exp(hi + lo) = 2^((k - origin)/octave) (1 + p), |lo| a rounding error of hi; k and p take the
 * places of hi and lo.  r is exact; with a table it is so small that lo may be rounded into it. */
SMC_INLINE void reduce_exp(vec *hi, vec *lo, const int with_lo, const vec *origin, const int octave,
                           const int n) {
  static const real whole[] = SMC_C(EXP_1), eighth[] = EXP_BY_STEPS;
  const real *q = octave == 1 ? whole : eighth;
  const size_t count = octave == 1 ? sizeof whole / sizeof *whole : sizeof eighth / sizeof *eighth;
  const vec log2e = v_set1((real)(octave * SMC_LOG2E));
  const vec ln2_hi = v_set1(LN2_HI / (real)octave), ln2_lo = v_set1(LN2_LO / (real)octave);
  vec k[SMC_UNROLL], r[SMC_UNROLL], s[SMC_UNROLL], y[SMC_UNROLL];
  SMC_EACH(j, n) k[j] = v_fma(hi[j], log2e, origin[j]);
  SMC_EACH(j, n) y[j] = v_sub(k[j], origin[j]);
  SMC_EACH(j, n) r[j] = v_fnma(y[j], ln2_hi, hi[j]);
  if (octave == 1) {
    SMC_EACH(j, n) lo[j] = v_fnma(y[j], ln2_lo, lo[j]);
    SMC_EACH(j, n) s[j] = v_add(r[j], lo[j]);
  } else {
    SMC_EACH(j, n) s[j] = v_fnma(y[j], ln2_lo, r[j]);
    if (with_lo) {
      SMC_EACH(j, n) s[j] = v_add(s[j], lo[j]);
    }
  }
  SMC_EACH(j, n) y[j] = v_fma(v_set1(q[0]), s[j], v_set1(q[1]));
  SMC_UNROLLED for (size_t i = 2; i < count; ++i) {
    SMC_EACH(j, n) y[j] = v_fma(y[j], s[j], v_set1(q[i]));
  }
  if (octave == 1) {
    SMC_EACH(j, n) lo[j] = v_add(r[j], v_fma(v_mul(s[j], s[j]), y[j], lo[j]));
  } else {
    SMC_EACH(j, n) lo[j] = v_fma(v_mul(s[j], s[j]), y[j], s[j]);
  }
  SMC_EACH(j, n) hi[j] = k[j];
}

/* Compute 2^(k/OCTAVE), for the k that reduce_exp leaves; times C if there is a table. */
SMC_INLINE vec power_of_step(vec k) {
#if SMC_C(OCTAVE) == 1
  return v_power(k);
#else
  static const lane_number steps[] = SMC_C(STEPS);
  return v_step_power(k, steps);
#endif
}

/* x becomes 2^LIFT exp(x - max); in general scaled and centered, else as it is.  All have one
 * shift, or each has its own. */
SMC_INLINE void exp_shifted(vec *x, const shift *s, const int each, const scaling *scale,
                            const int n, const int general) {
  vec lo[SMC_UNROLL], origin[SMC_UNROLL];
  SMC_EACH(j, n) lo[j] = v_set1(0);
  SMC_EACH(j, n) origin[j] = s[each * j].origin;
  if (general) {
    SMC_EACH(j, n) {
      pair a = scaled_argument(x[j], s[each * j].center, scale);
      x[j] = a.hi;
      lo[j] = a.lo;
    }
  }
  SMC_EACH(j, n) x[j] = v_max(s[each * j].floor, x[j]);
  reduce_exp(x, lo, general, origin, SMC_C(OCTAVE), n);
  SMC_EACH(j, n) x[j] = power_of_step(x[j]);
  SMC_EACH(j, n) x[j] = v_fma(lo[j], x[j], x[j]);
}

/* Compute exp_shifted at the maximum, with the rounding error of its last operation. */
SMC_INLINE pair exp_of_peak(vec max, const shift *s, const scaling *scale) {
  pair a = {s->peak, v_set1(0)};
  if (is_general(scale, s)) a = scaled_argument(max, s->center, scale);
  reduce_exp(&a.hi, &a.lo, 1, &s->origin, SMC_C(OCTAVE), 1);
  vec power = power_of_step(a.hi), e = v_fma(a.lo, power, power);
  return (pair){e, v_fma(a.lo, power, v_sub(power, e))};
}

/* Compute exp(hi + lo) = 2^n (1 + p), nothing shifted; the pair is n and p. */
SMC_INLINE pair split_exp(vec hi, vec lo) {
  const vec origin = v_set1(SMC_C(ROUNDER));
  reduce_exp(&hi, &lo, 1, &origin, 1, 1);
  return (pair){v_sub(hi, origin), lo};
}

/* exp(hi + lo) over the whole range, 0 and infinity at its ends; the exponent is applied in halves,
 * if it must be. */
SMC_INLINE vec exp_full(vec hi, vec lo) {
  mask low = v_lt(hi, v_set1(-SMC_C(EXP_VANISH))), high = v_lt(v_set1(SMC_C(EXP_OVERFLOW)), hi);
  lo = v_select(v_or(low, high), v_set1(0), lo);
  hi = v_select(low, v_set1(-SMC_C(EXP_VANISH)), hi);
  hi = v_select(high, v_set1(SMC_C(EXP_OVERFLOW)), hi);
  pair e = split_exp(hi, lo);
  if (SMC_WIDE_LDEXP) return v_ldexp(v_add(v_set1(1), e.lo), e.hi);
  vec half = v_round(v_mul(e.hi, v_set1((real)0.5)));
  return v_mul(v_ldexp(v_add(v_set1(1), e.lo), half), v_ldexp(v_set1(1), v_sub(e.hi, half)));
}

/* exp(hi + lo) for hi <= 0 */
SMC_INLINE vec exp_of_negative(vec hi, vec lo) {
  pair e = split_exp(v_max(v_set1(-SMC_C(EXP_VANISH)), hi), lo);
  return v_ldexp(v_add(v_set1(1), e.lo), e.hi);
}

/* exp(x) - 1 for x <= 0: 2^n - 1 is exact, and at least 1/2 in magnitude unless n = 0. */
SMC_INLINE vec expm1_of_negative(vec x) {
  pair e = split_exp(v_max(v_set1(-SMC_C(EXP_VANISH)), x), v_set1(0));
  vec power = v_ldexp(v_set1(1), e.hi);
  return v_fma(power, e.lo, v_sub(power, v_set1(1)));
}

#endif
