# What `cimport smcore` finds: include/smcore.h says what the functions do.

from smcore._core cimport (
    BF16,
    F16,
    F32,
    F64,
    cross_entropy_rows,
    log_softmax_jvp_rows,
    log_softmax_rows,
    log_softmax_vjp_rows,
    logsumexp_rows,
    logsumexp_vjp_rows,
    softmax_rows,
    softmax_vjp_rows,
    sum_values,
)
