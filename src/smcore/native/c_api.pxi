# The C API: operations on rows, for callers that are not Python.  Cython exports the functions of
# _core.pxd; a capsule has them as include/smcore.h, which is their contract, lists them.

cdef extern from *:
    """
    #include "include/smcore.h"

    static_assert((int)SMCORE_F32 == (int)SMC_F32 && (int)SMCORE_F64 == (int)SMC_F64 &&
                  (int)SMCORE_F16 == (int)SMC_F16 && (int)SMCORE_BF16 == (int)SMC_BF16,
                  "dtypes are those of the kernels");
    """


cdef bint begin_rows(loop *self, int op, int dtype, size_t n, size_t k) noexcept nogil:
    """A loop over rows in the caller's thread; False if there can be none."""
    if not 0 <= dtype <= <int>SMC_BF16 or k == 0:
        return False
    prepare(self, active.kernels[dtype], op)
    self.blocks, self.rows, self.k, self.j, self.scale, self.parallel = 1, n, k, 0, 1, NULL
    return True


cdef inline ptrdiff_t stored_size(int dtype) noexcept nogil:
    return 4 if dtype == SMC_F32 else 8 if dtype == SMC_F64 else 2


cdef inline ptrdiff_t computed_size(int dtype) noexcept nogil:
    return 8 if dtype == SMC_F64 else 4


cdef inline void put_rows(
    loop *self, int i, int dtype, const void *data, ptrdiff_t row, ptrdiff_t col
) noexcept nogil:
    """Make them operand i; the strides are in elements."""
    cdef ptrdiff_t size = stored_size(dtype)
    self.operands[i] = operand(<char *>data, 0, row * size, col * size)


cdef inline void put_values(loop *self, int i, const void *data, ptrdiff_t size) noexcept nogil:
    """Make them operand i: one a row, side by side."""
    self.operands[i] = operand(<char *>data, 0, size, 0)


cdef int end_rows(loop *self) noexcept nogil:
    if self.rows:
        walk(self, 0, self.rows)
    return 0


cdef int map_rows(
    int op, int dtype, size_t n, size_t k,
    const void *x, ptrdiff_t x_row, ptrdiff_t x_col,
    void *y, ptrdiff_t y_row, ptrdiff_t y_col,
    double scale,
) noexcept nogil:
    cdef loop work
    if not begin_rows(&work, op, dtype, n, k):
        return -1
    put_rows(&work, 0, dtype, x, x_row, x_col)
    put_rows(&work, 1, dtype, y, y_row, y_col)
    work.scale = scale
    return end_rows(&work)


cdef int softmax_rows(
    int dtype, size_t n, size_t k,
    const void *x, ptrdiff_t x_row, ptrdiff_t x_col,
    void *y, ptrdiff_t y_row, ptrdiff_t y_col,
    double scale,
) noexcept nogil:
    return map_rows(
        SMC_OP_softmax, dtype, n, k, x, x_row, x_col, y, y_row, y_col, scale)


cdef int log_softmax_rows(
    int dtype, size_t n, size_t k,
    const void *x, ptrdiff_t x_row, ptrdiff_t x_col,
    void *y, ptrdiff_t y_row, ptrdiff_t y_col,
    double scale,
) noexcept nogil:
    return map_rows(
        SMC_OP_log_softmax, dtype, n, k, x, x_row, x_col, y, y_row, y_col, scale)


cdef int logsumexp_rows(
    int dtype, size_t n, size_t k,
    const void *x, ptrdiff_t x_row, ptrdiff_t x_col,
    void *y,
) noexcept nogil:
    cdef loop work
    if not begin_rows(&work, SMC_OP_logsumexp, dtype, n, k):
        return -1
    put_rows(&work, 0, dtype, x, x_row, x_col)
    put_values(&work, 1, y, stored_size(dtype))
    return end_rows(&work)


cdef int multiply_rows(
    int op, int dtype, size_t n, size_t k,
    const void *s, ptrdiff_t s_row, ptrdiff_t s_col,
    const void *g, ptrdiff_t g_row, ptrdiff_t g_col,
    void *y, ptrdiff_t y_row, ptrdiff_t y_col,
) noexcept nogil:
    """By the Jacobians of softmax or log_softmax."""
    cdef loop work
    if not begin_rows(&work, op, dtype, n, k):
        return -1
    put_rows(&work, 0, dtype, s, s_row, s_col)
    put_rows(&work, 1, dtype, g, g_row, g_col)
    put_rows(&work, 2, dtype, y, y_row, y_col)
    return end_rows(&work)


cdef int softmax_vjp_rows(
    int dtype, size_t n, size_t k,
    const void *s, ptrdiff_t s_row, ptrdiff_t s_col,
    const void *g, ptrdiff_t g_row, ptrdiff_t g_col,
    void *y, ptrdiff_t y_row, ptrdiff_t y_col,
) noexcept nogil:
    return multiply_rows(
        SMC_OP_softmax_vjp, dtype, n, k, s, s_row, s_col, g, g_row, g_col, y, y_row, y_col)


cdef int log_softmax_vjp_rows(
    int dtype, size_t n, size_t k,
    const void *log_s, ptrdiff_t log_s_row, ptrdiff_t log_s_col,
    const void *g, ptrdiff_t g_row, ptrdiff_t g_col,
    void *y, ptrdiff_t y_row, ptrdiff_t y_col,
) noexcept nogil:
    return multiply_rows(
        SMC_OP_log_softmax_vjp, dtype, n, k,
        log_s, log_s_row, log_s_col, g, g_row, g_col, y, y_row, y_col)


