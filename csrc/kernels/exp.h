/* exp(x - max) without rounding x - max.
 *
 * With exp(x) = 2^n (1 + p), the maximum is taken away as an integer N = rint(max log2(e)) from n, in
 * the exponent, where nothing rounds.  Only a row whose maximum exceeds SHIFT_LIMIT has that maximum
 * subtracted first: x - max is then exact if x is within a factor of two of it (Sterbenz), and
 * otherwise at most -SHIFT_LIMIT/2, where exp underflows to zero.
 *
 * Error of 1 + p before scaling: 0.5 units in the last place for the last addition, up to 0.25 for p,
 * below 0.1 for the polynomial.  Included once for each type computed in (SMC_T).
 */

#define shift SMC_V(shift)
#define scaling SMC_V(scaling)
#define scaling_by SMC_V(scaling_by)
#define reduced SMC_V(reduced)
#define reduce_exp SMC_V(reduce_exp)
#define make_shift SMC_V(make_shift)
#define shifted_argument SMC_V(shifted_argument)
#define exp_shifted SMC_V(exp_shifted)
#define exp_of_peak SMC_V(exp_of_peak)
#define exp_full SMC_V(exp_full)
#define expm1_of_negative SMC_V(expm1_of_negative)
#define polynomial SMC_V(polynomial)

/* Tails are summed 2^LIFT times too large, lest their terms be rounded as subnormals. */
#define f32_LIFT 64.0f
#define f32_LIFTED 0x1p64f
#define f32_LOWERED 0x1p-64f
#define f64_LIFT 512.0
#define f64_LIFTED 0x1p512
#define f64_LOWERED 0x1p-512
/* Below -UNDERFLOW exp, and twice that, rounds to zero; above OVERFLOW it is infinite. */
#define f32_MAX FLT_MAX
#define f64_MAX DBL_MAX
#define f32_SHIFT_LIMIT 256.0f
#define f32_UNDERFLOW 106.0f
#define f32_OVERFLOW 89.5f
#define f64_SHIFT_LIMIT 2048.0
#define f64_UNDERFLOW 747.0
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
  vec sign, magnitude, rest;
} scaling;

typedef struct {
  vec center;   /* taken from x: 0, or the maximum if that is large */
  vec exponent; /* N, taken from n */
  vec floor;    /* what is left of an argument below this underflows, with room to spare */
  vec peak;     /* what is left of the maximum */
} shift;

typedef struct {
  vec n, p; /* exp = 2^n (1 + p) */
} reduced;

SMC_INLINE scaling scaling_by(double factor) {
  double size = factor < 0 ? -factor : factor, largest = sizeof(real) == 4 ? FLT_MAX : DBL_MAX;
  if (size > largest / 2) size = largest / 2; /* by then nothing but ties with the maximum is left */
  real magnitude = (real)size;
  return (scaling){v_set1(factor < 0 ? -1 : 1), v_set1(magnitude), v_set1((real)(size - magnitude))};
}

/* coefficients: highest degree first */
SMC_INLINE vec polynomial(const real *coefficients, int count, vec x) {
  vec y = v_set1(coefficients[0]);
  SMC_UNROLL for (int i = 1; i < count; ++i) y = v_fma(y, x, v_set1(coefficients[i]));
  return y;
}

/* exp(hi + lo), |lo| a rounding error of hi */
SMC_INLINE reduced reduce_exp(vec hi, vec lo) {
  static const real q[] = SMC_C(EXP);
  vec n = v_round(v_mul(hi, v_set1((real)SMC_LOG2E)));
  vec r = v_fnma(n, v_set1(LN2_HI), hi); /* exact */
  vec rest = v_fnma(n, v_set1(LN2_LO), lo);
  vec s = v_add(r, rest);
  vec tail = v_fma(v_mul(s, s), polynomial(q, sizeof q / sizeof *q, s), rest);
  return (reduced){n, v_add(r, tail)};
}

/* lifted: the exponentials shall come out 2^LIFT times as large */
SMC_INLINE shift make_shift(vec max, const scaling scale, const int scaled, const int lifted) {
  const real lift = lifted ? SMC_C(LIFT) : 0;
  vec all = scaled ? v_mul(max, scale.magnitude) : max;
  mask far = v_lt(v_set1(SMC_C(SHIFT_LIMIT)), v_abs(all));
  shift s;
  s.center = v_select(far, max, v_set1(0));
  s.peak = v_select(far, v_set1(0), all);
  s.exponent = v_sub(v_round(v_mul(s.peak, v_set1((real)SMC_LOG2E))), v_set1(lift));
  s.floor = v_sub(s.peak, v_set1(SMC_C(UNDERFLOW) + lift * (real)0.7));
  return s;
}

/* What exp is taken of, and (if scaled) the rounding error of its product. */
SMC_INLINE pair shifted_argument(vec x, const shift s, const scaling scale, const int scaled) {
  vec distance = v_sub(x, s.center);
  if (!scaled) return (pair){v_max(s.floor, distance), v_set1(0)};
  vec product = v_mul(distance, scale.magnitude);
  vec error = v_mul_err(distance, scale.magnitude, product);
  error = v_fma(distance, scale.rest, error);
  error = v_select(v_lt(product, s.floor), v_set1(0), error);
  return (pair){v_max(s.floor, product), error};
}

SMC_INLINE vec exp_shifted(vec x, const shift s, const scaling scale, const int scaled) {
  pair a = shifted_argument(x, s, scale, scaled);
  reduced e = reduce_exp(a.hi, a.lo);
  return v_ldexp(v_add(v_set1(1), e.p), v_sub(e.n, s.exponent));
}

/* exp at the maximum, with the rounding error of its last addition. */
SMC_INLINE pair exp_of_peak(vec max, const shift s, const scaling scale, const int scaled) {
  pair a = {s.peak, v_set1(0)};
  if (scaled) a = shifted_argument(max, s, scale, scaled);
  return fast_two_sum(v_set1(1), reduce_exp(a.hi, a.lo).p);
}

/* exp(hi + lo) over the whole range, 0 and infinity at its ends; the exponent is applied in halves. */
SMC_INLINE vec exp_full(vec hi, vec lo) {
  mask low = v_lt(hi, v_set1(-SMC_C(UNDERFLOW))), high = v_lt(v_set1(SMC_C(OVERFLOW)), hi);
  lo = v_select(v_or(low, high), v_set1(0), lo);
  hi = v_select(low, v_set1(-SMC_C(UNDERFLOW)), hi);
  hi = v_select(high, v_set1(SMC_C(OVERFLOW)), hi);
  reduced e = reduce_exp(hi, lo);
  vec half = v_round(v_mul(e.n, v_set1((real)0.5)));
  return v_mul(v_ldexp(v_add(v_set1(1), e.p), half), v_ldexp(v_set1(1), v_sub(e.n, half)));
}

/* exp(x) - 1 for x <= 0: 2^n - 1 is exact, and at least 1/2 in magnitude unless n = 0. */
SMC_INLINE vec expm1_of_negative(vec x) {
  reduced e = reduce_exp(v_max(v_set1(-SMC_C(UNDERFLOW)), x), v_set1(0));
  vec power = v_ldexp(v_set1(1), e.n);
  return v_fma(power, e.p, v_sub(power, v_set1(1)));
}
