/* The argument of exp: x scaled, and shifted by its row's maximum without rounding (exp.h). */
#ifndef SMC_SHIFT_H
#define SMC_SHIFT_H

#include "exact.h"

/* An argument EXP_UNDERFLOW below the maximum gives a term too small to count in a sum or be a
 * result, and still 2^n normal.  Over the whole range exp is 0 below -EXP_VANISH, where v_ldexp
 * still can say so, and infinite above EXP_OVERFLOW.  (Some math.h have macros of the shorter
 * names.) */
#define f32_BIAS 127
#define f32_LIFT 64
#define f32_LIFTED 0x1p64f
#define f32_MAX FLT_MAX
#define f32_SHIFT_LIMIT 256.0f
#define f32_EXP_UNDERFLOW 128.0f
#define f32_EXP_VANISH 110.0f
#define f32_EXP_OVERFLOW 89.5f
#define f64_BIAS 1023
#define f64_LIFT 512
#define f64_LIFTED 0x1p512
#define f64_MAX DBL_MAX
#define f64_SHIFT_LIMIT 2048.0
#define f64_EXP_UNDERFLOW 1024.0
#define f64_EXP_VANISH 750.0
#define f64_EXP_OVERFLOW 710.5

#define SMC_LOG2E 1.44269504088896340735992468100189214

/* The argument is scale*x, scale = unit grow^2 (magnitude + rest), any number but 0.  The unit has
 * its sign, so that the maximum is always the largest.  Powers of two, which round nothing, bring
 * the rest of a scale near 1 into the range of floats: one that shrinks is in the unit, by which x
 * is multiplied first, so that no difference overflows where its product does not; what is left of
 * one that grows is `grow`, by which a difference is multiplied twice. */
typedef struct {
  int active; /* scale is not 1 */
  int grows;  /* nor is grow */
  vec unit, grow, magnitude, rest;
  vec reach; /* what is below it, of a difference multiplied by grow, is no term that counts */
  /* What stands for x in a lane without data: nothing beside a row's maximum, along; across, where
   * it would be the maximum, a harmless number. */
  vec vacant;
} scaling;

typedef struct {
  vec center; /* taken from x: 0, or the maximum if that is large */
  vec peak;   /* what is left of the maximum */
  vec floor;  /* what smaller arguments are raised to */
  vec origin; /* ROUNDER + OCTAVE (BIAS + LIFT - N): n is rounded, and found, relative to it */
} shift;

/* Split a scale.  Of one of at least 2^LARGE no argument is finite but 0; one of less than 2^(LEAST
 * + SMALL) changes no result but that of -inf, for which the reach is a float. */
SMC_INLINE scaling scaling_by(double factor, int across) {
  enum { LEAST = 1 - SMC_C(BIAS), MOST = SMC_C(BIAS) - 1 };
  enum { SMALL = LEAST + 16, LARGE = 2 * SMC_C(BIAS) + 30 };
  const double sign = factor < 0 ? -1 : 1;
  int exponent = 1, first = 0, twice = 0;
  double fraction = 0.5;
  if (factor != 1) fraction = frexp(sign * factor, &exponent);
  exponent = exponent - 1 < LARGE ? exponent - 1 : LARGE;
  if (exponent < 0) first = exponent > LEAST ? exponent : LEAST;
  if (exponent > MOST) twice = (exponent - MOST + 1) / 2;
  const int left = exponent - first - 2 * twice;
  const double size = ldexp(2 * fraction, left > SMALL ? left : SMALL);
  const real magnitude = (real)size, infinity = (real)INFINITY;
  return (scaling){.active = factor != 1,
                   .grows = twice > 0,
                   .unit = v_set1((real)ldexp(sign, first)),
                   .grow = v_set1((real)ldexp(1, twice)),
                   .magnitude = v_set1(magnitude),
                   .rest = v_set1((real)(size - magnitude)),
                   .reach = v_set1((real)(-2 * SMC_C(SHIFT_LIMIT) / size)),
                   .vacant = v_set1(across ? 0 : (real)-sign * infinity)};
}

/* Make the shift about a scaled maximum that is not large. */
SMC_INLINE shift shift_about(vec peak) {
  vec exponent = v_round(v_mul(peak, v_set1((real)SMC_LOG2E)));
  vec origin = v_fnma(v_set1(SMC_C(OCTAVE)), exponent,
                      v_set1(SMC_C(ROUNDER) + SMC_C(OCTAVE) * (SMC_C(BIAS) + SMC_C(LIFT))));
  return (shift){v_set1(0), peak, v_sub(peak, v_set1(SMC_C(EXP_UNDERFLOW))), origin};
}

SMC_INLINE vec grown(vec difference, const scaling *scale) {
  if (!scale->grows) return difference;
  return v_mul(v_mul(difference, scale->grow), scale->grow);
}

/* Scale the maximum; a large one need only be seen to be large. */
SMC_INLINE vec scaled_maximum(vec max, const scaling *scale) {
  if (!scale->active) return max;
  const vec zero = v_set1(0), low = v_max(scale->reach, grown(max, scale));
  return v_mul(v_sub(zero, v_max(scale->reach, v_sub(zero, low))), scale->magnitude);
}

SMC_INLINE shift make_shift(vec max, const scaling *scale) {
  vec all = scaled_maximum(max, scale);
  mask far = v_lt(v_set1(SMC_C(SHIFT_LIMIT)), v_abs(all));
  shift s = shift_about(v_select(far, v_set1(0), all));
  s.center = v_select(far, max, v_set1(0));
  return s;
}

/* Whether arguments are more than x itself, in some lane: scaled, or shifted by a center. */
SMC_INLINE int is_general(const scaling *scale, const shift *s) {
  return scale->active || v_count(v_lt(v_set1(0), v_abs(s->center))) != 0;
}

/* Scale x - center, what exp is taken of; with the rounding error of the product.  No difference
 * overflows: below a positive center x is raised, while from a negative one only -infinity, of
 * which nothing comes, is so far. */
SMC_INLINE pair scaled_argument(vec x, vec center, const scaling *scale) {
  const vec zero = v_set1(0), lowest = v_sub(v_max(zero, center), v_set1(SMC_C(MAX)));
  const vec least = v_select(v_lt(zero, center), lowest, v_set1((real)-INFINITY));
  const vec distance = v_max(scale->reach, grown(v_sub(v_max(least, x), center), scale));
  const vec product = v_mul(distance, scale->magnitude);
  const vec error = v_mul_err(distance, scale->magnitude, product);
  return (pair){product, v_fma(distance, scale->rest, error)};
}

#endif
