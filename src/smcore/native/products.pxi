# Short ways of products with the Jacobians of softmax and log_softmax, and of logsumexp_vjp.

cdef object short_product(product_kernel kernel, PyObject **given):
    cdef loop work
    if kernel == NULL:
        return None
    cdef cnp.ndarray s = <cnp.ndarray>given[0], g
    cdef span axes = axes_of(<object>given[2], s)
    if axes.begin < 0:
        return None
    if not is_like(<object>given[1], s) or not cnp.PyArray_IS_C_CONTIGUOUS(s):
        return sliced_product(kernel, given, axes)
    g = <cnp.ndarray>given[1]
    out = result_like(<object>given[3], s)
    if out is None or not are_one_or_apart(g, out):
        return None
    take_along(&work, 0, s, axes)
    take_alike(&work, 1, g)
    take_alike(&work, 2, out)
    run_product(&work, kernel)
    return out


cdef object sliced_product(product_kernel kernel, PyObject **given, span axes):
    """Along one axis, in a new array."""
    cdef loop work
    cdef cnp.ndarray s = <cnp.ndarray>given[0]
    if axes.end - axes.begin > 1 or <object>given[3] is not None:
        return None
    if not is_sliced_like(<object>given[1], s):
        return None
    out = result_like(None, s)
    if out is None:
        return None
    take_along(&work, 0, s, axes)
    take_along(&work, 1, <cnp.ndarray>given[1], axes)
    take_along(&work, 2, out, axes)
    run_product(&work, kernel)
    return out


cdef object short_softmax_product(PyObject **given):
    return short_product(sliced_kernels(<object>given[0]).softmax_vjp, given)


cdef object short_log_softmax_vjp(PyObject **given):
    return short_product(sliced_kernels(<object>given[0]).log_softmax_vjp, given)


cdef object short_log_softmax_jvp(PyObject **given):
    return short_product(sliced_kernels(<object>given[0]).log_softmax_jvp, given)


cdef bint take_numbers(
    loop *work, int i, object value, cnp.ndarray x, double *room, bint one_for_all
) noexcept:
    """Take one number of the type of x for each of its rows: an array, or a scalar, put in room."""
    cdef int number = cnp.PyArray_TYPE(x)
    if is_plain(value, number, cnp.PyArray_NDIM(x) - 1, cnp.PyArray_DIMS(x)):
        take_values(work, i, cnp.PyArray_DATA(<cnp.ndarray>value), cnp.PyArray_ITEMSIZE(x))
        return True
    if not one_for_all and cnp.PyArray_NDIM(x) > 1:
        return False
    if type(value) is (FLOAT32 if number == cnp.NPY_FLOAT32 else FLOAT64):
        cnp.PyArray_ScalarAsCtype(value, room)
    elif type(value) is not float:
        return False
    elif number == cnp.NPY_FLOAT32:
        (<float *>room)[0] = <float><double>value
    else:
        room[0] = <double>value
    take_values(work, i, room, 0)
    return True


cdef inline bint are_finite(const cython.floating *x, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        if not x[i] - x[i] == 0:
            return False
    return True


cdef bint take_finite_lse(loop *work, object lse, cnp.ndarray x, double *room) noexcept:
    """Take the logsumexp of each row of x as operand 1; False if one is infinite or NaN."""
    if not take_numbers(work, 1, lse, x, room, False):
        return False
    cdef void *values = work.operands[1].data
    if cnp.PyArray_ITEMSIZE(x) == sizeof(float):
        return are_finite(<float *>values, row_count(x))
    return are_finite(<double *>values, row_count(x))


cdef object short_logsumexp_vjp(PyObject **given):
    cdef loop work
    cdef double lse, g  # room for either type
    cdef logsumexp_vjp_kernel kernel = plain_kernels(<object>given[0]).logsumexp_vjp
    if kernel == NULL:
        return None
    cdef cnp.ndarray x = <cnp.ndarray>given[0]
    if not take_finite_lse(&work, <object>given[1], x, &lse):
        return None
    if not take_numbers(&work, 2, <object>given[2], x, &g, True):
        return None
    out = result_like(<object>given[3], x)
    if out is None:
        return None
    for i in range(1, 3):
        if cnp.PyArray_Check(<object>given[i]) and not are_apart(<cnp.ndarray>given[i], out):
            return None
    take_plain(&work, 0, x)
    take_plain(&work, 3, out)
    run_logsumexp_vjp(&work, kernel)
    return out
