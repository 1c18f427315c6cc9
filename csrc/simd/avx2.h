/* x86-64 with AVX2, FMA, F16C (Haswell and Zen onwards): 8 floats, 4 doubles. */
#ifndef SMC_SIMD_AVX2_H
#define SMC_SIMD_AVX2_H

#include <immintrin.h>

#include "common.h"

#define SMC_FUSED 1
#define SMC_FAST_HALVES 1
#define SMC_FAST_MASKS 0
#define SMC_FAST_MASKED_LOADS 1
#define SMC_NONTEMPORAL 1
#define SMC_WIDE_LDEXP 0
#define f32_OCTAVE 8
#define f32_OCTS 0
#define f64_OCTAVE 1
#define f64_OCTS 0

typedef __m256 f32_vec;
typedef __m256d f64_vec;
typedef __m256 f32_mask;
typedef __m256d f64_mask;
enum { f32_lanes = 8, f64_lanes = 4 };

#define SMC_AVX2(T, s)                                                                             \
  SMC_INLINE T##_vec T##_set1(T##_t a) { return _mm256_set1_##s(a); }                              \
  SMC_INLINE T##_vec T##_add(T##_vec a, T##_vec b) { return _mm256_add_##s(a, b); }                \
  SMC_INLINE T##_vec T##_sub(T##_vec a, T##_vec b) { return _mm256_sub_##s(a, b); }                \
  SMC_INLINE T##_vec T##_mul(T##_vec a, T##_vec b) { return _mm256_mul_##s(a, b); }                \
  SMC_INLINE T##_vec T##_div(T##_vec a, T##_vec b) { return _mm256_div_##s(a, b); }                \
  SMC_INLINE T##_vec T##_fma(T##_vec a, T##_vec b, T##_vec c) {                                    \
    return _mm256_fmadd_##s(a, b, c);                                                              \
  }                                                                                                \
  SMC_INLINE T##_vec T##_fnma(T##_vec a, T##_vec b, T##_vec c) {                                   \
    return _mm256_fnmadd_##s(a, b, c);                                                             \
  }                                                                                                \
  SMC_INLINE T##_vec T##_mul_err(T##_vec a, T##_vec b, T##_vec product) {                          \
    return _mm256_fmsub_##s(a, b, product);                                                        \
  }                                                                                                \
  SMC_INLINE T##_vec T##_max(T##_vec a, T##_vec b) { return _mm256_max_##s(a, b); }                \
  SMC_INLINE T##_vec T##_round(T##_vec a) {                                                        \
    return _mm256_round_##s(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);                     \
  }                                                                                                \
  SMC_INLINE T##_vec T##_abs(T##_vec a) { return _mm256_andnot_##s(T##_set1((T##_t) - 0.0), a); }  \
  SMC_INLINE T##_mask T##_lt(T##_vec a, T##_vec b) { return _mm256_cmp_##s(a, b, _CMP_LT_OQ); }    \
  SMC_INLINE T##_mask T##_eq(T##_vec a, T##_vec b) { return _mm256_cmp_##s(a, b, _CMP_EQ_OQ); }    \
  SMC_INLINE T##_vec T##_select(T##_mask m, T##_vec a, T##_vec b) {                                \
    return _mm256_blendv_##s(b, a, m);                                                             \
  }                                                                                                \
  SMC_INLINE T##_mask T##_and(T##_mask a, T##_mask b) { return _mm256_and_##s(a, b); }             \
  SMC_INLINE T##_mask T##_or(T##_mask a, T##_mask b) { return _mm256_or_##s(a, b); }               \
  SMC_INLINE T##_vec T##_add_if(T##_mask m, T##_vec a, T##_vec b) {                                \
    return _mm256_add_##s(a, _mm256_and_##s(m, b));                                                \
  }                                                                                                \
  SMC_INLINE size_t T##_count(T##_mask m) {                                                        \
    return (size_t)_mm_popcnt_u32((unsigned)_mm256_movemask_##s(m));                               \
  }                                                                                                \
  SMC_INLINE uint32_t T##_lane_bits(T##_mask m) { return (uint32_t)_mm256_movemask_##s(m); }       \
  SMC_INLINE T##_vec T##_load(const void *p) { return _mm256_loadu_##s((const T##_t *)p); }        \
  SMC_INLINE T##_vec T##_load_n(const void *p, size_t n, T##_vec fill) {                           \
    __m256i first = T##_first(n);                                                                  \
    return _mm256_blendv_##s(fill, _mm256_maskload_##s((const T##_t *)p, first),                   \
                             _mm256_castsi256_##s(first));                                         \
  }                                                                                                \
  SMC_INLINE void T##_store(void *p, T##_vec a) { _mm256_storeu_##s((T##_t *)p, a); }              \
  SMC_INLINE void T##_store_nontemporal(void *p, T##_vec a) { _mm256_stream_##s(p, a); }

