/* x86-64 with AVX-512 F, BW, DQ, VL (Skylake-SP and Zen 4 onwards): 16 floats, 8 doubles. */
#ifndef SMC_SIMD_AVX512_H
#define SMC_SIMD_AVX512_H

#include <immintrin.h>

#include "common.h"

#define SMC_FUSED 1
#define SMC_FAST_HALVES 1
#define SMC_FAST_MASKS 1
#define SMC_FAST_MASKED_LOADS 1
#define SMC_NONTEMPORAL 1
#define SMC_WIDE_LDEXP 1
#define f32_OCTAVE 8
#define f32_OCTS 1
#define f64_OCTAVE 8
#define f64_OCTS 0

typedef __m512 f32_vec;
typedef __m512d f64_vec;
typedef __mmask16 f32_mask;
typedef __mmask8 f64_mask;
enum { f32_lanes = 16, f64_lanes = 8 };

/* The bits of a mask, widened in a general register.  GCC 12 may spill a mask that it widens to 64
 * bits by a store of 16, and then loads what the stack held before along with it. */
SMC_INLINE uint32_t smc_bits_of(uint32_t m) {
#if defined(__GNUC__) && !defined(__clang__)
  __asm__("" : "+r"(m));
#endif
  return m;
}

#define SMC_AVX512(T, s, bits)                                                                     \
  SMC_INLINE T##_vec T##_set1(T##_t a) { return _mm512_set1_##s(a); }                              \
  SMC_INLINE T##_vec T##_add(T##_vec a, T##_vec b) { return _mm512_add_##s(a, b); }                \
  SMC_INLINE T##_vec T##_sub(T##_vec a, T##_vec b) { return _mm512_sub_##s(a, b); }                \
  SMC_INLINE T##_vec T##_mul(T##_vec a, T##_vec b) { return _mm512_mul_##s(a, b); }                \
  SMC_INLINE T##_vec T##_div(T##_vec a, T##_vec b) { return _mm512_div_##s(a, b); }                \
  SMC_INLINE T##_vec T##_fma(T##_vec a, T##_vec b, T##_vec c) {                                    \
    return _mm512_fmadd_##s(a, b, c);                                                              \
  }                                                                                                \
  SMC_INLINE T##_vec T##_fnma(T##_vec a, T##_vec b, T##_vec c) {                                   \
    return _mm512_fnmadd_##s(a, b, c);                                                             \
  }                                                                                                \
  SMC_INLINE T##_vec T##_mul_err(T##_vec a, T##_vec b, T##_vec product) {                          \
    return _mm512_fmsub_##s(a, b, product);                                                        \
  }                                                                                                \
  SMC_INLINE T##_vec T##_max(T##_vec a, T##_vec b) { return _mm512_max_##s(a, b); }                \
  SMC_INLINE T##_vec T##_round(T##_vec a) {                                                        \
    return _mm512_roundscale_##s(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);                \
  }                                                                                                \
  SMC_INLINE T##_vec T##_ldexp(T##_vec a, T##_vec k) { return _mm512_scalef_##s(a, k); }           \
  SMC_INLINE T##_vec T##_logb(T##_vec a) { return _mm512_getexp_##s(a); }                          \
  SMC_INLINE T##_vec T##_abs(T##_vec a) { return _mm512_abs_##s(a); }                              \
  SMC_INLINE T##_mask T##_lt(T##_vec a, T##_vec b) {                                               \
    return _mm512_cmp_##s##_mask(a, b, _CMP_LT_OQ);                                                \
  }                                                                                                \
  SMC_INLINE T##_mask T##_eq(T##_vec a, T##_vec b) {                                               \
    return _mm512_cmp_##s##_mask(a, b, _CMP_EQ_OQ);                                                \
  }                                                                                                \
  SMC_INLINE T##_vec T##_select(T##_mask m, T##_vec a, T##_vec b) {                                \
    return _mm512_mask_blend_##s(m, b, a);                                                         \
  }                                                                                                \
  SMC_INLINE T##_mask T##_and(T##_mask a, T##_mask b) { return (T##_mask)(a & b); }                \
  SMC_INLINE T##_mask T##_or(T##_mask a, T##_mask b) { return (T##_mask)(a | b); }                 \
  SMC_INLINE T##_vec T##_add_if(T##_mask m, T##_vec a, T##_vec b) {                                \
    return _mm512_mask_add_##s(a, m, a, b);                                                        \
  }                                                                                                \
  SMC_INLINE size_t T##_count(T##_mask m) { return (size_t)_mm_popcnt_u32(smc_bits_of(m)); }       \
  SMC_INLINE uint32_t T##_lane_bits(T##_mask m) { return smc_bits_of(m); }                         \
  SMC_INLINE T##_mask T##_first(size_t n) { return (T##_mask)_bzhi_u32(0xffffu, (unsigned)n); }    \
  SMC_INLINE T##_vec T##_load(const void *p) { return _mm512_loadu_##s(p); }                       \
  SMC_INLINE T##_vec T##_load_n(const void *p, size_t n, T##_vec fill) {                           \
    return _mm512_mask_loadu_##s(fill, T##_first(n), p);                                           \
  }                                                                                                \
  SMC_INLINE void T##_store(void *p, T##_vec a) { _mm512_storeu_##s(p, a); }                       \
  SMC_INLINE void T##_store_n(void *p, T##_vec a, size_t n) {                                      \
    _mm512_mask_storeu_##s(p, T##_first(n), a);                                                    \
  }                                                                                                \
  SMC_INLINE void T##_store_nontemporal(void *p, T##_vec a) { _mm512_stream_##s(p, a); }

