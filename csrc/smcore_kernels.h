/* The contract of the C core: kernels for rows of classes, one table for each instruction set.
 *
 * An operand is a view of n rows of k elements; strides are in bytes and may be anything, negative
 * or zero included, as long as every element is aligned for its type.  An output may be the very
 * memory of an input (same address, same strides), and otherwise overlaps none.  Kernels allocate
 * nothing, keep no state and never fail: whoever calls has judged the arguments.  k >= 1.  64 KiB
 * of stack are enough.
 *
 * Rows are independent of each other: a caller with threads shares them out.  What a kernel alone
 * can share is a row, if it is very long: to that end it is given a smc_parallel, or NULL.
 */
#ifndef SMCORE_KERNELS_H
#define SMCORE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "smcore_plan.h"

typedef enum { SMC_F32, SMC_F64, SMC_F16, SMC_BF16, SMC_DTYPES } smc_dtype;

/* over(context, parts, body, work) calls body(work, begin, end) on disjoint ranges that make up
 * [0, parts), any number of them at once, and returns 0 when all are done.  Results do not depend
 * on it.  If it returns anything else, parts were left out: what the kernel makes of the row means
 * nothing, and it begins no other. */
typedef struct {
  int (*over)(void *context, size_t parts, void (*body)(void *, size_t, size_t), void *work);
  void *context;
} smc_parallel;

typedef struct {
  void *data;    /* written only where the operand is an output */
  ptrdiff_t row; /* from one row to the next */
  ptrdiff_t col; /* from one element of a row to the next */
} smc_view;

/* The distribution that cross_entropy compares with: a_c = w_c (on t_c + off), where t is one-hot
 * at the row's label or, without labels, given by the operand `soft`. */
typedef struct {
  /* k of the type computed in (float for f32, f16, bf16; double for f64); NULL for ones */
  const void *weight;
  double on, off;
  double z_loss; /* times the squared logsumexp: added to the loss of a row that counts */
  double factor; /* of the gradient */
} smc_targets;

enum { SMC_MAX_OPERANDS = 7 };

typedef struct {
  smc_view operands[SMC_MAX_OPERANDS]; /* in the order of ops.def */
  size_t n, k, j;                      /* rows; classes of each; features of a layer */
  double scale;                        /* of x */
  const smc_targets *targets;          /* of cross_entropy */
  const smc_parallel *parallel;        /* or NULL */
} smc_call;

typedef void smc_kernel(const smc_call *call);

typedef enum {
#define SMC_OP(name, ...) SMC_OP_##name,
#include "ops.def"
#undef SMC_OP
  SMC_OPS
} smc_op;

/* The kernels for one stored type, and how they would go about a call (plan.h). */
typedef struct {
#define SMC_OP(name, ...) smc_kernel *name;
#include "ops.def"
#undef SMC_OP
  void (*plan)(smc_op op, const smc_call *call, const smc_caches *caches, smc_plan *plan);
} smc_kernels;

typedef struct {
  const char *name;
  const smc_kernels *kernels[SMC_DTYPES];
} smc_target;

/* Targets compiled in that this processor can run, best first; NULL past the last. */
const smc_target *smc_available(size_t index);

/* The caches that kernels plan for: those of this machine once smc_set_caches(NULL) was called,
 * which asks it, or any others.  They decide how long kernels take, and no bit of a result.  Not to
 * be called while kernels run. */
const smc_caches *smc_get_caches(void);
void smc_set_caches(const smc_caches *caches);

/* The compiler that built the core. */
const char *smc_compiler(void);

#endif
