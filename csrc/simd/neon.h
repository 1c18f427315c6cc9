/* arm64: Advanced SIMD is part of every such processor: 4 floats, 2 doubles. */
#ifndef SMC_SIMD_NEON_H
#define SMC_SIMD_NEON_H

#include <arm_neon.h>

#include "common.h"

#define SMC_FUSED 1
#define SMC_FAST_HALVES 1
#define SMC_FAST_MASKS 0
#define SMC_FAST_MASKED_LOADS 0
#define SMC_NONTEMPORAL 0
#define SMC_WIDE_LDEXP 0
#define f32_OCTAVE 1
#define f32_OCTS 0
#define f64_OCTAVE 1
#define f64_OCTS 0

typedef float32x4_t f32_vec;
typedef float64x2_t f64_vec;
typedef uint32x4_t f32_mask;
typedef uint64x2_t f64_mask;
enum { f32_lanes = 4, f64_lanes = 2 };

/* v_max: FMAX gives NaN if either operand is one. */
#define SMC_NEON(T, s, u, bits)                                                                    \
  SMC_INLINE T##_vec T##_set1(T##_t a) { return vdupq_n_##s(a); }                                  \
  SMC_INLINE T##_vec T##_add(T##_vec a, T##_vec b) { return vaddq_##s(a, b); }                     \
  SMC_INLINE T##_vec T##_sub(T##_vec a, T##_vec b) { return vsubq_##s(a, b); }                     \
  SMC_INLINE T##_vec T##_mul(T##_vec a, T##_vec b) { return vmulq_##s(a, b); }                     \
  SMC_INLINE T##_vec T##_div(T##_vec a, T##_vec b) { return vdivq_##s(a, b); }                     \
  SMC_INLINE T##_vec T##_fma(T##_vec a, T##_vec b, T##_vec c) { return vfmaq_##s(c, a, b); }       \
  SMC_INLINE T##_vec T##_fnma(T##_vec a, T##_vec b, T##_vec c) { return vfmsq_##s(c, a, b); }      \
  SMC_INLINE T##_vec T##_mul_err(T##_vec a, T##_vec b, T##_vec product) {                          \
    return vfmaq_##s(vnegq_##s(product), a, b);                                                    \
  }                                                                                                \
  SMC_INLINE T##_vec T##_max(T##_vec a, T##_vec b) { return vmaxq_##s(a, b); }                     \
  SMC_INLINE T##_vec T##_round(T##_vec a) { return vrndnq_##s(a); }                                \
  SMC_INLINE T##_vec T##_abs(T##_vec a) { return vabsq_##s(a); }                                   \
  SMC_INLINE T##_mask T##_lt(T##_vec a, T##_vec b) { return vcltq_##s(a, b); }                     \
  SMC_INLINE T##_mask T##_eq(T##_vec a, T##_vec b) { return vceqq_##s(a, b); }                     \
  SMC_INLINE T##_vec T##_select(T##_mask m, T##_vec a, T##_vec b) { return vbslq_##s(m, a, b); }   \
  SMC_INLINE T##_mask T##_and(T##_mask a, T##_mask b) { return vandq_##u(a, b); }                  \
  SMC_INLINE T##_mask T##_or(T##_mask a, T##_mask b) { return vorrq_##u(a, b); }                   \
  SMC_INLINE T##_vec T##_add_if(T##_mask m, T##_vec a, T##_vec b) {                                \
    return vaddq_##s(a, vreinterpretq_##s##_##u(vandq_##u(m, vreinterpretq_##u##_##s(b))));        \
  }                                                                                                \
  SMC_INLINE size_t T##_count(T##_mask m) { return (size_t)vaddvq_##u(vshrq_n_##u(m, bits - 1)); } \
  SMC_INLINE T##_vec T##_load(const void *p) { return vld1q_##s((const T##_t *)p); }               \
  SMC_INLINE T##_vec T##_load_n(const void *p, size_t n, T##_vec fill) {                           \
    T##_t part[T##_lanes];                                                                         \
    vst1q_##s(part, fill);                                                                         \
    memcpy(part, p, n * sizeof part[0]);                                                           \
    return vld1q_##s(part);                                                                        \
  }                                                                                                \
  SMC_INLINE void T##_store(void *p, T##_vec a) { vst1q_##s((T##_t *)p, a); }                      \
  SMC_INLINE void T##_store_n(void *p, T##_vec a, size_t n) {                                      \
    T##_t part[T##_lanes];                                                                         \
    vst1q_##s(part, a);                                                                            \
    memcpy(p, part, n * sizeof part[0]);                                                           \
  }

SMC_NEON(f32, f32, u32, 32)
SMC_NEON(f64, f64, u64, 64)

SMC_INLINE uint32_t f32_lane_bits(f32_mask m) {
  static const uint32_t bit[4] = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(m, vld1q_u32(bit)));
}

SMC_INLINE uint32_t f64_lane_bits(f64_mask m) {
  return (uint32_t)(vgetq_lane_u64(m, 0) & 1) | (uint32_t)(vgetq_lane_u64(m, 1) & 2);
}