SMC_AVX512(f32, ps, 32)
SMC_AVX512(f64, pd, 64)

SMC_INLINE void smc_fence(void) { _mm_sfence(); }

SMC_INLINE f32_vec f32_xor_lanes(f32_vec a, int d) {
  switch (d) {
  case 1: return _mm512_permute_ps(a, 0xb1);
  case 2: return _mm512_permute_ps(a, 0x4e);
  case 4: return _mm512_shuffle_f32x4(a, a, 0xb1);
  default: return _mm512_shuffle_f32x4(a, a, 0x4e);
  }
}

SMC_INLINE f64_vec f64_xor_lanes(f64_vec a, int d) {
  switch (d) {
  case 1: return _mm512_permute_pd(a, 0x55);
  case 2: return _mm512_shuffle_f64x2(a, a, 0xb1);
  default: return _mm512_shuffle_f64x2(a, a, 0x4e);
  }
}

SMC_INLINE f32_vec f32_permute(f32_vec a, f32_vec from) {
  return _mm512_permutexvar_ps(_mm512_castps_si512(from), a);
}

SMC_INLINE f64_vec f64_permute(f64_vec a, f64_vec from) {
  return _mm512_permutexvar_pd(_mm512_castpd_si512(from), a);
}

/* The low bits of the sum with ROUNDER, moved into the exponent's place. */
SMC_INLINE f32_vec f32_power(f32_vec k) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(k), 23));
}

SMC_INLINE f64_vec f64_power(f64_vec k) {
  return _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(k), 52));
}

/* The eight entries, for float twice, fill a register: k mod 8 is looked up by a permutation. */
SMC_INLINE f32_vec f32_step_power(f32_vec k, const f32_word steps[8]) {
  __m512i index = _mm512_castps_si512(k);
  __m256i half = _mm256_loadu_si256((const __m256i *)steps);
  __m512i table = _mm512_inserti64x4(_mm512_castsi256_si512(half), half, 1);
  __m512i step = _mm512_permutexvar_epi32(index, table);
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_slli_epi32(index, 20), step));
}

SMC_INLINE f64_vec f64_step_power(f64_vec k, const f64_word steps[8]) {
  __m512i index = _mm512_castpd_si512(k), table = _mm512_loadu_si512(steps);
  __m512i step = _mm512_permutexvar_epi64(index, table);
  return _mm512_castsi512_pd(_mm512_add_epi64(_mm512_slli_epi64(index, 49), step));
}

/* Rows 4b + j to block b of 128 bits of register j: insertions from memory, which take no shuffle;
 * then 4 x 4 transpositions within the blocks. */
SMC_INLINE void f32_transpose_blocks(f32_vec r[4]) {
  f32_vec t0 = _mm512_unpacklo_ps(r[0], r[1]), t1 = _mm512_unpackhi_ps(r[0], r[1]);
  f32_vec t2 = _mm512_unpacklo_ps(r[2], r[3]), t3 = _mm512_unpackhi_ps(r[2], r[3]);
  r[0] = _mm512_shuffle_ps(t0, t2, 0x44);
  r[1] = _mm512_shuffle_ps(t0, t2, 0xee);
  r[2] = _mm512_shuffle_ps(t1, t3, 0x44);
  r[3] = _mm512_shuffle_ps(t1, t3, 0xee);
}

