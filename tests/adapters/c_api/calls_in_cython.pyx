# cython: language_level=3, freethreading_compatible=True
"""Every function that `cimport smcore` brings, for Python; pointers are numbers."""

from libc.stdint cimport int64_t

cimport smcore

DTYPES = {
    "float32": smcore.F32, "float64": smcore.F64, "float16": smcore.F16, "bfloat16": smcore.BF16,
}


def softmax_rows(
    int dtype, size_t n, size_t k, size_t x, ptrdiff_t x_row, ptrdiff_t x_col,
    size_t y, ptrdiff_t y_row, ptrdiff_t y_col, double scale,
):
    cdef int done
    with nogil:
        done = smcore.softmax_rows(
            dtype, n, k, <void *>x, x_row, x_col, <void *>y, y_row, y_col, scale)
    return done


def log_softmax_rows(
    int dtype, size_t n, size_t k, size_t x, ptrdiff_t x_row, ptrdiff_t x_col,
    size_t y, ptrdiff_t y_row, ptrdiff_t y_col, double scale,
):
    cdef int done
    with nogil:
        done = smcore.log_softmax_rows(
            dtype, n, k, <void *>x, x_row, x_col, <void *>y, y_row, y_col, scale)
    return done


def logsumexp_rows(
    int dtype, size_t n, size_t k, size_t x, ptrdiff_t x_row, ptrdiff_t x_col, size_t y
):
    cdef int done
    with nogil:
        done = smcore.logsumexp_rows(dtype, n, k, <void *>x, x_row, x_col, <void *>y)
    return done


def softmax_vjp_rows(
    int dtype, size_t n, size_t k, size_t s, ptrdiff_t s_row, ptrdiff_t s_col,
    size_t g, ptrdiff_t g_row, ptrdiff_t g_col, size_t y, ptrdiff_t y_row, ptrdiff_t y_col,
):
    cdef int done
    with nogil:
        done = smcore.softmax_vjp_rows(
            dtype, n, k, <void *>s, s_row, s_col, <void *>g, g_row, g_col,
            <void *>y, y_row, y_col)
    return done


def log_softmax_vjp_rows(
    int dtype, size_t n, size_t k, size_t log_s, ptrdiff_t s_row, ptrdiff_t s_col,
    size_t g, ptrdiff_t g_row, ptrdiff_t g_col, size_t y, ptrdiff_t y_row, ptrdiff_t y_col,
):
    cdef int done
    with nogil:
        done = smcore.log_softmax_vjp_rows(
            dtype, n, k, <void *>log_s, s_row, s_col, <void *>g, g_row, g_col,
            <void *>y, y_row, y_col)
    return done


def log_softmax_jvp_rows(
    int dtype, size_t n, size_t k, size_t log_s, ptrdiff_t s_row, ptrdiff_t s_col,
    size_t v, ptrdiff_t v_row, ptrdiff_t v_col, size_t y, ptrdiff_t y_row, ptrdiff_t y_col,
):
    cdef int done
    with nogil:
        done = smcore.log_softmax_jvp_rows(
            dtype, n, k, <void *>log_s, s_row, s_col, <void *>v, v_row, v_col,
            <void *>y, y_row, y_col)
    return done


def logsumexp_vjp_rows(
    int dtype, size_t n, size_t k, size_t x, ptrdiff_t x_row, ptrdiff_t x_col,
    size_t lse, size_t g, size_t y, ptrdiff_t y_row, ptrdiff_t y_col,
):
    cdef int done
    with nogil:
        done = smcore.logsumexp_vjp_rows(
            dtype, n, k, <void *>x, x_row, x_col, <void *>lse, <void *>g,
            <void *>y, y_row, y_col)
    return done


def cross_entropy_rows(
    int dtype, size_t n, size_t k, size_t x, ptrdiff_t x_row, ptrdiff_t x_col,
    size_t labels, size_t t, ptrdiff_t t_row, ptrdiff_t t_col, size_t weight,
    size_t sample_weight, double label_smoothing, double z_loss, double factor,
    size_t loss, size_t lse, size_t grad, ptrdiff_t grad_row, ptrdiff_t grad_col,
):
    cdef int done
    with nogil:
        done = smcore.cross_entropy_rows(
            dtype, n, k, <void *>x, x_row, x_col, <int64_t *>labels, <void *>t, t_row, t_col,
            <void *>weight, <void *>sample_weight, label_smoothing, z_loss, factor,
            <void *>loss, <void *>lse, <void *>grad, grad_row, grad_col)
    return done


def sum_values(int dtype, size_t n, size_t values):
    cdef double done
    with nogil:
        done = smcore.sum_values(dtype, n, <void *>values)
    return done
