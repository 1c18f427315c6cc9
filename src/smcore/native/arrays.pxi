# Arrays of small calls: which are plain, what is made for a result, how they become operands.

cdef object LAST = -1  # as the axis; Python has that number once

cdef enum:
    MOST_AXES = 32  # of an array

cdef object FLOAT32 = np.float32, FLOAT64 = np.float64


cdef inline Py_ssize_t row_length(cnp.ndarray x) noexcept:
    return cnp.PyArray_DIM(x, cnp.PyArray_NDIM(x) - 1)


cdef inline Py_ssize_t count(cnp.ndarray x, int begin, int end) noexcept:
    """How many elements these axes have."""
    cdef Py_ssize_t elements = 1
    cdef int axis
    for axis in range(begin, end):
        elements *= cnp.PyArray_DIM(x, axis)
    return elements


cdef inline Py_ssize_t row_count(cnp.ndarray x) noexcept:
    return count(x, 0, cnp.PyArray_NDIM(x) - 1)


cdef inline bint is_plain_array(object x) noexcept:
    """Whether x is a C-contiguous ndarray with elements in it."""
    return (
        cnp.PyArray_CheckExact(x)
        and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x)
        and count(<cnp.ndarray>x, 0, cnp.PyArray_NDIM(<cnp.ndarray>x)) > 0
    )


cdef inline const smc_kernels *stored_kernels(object x) noexcept:
    """The table for such an array of rows, or no_kernels."""
    if is_plain_array(x) and cnp.PyArray_NDIM(<cnp.ndarray>x) > 0:
        return kernels_of(cnp.PyArray_TYPE(<cnp.ndarray>x))
    return &no_kernels


cdef inline const smc_kernels *plain_kernels(object x) noexcept:
    """The same where not only kernels have to know what is stored: float or double alone."""
    cdef const smc_kernels *kernels = stored_kernels(x)
    if kernels != &no_kernels and cnp.PyArray_ITEMSIZE(<cnp.ndarray>x) < <int>sizeof(float):
        return &no_kernels
    return kernels


cdef inline bint is_sliced(object x) noexcept:
    """Whether x is a matrix whose elements lie in C order, but not side by side."""
    return (
        cnp.PyArray_CheckExact(x)
        and cnp.PyArray_NDIM(<cnp.ndarray>x) == 2
        and cnp.PyArray_ISBEHAVED_RO(<cnp.ndarray>x)
        and count(<cnp.ndarray>x, 0, 2) > 0
        and 0 < cnp.PyArray_STRIDE(<cnp.ndarray>x, 1) <= cnp.PyArray_STRIDE(<cnp.ndarray>x, 0)
    )


cdef inline const smc_kernels *sliced_kernels(object x) noexcept:
    """As stored_kernels, and of such a matrix."""
    return kernels_of(cnp.PyArray_TYPE(<cnp.ndarray>x)) if is_sliced(x) else stored_kernels(x)


cdef inline bint are_alike(
    const cnp.npy_intp *shape, const cnp.npy_intp *other, int ndim
) noexcept:
    cdef int axis
    for axis in range(ndim):
        if shape[axis] != other[axis]:
            return False
    return True


cdef bint is_plain(object x, int number, int ndim, const cnp.npy_intp *shape) noexcept:
    """Whether x is plain, of that type and shape."""
    return (
        is_plain_array(x)
        and cnp.PyArray_TYPE(<cnp.ndarray>x) == number
        and cnp.PyArray_NDIM(<cnp.ndarray>x) == ndim
        and are_alike(cnp.PyArray_DIMS(<cnp.ndarray>x), shape, ndim)
    )


cdef inline bint is_like(object other, cnp.ndarray x) noexcept:
    return is_plain(other, cnp.PyArray_TYPE(x), cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x))


cdef bint is_sliced_like(object other, cnp.ndarray x) noexcept:
    """Whether x and other are matrices of one type and shape, either plain or sliced."""
    return (
        (is_sliced(other) or is_plain_array(other))
        and cnp.PyArray_TYPE(<cnp.ndarray>other) == cnp.PyArray_TYPE(x)
        and cnp.PyArray_NDIM(<cnp.ndarray>other) == cnp.PyArray_NDIM(x) == 2
        and are_alike(cnp.PyArray_DIMS(<cnp.ndarray>other), cnp.PyArray_DIMS(x), 2)
    )


