# Short ways of products with the Jacobians of softmax and log_softmax, and of logsumexp_vjp.

cdef object short_product(smc_kernel kernel, PyObject **given):
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


cdef object sliced_product(smc_kernel kernel, PyObject **given, span axes):
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


cdef object short_logsumexp_vjp(PyObject **given):
    cdef loop work
    cdef double lse, g  # room for either type
    cdef smc_kernel kernel = plain_kernels(<object>given[0]).logsumexp_vjp
    if kernel == NULL:
        return None
    cdef cnp.ndarray x = <cnp.ndarray>given[0]
    if not take_finite_lse(&work, <object>given[1], x, &lse):
        return None
    if not take_numbers(&work, 3, <object>given[2], x, &g, True):
        return None
    out = result_like(<object>given[3], x)
    if out is None:
        return None
    for i in range(1, 3):
        if cnp.PyArray_Check(<object>given[i]) and not are_apart(<cnp.ndarray>given[i], out):
            return None
    take_plain(&work, 0, x)
    take_plain(&work, 1, out)
    run_rows(&work, kernel, 4)
    return out
