/* One instruction set's kernels.  Compiled once for each row of targets.def, with -DSMC_TARGET_NAME
 * and the flags of that target; everything but the table is static, so that no instruction of one
 * target can be linked into the code of another. */
#include "smcore_kernels.h"

#define SMC_TEXT_(x) #x
#define SMC_TEXT(x) SMC_TEXT_(x)
/* clang-format off */
#include SMC_TEXT(simd/SMC_TARGET_NAME.h)
/* clang-format on */

#include "kernels/coefficients.h"
#include "kernels/tuning.h"

#define SMC_T f32
#include "kernels/exact.h"
#include "kernels/exp.h"
#include "kernels/log1p.h"
#include "kernels/transpose.h"
#include "kernels/tile.h"
#include "kernels/softmax.h"
#define SMC_D f32
#include "kernels/product_passes.h"
#undef SMC_D
#define SMC_D f16
#include "kernels/product_passes.h"
#undef SMC_D
#define SMC_D bf16
#include "kernels/product_passes.h"
#undef SMC_D
#include "kernels/products.h"
#include "kernels/cross_entropy.h"
#include "kernels/merge.h"

#define SMC_D f32
#include "kernels/ops.h"
#undef SMC_D
#define SMC_D f16
#include "kernels/ops.h"
#undef SMC_D
#define SMC_D bf16
#include "kernels/ops.h"
#undef SMC_D
#undef SMC_T

#define SMC_T f64
#include "kernels/exact.h"
#include "kernels/exp.h"
#include "kernels/log1p.h"
#include "kernels/transpose.h"
#include "kernels/tile.h"
#include "kernels/softmax.h"
#define SMC_D f64
#include "kernels/product_passes.h"
#undef SMC_D
#include "kernels/products.h"
#include "kernels/cross_entropy.h"
#include "kernels/merge.h"

#define SMC_D f64
#include "kernels/ops.h"
#undef SMC_D
#undef SMC_T

#define SMC_TABLE_NAME_(name) smc_target_##name
#define SMC_TABLE_NAME(name) SMC_TABLE_NAME_(name)

extern const smc_target SMC_TABLE_NAME(SMC_TARGET_NAME);
const smc_target SMC_TABLE_NAME(SMC_TARGET_NAME) = {
    SMC_TEXT(SMC_TARGET_NAME),
    {
#define SMC_OP(name, signature) SMC_K(op_##name),
#define SMC_D f32
        {
#include "ops.def"
        },
#undef SMC_D
#define SMC_D f64
        {
#include "ops.def"
        },
#undef SMC_D
#define SMC_D f16
        {
#include "ops.def"
        },
#undef SMC_D
#define SMC_D bf16
        {
#include "ops.def"
        },
#undef SMC_D
    },
};
