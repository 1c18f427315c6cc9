/* The binary formats of elements: their numbers read and written in long double. */
#ifndef SMC_TESTS_FORMATS_H
#define SMC_TESTS_FORMATS_H

#include <float.h>
#include <math.h>
#include <string.h>

#include "smcore_kernels.h"

typedef long double real;

/* A binary format: bits of significand, smallest exponent (as FLT_MIN_EXP), bytes. */
typedef struct {
  const char *name;
  smc_dtype dtype, computed;
  int digits, min_exponent;
  size_t size;
} format;

static const format formats[] = {
    {"float32", SMC_F32, SMC_F32, FLT_MANT_DIG, FLT_MIN_EXP, sizeof(float)},
    {"float64", SMC_F64, SMC_F64, DBL_MANT_DIG, DBL_MIN_EXP, sizeof(double)},
    {"float16", SMC_F16, SMC_F32, 11, -13, sizeof(uint16_t)},
    {"bfloat16", SMC_BF16, SMC_F32, 8, -125, sizeof(uint16_t)},
};

/* Digits of the truth: those of long double, but for a C library like musl, which takes exp for
 * expl where long double has 113. */
static int truth_digits(void) {
  const real e = 2.71828182845904523536028747135266249775724709369995L;
  return fabsl(expl(1) - e) < 0x1p-60L ? LDBL_MANT_DIG : DBL_MANT_DIG;
}

/* Units in the last place that a result may be off: what is promised for all but the half
 * precisions, whose rounding from float leaves hardly more than a half.  Where the truth has those
 * of double, it is itself off by a unit for each unit of x - max, which is at most 64 here, and by
 * as much for its sums. */
static real bound(const format *f, real units) {
  if (f->size == 2) return 1;
  return f->digits < truth_digits() ? units : units + 128;
}

/* ---- 16-bit floats: sign, exponent, the significand's digits without the leading one --------- */

static real decode(const format *f, uint16_t h) {
  int field = (h & 0x7fff) >> (f->digits - 1), last = f->min_exponent - f->digits;
  real magnitude = h & ((1 << (f->digits - 1)) - 1);
  if (field == 0x7fff >> (f->digits - 1)) {
    magnitude = magnitude > 0 ? NAN : INFINITY;
  } else if (field == 0) {
    magnitude = ldexpl(magnitude, last);
  } else {
    magnitude = ldexpl(magnitude + (1 << (f->digits - 1)), last + field - 1);
  }
  return h & 0x8000 ? -magnitude : magnitude;
}

/* The nearest to a, |a| in the normal range. */
static uint16_t encode(const format *f, real a) {
  int exponent;
  real significand = frexpl(fabsl(a), &exponent);
  unsigned sign = a < 0 ? 0x8000 : 0, units = (unsigned)rintl(ldexpl(significand, f->digits));
  if (isinf(a)) return (uint16_t)(sign | (0x8000 - (1u << (f->digits - 1))));
  if (isnan(a)) return 0x7fff;
  if (exponent < f->min_exponent) return (uint16_t)sign; /* zero, for these tests */
  return (uint16_t)(sign | (((unsigned)(exponent - f->min_exponent) << (f->digits - 1)) + units));
}

static real get(const format *f, const void *p) {
  float single;
  double twice;
  uint16_t half;
  switch (f->dtype) {
  case SMC_F32: return memcpy(&single, p, sizeof single), single;
  case SMC_F64: return memcpy(&twice, p, sizeof twice), twice;
  default: return memcpy(&half, p, sizeof half), decode(f, half);
  }
}

static void put(const format *f, void *p, real a) {
  float single = (float)a;
  double twice = (double)a;
  uint16_t half;
  switch (f->dtype) {
  case SMC_F32: memcpy(p, &single, sizeof single); break;
  case SMC_F64: memcpy(p, &twice, sizeof twice); break;
  default: half = encode(f, a), memcpy(p, &half, sizeof half);
  }
}

/* One unit in the last place of a. */
static real unit(const format *f, real a) {
  int exponent;
  frexpl(a, &exponent);
  if (a == 0 || exponent < f->min_exponent) exponent = f->min_exponent;
  return ldexpl(1, exponent - f->digits);
}

#endif