/* The low bits of the sum with ROUNDER, moved into the exponent's place. */
SMC_INLINE f32_vec f32_power(f32_vec k) {
  return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(k), 23));
}

SMC_INLINE f64_vec f64_power(f64_vec k) {
  return vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f64(k), 52));
}

/* a*2^k in two steps, so that 2^k may be below the smallest normal number. */
SMC_INLINE f32_vec f32_ldexp(f32_vec a, f32_vec k) {
  f32_vec power = f32_power(vaddq_f32(k, vdupq_n_f32(f32_ROUNDER + 127 + 48)));
  return vmulq_f32(vmulq_f32(a, power), vdupq_n_f32(0x1p-48f));
}

SMC_INLINE f64_vec f64_ldexp(f64_vec a, f64_vec k) {
  f64_vec power = f64_power(vaddq_f64(k, vdupq_n_f64(f64_ROUNDER + 1023 + 500)));
  return vmulq_f64(vmulq_f64(a, power), vdupq_n_f64(0x1p-500));
}

SMC_INLINE f32_vec f32_logb(f32_vec a) {
  uint32x4_t exponent = vshrq_n_u32(vreinterpretq_u32_f32(a), 23);
  return vsubq_f32(vcvtq_f32_u32(exponent), vdupq_n_f32(127));
}

SMC_INLINE f64_vec f64_logb(f64_vec a) {
  uint64x2_t exponent = vshrq_n_u64(vreinterpretq_u64_f64(a), 52);
  return vsubq_f64(vcvtq_f64_u64(exponent), vdupq_n_f64(1023));
}

SMC_INLINE f32_vec f32_xor_lanes(f32_vec a, int d) {
  return d == 1 ? vrev64q_f32(a) : vextq_f32(a, a, 2);
}

SMC_INLINE f64_vec f64_xor_lanes(f64_vec a, int d) {
  (void)d;
  return vextq_f64(a, a, 1);
}

SMC_INLINE void f64_transpose(f64_vec r[2]) {
  f64_vec low = vtrn1q_f64(r[0], r[1]);
  r[1] = vtrn2q_f64(r[0], r[1]);
  r[0] = low;
}

SMC_INLINE void f32_transpose(f32_vec r[4]) {
  f64_vec t[4];
  SMC_UNROLLED for (int i = 0; i < 4; i += 2) {
    t[i] = vreinterpretq_f64_f32(vtrn1q_f32(r[i], r[i + 1]));
    t[i + 1] = vreinterpretq_f64_f32(vtrn2q_f32(r[i], r[i + 1]));
  }
  SMC_UNROLLED for (int j = 0; j < 2; ++j) {
    r[j] = vreinterpretq_f32_f64(vtrn1q_f64(t[j], t[j + 2]));
    r[j + 2] = vreinterpretq_f32_f64(vtrn2q_f64(t[j], t[j + 2]));
  }
}

SMC_QUADS_BY_TRANSPOSITION(f32)
SMC_QUADS_BY_TRANSPOSITION(f64)

/* ---- half precisions: four 16-bit elements to and from four floats --------------------------- */

SMC_INLINE f32_vec smc_widen_f16(uint16x4_t h) { return vcvt_f32_f16(vreinterpret_f16_u16(h)); }
SMC_INLINE f32_vec smc_widen_bf16(uint16x4_t h) {
  return vreinterpretq_f32_u32(vshll_n_u16(h, 16));
}
SMC_INLINE uint16x4_t smc_narrow_f16(f32_vec a) { return vreinterpret_u16_f16(vcvt_f16_f32(a)); }

SMC_INLINE uint16x4_t smc_narrow_bf16(f32_vec a) {
  uint32x4_t u = vreinterpretq_u32_f32(a), odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
  return vshrn_n_u32(vaddq_u32(vaddq_u32(u, vdupq_n_u32(0x7fff)), odd), 16);
}

#define SMC_NEON_HALF(D)                                                                           \
  SMC_INLINE f32_vec D##_load(const void *p) {                                                     \
    return smc_widen_##D(vld1_u16((const uint16_t *)p));                                           \
  }                                                                                                \
  SMC_INLINE f32_vec D##_load_n(const void *p, size_t n, f32_vec fill) {                           \
    float part[4];                                                                                 \
    vst1q_f32(part, fill);                                                                         \
    for (size_t i = 0; i < n; ++i) part[i] = D##_get((const uint16_t *)p + i);                     \
    return vld1q_f32(part);                                                                        \
  }                                                                                                \
  SMC_INLINE void D##_store(void *p, f32_vec a) { vst1_u16((uint16_t *)p, smc_narrow_##D(a)); }    \
  SMC_INLINE void D##_store_n(void *p, f32_vec a, size_t n) {                                      \
    uint16_t part[4];                                                                              \
    D##_store(part, a);                                                                            \
    memcpy(p, part, n * sizeof part[0]);                                                           \
  }

SMC_NEON_HALF(f16)
SMC_NEON_HALF(bf16)

#endif