SMC_INLINE void f32_load_quad(const char *p, ptrdiff_t step, f32_vec c[4]) {
  SMC_UNROLLED for (int j = 0; j < 4; ++j, p += step) {
    f32_vec r = _mm512_castps128_ps512(_mm_loadu_ps((const float *)p));
    r = _mm512_insertf32x4(r, _mm_loadu_ps((const float *)(p + 4 * step)), 1);
    r = _mm512_insertf32x4(r, _mm_loadu_ps((const float *)(p + 8 * step)), 2);
    c[j] = _mm512_insertf32x4(r, _mm_loadu_ps((const float *)(p + 12 * step)), 3);
  }
  f32_transpose_blocks(c);
}

SMC_INLINE void f32_store_quad(char *p, ptrdiff_t step, const f32_vec c[4]) {
  f32_vec r[4] = {c[0], c[1], c[2], c[3]};
  f32_transpose_blocks(r);
  SMC_UNROLLED for (int j = 0; j < 4; ++j) {
    _mm_storeu_ps((float *)(p + j * step), _mm512_castps512_ps128(r[j]));
  }
  SMC_UNROLLED for (int j = 0; j < 4; ++j) {
    _mm_storeu_ps((float *)(p + (4 + j) * step), _mm512_extractf32x4_ps(r[j], 1));
  }
  SMC_UNROLLED for (int j = 0; j < 4; ++j) {
    _mm_storeu_ps((float *)(p + (8 + j) * step), _mm512_extractf32x4_ps(r[j], 2));
  }
  SMC_UNROLLED for (int j = 0; j < 4; ++j) {
    _mm_storeu_ps((float *)(p + (12 + j) * step), _mm512_extractf32x4_ps(r[j], 3));
  }
}

/* Eight columns: two rows' halves of lines to a register, and the blocks of each four columns from
 * those. */
SMC_INLINE void f32_load_oct(const char *p, ptrdiff_t step, f32_vec c[8]) {
  SMC_UNROLLED for (int j = 0; j < 4; ++j, p += step) {
    f32_vec r[2];
    SMC_UNROLLED for (int h = 0; h < 2; ++h) {
      const char *q = p + 8 * h * step;
      r[h] = _mm512_castps256_ps512(_mm256_loadu_ps((const float *)q));
      r[h] = _mm512_insertf32x8(r[h], _mm256_loadu_ps((const float *)(q + 4 * step)), 1);
    }
    c[j] = _mm512_shuffle_f32x4(r[0], r[1], 0x88);
    c[4 + j] = _mm512_shuffle_f32x4(r[0], r[1], 0xdd);
  }
  f32_transpose_blocks(c);
  f32_transpose_blocks(c + 4);
}

SMC_INLINE void f32_store_oct(char *p, ptrdiff_t step, const f32_vec c[8]) {
  f32_vec r[8];
  SMC_UNROLLED for (int j = 0; j < 8; ++j) r[j] = c[j];
  f32_transpose_blocks(r);
  f32_transpose_blocks(r + 4);
  /* Blocks 0 and 1, or 2 and 3, of both: a row's two side by side. */
  const __m512i low = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
  const __m512i high = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
  SMC_UNROLLED for (int h = 0; h < 2; ++h) {
    SMC_UNROLLED for (int j = 0; j < 4; ++j) {
      const __m512d two = _mm512_permutex2var_pd(_mm512_castps_pd(r[j]), h ? high : low,
                                                 _mm512_castps_pd(r[4 + j]));
      char *q = p + (8 * h + j) * step;
      _mm256_storeu_pd((double *)q, _mm512_castpd512_pd256(two));
      _mm256_storeu_pd((double *)(q + 4 * step), _mm512_extractf64x4_pd(two, 1));
    }
  }
}