cdef int log_softmax_jvp_rows(
    int dtype, size_t n, size_t k,
    const void *log_s, ptrdiff_t log_s_row, ptrdiff_t log_s_col,
    const void *v, ptrdiff_t v_row, ptrdiff_t v_col,
    void *y, ptrdiff_t y_row, ptrdiff_t y_col,
) noexcept nogil:
    return multiply_rows(
        SMC_OP_log_softmax_jvp, dtype, n, k,
        log_s, log_s_row, log_s_col, v, v_row, v_col, y, y_row, y_col)


cdef int logsumexp_vjp_rows(
    int dtype, size_t n, size_t k,
    const void *x, ptrdiff_t x_row, ptrdiff_t x_col,
    const void *lse, const void *g,
    void *y, ptrdiff_t y_row, ptrdiff_t y_col,
) noexcept nogil:
    cdef loop work
    if not begin_rows(&work, SMC_OP_logsumexp_vjp, dtype, n, k):
        return -1
    put_rows(&work, 0, dtype, x, x_row, x_col)
    put_rows(&work, 1, dtype, y, y_row, y_col)
    put_values(&work, 2, lse, stored_size(dtype))
    put_values(&work, 3, g, stored_size(dtype))
    return end_rows(&work)


cdef int cross_entropy_rows(
    int dtype, size_t n, size_t k,
    const void *x, ptrdiff_t x_row, ptrdiff_t x_col,
    const int64_t *labels,
    const void *t, ptrdiff_t t_row, ptrdiff_t t_col,
    const void *weight, const void *sample_weight,
    double label_smoothing, double z_loss, double factor,
    void *loss, void *lse,
    void *grad, ptrdiff_t grad_row, ptrdiff_t grad_col,
) noexcept nogil:
    cdef loop work
    cdef size_t i
    for i in range(0 if labels == NULL else n):
        if labels[i] >= <int64_t>k:
            return -1
    if not begin_rows(&work, SMC_OP_cross_entropy, dtype, n, k):
        return -1
    put_rows(&work, 0, dtype, x, x_row, x_col)
    if labels != NULL:
        t = NULL
    put_rows(&work, 1, dtype, t, t_row, t_col)
    put_rows(&work, 2, dtype, grad, grad_row, grad_col)
    put_values(&work, 3, labels, sizeof(int64_t))
    put_values(&work, 4, loss, computed_size(dtype))
    put_values(&work, 5, lse, computed_size(dtype))
    put_values(&work, 6, sample_weight, computed_size(dtype))
    work.targets.weight = weight
    work.targets.on, work.targets.off = 1 - label_smoothing, label_smoothing / <double>k
    work.targets.z_loss, work.targets.factor = z_loss, factor
    return end_rows(&work)


cdef double sum_values(int dtype, size_t n, const void *values) noexcept nogil:
    if dtype == SMC_F32:
        return sum_of_losses(<const float *>values, n)
    if dtype == SMC_F64:
        return sum_of_losses(<const double *>values, n)
    return NAN


# ---- The capsule ---------------------------------------------------------------------------------

ctypedef int (*rows_map)(
    int, size_t, size_t, const void *, ptrdiff_t, ptrdiff_t, void *, ptrdiff_t, ptrdiff_t, double
) noexcept nogil
ctypedef int (*rows_product)(
    int, size_t, size_t,
    const void *, ptrdiff_t, ptrdiff_t, const void *, ptrdiff_t, ptrdiff_t,
    void *, ptrdiff_t, ptrdiff_t,
) noexcept nogil

cdef extern from "include/smcore.h":
    enum:
        SMCORE_API_VERSION

    ctypedef struct smcore_api:
        uint32_t version
        uint32_t size
        rows_map softmax_rows
        rows_map log_softmax_rows
        int (*logsumexp_rows)(
            int, size_t, size_t, const void *, ptrdiff_t, ptrdiff_t, void *
        ) noexcept nogil
        rows_product softmax_vjp_rows
        rows_product log_softmax_vjp_rows
        rows_product log_softmax_jvp_rows
        int (*logsumexp_vjp_rows)(
            int, size_t, size_t, const void *, ptrdiff_t, ptrdiff_t, const void *, const void *,
            void *, ptrdiff_t, ptrdiff_t,
        ) noexcept nogil
        int (*cross_entropy_rows)(
            int, size_t, size_t, const void *, ptrdiff_t, ptrdiff_t,
            const int64_t *, const void *, ptrdiff_t, ptrdiff_t, const void *, const void *,
            double, double, double, void *, void *, void *, ptrdiff_t, ptrdiff_t,
        ) noexcept nogil
        double (*sum_values)(int, size_t, const void *) noexcept nogil


cdef smcore_api c_api = smcore_api(
    version=SMCORE_API_VERSION,
    size=sizeof(smcore_api),
    softmax_rows=softmax_rows,
    log_softmax_rows=log_softmax_rows,
    logsumexp_rows=logsumexp_rows,
    softmax_vjp_rows=softmax_vjp_rows,
    log_softmax_vjp_rows=log_softmax_vjp_rows,
    log_softmax_jvp_rows=log_softmax_jvp_rows,
    logsumexp_vjp_rows=logsumexp_vjp_rows,
    cross_entropy_rows=cross_entropy_rows,
    sum_values=sum_values,
)

_C_API = PyCapsule_New(&c_api, "smcore._core._C_API", NULL)
