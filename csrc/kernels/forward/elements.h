/* Pass 3, vector by vector: each element's result. */
#ifndef SMC_FORWARD_ELEMENTS_H
#define SMC_FORWARD_ELEMENTS_H

#include "expsum.h"

typedef enum {
  SMC_SCALED,    /* e/S, of exponentials e that were kept */
  SMC_QUOTIENT,  /* e/S, where e is computed once more */
  SMC_LOGARITHM, /* log(e/S) */
  SMC_SCALED_LOGARITHM
} smc_result;

/* What the results of a tile are made of. */
typedef struct {
  const scaling *scale;
  const softmax_sums *sums; /* of each lane block */
  const pair *by;           /* the inverse of each sum, or the maximum and log1p(S'/e_k) */
} wanted_results;

/* scale*(x - max) - log1p(S'/e_k): two terms of one sign.  The first may be infinite, and then has
 * no rest. */
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

/* n vectors of x, or of kept exponentials, become results.  They have one shift and one `by`, or
 * each its own.  (n, each, how and general are constants.) */
SMC_INLINE void make_results(vec *a, const int n, const shift *sh, const pair *by, const int each,
                             const scaling *scale, const smc_result how, const int general) {
  if (how == SMC_QUOTIENT && general) {
    SMC_EACH(j, n) a[j] = v_mul(a[j], scale->unit);
  }
  if (how == SMC_QUOTIENT) exp_shifted(a, sh, each, scale, n, general);
  if (how == SMC_SCALED || how == SMC_QUOTIENT) {
    SMC_EACH(j, n) a[j] = times_inverse(a[j], by[each * j]);
  } else {
    SMC_EACH(j, n) a[j] = log_of(a[j], by[each * j], scale, how == SMC_SCALED_LOGARITHM);
  }
}

#endif
