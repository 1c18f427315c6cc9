# Where results go: what must hold of the argument `out`, and of what it overlaps.

# From this many bytes on a result may not fit: the function itself asks the system.
cdef enum:
    SURELY_FITS = 1 << 26


cdef inline bint goes_into(
    call *c, PyObject *out, int ndim, const cnp.npy_intp *shape
) noexcept:
    """A result of that shape: into a new array, or into out."""
    c.out_ndim, c.out_shape = ndim, shape
    return out == Py_None or (
        not c.sliced and is_plain(out, c.number, ndim, shape) and is_writeable(<ndarray *>out)
    )


cdef bint values_go_into(call *c, PyObject *out) noexcept:
    """Without the axes of the classes, or with a length of 1 there."""
    cdef int i, ndim = c.axes.end if c.keepdims else c.axes.begin
    if c.ndim > MOST_AXES:
        return False
    for i in range(ndim):
        c.own_shape[i] = c.shape[i] if i < c.axes.begin else 1
    for i in range(c.axes.end, c.ndim):
        c.own_shape[ndim] = c.shape[i]
        ndim += 1
    return goes_into(c, out, ndim, c.own_shape)


cdef bint matrices_go_into(call *c, PyObject *out) noexcept:
    """One for each row, with a column for each class, or for each class and feature."""
    cdef ndarray *features = c.arrays[<int>FEATURES]
    cdef Py_ssize_t k = class_count(c)
    cdef Py_ssize_t columns = k if features == NULL else k * length_of(features, c.ndim - 1)
    cdef int axis
    if c.ndim >= MOST_AXES or (
        <double>row_count(c) * k * columns * item_size(c.arrays[<int>X]) > SURELY_FITS
    ):
        return False
    for axis in range(c.ndim):
        c.own_shape[axis] = c.shape[axis]
    c.own_shape[c.ndim] = columns
    return goes_into(c, out, c.ndim + 1, c.own_shape)


cdef bint overlaps_nothing(const call *c, int out_role) noexcept:
    """Whether out is apart from all operands; rows may go to where rows come from."""
    cdef operation *does = c.does
    cdef ndarray *out = c.arrays[<int>OUT]
    cdef ndarray *other
    cdef int i, role
    for i in range(does.count - 1):
        other, role = c.arrays[does.words[i].slot], does.words[i].role
        if does.words[i].slot == NOTHING or other == NULL or are_apart(other, out):
            continue
        if (out_role != ROWS_OUT or data_of(other) != data_of(out)
                or role not in (ROWS, REAL_ROWS, LIKE, LIKE_ROWS)):
            return False
    return True
