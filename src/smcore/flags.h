/* The flag that the processor sets when a result underflows.
 *
 * Exponentials that come to nothing set it, and so do lanes without data.  The C library's
 * functions take as long as a call for ten numbers on x86-64, where they look after the x87 unit,
 * too.
 */
#ifndef SMCORE_FLAGS_H
#define SMCORE_FLAGS_H

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>

static inline int smc_has_underflowed(void) { return (_mm_getcsr() & _MM_EXCEPT_UNDERFLOW) != 0; }

static inline void smc_forget_underflow(void) {
  _mm_setcsr(_mm_getcsr() & ~(unsigned)_MM_EXCEPT_UNDERFLOW);
}
#else
#include <fenv.h>

static inline int smc_has_underflowed(void) { return fetestexcept(FE_UNDERFLOW) != 0; }

static inline void smc_forget_underflow(void) { feclearexcept(FE_UNDERFLOW); }
#endif

#endif
