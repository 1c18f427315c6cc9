#include "cpu.h"

#include <stddef.h>
#include <stdint.h>

int smc_cpu_has_scalar(void) { return 1; }

#ifdef SMC_HAVE_generic
#if defined(__s390x__)
#include <sys/auxv.h>
int smc_cpu_has_generic(void) { return (getauxval(AT_HWCAP) & HWCAP_S390_VXRS_EXT) != 0; } /* z14 */
#elif defined(__riscv)
#include <sys/syscall.h>
#include <unistd.h>
/* riscv_hwprobe (Linux, Documentation/arch/riscv/hwprobe.rst), key IMA_EXT_0, bit IMA_V.  Not
 * AT_HWCAP: for vectors of a draft, version 0.7, some systems set its bit, too. */
int smc_cpu_has_generic(void) {
  struct {
    int64_t key;
    uint64_t value;
  } extensions = {4, 0};
  const long riscv_hwprobe = 258;
  return syscall(riscv_hwprobe, &extensions, 1L, 0L, NULL, 0L) == 0 && (extensions.value & 4) != 0;
}
#else
int smc_cpu_has_generic(void) { return 1; } /* what the compiler uses everywhere */
#endif
#endif

#ifdef SMC_HAVE_neon
int smc_cpu_has_neon(void) { return 1; } /* part of the arm64 baseline */
#endif

#ifdef SMC_HAVE_sse2
int smc_cpu_has_sse2(void) { return 1; } /* part of the x86-64 baseline; NumPy's on 32-bit x86 */
#endif

#if defined(SMC_HAVE_avx2) || defined(SMC_HAVE_avx512)

#if defined(_MSC_VER)
#include <intrin.h>
static void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t r[4]) {
  __cpuidex((int *)r, (int)leaf, (int)subleaf);
}
static uint64_t xgetbv(void) { return _xgetbv(0); }
#else
#include <cpuid.h>
static void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t r[4]) {
  __cpuid_count(leaf, subleaf, r[0], r[1], r[2], r[3]);
}
/* The instruction itself: the intrinsic would need -mxsave, and this file is baseline code. */
static uint64_t xgetbv(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return ((uint64_t)high << 32) | low;
}
#endif

/* Bits are numbered as in the Intel Software Developer's Manual, volume 2A, CPUID. */
enum { FMA = 1u << 12, OSXSAVE = 1u << 27, AVX = 1u << 28, F16C = 1u << 29 }; /* leaf 1, ecx */
enum { BMI1 = 1u << 3, AVX2 = 1u << 5, BMI2 = 1u << 8 };                      /* leaf 7, ebx */
enum { AVX512F = 1u << 16, AVX512DQ = 1u << 17, AVX512BW = 1u << 30 };        /* leaf 7, ebx */
static const uint32_t AVX512VL = 1u << 31, POPCNT = 1u << 23;

/* The registers that the operating system saves: XMM, YMM; opmask, upper ZMM, the other ZMM. */
enum { SAVES_YMM = 0x06, SAVES_ZMM = 0xe6 };

static int all(uint64_t value, uint64_t bits) { return (value & bits) == bits; }

static int has_leaf1_and_leaf7(uint32_t leaf1, uint32_t leaf7, uint64_t saved) {
  uint32_t r[4];
  cpuid(0, 0, r);
  if (r[0] < 7) return 0;
  cpuid(1, 0, r);
  if (!all(r[2], leaf1 | OSXSAVE) || !all(xgetbv(), saved)) return 0;
  cpuid(7, 0, r);
  return all(r[1], leaf7);
}

#ifdef SMC_HAVE_avx2
int smc_cpu_has_avx2(void) {
  return has_leaf1_and_leaf7(FMA | AVX | F16C | POPCNT, AVX2 | BMI1 | BMI2, SAVES_YMM);
}
#endif

#ifdef SMC_HAVE_avx512
int smc_cpu_has_avx512(void) {
#ifdef SMC_EMULATES_avx512
  return smc_cpu_has_avx2();
#else
  return has_leaf1_and_leaf7(FMA | AVX | F16C | POPCNT,
                             AVX2 | BMI1 | BMI2 | AVX512F | AVX512DQ | AVX512BW | AVX512VL,
                             SAVES_ZMM);
#endif
}
#endif

#endif
