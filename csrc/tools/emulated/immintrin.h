/* AVX-512 for a processor without it.  With SMCORE_EMULATE=avx512 this file is found in place of
 * the compiler's: it takes AVX2 and the types from there, the intrinsics from SIMD Everywhere
 * (https://github.com/simd-everywhere/simde, 0.7.4 or newer), and has itself those of simd/avx512.h
 * that are missing there or not exact.  Slow: for tests. */
#ifndef SMC_EMULATED_IMMINTRIN_H
#define SMC_EMULATED_IMMINTRIN_H

#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <math.h>
#include <simde/x86/avx512.h>
#include <string.h>

#define SMC_EMULATED static inline __attribute__((always_inline, unused))
#define SMC_LANES(i, n) for (int i = 0; i < (n); ++i)

#define SMC_EMULATE(s, x, vector, scalar, n, logb_, ldexp_, select)                                \
  SMC_EMULATED vector smc_mask_loadu_##s(vector a, unsigned m, const void *p) {                    \
    SMC_LANES(i, n)                                                                                \
    if (m >> i & 1) memcpy((scalar *)&a + i, (const scalar *)p + i, sizeof(scalar));               \
    return a;                                                                                      \
  }                                                                                                \
  SMC_EMULATED void smc_mask_storeu_##s(void *p, unsigned m, vector a) {                           \
    SMC_LANES(i, n) if (m >> i & 1) memcpy((scalar *)p + i, (scalar *)&a + i, sizeof(scalar));     \
  }                                                                                                \
  SMC_EMULATED vector smc_getexp_##s(vector a) {                                                   \
    SMC_LANES(i, n) a[i] = logb_(a[i]);                                                            \
    return a;                                                                                      \
  }                                                                                                \
  SMC_EMULATED vector smc_scalef_##s(vector a, vector k) {                                         \
    SMC_LANES(i, n) a[i] = ldexp_(a[i], (int)k[i]);                                                \
    return a;                                                                                      \
  }                                                                                                \
  SMC_EMULATED vector smc_permute_##s(vector a, int imm) {                                         \
    vector r = a;                                                                                  \
    SMC_LANES(i, n) r[i] = a[select];                                                              \
    return r;                                                                                      \
  }                                                                                                \
  SMC_EMULATED vector smc_shuffle_##x(vector a, vector b, int imm) {                               \
    vector r = a;                                                                                  \
    SMC_LANES(i, n) {                                                                              \
      const int quarter = n / 4, part = i / quarter, lane = (imm >> 2 * part & 3) * quarter;       \
      r[i] = part < 2 ? a[lane + i % quarter] : b[lane + i % quarter];                             \
    }                                                                                              \
    return r;                                                                                      \
  }

SMC_EMULATE(ps, f32x4, __m512, float, 16, logbf, ldexpf, (i & ~3) | (imm >> 2 * (i & 3) & 3))
SMC_EMULATE(pd, f64x2, __m512d, double, 8, logb, ldexp, (i & ~1) | (imm >> i & 1))

SMC_EMULATED __m256i smc_maskz_loadu_epi16(unsigned m, const void *p) {
  short lane[16] = {0};
  SMC_LANES(i, 16) if (m >> i & 1) memcpy(lane + i, (const short *)p + i, sizeof *lane);
  return _mm256_loadu_si256((const __m256i *)lane);
}

SMC_EMULATED void smc_mask_storeu_epi16(void *p, unsigned m, __m256i a) {
  SMC_LANES(i, 16) if (m >> i & 1) memcpy((short *)p + i, (short *)&a + i, sizeof(short));
}

/* Two halves of AVX2. */
typedef union {
  __m512 ps;
  __m256 half_ps[2];
} smc_halves;

typedef union {
  __m256i all;
  __m128i half[2];
} smc_sixteen;

SMC_EMULATED __m512 smc_cvtph_ps(__m256i a) {
  smc_sixteen h = {a};
  smc_halves r;
  SMC_LANES(i, 2) r.half_ps[i] = _mm256_cvtph_ps(h.half[i]);
  return r.ps;
}

#define smc_cvtps_ph(a, rounding)                                                                  \
  (__extension__({                                                                                 \
    smc_halves wide_ = {a};                                                                        \
    smc_sixteen half_;                                                                             \
    SMC_LANES(i, 2) half_.half[i] = _mm256_cvtps_ph(wide_.half_ps[i], rounding);                   \
    half_.all;                                                                                     \
  }))

SMC_EMULATED __m128d smc_extractf64x2_pd(__m512d a, int quarter) {
  return _mm_loadu_pd((const double *)&a + 2 * quarter);
}

/* These take the compiler's names, as the aliases of SIMD Everywhere do. */
#undef _mm512_scalef_ps
#undef _mm512_scalef_pd
#undef _mm512_permute_ps
#undef _mm512_permute_pd
#undef _mm512_shuffle_f32x4
#undef _mm512_shuffle_f64x2
#undef _mm512_cvtps_ph
#undef _mm512_stream_ps
#undef _mm512_stream_pd
#define _mm512_mask_loadu_ps smc_mask_loadu_ps
#define _mm512_mask_loadu_pd smc_mask_loadu_pd
#define _mm512_mask_storeu_ps smc_mask_storeu_ps
#define _mm512_mask_storeu_pd smc_mask_storeu_pd
#define _mm512_stream_ps(p, a) _mm512_storeu_ps(p, a)
#define _mm512_stream_pd(p, a) _mm512_storeu_pd(p, a)
#define _mm512_getexp_ps smc_getexp_ps
#define _mm512_getexp_pd smc_getexp_pd
#define _mm512_scalef_ps smc_scalef_ps
#define _mm512_scalef_pd smc_scalef_pd
#define _mm512_permute_ps smc_permute_ps
#define _mm512_permute_pd smc_permute_pd
#define _mm512_shuffle_f32x4 smc_shuffle_f32x4
#define _mm512_shuffle_f64x2 smc_shuffle_f64x2
#define _mm256_maskz_loadu_epi16 smc_maskz_loadu_epi16
#define _mm256_mask_storeu_epi16 smc_mask_storeu_epi16
#define _mm512_cvtph_ps smc_cvtph_ps
#define _mm512_cvtps_ph smc_cvtps_ph
#define _mm512_extractf64x2_pd smc_extractf64x2_pd

#endif