cdef inline bint are_apart(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether two C-contiguous arrays share no memory."""
    cdef char *start = <char *>cnp.PyArray_DATA(a)
    cdef char *other = <char *>cnp.PyArray_DATA(b)
    return start + cnp.PyArray_NBYTES(a) <= other or other + cnp.PyArray_NBYTES(b) <= start


cdef inline bint are_one_or_apart(cnp.ndarray a, cnp.ndarray b) noexcept:
    """The same, or whether they are the same elements, if they have the same shape."""
    return cnp.PyArray_DATA(a) == cnp.PyArray_DATA(b) or are_apart(a, b)


cdef object result_in(object out, int number, int ndim, const cnp.npy_intp *shape):
    """A new array, or out if it is plain, writeable and of that shape; or None."""
    cdef PyObject *new
    if out is None:
        new = PyArray_EMPTY(ndim, <cnp.npy_intp *>shape, number, 0)
        if new == NULL:
            PyErr_Clear()  # the function itself will say what did not fit
            return None
        result = <object>new
        Py_DECREF(result)
        return result
    if is_plain(out, number, ndim, shape) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>out):
        return out
    return None


cdef object result_like(object out, cnp.ndarray x):
    """The same for the type and shape of x; out is x itself or apart from it."""
    result = result_in(out, cnp.PyArray_TYPE(x), cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x))
    if out is None or result is None or are_one_or_apart(x, out):
        return result
    return None


cdef inline cnp.ndarray new_like(cnp.ndarray x):
    return cnp.PyArray_EMPTY(
        cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), 0)


cdef inline cnp.ndarray new_by_row(cnp.ndarray x):
    return cnp.PyArray_EMPTY(
        cnp.PyArray_NDIM(x) - 1, cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), 0)


cdef inline object number_or(cnp.ndarray x):
    """x, or its element if it is 0-d."""
    return x if cnp.PyArray_NDIM(x) else x[()]


cdef struct span:
    int begin, end  # of the class axes, which lie side by side


cdef inline int index_of(object axis, int ndim) noexcept:
    """The number of an axis, or -1."""
    cdef int overflow
    if type(axis) is not int:
        return -1
    cdef long index = PyLong_AsLongAndOverflow(axis, &overflow)
    if overflow or not -ndim <= index < ndim:
        return -1
    return <int>(index if index >= 0 else index + ndim)


cdef inline span axes_of(object axis, cnp.ndarray x) noexcept:
    """The axes of x that are meant; begin is -1: for the function itself to judge."""
    cdef int ndim = cnp.PyArray_NDIM(x)
    if axis is LAST:  # soonest
        return span(ndim - 1, ndim)
    cdef int first = index_of(axis, ndim)
    if first >= 0:
        return span(first, first + 1)
    if not cnp.PyArray_IS_C_CONTIGUOUS(x):
        return span(-1, 0)
    if axis is None:
        return span(0, ndim)
    return neighbours(axis, ndim) if type(axis) is tuple else span(-1, 0)


cdef span neighbours(tuple axes, int ndim) noexcept:
    """The same for axes that follow each other."""
    cdef int i, n = <int>len(axes), first = index_of(axes[0], ndim) if n else -1
    for i in range(1, n):
        if first < 0 or index_of(axes[i], ndim) != first + i:
            return span(-1, 0)
    return span(first, first + n)


cdef inline void take_along(loop *work, int i, cnp.ndarray x, span axes) noexcept:
    """Make it operand i, rows along these axes; the loop is over the rows of the first."""
    cdef ptrdiff_t item = cnp.PyArray_ITEMSIZE(x)
    cdef Py_ssize_t outer = count(x, 0, axes.begin)
    cdef Py_ssize_t inner = count(x, axes.end, cnp.PyArray_NDIM(x))
    cdef Py_ssize_t k = count(x, axes.begin, axes.end)
    cdef operand *o = &work.operands[i]
    o.data = <char *>cnp.PyArray_DATA(x)
    o.block, o.row, o.col = k * inner * item, item, inner * item
    if not cnp.PyArray_IS_C_CONTIGUOUS(x):  # a sliced matrix
        o.row, o.col = cnp.PyArray_STRIDE(x, 1 - axes.begin), cnp.PyArray_STRIDE(x, axes.begin)
        outer, inner = 1, outer * inner
    elif inner == 1:
        o.row = o.block
        outer, inner = 1, outer
    if i == 0:
        work.blocks, work.rows, work.k = outer, inner, k


cdef inline void take_alike(loop *work, int i, cnp.ndarray x) noexcept:
    """The same for what lies as operand 0 does."""
    work.operands[i] = work.operands[0]
    work.operands[i].data = <char *>cnp.PyArray_DATA(x)


cdef inline void take_plain(loop *work, int i, cnp.ndarray x) noexcept:
    """The same for rows along the last axis."""
    take_along(work, i, x, span(cnp.PyArray_NDIM(x) - 1, cnp.PyArray_NDIM(x)))


cdef inline void take_values(loop *work, int i, void *data, ptrdiff_t step) noexcept:
    """The same for one value a row."""
    work.operands[i] = operand(<char *>data, 0, step, 0)


cdef inline void take_matrices(loop *work, int i, cnp.ndarray x) noexcept:
    """The same for one matrix a row; after operand 0."""
    cdef ptrdiff_t size = cnp.PyArray_NBYTES(x)
    work.operands[i] = operand(
        <char *>cnp.PyArray_DATA(x), 0, size // <ptrdiff_t>work.rows, cnp.PyArray_ITEMSIZE(x))


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
    """Take the logsumexp of each row of x as operand 2; False if one is infinite or NaN."""
    if not take_numbers(work, 2, lse, x, room, False):
        return False
    cdef void *values = work.operands[2].data
    if cnp.PyArray_ITEMSIZE(x) == sizeof(float):
        return are_finite(<float *>values, row_count(x))
    return are_finite(<double *>values, row_count(x))
