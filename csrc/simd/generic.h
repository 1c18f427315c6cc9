/* Any processor with 128-bit vectors, in the vector extension that GCC and Clang share: 4 floats, 2
 * doubles.  For one that has no header of its own, and the ground of those that replace little. */
#ifndef SMC_SIMD_GENERIC_H
#define SMC_SIMD_GENERIC_H

#include "common.h"

#if defined(__riscv) && !(defined(__riscv_vector) && (defined(__clang__) || __GNUC__ >= 14))
#error "the compiler takes these vectors apart"
#endif

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

typedef float f32_vec __attribute__((vector_size(16)));
typedef double f64_vec __attribute__((vector_size(16)));
typedef int32_t f32_mask __attribute__((vector_size(16))); /* all bits of a lane, or none */
typedef int64_t f64_mask __attribute__((vector_size(16)));
typedef uint32_t smc_u32x4 __attribute__((vector_size(16)));
typedef uint64_t smc_u64x2 __attribute__((vector_size(16)));
typedef uint16_t smc_u16x4 __attribute__((vector_size(8)));
typedef double smc_f64x4 __attribute__((vector_size(32)));
enum { f32_lanes = 4, f64_lanes = 2 };

/* The lanes named, out of those of a and, numbered on, of b. */
#if defined(__clang__)
#define smc_shuffle_f32(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define smc_shuffle_f64(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define smc_shuffle_f32(a, b, ...) __builtin_shuffle(a, b, (f32_mask){__VA_ARGS__})
#define smc_shuffle_f64(a, b, ...) __builtin_shuffle(a, b, (f64_mask){__VA_ARGS__})
#endif

SMC_INLINE f32_vec f32_set1(float a) { return (f32_vec){a, a, a, a}; }
SMC_INLINE f64_vec f64_set1(double a) { return (f64_vec){a, a}; }

/* ---- v_fma and v_mul_err: with the instruction, and without ---------------------------------- */

#if SMC_FUSED
/* Compilers make one vector instruction of an unrolled loop over lanes. */
#define SMC_GENERIC_FMA(T, fma_)                                                                   \
  SMC_INLINE T##_vec T##_fma(T##_vec a, T##_vec b, T##_vec c) {                                    \
    SMC_UNROLLED for (int i = 0; i < T##_lanes; ++i) a[i] = fma_(a[i], b[i], c[i]);                \
    return a;                                                                                      \
  }                                                                                                \
  SMC_INLINE T##_vec T##_fnma(T##_vec a, T##_vec b, T##_vec c) { return T##_fma(-a, b, c); }       \
  SMC_INLINE T##_vec T##_mul_err(T##_vec a, T##_vec b, T##_vec product) {                          \
    return T##_fma(a, b, -product);                                                                \
  }

SMC_GENERIC_FMA(f32, fmaf)
SMC_GENERIC_FMA(f64, fma)
#else
#define SMC_GENERIC_FMA(T)                                                                         \
  SMC_INLINE T##_vec T##_fma(T##_vec a, T##_vec b, T##_vec c) { return a * b + c; }                \
  SMC_INLINE T##_vec T##_fnma(T##_vec a, T##_vec b, T##_vec c) { return c - a * b; }

SMC_GENERIC_FMA(f32)
SMC_GENERIC_FMA(f64)

/* A product of floats is exact in double. */
SMC_INLINE f32_vec f32_mul_err(f32_vec a, f32_vec b, f32_vec product) {
  smc_f64x4 exact = __builtin_convertvector(a, smc_f64x4) * __builtin_convertvector(b, smc_f64x4);
  return __builtin_convertvector(exact - __builtin_convertvector(product, smc_f64x4), f32_vec);
}

/* Dekker's product (1971).  The factors are split by their bits, 26 and 27: no step can overflow
 * where the product does not, and all are exact but for the product of the low parts, whose
 * rounding is at most 2^-105 of the whole.  Out of line: there are many places for it. */
static SMC_OUTLINE f64_vec f64_mul_err(f64_vec a, f64_vec b, f64_vec product) {
  const f64_vec a_hi = (f64_vec)((f64_mask)a & -(1ll << 27)), a_lo = a - a_hi;
  const f64_vec b_hi = (f64_vec)((f64_mask)b & -(1ll << 27)), b_lo = b - b_hi;
  return (((a_hi * b_hi - product) + a_hi * b_lo) + a_lo * b_hi) + a_lo * b_lo;
}
#endif

/* ---- both types ------------------------------------------------------------------------------ */

/* ldexp takes two steps, so that 2^k may be below the smallest normal number.  The exponent field
 * in the low bits of 2^(p-1) is that number plus its value (logb). */
