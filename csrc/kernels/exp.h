/* exp(x - max) without rounding x - max.
 *
 * With exp(x) = 2^n (1 + p), the maximum is taken away as an integer N = rint(max log2(e)) from n, in
 * the exponent, where nothing rounds.  Only a row whose maximum exceeds SHIFT_LIMIT has that maximum
 * subtracted first: x - max is then exact if x is within a factor of two of it (Sterbenz), and
 * otherwise at most -SHIFT_LIMIT/2, where exp underflows to zero.
 *
 * All exponentials of a row come out 2^LIFT times too large, which no sum or quotient minds: 2^n is then
 * a normal number for every term that matters, and no subnormal is rounded before the result is.
 *
 * Error of 2^n (1 + p), in units in the last place: 0.5 for the last addition, up to 0.25 for p, some
 * 0.1 for the polynomial; in float32 never above 0.97, at any argument there is (docs/accuracy.md).
 * Included once for each type computed in (SMC_T).
 */

#define shift SMC_V(shift)
#define scaling SMC_V(scaling)
#define scaling_by SMC_V(scaling_by)
#define reduce_exp SMC_V(reduce_exp)
#define make_shift SMC_V(make_shift)
#define scaled_argument SMC_V(scaled_argument)
#define exp_shifted SMC_V(exp_shifted)
#define exp_of_peak SMC_V(exp_of_peak)
#define exp_full SMC_V(exp_full)
#define split_exp SMC_V(split_exp)
#define exp_of_negative SMC_V(exp_of_negative)
#define expm1_of_negative SMC_V(expm1_of_negative)
#define polynomial SMC_V(polynomial)

/* An argument UNDERFLOW below the maximum gives a term too small to count in a sum or be a result, and
 * still 2^n normal.  Over the whole range exp is 0 below -UNDERFLOW and infinite above OVERFLOW. */
#define f32_BIAS 127
#define f32_LIFT 64
#define f32_LIFTED 0x1p64f
#define f32_MAX FLT_MAX
#define f32_SHIFT_LIMIT 256.0f
#define f32_UNDERFLOW 128.0f
#define f32_OVERFLOW 89.5f
#define f64_BIAS 1023
#define f64_LIFT 512
#define f64_LIFTED 0x1p512
#define f64_MAX DBL_MAX
#define f64_SHIFT_LIMIT 2048.0
#define f64_UNDERFLOW 1024.0
#define f64_OVERFLOW 710.5

#define SMC_LOG2E 1.44269504088896340735992468100189214

#undef LN2_HI
#undef LN2_LO
#if SMC_FUSED
#define LN2_HI SMC_C(LN2_HI)
#define LN2_LO SMC_C(LN2_LO)
#else
#define LN2_HI SMC_C(LN2_SHORT_HI)
#define LN2_LO SMC_C(LN2_SHORT_LO)
#endif

/* The argument is scale*x: sign carries that of scale, so that the maximum is always the largest;
 * |scale| = magnitude + rest. */
typedef struct {
  int active; /* scale is not 1 */
  vec sign, magnitude, rest;
} scaling;

typedef struct {
  vec center; /* taken from x: 0, or the maximum if that is large */
  vec peak;   /* what is left of the maximum */
  vec floor;  /* what smaller arguments are raised to */
  vec origin; /* ROUNDER + BIAS + LIFT - N: n is rounded, and found, relative to it */
} shift;

SMC_INLINE scaling scaling_by(double factor) {
  double size = factor < 0 ? -factor : factor, largest = sizeof(real) == 4 ? FLT_MAX : DBL_MAX;
  if (size > largest / 2)
    size = largest / 2; /* by then nothing but ties with the maximum is left */
  real magnitude = (real)size;
  return (scaling){factor != 1, v_set1(factor < 0 ? -1 : 1), v_set1(magnitude),
                   v_set1((real)(size - magnitude))};
}

/* coefficients: highest degree first */
SMC_INLINE vec polynomial(const real *coefficients, int count, vec x) {
  vec y = v_set1(coefficients[0]);
  SMC_UNROLL for (int i = 1; i < count; ++i) y = v_fma(y, x, v_set1(coefficients[i]));
  return y;
}

/* A group of n <= SMC_GROUP vectors, n a constant, goes through exp together, operation by operation:
 * the chain of one is some 60 cycles long, and a processor looks too short a way ahead to fill them. */

/* exp(hi + lo) = 2^(k - origin) (1 + p), |lo| a rounding error of hi; k and p take the places of hi and
 * lo. */
SMC_INLINE void reduce_exp(vec *hi, vec *lo, const vec *origin, const int n) {
  static const real q[] = SMC_C(EXP);
  vec k[SMC_GROUP], r[SMC_GROUP], s[SMC_GROUP], y[SMC_GROUP];
  SMC_EACH(j, n) k[j] = v_fma(hi[j], v_set1((real)SMC_LOG2E), origin[j]);
  SMC_EACH(j, n) y[j] = v_sub(k[j], origin[j]);
  SMC_EACH(j, n) r[j] = v_fnma(y[j], v_set1(LN2_HI), hi[j]); /* exact */
  SMC_EACH(j, n) lo[j] = v_fnma(y[j], v_set1(LN2_LO), lo[j]);
  SMC_EACH(j, n) s[j] = v_add(r[j], lo[j]);
  SMC_EACH(j, n) y[j] = v_fma(v_set1(q[0]), s[j], v_set1(q[1]));
  SMC_UNROLL for (size_t i = 2; i < sizeof q / sizeof *q; ++i) {
    SMC_EACH(j, n) y[j] = v_fma(y[j], s[j], v_set1(q[i]));
  }
  SMC_EACH(j, n) s[j] = v_mul(s[j], s[j]);
  SMC_EACH(j, n) lo[j] = v_add(r[j], v_fma(s[j], y[j], lo[j]));
  SMC_EACH(j, n) hi[j] = k[j];
}