SMC_INLINE __m256i f32_first(size_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n < 8 ? n : 8)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

SMC_INLINE __m256i f64_first(size_t n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long)(n < 4 ? n : 4)),
                            _mm256_setr_epi64x(0, 1, 2, 3));
}

SMC_AVX2(f32, ps)
SMC_AVX2(f64, pd)

SMC_INLINE void smc_fence(void) { _mm_sfence(); }

/* Out of line, as it is rare and long.  In up to three parts: on AMD's processors a masked store
 * takes as long as nine whole ones. */
static SMC_OUTLINE void f32_store_n(void *p, f32_vec a, size_t n) {
  float *to = p;
  __m128 rest = _mm256_castps256_ps128(a);
  if (n >= 8) {
    _mm256_storeu_ps(to, a);
    return;
  }
  if (n & 4) {
    _mm_storeu_ps(to, rest);
    rest = _mm256_extractf128_ps(a, 1);
    to += 4;
  }
  if (n & 2) {
    _mm_storel_pi((__m64 *)to, rest);
    rest = _mm_movehl_ps(rest, rest);
    to += 2;
  }
  if (n & 1) _mm_store_ss(to, rest);
}

static SMC_OUTLINE void f64_store_n(void *p, f64_vec a, size_t n) {
  double *to = p;
  __m128d rest = _mm256_castpd256_pd128(a);
  if (n >= 4) {
    _mm256_storeu_pd(to, a);
    return;
  }
  if (n & 2) {
    _mm_storeu_pd(to, rest);
    rest = _mm256_extractf128_pd(a, 1);
    to += 2;
  }
  if (n & 1) _mm_store_sd(to, rest);
}

/* The low bits of the sum with ROUNDER, moved into the exponent's place. */
SMC_INLINE f32_vec f32_power(f32_vec k) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(k), 23));
}

SMC_INLINE f64_vec f64_power(f64_vec k) {
  return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(k), 52));
}

/* Eight entries fill a register: k mod 8 is looked up by a permutation. */
SMC_INLINE f32_vec f32_step_power(f32_vec k, const f32_word steps[8]) {
  __m256i index = _mm256_castps_si256(k), table = _mm256_loadu_si256((const __m256i *)steps);
  __m256i step = _mm256_permutevar8x32_epi32(table, index);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(index, 20), step));
}

/* a*2^k in two steps, so that 2^k may be below the smallest normal number. */
SMC_INLINE f32_vec f32_ldexp(f32_vec a, f32_vec k) {
  f32_vec power = f32_power(_mm256_add_ps(k, _mm256_set1_ps(f32_ROUNDER + 127 + 48)));
  return _mm256_mul_ps(_mm256_mul_ps(a, power), _mm256_set1_ps(0x1p-48f));
}

SMC_INLINE f64_vec f64_ldexp(f64_vec a, f64_vec k) {
  f64_vec power = f64_power(_mm256_add_pd(k, _mm256_set1_pd(f64_ROUNDER + 1023 + 500)));
  return _mm256_mul_pd(_mm256_mul_pd(a, power), _mm256_set1_pd(0x1p-500));
}

SMC_INLINE f32_vec f32_logb(f32_vec a) {
  __m256i exponent = _mm256_srli_epi32(_mm256_castps_si256(a), 23);
  return _mm256_sub_ps(_mm256_cvtepi32_ps(exponent), _mm256_set1_ps(127));
}

/* The exponent field in the low bits of 2^52 is 2^52 + its value. */
SMC_INLINE f64_vec f64_logb(f64_vec a) {
  __m256i exponent = _mm256_srli_epi64(_mm256_castpd_si256(a), 52);
  f64_vec offset = _mm256_or_pd(_mm256_castsi256_pd(exponent), _mm256_set1_pd(0x1p52));
  return _mm256_sub_pd(offset, _mm256_set1_pd(0x1p52 + 1023));
}

SMC_INLINE f32_vec f32_xor_lanes(f32_vec a, int d) {
  switch (d) {
  case 1: return _mm256_permute_ps(a, 0xb1);
  case 2: return _mm256_permute_ps(a, 0x4e);
  default: return _mm256_permute2f128_ps(a, a, 0x01);
  }
}

SMC_INLINE f64_vec f64_xor_lanes(f64_vec a, int d) {
  switch (d) {
  case 1: return _mm256_permute_pd(a, 0x5);
  default: return _mm256_permute2f128_pd(a, a, 0x01);
  }
}

/* Rows j and 4 + j to the halves of register j: insertions from memory, which take no shuffle; then
 * 4 x 4 transpositions within the halves. */
