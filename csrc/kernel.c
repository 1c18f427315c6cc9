/* The kernels of one instruction set for one stored type.  Compiled once for each row of
 * targets.def and each smc_dtype, with the flags of the target, -DSMC_TARGET_NAME=avx512 and the
 * like, -DSMC_D the type stored and -DSMC_T the one computed in.  Everything but the table is
 * static, so that no instruction of one target can be linked into the code of another. */
#include "smcore_kernels.h"

#define SMC_TEXT_(x) #x
#define SMC_TEXT(x) SMC_TEXT_(x)
/* clang-format off */
#include SMC_TEXT(simd/SMC_TARGET_NAME.h)
/* clang-format on */

#include "kernels/ops.h"

#define SMC_TABLE_NAME_(target, type) smc_kernels_##target##_##type
#define SMC_TABLE_NAME(target, type) SMC_TABLE_NAME_(target, type)

extern const smc_kernels SMC_TABLE_NAME(SMC_TARGET_NAME, SMC_D);
const smc_kernels SMC_TABLE_NAME(SMC_TARGET_NAME, SMC_D) = {
#define SMC_OP(name, ...) .name = op_##name,
#include "ops.def"
    .plan = op_plan,
};
