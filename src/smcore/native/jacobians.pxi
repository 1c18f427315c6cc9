# Short ways of softmax_jacobian and log_softmax_jacobian.

# From this many bytes on a result may not fit: the function itself asks the system.
cdef enum:
    SURELY_FITS = 1 << 26


cdef object matrices_in(object out, cnp.ndarray s, cnp.npy_intp columns):
    """As result_in, for a matrix of so many columns for each row of s; out apart from s."""
    cdef cnp.npy_intp[MOST_AXES] shape
    cdef int axis, ndim = cnp.PyArray_NDIM(s)
    if ndim >= MOST_AXES or cnp.PyArray_NBYTES(s) * <double>columns > SURELY_FITS:
        return None
    for axis in range(ndim):
        shape[axis] = cnp.PyArray_DIM(s, axis)
    shape[ndim] = columns
    result = result_in(out, cnp.PyArray_TYPE(s), ndim + 1, shape)
    return None if result is None or not are_apart(s, result) else result


cdef object short_jacobian(smc_kernel kernel, PyObject **given):
    cdef loop work
    if kernel == NULL:
        return None
    cdef cnp.ndarray s = <cnp.ndarray>given[0]
    out = matrices_in(<object>given[1], s, row_length(s))
    if out is None:
        return None
    take_plain(&work, 0, s)
    take_matrices(&work, 1, out)
    run_jacobian(&work, kernel)
    return out


cdef object short_softmax_jacobian(PyObject **given):
    return short_jacobian(stored_kernels(<object>given[0]).softmax_jacobian, given)


cdef object short_log_softmax_jacobian(PyObject **given):
    return short_jacobian(stored_kernels(<object>given[0]).log_softmax_jacobian, given)
