/* The kernels as a shared library, for tests/fuzz/: it shows its functions where theirs are
 * hidden. */
#include "smcore_kernels.h"

__attribute__((visibility("default"))) const smc_target *smc_fuzzed(size_t index);
__attribute__((visibility("default"))) void smc_soil_stack(uint64_t pattern);

const smc_target *smc_fuzzed(size_t index) { return smc_available(index); }

/* Fill the stack that the next call will have, so that what a kernel has not set is always the
 * same. */
void smc_soil_stack(uint64_t pattern) {
  volatile uint64_t words[1 << 14];
  for (size_t i = 0; i < sizeof words / sizeof *words; ++i) words[i] = pattern;
}