#define SMC_GENERIC(T, U, p, bias, SPLIT)                                                          \
  SMC_INLINE T##_vec T##_add(T##_vec a, T##_vec b) { return a + b; }                               \
  SMC_INLINE T##_vec T##_sub(T##_vec a, T##_vec b) { return a - b; }                               \
  SMC_INLINE T##_vec T##_mul(T##_vec a, T##_vec b) { return a * b; }                               \
  SMC_INLINE T##_vec T##_div(T##_vec a, T##_vec b) { return a / b; }                               \
  SMC_INLINE T##_mask T##_lt(T##_vec a, T##_vec b) { return a < b; }                               \
  SMC_INLINE T##_mask T##_eq(T##_vec a, T##_vec b) { return a == b; }                              \
  SMC_INLINE T##_mask T##_and(T##_mask a, T##_mask b) { return a & b; }                            \
  SMC_INLINE T##_mask T##_or(T##_mask a, T##_mask b) { return a | b; }                             \
  SMC_INLINE size_t T##_count(T##_mask m) {                                                        \
    size_t count = 0;                                                                              \
    SMC_UNROLLED for (int i = 0; i < T##_lanes; ++i) count -= (size_t)m[i];                        \
    return count;                                                                                  \
  }                                                                                                \
  SMC_INLINE uint32_t T##_lane_bits(T##_mask m) { return SMC_GENERIC_LANE_BITS(T, m); }            \
  SMC_INLINE T##_vec T##_select(T##_mask m, T##_vec a, T##_vec b) {                                \
    return (T##_vec)((m & (T##_mask)a) | (~m & (T##_mask)b));                                      \
  }                                                                                                \
  SMC_INLINE T##_vec T##_add_if(T##_mask m, T##_vec a, T##_vec b) {                                \
    return a + (T##_vec)(m & (T##_mask)b);                                                         \
  }                                                                                                \
  SMC_INLINE T##_vec T##_max(T##_vec a, T##_vec b) { return SMC_GENERIC_MAX(T, a, b); }            \
  SMC_INLINE T##_vec T##_abs(T##_vec a) { return (T##_vec)((U)a << 1 >> 1); }                      \
  SMC_INLINE T##_vec T##_round(T##_vec a) { return (a + T##_ROUNDER) - T##_ROUNDER; }              \
  SMC_INLINE T##_vec T##_power(T##_vec k) { return (T##_vec)((U)k << (p - 1)); }                   \
  SMC_INLINE T##_vec T##_ldexp(T##_vec a, T##_vec k) {                                             \
    return a * T##_power(k + (T##_ROUNDER + bias + SPLIT)) * (1 / (T##_t)(1ull << SPLIT));         \
  }                                                                                                \
  SMC_INLINE T##_vec T##_logb(T##_vec a) {                                                         \
    const T##_t offset = (T##_t)(1ull << (p - 1));                                                 \
    return (T##_vec)((U)a >> (p - 1) | (U)T##_set1(offset)) - (offset + bias);                     \
  }

#ifndef SMC_GENERIC_MAX
#define SMC_GENERIC_MAX(T, a, b) T##_select(a > b, a, b)
#endif

#ifndef SMC_GENERIC_LANE_BITS
#define SMC_GENERIC_LANE_BITS(T, m) smc_lane_bits_##T(m)
SMC_INLINE uint32_t smc_lane_bits_f32(f32_mask m) {
  m &= (f32_mask){1, 2, 4, 8};
  return (uint32_t)(m[0] | m[1] | m[2] | m[3]);
}
SMC_INLINE uint32_t smc_lane_bits_f64(f64_mask m) { return (uint32_t)((m[0] & 1) | (m[1] & 2)); }
#endif

SMC_GENERIC(f32, smc_u32x4, 24, 127, 48)
SMC_GENERIC(f64, smc_u64x2, 53, 1023, 60)

SMC_INLINE f32_vec f32_xor_lanes(f32_vec a, int d) {
  return d == 1 ? smc_shuffle_f32(a, a, 1, 0, 3, 2) : smc_shuffle_f32(a, a, 2, 3, 0, 1);
}

SMC_INLINE f64_vec f64_xor_lanes(f64_vec a, int d) {
  (void)d;
  return smc_shuffle_f64(a, a, 1, 0);
}

SMC_INLINE void f32_transpose(f32_vec r[4]) {
  f32_vec t[4];
  SMC_UNROLLED for (int i = 0; i < 2; ++i) {
    t[i] = smc_shuffle_f32(r[i], r[i + 2], 0, 4, 1, 5);
    t[i + 2] = smc_shuffle_f32(r[i], r[i + 2], 2, 6, 3, 7);
  }
  SMC_UNROLLED for (int i = 0; i < 4; i += 2) {
    r[i] = smc_shuffle_f32(t[i], t[i + 1], 0, 4, 1, 5);
    r[i + 1] = smc_shuffle_f32(t[i], t[i + 1], 2, 6, 3, 7);
  }
}

