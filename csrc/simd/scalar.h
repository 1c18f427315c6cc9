/* Any processor: one lane, plain C11.  The reference for the other headers. */
#ifndef SMC_SIMD_SCALAR_H
#define SMC_SIMD_SCALAR_H

#include "common.h"

#define SMC_FUSED SMC_HAS_FMA
#define SMC_FAST_HALVES 0
#define SMC_FAST_MASKS 0
#define SMC_FAST_MASKED_LOADS 0
#define SMC_NONTEMPORAL 0
#define SMC_WIDE_LDEXP 0
#define f32_OCTAVE 1
#define f32_OCTS 0
#define f64_OCTAVE 1
#define f64_OCTS 0

/* ldexp takes two steps, so that 2^k may be below the smallest normal number. */
#define SMC_SCALAR(T, U, p, bias, fabs_, SPLIT)                                                    \
  typedef T##_t T##_vec;                                                                           \
  typedef int T##_mask;                                                                            \
  enum { T##_lanes = 1 };                                                                          \
  SMC_INLINE T##_vec T##_set1(T##_t a) { return a; }                                               \
  SMC_INLINE T##_vec T##_add(T##_vec a, T##_vec b) { return a + b; }                               \
  SMC_INLINE T##_vec T##_sub(T##_vec a, T##_vec b) { return a - b; }                               \
  SMC_INLINE T##_vec T##_mul(T##_vec a, T##_vec b) { return a * b; }                               \
  SMC_INLINE T##_vec T##_div(T##_vec a, T##_vec b) { return a / b; }                               \
  SMC_INLINE T##_vec T##_max(T##_vec a, T##_vec b) { return a > b ? a : b; }                       \
  SMC_INLINE T##_vec T##_round(T##_vec a) { return (a + T##_ROUNDER) - T##_ROUNDER; }              \
  SMC_INLINE T##_vec T##_power(T##_vec k) {                                                        \
    T##_vec power;                                                                                 \
    U u;                                                                                           \
    memcpy(&u, &k, sizeof u);                                                                      \
    u <<= p - 1;                                                                                   \
    memcpy(&power, &u, sizeof u);                                                                  \
    return power;                                                                                  \
  }                                                                                                \
  SMC_INLINE T##_vec T##_ldexp(T##_vec a, T##_vec k) {                                             \
    return a * T##_power(k + (T##_ROUNDER + bias + SPLIT)) * (1 / (T##_t)(1ull << SPLIT));         \
  }                                                                                                \
  SMC_INLINE T##_vec T##_logb(T##_vec a) {                                                         \
    U u;                                                                                           \
    memcpy(&u, &a, sizeof u);                                                                      \
    return ((T##_t)(u >> (p - 1)) - bias);                                                         \
  }                                                                                                \
  SMC_INLINE T##_vec T##_abs(T##_vec a) { return fabs_(a); }                                       \
  SMC_INLINE T##_mask T##_lt(T##_vec a, T##_vec b) { return a < b; }                               \
  SMC_INLINE T##_mask T##_eq(T##_vec a, T##_vec b) { return a == b; }                              \
  SMC_INLINE T##_vec T##_select(T##_mask m, T##_vec a, T##_vec b) { return m ? a : b; }            \
  SMC_INLINE T##_mask T##_and(T##_mask a, T##_mask b) { return a & b; }                            \
  SMC_INLINE T##_mask T##_or(T##_mask a, T##_mask b) { return a | b; }                             \
  SMC_INLINE T##_vec T##_add_if(T##_mask m, T##_vec a, T##_vec b) { return m ? a + b : a; }        \
  SMC_INLINE size_t T##_count(T##_mask m) { return (size_t)m; }                                    \
  SMC_INLINE uint32_t T##_lane_bits(T##_mask m) { return (uint32_t)m; }                            \
  SMC_INLINE T##_vec T##_xor_lanes(T##_vec a, int d) {                                             \
    (void)d;                                                                                       \
    return a;                                                                                      \
  }                                                                                                \
  SMC_INLINE void T##_transpose(T##_vec rows[1]) { (void)rows; }

SMC_SCALAR(f32, uint32_t, 24, 127, fabsf, 48)
SMC_SCALAR(f64, uint64_t, 53, 1023, fabs, 60)

#if SMC_FUSED
#define SMC_SCALAR_FMA(T, fma_)                                                                    \
  SMC_INLINE T##_vec T##_fma(T##_vec a, T##_vec b, T##_vec c) { return fma_(a, b, c); }            \
  SMC_INLINE T##_vec T##_fnma(T##_vec a, T##_vec b, T##_vec c) { return fma_(-a, b, c); }          \
  SMC_INLINE T##_vec T##_mul_err(T##_vec a, T##_vec b, T##_vec product) {                          \
    return fma_(a, b, -product);                                                                   \
  }

SMC_SCALAR_FMA(f32, fmaf)
SMC_SCALAR_FMA(f64, fma)
#else
#define SMC_SCALAR_FMA(T)                                                                          \
  SMC_INLINE T##_vec T##_fma(T##_vec a, T##_vec b, T##_vec c) { return a * b + c; }                \
  SMC_INLINE T##_vec T##_fnma(T##_vec a, T##_vec b, T##_vec c) { return c - a * b; }

SMC_SCALAR_FMA(f32)
SMC_SCALAR_FMA(f64)

/* A product of floats is exact in double. */
SMC_INLINE f32_vec f32_mul_err(f32_vec a, f32_vec b, f32_vec product) {
  return (f32_vec)((double)a * b - product);
}

/* Veltkamp's splitting and Dekker's product (1971).  The larger factor is made smaller, so that the
 * splitting does not overflow.  Out of line: there are many places for it. */
static SMC_OUTLINE f64_vec f64_mul_err(f64_vec a, f64_vec b, f64_vec product) {
  const double large = fabs(a) > fabs(b) ? a : b, other = fabs(a) > fabs(b) ? b : a;
  const double factor = fabs(large) > 0x1p900 ? 0x1p-100 : 1, x = large * factor;
  const double s = 0x1.0000002p27 * x, t = 0x1.0000002p27 * other;
  const double x_hi = s - (s - x), x_lo = x - x_hi, y_hi = t - (t - other), y_lo = other - y_hi;
  const double rest = x_hi * y_hi - product * factor;
  return (((rest + x_hi * y_lo) + x_lo * y_hi) + x_lo * y_lo) / factor;
}
#endif

#define SMC_SCALAR_MEMORY(D, T)                                                                    \
  SMC_INLINE T##_vec D##_load(const void *p) { return D##_get(p); }                                \
  SMC_INLINE T##_vec D##_load_n(const void *p, size_t n, T##_vec fill) {                           \
    return n ? D##_get(p) : fill;                                                                  \
  }                                                                                                \
  SMC_INLINE void D##_store(void *p, T##_vec a) { D##_put(p, a); }                                 \
  SMC_INLINE void D##_store_n(void *p, T##_vec a, size_t n) {                                      \
    if (n) D##_put(p, a);                                                                          \
  }

SMC_SCALAR_MEMORY(f32, f32)
SMC_SCALAR_MEMORY(f64, f64)
SMC_SCALAR_MEMORY(f16, f32)
SMC_SCALAR_MEMORY(bf16, f32)

SMC_QUADS_BY_TRANSPOSITION(f32)
SMC_QUADS_BY_TRANSPOSITION(f64)

#endif
