/* What this processor, and the operating system on it, can run. */
#ifndef SMC_CPU_H
#define SMC_CPU_H

/* One function for each row of targets.def: whether its instructions may be used here. */
#define SMC_TARGET(name) int smc_cpu_has_##name(void);
#include "targets.def"
#undef SMC_TARGET

#endif