SMC_INLINE void f64_transpose(f64_vec r[2]) {
  f64_vec low = smc_shuffle_f64(r[0], r[1], 0, 2);
  r[1] = smc_shuffle_f64(r[0], r[1], 1, 3);
  r[0] = low;
}

/* ---- half precisions: as common.h converts one element, four at a time ----------------------- */

SMC_INLINE f32_mask smc_select_bits(f32_mask m, f32_mask a, f32_mask b) {
  return (m & a) | (~m & b);
}

SMC_INLINE f32_vec smc_widen_bf16(smc_u16x4 h) {
  return (f32_vec)(__builtin_convertvector(h, smc_u32x4) << 16);
}

SMC_INLINE smc_u16x4 smc_narrow_bf16(f32_vec a) {
  smc_u32x4 u = (smc_u32x4)a, up = u + 0x7fffu + ((u >> 16) & 1u);
  return __builtin_convertvector(up >> 16, smc_u16x4);
}

SMC_INLINE f32_vec smc_widen_f16(smc_u16x4 h) {
  f32_mask u = (f32_mask) __builtin_convertvector(h, smc_u32x4);
  f32_mask sign = (u & 0x8000) << 16, magnitude = (u & 0x7fff) << 13;
  f32_mask finite = (f32_mask)((f32_vec)magnitude * 0x1p112f);
  return (f32_vec)(smc_select_bits(magnitude < 0x0f800000, finite, magnitude | 0x7f800000) | sign);
}

SMC_INLINE smc_u16x4 smc_narrow_f16(f32_vec a) {
  f32_mask u = (f32_mask)a, sign = (u >> 16) & 0x8000, magnitude = u & 0x7fffffff;
  f32_mask small = (f32_mask)((f32_vec)magnitude + 0.5f) - 0x3f000000;
  f32_mask h = (magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  h = smc_select_bits(magnitude < 0x38800000, small, h);
  h = smc_select_bits(magnitude < 0x477ff000, h, 0x7c00 + (f32_mask){0});
  h = smc_select_bits(magnitude > 0x7f800000, 0x7e00 + (f32_mask){0}, h);
  return __builtin_convertvector((smc_u32x4)(sign | h), smc_u16x4);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Parts of a vector go lane by lane, out of line: few, and large where there are many places for
 * them. */
#define SMC_GENERIC_MEMORY(D, T, elements, widen, narrow)                                          \
  SMC_INLINE T##_vec D##_load(const void *p) {                                                     \
    elements e;                                                                                    \
    memcpy(&e, p, sizeof e);                                                                       \
    return widen(e);                                                                               \
  }                                                                                                \
  static SMC_OUTLINE T##_vec D##_load_part(const void *p, size_t n, T##_vec a) {                   \
    SMC_UNROLLED for (size_t i = 0; i < T##_lanes - 1; ++i) {                                      \
      if (i < n) a[i] = D##_get((const D##_e *)p + i);                                             \
    }                                                                                              \
    return a;                                                                                      \
  }                                                                                                \
  SMC_INLINE T##_vec D##_load_n(const void *p, size_t n, T##_vec fill) {                           \
    return n < T##_lanes ? D##_load_part(p, n, fill) : D##_load(p);                                \
  }                                                                                                \
  SMC_INLINE void D##_store(void *p, T##_vec a) {                                                  \
    elements e = narrow(a);                                                                        \
    memcpy(p, &e, sizeof e);                                                                       \
  }                                                                                                \
  static SMC_OUTLINE void D##_store_part(void *p, T##_vec a, size_t n) {                           \
    SMC_UNROLLED for (size_t i = 0; i < T##_lanes - 1; ++i) {                                      \
      if (i < n) D##_put((D##_e *)p + i, a[i]);                                                    \
    }                                                                                              \
  }                                                                                                \
  SMC_INLINE void D##_store_n(void *p, T##_vec a, size_t n) {                                      \
    if (n < T##_lanes) {                                                                           \
      D##_store_part(p, a, n);                                                                     \
    } else {                                                                                       \
      D##_store(p, a);                                                                             \
    }                                                                                              \
  }

SMC_GENERIC_MEMORY(f32, f32, f32_vec, , )
SMC_GENERIC_MEMORY(f64, f64, f64_vec, , )
SMC_GENERIC_MEMORY(f16, f32, smc_u16x4, smc_widen_f16, smc_narrow_f16)
SMC_GENERIC_MEMORY(bf16, f32, smc_u16x4, smc_widen_bf16, smc_narrow_bf16)

/* ---- four columns of as many rows as there are lanes ----------------------------------------- */

SMC_QUADS_BY_TRANSPOSITION(f32)
SMC_QUADS_BY_TRANSPOSITION(f64)

#endif
