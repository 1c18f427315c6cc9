/* The flags that the processor sets when a result is not what arithmetic says.
 *
 * Exponentials that come to nothing underflow, and so do lanes without data.  On x86-64 the C
 * library's functions look after the x87 unit, too, and take as long as a call for ten numbers.
 */
#ifndef SMCORE_FLAGS_H
#define SMCORE_FLAGS_H

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>

enum { SMC_UNDERFLOW = _MM_EXCEPT_UNDERFLOW, SMC_ALL_FLAGS = _MM_EXCEPT_MASK };

/* Those that are set, and to clear some. */
static inline unsigned smc_flags(void) { return _mm_getcsr() & SMC_ALL_FLAGS; }

static inline void smc_clear_flags(unsigned flags) { _mm_setcsr(_mm_getcsr() & ~flags); }
#else
#include <fenv.h>

enum { SMC_UNDERFLOW = FE_UNDERFLOW, SMC_ALL_FLAGS = FE_ALL_EXCEPT };

static inline unsigned smc_flags(void) { return (unsigned)fetestexcept(SMC_ALL_FLAGS); }

static inline void smc_clear_flags(unsigned flags) { feclearexcept((int)flags); }
#endif

#endif
