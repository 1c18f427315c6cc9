# Short ways of softmax, log_softmax and logsumexp.

cdef object short_scaled(smc_kernel kernel, PyObject **given):
    cdef loop work
    if kernel == NULL:
        return None
    cdef cnp.ndarray x = <cnp.ndarray>given[0]
    cdef span axes = axes_of(<object>given[1], x)
    factor, out = <object>given[2], <object>given[3]
    if axes.begin < 0 or type(factor) is not float or not fabs(<double>factor) < INFINITY:
        return None
    if out is not None and not cnp.PyArray_IS_C_CONTIGUOUS(x):
        return None
    out = result_like(out, x)
    if out is None:
        return None
    take_along(&work, 0, x, axes)
    take_along(&work, 1, out, axes)
    run_scaled(&work, kernel, factor)
    return out


cdef object short_softmax(PyObject **given):
    return short_scaled(sliced_kernels(<object>given[0]).softmax, given)


cdef object short_log_softmax(PyObject **given):
    return short_scaled(sliced_kernels(<object>given[0]).log_softmax, given)


cdef object reduced_in(object out, cnp.ndarray x, span axes, bint kept):
    """As result_in, for the shape without those axes, or with a length of 1 there; apart from x."""
    cdef cnp.npy_intp[MOST_AXES] shape
    cdef int i, ndim = 0
    cdef bint reduced
    for i in range(cnp.PyArray_NDIM(x)):
        reduced = axes.begin <= i < axes.end
        if kept or not reduced:
            shape[ndim] = 1 if reduced else cnp.PyArray_DIM(x, i)
            ndim += 1
    result = result_in(out, cnp.PyArray_TYPE(x), ndim, shape)
    return None if out is not None and result is not None and not are_apart(x, result) else result


cdef object short_logsumexp(PyObject **given):
    cdef loop work
    cdef double value  # room for any type
    cdef smc_kernel kernel = sliced_kernels(<object>given[0]).logsumexp
    keepdims, out = <object>given[2], <object>given[3]
    if kernel == NULL or keepdims is not True and keepdims is not False:
        return None
    cdef cnp.ndarray x = <cnp.ndarray>given[0]
    cdef ptrdiff_t item = cnp.PyArray_ITEMSIZE(x)
    cdef span axes = axes_of(<object>given[1], x)
    if axes.begin < 0 or cnp.PyArray_NDIM(x) > MOST_AXES:
        return None
    if out is not None and not cnp.PyArray_IS_C_CONTIGUOUS(x):
        return None
    take_along(&work, 0, x, axes)
    if keepdims is False and out is None and axes.end - axes.begin == cnp.PyArray_NDIM(x):
        take_values(&work, 1, &value, 0)
        run_rows(&work, kernel, 2)
        return PyArray_Scalar(&value, cnp.PyArray_DESCR(x), None)
    out = reduced_in(out, x, axes, keepdims)
    if out is None:
        return None
    take_values(&work, 1, cnp.PyArray_DATA(<cnp.ndarray>out), item)
    work.operands[1].block = work.rows * item
    run_rows(&work, kernel, 2)
    return out
