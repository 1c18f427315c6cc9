# Short ways of logsumexp_partial, logsumexp_merge and softmax_from_lse.

cdef object short_softmax_from_lse(PyObject **given):
    cdef loop work
    cdef double lse, one  # room for either type
    cdef smc_kernel kernel = plain_kernels(<object>given[0]).logsumexp_vjp
    if kernel == NULL:
        return None
    cdef cnp.ndarray x = <cnp.ndarray>given[0]
    cdef ptrdiff_t item = cnp.PyArray_ITEMSIZE(x)
    if item == sizeof(float) and type(<object>given[1]) is float:  # which has more digits
        return None
    if not take_finite_lse(&work, <object>given[1], x, &lse):
        return None
    out = result_like(<object>given[2], x)
    if out is None:
        return None
    if cnp.PyArray_Check(<object>given[1]) and not are_apart(<cnp.ndarray>given[1], out):
        return None
    if item == sizeof(float):
        (<float *>&one)[0] = 1
    else:
        one = 1
    take_plain(&work, 0, x)
    take_plain(&work, 1, out)
    take_values(&work, 3, &one, 0)
    run_rows(&work, kernel, 4)
    return out


cdef object short_partial(PyObject **given):
    cdef loop work
    cdef smc_kernel kernel = plain_kernels(<object>given[0]).logsumexp_partial
    if kernel == NULL:
        return None
    cdef cnp.ndarray x = <cnp.ndarray>given[0]
    cdef ptrdiff_t item = cnp.PyArray_ITEMSIZE(x)
    first, second = new_by_row(x), new_by_row(x)
    take_plain(&work, 0, x)
    take_values(&work, 1, cnp.PyArray_DATA(<cnp.ndarray>first), item)
    take_values(&work, 2, cnp.PyArray_DATA(<cnp.ndarray>second), item)
    run_rows(&work, kernel, 3)
    return number_or(first), number_or(second)


cdef object short_merge(PyObject **given):
    cdef loop work
    cdef int i
    if type(<object>given[0]) is not tuple or type(<object>given[1]) is not tuple:
        return None
    cdef tuple p = <tuple><object>given[0], q = <tuple><object>given[1]
    if len(p) != 2 or len(q) != 2:
        return None
    cdef list members = [p[0], p[1], q[0], q[1]]
    cdef smc_kernel kernel = plain_kernels(p[0]).logsumexp_merge
    if kernel == NULL:
        return merged_numbers(members)
    cdef cnp.ndarray first = <cnp.ndarray>p[0]
    members += [new_like(first), new_like(first)]
    for i in range(6):
        if not is_like(members[i], first):
            return None
        take_values(
            &work, i, cnp.PyArray_DATA(<cnp.ndarray>members[i]), cnp.PyArray_ITEMSIZE(first))
    run_merge(&work, kernel, cnp.PyArray_SIZE(first))
    return members[4], members[5]


cdef object merged_numbers(list members):
    """Of scalars of one type, or None."""
    cdef loop work
    cdef double[6] room  # for either type
    cdef int i
    kind = type(members[0])
    if kind is not FLOAT32 and kind is not FLOAT64:
        return None
    cdef bint single = kind is FLOAT32
    for i in range(4):
        if type(members[i]) is not kind:
            return None
        cnp.PyArray_ScalarAsCtype(members[i], &room[i])
    for i in range(6):
        take_values(&work, i, &room[i], sizeof(float) if single else sizeof(double))
    run_merge(&work, active.kernels[<int>SMC_F32 if single else <int>SMC_F64].logsumexp_merge, 1)
    if single:
        return FLOAT32((<float *>&room[4])[0]), FLOAT32((<float *>&room[5])[0])
    return FLOAT64(room[4]), FLOAT64(room[5])
