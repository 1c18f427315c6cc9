# Arrays of small calls: which are plain, and how they become operands.

cdef inline ndarray *pointer(object x) noexcept:
    return <ndarray *><PyObject *>x


cdef inline Py_ssize_t count(const cnp.npy_intp *shape, int begin, int end) noexcept:
    """How many elements these axes have."""
    cdef Py_ssize_t elements = 1
    cdef int axis
    for axis in range(begin, end):
        elements *= shape[axis]
    return elements


cdef inline bint are_alike(
    const cnp.npy_intp *shape, const cnp.npy_intp *other, int ndim
) noexcept:
    cdef int axis
    for axis in range(ndim):
        if shape[axis] != other[axis]:
            return False
    return True


cdef inline bint is_plain_array(PyObject *x) noexcept:
    """Whether x is a C-contiguous ndarray with elements in it."""
    return (
        is_array(x)
        and is_carray(<ndarray *>x)
        and count(shape_of(<ndarray *>x), 0, ndim_of(<ndarray *>x)) > 0
    )


cdef inline bint is_plain(
    PyObject *x, int number, int ndim, const cnp.npy_intp *shape
) noexcept:
    """Whether x is plain, of that type and shape, which has elements."""
    return (
        is_array(x)
        and is_carray(<ndarray *>x)
        and number_of(<ndarray *>x) == number
        and ndim_of(<ndarray *>x) == ndim
        and are_alike(shape_of(<ndarray *>x), shape, ndim)
    )


cdef inline bint is_plain_matrix(PyObject *x) noexcept:
    """Whether x is a matrix with elements in it, which lie side by side in C or Fortran order."""
    return (
        is_array(x)
        and ndim_of(<ndarray *>x) == 2
        and (is_carray(<ndarray *>x) or is_farray(<ndarray *>x))
        and count(shape_of(<ndarray *>x), 0, 2) > 0
    )


cdef inline bint is_sliced(PyObject *x) noexcept:
    """Whether x is a matrix whose elements lie in C order, but not side by side."""
    return (
        is_array(x)
        and ndim_of(<ndarray *>x) == 2
        and is_behaved(<ndarray *>x)
        and count(shape_of(<ndarray *>x), 0, 2) > 0
        and 0 < stride_of(<ndarray *>x, 1) <= stride_of(<ndarray *>x, 0)
    )


cdef inline const smc_kernels *stored_kernels(PyObject *x) noexcept:
    """The table for such an array of rows, or no_kernels."""
    if is_plain_array(x) and ndim_of(<ndarray *>x) > 0:
        return kernels_of(number_of(<ndarray *>x))
    return &no_kernels


cdef inline const smc_kernels *real_kernels(PyObject *x) noexcept:
    """The same where not only kernels have to know what is stored: float or double alone."""
    cdef const smc_kernels *kernels = stored_kernels(x)
    if kernels != &no_kernels and item_size(<ndarray *>x) < <int>sizeof(float):
        return &no_kernels
    return kernels


cdef inline const smc_kernels *sliced_kernels(PyObject *x) noexcept:
    """As stored_kernels, and of such a matrix."""
    cdef const smc_kernels *kernels = stored_kernels(x)
    if kernels == &no_kernels and is_sliced(x):
        return kernels_of(number_of(<ndarray *>x))
    return kernels


cdef inline bint are_apart(ndarray *a, ndarray *b) noexcept:
    """Whether two C-contiguous arrays share no memory."""
    cdef char *start = <char *>data_of(a)
    cdef char *other = <char *>data_of(b)
    return start + byte_count(a) <= other or other + byte_count(b) <= start


cdef inline bint are_finite(const cython.floating *x, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        if not x[i] - x[i] == 0:
            return False
    return True


# ---- Axes ----------------------------------------------------------------------------------------

cdef object LAST = -1  # as the axis; Python has that number once


cdef inline int index_of(object axis, int ndim) noexcept:
    """The number of an axis, or -1."""
    cdef int overflow
    if type(axis) is not int:
        return -1
    cdef long index = PyLong_AsLongAndOverflow(axis, &overflow)
    if overflow or not -ndim <= index < ndim:
        return -1
    return <int>(index if index >= 0 else index + ndim)


cdef span neighbours(tuple axes, int ndim) noexcept:
    """Axes that follow each other; begin is -1 if they do not."""
    cdef int i, n = <int>len(axes), first = index_of(axes[0], ndim) if n else -1
    for i in range(1, n):
        if first < 0 or index_of(axes[i], ndim) != first + i:
            return span(-1, 0)
    return span(first, first + n)


cdef span axes_of(object axis, ndarray *x) noexcept:
    """The axes of x that are meant; begin is -1: for the function itself to judge."""
    cdef int ndim = ndim_of(x)
    cdef int first = index_of(axis, ndim)
    if first >= 0:
        return span(first, first + 1)
    if not is_contiguous(x):
        return span(-1, 0)
    if axis is None:
        return span(0, ndim)
    return neighbours(axis, ndim) if type(axis) is tuple else span(-1, 0)


# ---- Operands ------------------------------------------------------------------------------------

cdef inline void take_along(loop *work, int i, ndarray *x, span axes) noexcept:
    """Make it operand i, rows along these axes; the loop is over the rows of the first."""
    cdef ptrdiff_t item = item_size(x)
    cdef Py_ssize_t outer = count(shape_of(x), 0, axes.begin)
    cdef Py_ssize_t inner = count(shape_of(x), axes.end, ndim_of(x))
    cdef Py_ssize_t k = count(shape_of(x), axes.begin, axes.end)
    cdef operand *o = &work.operands[i]
    o.data = <char *>data_of(x)
    o.block, o.row, o.col = k * inner * item, item, inner * item
    if not is_contiguous(x):  # a sliced matrix
        o.row, o.col = stride_of(x, 1 - axes.begin), stride_of(x, axes.begin)
        outer, inner = 1, outer * inner
    elif inner == 1:
        o.row = o.block
        outer, inner = 1, outer
    if i == 0:
        work.blocks, work.rows, work.k = outer, inner, k


cdef inline void take_alike(loop *work, int i, ndarray *x) noexcept:
    """The same for what lies as operand 0 does."""
    work.operands[i] = work.operands[0]
    work.operands[i].data = <char *>data_of(x)


cdef inline void take_plain(loop *work, int i, ndarray *x) noexcept:
    """The same for rows along the last axis."""
    take_along(work, i, x, span(ndim_of(x) - 1, ndim_of(x)))


cdef inline void take_values(loop *work, int i, void *data, ptrdiff_t step) noexcept:
    """The same for one value a row; NULL stays so at any row."""
    work.operands[i] = operand(<char *>data, 0, step if data != NULL else 0, 0)


cdef inline void take_matrices(loop *work, int i, ndarray *x) noexcept:
    """The same for one matrix a row."""
    cdef ptrdiff_t size = count(shape_of(x), ndim_of(x) - 2, ndim_of(x)) * item_size(x)
    work.operands[i] = operand(<char *>data_of(x), 0, size, item_size(x))
