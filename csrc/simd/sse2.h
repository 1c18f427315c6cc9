/* x86 with SSE2, which every x86-64 processor has: 4 floats, 2 doubles. */
#ifndef SMC_SIMD_SSE2_H
#define SMC_SIMD_SSE2_H

#include <emmintrin.h>

/* The instruction is a comparison and the choice in one, the second operand for NaN. */
#define SMC_GENERIC_MAX(T, a, b) smc_max_##T(a, b)
#define smc_max_f32 _mm_max_ps
#define smc_max_f64 _mm_max_pd

#define SMC_GENERIC_LANE_BITS(T, m) smc_lane_bits_##T(m)
#define smc_lane_bits_f32(m) (uint32_t)_mm_movemask_ps((__m128)(m))
#define smc_lane_bits_f64(m) (uint32_t)_mm_movemask_pd((__m128d)(m))

#include "generic.h"

#endif
