/* x86 with SSE2, which every x86-64 processor has: 4 floats, 2 doubles. */
#ifndef SMC_SIMD_SSE2_H
#define SMC_SIMD_SSE2_H

#include <emmintrin.h>

/* The instruction is a comparison and the choice in one, the second operand for NaN. */
#define SMC_GENERIC_MAX(T, a, b) smc_max_##T(a, b)
#define smc_max_f32 _mm_max_ps
#define smc_max_f64 _mm_max_pd

#define SMC_SMALL 1 /* few processors run nothing better */
#include "generic.h"

#endif
