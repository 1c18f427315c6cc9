# The C API as Cython modules import it: include/smcore.h says what the functions do.

from libc.stdint cimport int64_t

cdef enum:  # dtypes
    F32, F64, F16, BF16

cdef int softmax_rows(
    int dtype, size_t n, size_t k,
    const void *x, ptrdiff_t x_row, ptrdiff_t x_col,
    void *y, ptrdiff_t y_row, ptrdiff_t y_col,
    double scale,
) noexcept nogil
cdef int log_softmax_rows(
    int dtype, size_t n, size_t k,
    const void *x, ptrdiff_t x_row, ptrdiff_t x_col,
    void *y, ptrdiff_t y_row, ptrdiff_t y_col,
    double scale,
) noexcept nogil
cdef int logsumexp_rows(
    int dtype, size_t n, size_t k,
    const void *x, ptrdiff_t x_row, ptrdiff_t x_col,
    void *y,
) noexcept nogil
cdef int softmax_vjp_rows(
    int dtype, size_t n, size_t k,
    const void *s, ptrdiff_t s_row, ptrdiff_t s_col,
    const void *g, ptrdiff_t g_row, ptrdiff_t g_col,
    void *y, ptrdiff_t y_row, ptrdiff_t y_col,
) noexcept nogil
cdef int log_softmax_vjp_rows(
    int dtype, size_t n, size_t k,
    const void *log_s, ptrdiff_t log_s_row, ptrdiff_t log_s_col,
    const void *g, ptrdiff_t g_row, ptrdiff_t g_col,
    void *y, ptrdiff_t y_row, ptrdiff_t y_col,
) noexcept nogil
cdef int log_softmax_jvp_rows(
    int dtype, size_t n, size_t k,
    const void *log_s, ptrdiff_t log_s_row, ptrdiff_t log_s_col,
    const void *v, ptrdiff_t v_row, ptrdiff_t v_col,
    void *y, ptrdiff_t y_row, ptrdiff_t y_col,
) noexcept nogil
cdef int logsumexp_vjp_rows(
    int dtype, size_t n, size_t k,
    const void *x, ptrdiff_t x_row, ptrdiff_t x_col,
    const void *lse, const void *g,
    void *y, ptrdiff_t y_row, ptrdiff_t y_col,
) noexcept nogil
cdef int cross_entropy_rows(
    int dtype, size_t n, size_t k,
    const void *x, ptrdiff_t x_row, ptrdiff_t x_col,
    const int64_t *labels,
    const void *t, ptrdiff_t t_row, ptrdiff_t t_col,
    const void *weight, const void *sample_weight,
    double label_smoothing, double z_loss, double factor,
    void *loss, void *lse,
    void *grad, ptrdiff_t grad_row, ptrdiff_t grad_col,
) noexcept nogil
cdef double sum_values(int dtype, size_t n, const void *values) noexcept nogil
