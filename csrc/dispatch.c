/* From the registry of targets to those this processor can run.  Compiled at the baseline. */
#include "cpu.h"
#include "smcore_kernels.h"

#define SMC_TARGET(name)                                                                           \
  extern const smc_kernels smc_kernels_##name##_f32, smc_kernels_##name##_f64,                     \
      smc_kernels_##name##_f16, smc_kernels_##name##_bf16;
#include "targets.def"
#undef SMC_TARGET

static const struct {
  smc_target target;
  int (*runs_here)(void);
} compiled[] = {
#define SMC_TARGET(name)                                                                           \
  {{#name,                                                                                         \
    {[SMC_F32] = &smc_kernels_##name##_f32,                                                        \
     [SMC_F64] = &smc_kernels_##name##_f64,                                                        \
     [SMC_F16] = &smc_kernels_##name##_f16,                                                        \
     [SMC_BF16] = &smc_kernels_##name##_bf16}},                                                    \
   smc_cpu_has_##name},
#include "targets.def"
#undef SMC_TARGET
};

const smc_target *smc_available(size_t index) {
  for (size_t i = 0; i < sizeof compiled / sizeof *compiled; ++i) {
    if (compiled[i].runs_here() && index-- == 0) return &compiled[i].target;
  }
  return NULL;
}

const char *smc_compiler(void) {
#if defined(__clang__)
  return "Clang " __clang_version__;
#elif defined(__GNUC__)
  return "GCC " __VERSION__;
#elif defined(_MSC_VER)
#define SMC_TEXT_(x) #x
#define SMC_TEXT(x) SMC_TEXT_(x)
  return "MSVC " SMC_TEXT(_MSC_VER);
#else
  return "unknown";
#endif
}