/* Likewise rows 2b + j, two columns at a time. */
SMC_INLINE void f64_load_quad(const char *p, ptrdiff_t step, f64_vec c[4]) {
  SMC_UNROLLED for (int h = 0; h < 4; h += 2, p += 16) {
    f64_vec r[2];
    SMC_UNROLLED for (int j = 0; j < 2; ++j) {
      const char *q = p + j * step;
      r[j] = _mm512_castpd128_pd512(_mm_loadu_pd((const double *)q));
      r[j] = _mm512_insertf64x2(r[j], _mm_loadu_pd((const double *)(q + 2 * step)), 1);
      r[j] = _mm512_insertf64x2(r[j], _mm_loadu_pd((const double *)(q + 4 * step)), 2);
      r[j] = _mm512_insertf64x2(r[j], _mm_loadu_pd((const double *)(q + 6 * step)), 3);
    }
    c[h] = _mm512_unpacklo_pd(r[0], r[1]);
    c[h + 1] = _mm512_unpackhi_pd(r[0], r[1]);
  }
}

SMC_INLINE void f64_store_quad(char *p, ptrdiff_t step, const f64_vec c[4]) {
  SMC_UNROLLED for (int h = 0; h < 4; h += 2, p += 16) {
    f64_vec r[2] = {_mm512_unpacklo_pd(c[h], c[h + 1]), _mm512_unpackhi_pd(c[h], c[h + 1])};
    SMC_UNROLLED for (int j = 0; j < 2; ++j) {
      char *q = p + j * step;
      _mm_storeu_pd((double *)q, _mm512_castpd512_pd128(r[j]));
      _mm_storeu_pd((double *)(q + 2 * step), _mm512_extractf64x2_pd(r[j], 1));
      _mm_storeu_pd((double *)(q + 4 * step), _mm512_extractf64x2_pd(r[j], 2));
      _mm_storeu_pd((double *)(q + 6 * step), _mm512_extractf64x2_pd(r[j], 3));
    }
  }
}

/* ---- half precisions: sixteen 16-bit elements to and from sixteen floats --------------------- */

SMC_INLINE __m256i smc_load16(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }

SMC_INLINE f32_vec smc_widen_f16(__m256i h) { return _mm512_cvtph_ps(h); }

/* They become the upper halves of floats. */
SMC_INLINE f32_vec smc_widen_bf16(__m256i h) {
  const __m512i from =
      _mm512_set_epi32(0xf0000, 0xe0000, 0xd0000, 0xc0000, 0xb0000, 0xa0000, 0x90000, 0x80000,
                       0x70000, 0x60000, 0x50000, 0x40000, 0x30000, 0x20000, 0x10000, 0);
  return _mm512_castsi512_ps(
      _mm512_maskz_permutexvar_epi16(0xaaaaaaaa, from, _mm512_castsi256_si512(h)));
}

SMC_INLINE __m256i smc_narrow_f16(f32_vec a) {
  return _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* The upper halves, rounded. */
SMC_INLINE __m256i smc_narrow_bf16(f32_vec a) {
  const __m512i from = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0x1f001d, 0x1b0019, 0x170015,
                                        0x130011, 0xf000d, 0xb0009, 0x70005, 0x30001);
  __m512i u = _mm512_castps_si512(a);
  __mmask16 odd = _mm512_test_epi32_mask(u, _mm512_set1_epi32(0x10000));
  __m512i up = _mm512_add_epi32(u, _mm512_set1_epi32(0x7fff));
  up = _mm512_mask_add_epi32(up, odd, u, _mm512_set1_epi32(0x8000));
  return _mm512_castsi512_si256(_mm512_permutexvar_epi16(from, up));
}

#define SMC_AVX512_HALF(D)                                                                         \
  SMC_INLINE f32_vec D##_load(const void *p) { return smc_widen_##D(smc_load16(p)); }              \
  SMC_INLINE f32_vec D##_load_n(const void *p, size_t n, f32_vec fill) {                           \
    f32_vec a = smc_widen_##D(_mm256_maskz_loadu_epi16(f32_first(n), p));                          \
    return _mm512_mask_blend_ps(f32_first(n), fill, a);                                            \
  }                                                                                                \
  SMC_INLINE void D##_store(void *p, f32_vec a) {                                                  \
    _mm256_storeu_si256((__m256i *)p, smc_narrow_##D(a));                                          \
  }                                                                                                \
  SMC_INLINE void D##_store_n(void *p, f32_vec a, size_t n) {                                      \
    _mm256_mask_storeu_epi16(p, f32_first(n), smc_narrow_##D(a));                                  \
  }

SMC_AVX512_HALF(f16)
SMC_AVX512_HALF(bf16)

#endif