SMC_INLINE void f32_transpose_blocks(f32_vec r[4]) {
  f32_vec t0 = _mm256_unpacklo_ps(r[0], r[1]), t1 = _mm256_unpackhi_ps(r[0], r[1]);
  f32_vec t2 = _mm256_unpacklo_ps(r[2], r[3]), t3 = _mm256_unpackhi_ps(r[2], r[3]);
  r[0] = _mm256_shuffle_ps(t0, t2, 0x44);
  r[1] = _mm256_shuffle_ps(t0, t2, 0xee);
  r[2] = _mm256_shuffle_ps(t1, t3, 0x44);
  r[3] = _mm256_shuffle_ps(t1, t3, 0xee);
}

SMC_INLINE void f32_load_quad(const char *p, ptrdiff_t step, f32_vec c[4]) {
  SMC_UNROLLED for (int j = 0; j < 4; ++j, p += step) {
    f32_vec r = _mm256_castps128_ps256(_mm_loadu_ps((const float *)p));
    c[j] = _mm256_insertf128_ps(r, _mm_loadu_ps((const float *)(p + 4 * step)), 1);
  }
  f32_transpose_blocks(c);
}

SMC_INLINE void f32_store_quad(char *p, ptrdiff_t step, const f32_vec c[4]) {
  f32_vec r[4] = {c[0], c[1], c[2], c[3]};
  f32_transpose_blocks(r);
  SMC_UNROLLED for (int j = 0; j < 4; ++j) {
    _mm_storeu_ps((float *)(p + j * step), _mm256_castps256_ps128(r[j]));
  }
  SMC_UNROLLED for (int j = 0; j < 4; ++j) {
    _mm_storeu_ps((float *)(p + (4 + j) * step), _mm256_extractf128_ps(r[j], 1));
  }
}

/* Likewise rows j and 2 + j, two columns at a time. */
SMC_INLINE void f64_load_quad(const char *p, ptrdiff_t step, f64_vec c[4]) {
  SMC_UNROLLED for (int h = 0; h < 4; h += 2, p += 16) {
    f64_vec r[2];
    SMC_UNROLLED for (int j = 0; j < 2; ++j) {
      const char *q = p + j * step;
      r[j] = _mm256_castpd128_pd256(_mm_loadu_pd((const double *)q));
      r[j] = _mm256_insertf128_pd(r[j], _mm_loadu_pd((const double *)(q + 2 * step)), 1);
    }
    c[h] = _mm256_unpacklo_pd(r[0], r[1]);
    c[h + 1] = _mm256_unpackhi_pd(r[0], r[1]);
  }
}

SMC_INLINE void f64_store_quad(char *p, ptrdiff_t step, const f64_vec c[4]) {
  SMC_UNROLLED for (int h = 0; h < 4; h += 2, p += 16) {
    f64_vec r[2] = {_mm256_unpacklo_pd(c[h], c[h + 1]), _mm256_unpackhi_pd(c[h], c[h + 1])};
    SMC_UNROLLED for (int j = 0; j < 2; ++j) {
      char *q = p + j * step;
      _mm_storeu_pd((double *)q, _mm256_castpd256_pd128(r[j]));
      _mm_storeu_pd((double *)(q + 2 * step), _mm256_extractf128_pd(r[j], 1));
    }
  }
}

/* ---- half precisions: eight 16-bit elements to and from eight floats ------------------------- */

SMC_INLINE f32_vec smc_widen_f16(__m128i h) { return _mm256_cvtph_ps(h); }

SMC_INLINE f32_vec smc_widen_bf16(__m128i h) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

SMC_INLINE __m128i smc_narrow_f16(f32_vec a) {
  return _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

SMC_INLINE __m128i smc_narrow_bf16(f32_vec a) {
  __m256i u = _mm256_castps_si256(a);
  __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
  __m256i up = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
  up = _mm256_srli_epi32(up, 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(up), _mm256_extracti128_si256(up, 1));
}

#define SMC_AVX2_HALF(D)                                                                           \
  SMC_INLINE f32_vec D##_load(const void *p) {                                                     \
    return smc_widen_##D(_mm_loadu_si128((const __m128i *)p));                                     \
  }                                                                                                \
  SMC_INLINE f32_vec D##_load_n(const void *p, size_t n, f32_vec fill) {                           \
    uint16_t part[8] = {0};                                                                        \
    memcpy(part, p, n * sizeof part[0]);                                                           \
    return _mm256_blendv_ps(fill, D##_load(part), _mm256_castsi256_ps(f32_first(n)));              \
  }                                                                                                \
  SMC_INLINE void D##_store(void *p, f32_vec a) {                                                  \
    _mm_storeu_si128((__m128i *)p, smc_narrow_##D(a));                                             \
  }                                                                                                \
  SMC_INLINE void D##_store_n(void *p, f32_vec a, size_t n) {                                      \
    uint16_t part[8];                                                                              \
    D##_store(part, a);                                                                            \
    memcpy(p, part, n * sizeof part[0]);                                                           \
  }

SMC_AVX2_HALF(f16)
SMC_AVX2_HALF(bf16)

#endif