SMC_INLINE shift make_shift(vec max, const scaling scale) {
  vec all = scale.active ? v_mul(max, scale.magnitude) : max;
  mask far = v_lt(v_set1(SMC_C(SHIFT_LIMIT)), v_abs(all));
  shift s;
  s.center = v_select(far, max, v_set1(0));
  s.peak = v_select(far, v_set1(0), all);
  s.floor = v_sub(s.peak, v_set1(SMC_C(UNDERFLOW)));
  s.origin = v_sub(v_set1(SMC_C(ROUNDER) + SMC_C(BIAS) + SMC_C(LIFT)),
                   v_round(v_mul(s.peak, v_set1((real)SMC_LOG2E))));
  return s;
}

/* What exp is taken of, for x - center: its product with the scale, and the error of that product. */
SMC_INLINE pair scaled_argument(vec distance, vec floor, const scaling scale) {
  vec product = v_mul(distance, scale.magnitude);
  vec error = v_mul_err(distance, scale.magnitude, product);
  error = v_fma(distance, scale.rest, error);
  return (pair){product, v_select(v_lt(product, floor), v_set1(0), error)};
}

/* x becomes 2^LIFT exp(x - max), for rows s[0], s[1], ... if wide, else all for s[0]. */
SMC_INLINE void exp_shifted(vec *x, const shift *s, const scaling scale, const int n,
                            const int wide) {
  vec lo[SMC_GROUP], origin[SMC_GROUP];
  SMC_EACH(j, n) origin[j] = s[wide ? j : 0].origin;
  SMC_EACH(j, n) lo[j] = v_set1(0);
  SMC_EACH(j, n) x[j] = v_sub(x[j], s[wide ? j : 0].center);
  if (scale.active) {
    SMC_EACH(j, n) {
      pair a = scaled_argument(x[j], s[wide ? j : 0].floor, scale);
      x[j] = a.hi;
      lo[j] = a.lo;
    }
  }
  SMC_EACH(j, n) x[j] = v_max(s[wide ? j : 0].floor, x[j]);
  reduce_exp(x, lo, origin, n);
  SMC_EACH(j, n) x[j] = v_power(x[j]);
  SMC_EACH(j, n) x[j] = v_fma(lo[j], x[j], x[j]);
}

/* The same at the maximum, with the rounding error of its last addition. */
SMC_INLINE pair exp_of_peak(vec max, const shift s, const scaling scale) {
  pair a = {s.peak, v_set1(0)};
  if (scale.active) a = scaled_argument(v_sub(max, s.center), s.floor, scale);
  reduce_exp(&a.hi, &a.lo, &s.origin, 1);
  return pair_times_power(fast_two_sum(v_set1(1), a.lo), v_power(a.hi));
}

/* The same where nothing is shifted: exp(hi + lo) = 2^n (1 + p); the pair is n and p. */
SMC_INLINE pair split_exp(vec hi, vec lo) {
  const vec origin = v_set1(SMC_C(ROUNDER));
  reduce_exp(&hi, &lo, &origin, 1);
  return (pair){v_sub(hi, origin), lo};
}

/* exp(hi + lo) over the whole range, 0 and infinity at its ends; the exponent is applied in halves. */
SMC_INLINE vec exp_full(vec hi, vec lo) {
  mask low = v_lt(hi, v_set1(-SMC_C(UNDERFLOW))), high = v_lt(v_set1(SMC_C(OVERFLOW)), hi);
  lo = v_select(v_or(low, high), v_set1(0), lo);
  hi = v_select(low, v_set1(-SMC_C(UNDERFLOW)), hi);
  hi = v_select(high, v_set1(SMC_C(OVERFLOW)), hi);
  pair e = split_exp(hi, lo);
  vec half = v_round(v_mul(e.hi, v_set1((real)0.5)));
  return v_mul(v_ldexp(v_add(v_set1(1), e.lo), half), v_ldexp(v_set1(1), v_sub(e.hi, half)));
}

/* exp(x) for x <= 0 */
SMC_INLINE vec exp_of_negative(vec x) {
  pair e = split_exp(v_max(v_set1(-SMC_C(UNDERFLOW)), x), v_set1(0));
  return v_ldexp(v_add(v_set1(1), e.lo), e.hi);
}

/* exp(x) - 1 for x <= 0: 2^n - 1 is exact, and at least 1/2 in magnitude unless n = 0. */
SMC_INLINE vec expm1_of_negative(vec x) {
  pair e = split_exp(v_max(v_set1(-SMC_C(UNDERFLOW)), x), v_set1(0));
  vec power = v_ldexp(v_set1(1), e.hi);
  return v_fma(power, e.lo, v_sub(power, v_set1(1)));
}
