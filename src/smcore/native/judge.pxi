# The judge of the fast path: whether a call's arguments are what their roles ask for.
#
# Nothing is written, and no memory had but for labels of another type.  What is not plain is no
# error here: the function itself has the last word.

cdef inline Py_ssize_t class_count(const call *c) noexcept:
    return c.shape[c.ndim - 1]


cdef inline Py_ssize_t row_count(const call *c) noexcept:
    return count(c.shape, 0, c.ndim - 1)


cdef inline bint has_rows(call *c, PyObject *x, const smc_kernels *kernels) noexcept:
    """Rows of classes come from x, if there are kernels for it."""
    c.kernels = kernels
    if kernels == &no_kernels:
        return False
    c.number, c.descr = number_of(<ndarray *>x), descr_of(<ndarray *>x)
    c.ndim, c.shape = ndim_of(<ndarray *>x), shape_of(<ndarray *>x)
    c.axes = span(c.ndim - 1, c.ndim)
    c.sliced = not is_contiguous(<ndarray *>x)
    return True


cdef inline bint is_like(const call *c, PyObject *x) noexcept:
    return is_plain(x, c.number, c.ndim, c.shape)


cdef inline bint is_like_rows(call *c, PyObject *x) noexcept:
    if is_like(c, x):
        return True
    c.sliced = True
    return (
        is_sliced(x)
        and number_of(<ndarray *>x) == c.number
        and c.ndim == 2
        and are_alike(shape_of(<ndarray *>x), c.shape, 2)
    )


# ---- Numbers -------------------------------------------------------------------------------------

cdef object FLOAT32 = np.float32, FLOAT64 = np.float64
cdef object DTYPE32 = np.dtype(FLOAT32), DTYPE64 = np.dtype(FLOAT64)


cdef inline bint is_finite_float(PyObject *value) noexcept:
    return Py_TYPE(value) == &PyFloat_Type and fabs(PyFloat_AS_DOUBLE(value)) < INFINITY


cdef inline void put_number(call *c, int slot, double value) noexcept:
    """In the place of an array."""
    c.arrays[slot] = NULL
    if c.number == cnp.NPY_FLOAT32:
        (<float *>&c.room[slot])[0] = <float>value
    else:
        c.room[slot] = value


cdef bint is_scalar(call *c, int slot, PyObject *value, bint exact) noexcept:
    """Whether it is one of the type of the rows, or a Python float unless exact; put in room."""
    cdef bint single = c.number == cnp.NPY_FLOAT32
    if <PyObject *>Py_TYPE(value) == <PyObject *>(FLOAT32 if single else FLOAT64):
        put_number(c, slot, FLOAT32_OF(value) if single else FLOAT64_OF(value))
        return True
    if Py_TYPE(value) != &PyFloat_Type or exact and single:  # it has more digits
        return False
    put_number(c, slot, PyFloat_AS_DOUBLE(value))
    return True


cdef inline bint are_kept_values(const call *c, PyObject *x) noexcept:
    """Whether x has the shape of the rows, but one number in each."""
    cdef int last = c.ndim - 1
    return (
        is_plain_array(x)
        and number_of(<ndarray *>x) == c.number
        and ndim_of(<ndarray *>x) == c.ndim
        and are_alike(shape_of(<ndarray *>x), c.shape, last)
        and length_of(<ndarray *>x, last) == 1
    )


cdef bint are_values(call *c, int slot, PyObject *value, bint exact, bint one_for_all) noexcept:
    """Whether it is one number for each row: an array, or a scalar."""
    if is_plain(value, c.number, c.ndim - 1, c.shape) or are_kept_values(c, value):
        return True
    return (one_for_all or c.ndim == 1) and is_scalar(c, slot, value, exact)


cdef bint are_finite_values(call *c, int slot, PyObject *value, bint exact) noexcept:
    if not are_values(c, slot, value, exact, False):
        return False
    cdef void *values = &c.room[slot] if c.arrays[slot] == NULL else data_of(c.arrays[slot])
    if c.number == cnp.NPY_FLOAT32:
        return are_finite(<float *>values, row_count(c))
    return are_finite(<double *>values, row_count(c))


cdef bint has_number(call *c, PyObject *value) noexcept:
    """Numbers come from scalars of the type of this one."""
    if <PyObject *>Py_TYPE(value) == <PyObject *>FLOAT32:
        c.number, c.descr = cnp.NPY_FLOAT32, <cnp.PyArray_Descr *><PyObject *>DTYPE32
    elif <PyObject *>Py_TYPE(value) == <PyObject *>FLOAT64:
        c.number, c.descr = cnp.NPY_FLOAT64, <cnp.PyArray_Descr *><PyObject *>DTYPE64
    else:
        return False
    c.ndim, c.sliced, c.kernels = 0, False, kernels_of(c.number)
    return True


cdef bint is_pair(call *c, int slot, PyObject *pair, bint first) noexcept:
    """Whether it is a tuple of two arrays, or scalars, of one type and shape: that of the first."""
    cdef PyObject *member
    if Py_TYPE(pair) != &PyTuple_Type or PyTuple_GET_SIZE(pair) != 2:
        return False
    member = PyTuple_GET_ITEM(pair, 0)
    if first and not has_rows(c, member, real_kernels(member)) and not has_number(c, member):
        return False
    for i in range(2):
        member = PyTuple_GET_ITEM(pair, i)
        c.arrays[slot + i] = <ndarray *>member
        if not (is_like(c, member) if c.ndim else is_scalar(c, slot + i, member, True)):
            return False
    return True


# ---- Layers --------------------------------------------------------------------------------------

cdef bint are_layer_features(call *c, PyObject *x) noexcept:
    """Rows from which a layer, whose weights come next, makes those of the classes."""
    return (
        has_rows(c, x, real_kernels(x))
        and c.ndim <= 2
        and matmul_loops[c.number == cnp.NPY_FLOAT64] != NULL
    )


cdef bint are_weights(call *c, PyObject *W) noexcept:
    cdef Py_ssize_t n = row_count(c)
    if not is_plain_matrix(W) or number_of(<ndarray *>W) != c.number:
        return False
    if length_of(<ndarray *>W, 0) != class_count(c) or n * length_of(<ndarray *>W, 1) > SMALL_LAYER:
        return False
    c.layer_shape[0], c.layer_shape[1] = n, length_of(<ndarray *>W, 1)
    c.shape = c.layer_shape + 2 - c.ndim
    return True


cdef bint are_row_features(const call *c, PyObject *x) noexcept:
    return (
        is_plain_array(x)
        and number_of(<ndarray *>x) == c.number
        and c.ndim <= 2
        and ndim_of(<ndarray *>x) == c.ndim
        and are_alike(shape_of(<ndarray *>x), c.shape, c.ndim - 1)
    )


cdef inline bint is_like_slot(const call *c, PyObject *x, int slot) noexcept:
    cdef ndarray *other = c.arrays[slot]
    return is_plain(x, c.number, ndim_of(other), shape_of(other))


cdef inline bint is_by_class(const call *c, PyObject *x) noexcept:
    return is_plain(x, c.number, 1, c.shape + c.ndim - 1)


# ---- Options -------------------------------------------------------------------------------------

cdef inline bint is_axis(call *c, PyObject *axis) noexcept:
    if axis != <PyObject *>LAST:
        c.axes = axes_of(<object>axis, c.arrays[<int>X])
    return c.axes.begin >= 0


cdef inline bint is_scale(call *c, PyObject *scale) noexcept:
    if not is_finite_float(scale):
        return False
    c.work.scale = PyFloat_AS_DOUBLE(scale)
    return True


cdef inline bint is_flag(bint *flag, PyObject *value) noexcept:
    flag[0] = value == Py_True
    return flag[0] or value == Py_False


cdef bint are_names(call *c, PyObject *names) noexcept:
    """Whether it is a string of the names of gradients: X, W, b of a loss; W, b, x of a layer."""
    cdef Py_UCS4 letter, of_features = "X" if c.does.kernel == SMC_OP_cross_entropy else "x"
    if Py_TYPE(names) != &PyUnicode_Type:
        return False
    c.by_features = c.by_weights = c.by_bias = False
    for letter in <str><object>names:
        if letter == of_features:
            c.by_features = True
        elif letter == "W":
            c.by_weights = True
        elif letter == "b":
            c.by_bias = True
        else:
            return False
    return True


cdef inline bint is_between(double *number, PyObject *value, double greatest) noexcept:
    if not is_finite_float(value):
        return False
    number[0] = PyFloat_AS_DOUBLE(value)
    return 0 <= number[0] <= greatest


# ---- All of them ---------------------------------------------------------------------------------

cdef inline bint begins(call *c, int role, int slot, PyObject *value) noexcept:
    """The first, from which others take type and shape."""
    if role == ROWS:
        return has_rows(c, value, sliced_kernels(value))
    elif role == DENSE_ROWS:
        return has_rows(c, value, stored_kernels(value))
    elif role == REAL_ROWS:
        return has_rows(c, value, real_kernels(value))
    elif role == LAYER_FEATURES:
        return are_layer_features(c, value)
    else:
        return is_pair(c, slot, value, True)


cdef inline bint suits(call *c, int role, int slot, PyObject *value) noexcept:
    """What stands between."""
    if role == LIKE_PAIR:
        return is_pair(c, slot, value, False)
    elif role == LIKE:
        return is_like(c, value)
    elif role == LIKE_ROWS:
        return is_like_rows(c, value)
    elif role == FINITE:
        return are_finite_values(c, slot, value, False)
    elif role == EXACT:
        return are_finite_values(c, slot, value, True)
    elif role == VALUE:
        return are_values(c, slot, value, False, True)
    elif role == ROW_FEATURES:
        return are_row_features(c, value)
    elif role == WEIGHTS:
        return are_weights(c, value)
    elif role == LIKE_FEATURES:
        return is_like_slot(c, value, FEATURES)
    elif role == LIKE_WEIGHTS:
        return is_like_slot(c, value, W)
    elif role == BIAS or role == CLASS_WEIGHT:
        return is_by_class(c, value)
    elif role == BIAS_DIRECTION:
        return c.arrays[<int>B] != NULL and is_by_class(c, value)
    elif role == LABELS:
        return are_labels(c, value)
    elif role == LABELS_OR_LIKE:
        return is_like(c, value) or are_labels(c, value)
    elif role == AXIS:
        return is_axis(c, value)
    elif role == SCALE:
        return is_scale(c, value)
    elif role == KEEPDIMS:
        return is_flag(&c.keepdims, value)
    elif role == REDUCTION:
        return is_reduction(c, value)
    elif role == SMOOTHING:
        return is_between(&c.smoothing, value, 1)
    elif role == Z_LOSS:
        return is_between(&c.z_loss, value, INFINITY)
    elif role == RETURN_LSE:
        return is_flag(&c.return_lse, value)
    elif role == WRT:
        return are_names(c, value)
    else:
        return False


cdef inline bint ends(call *c, int role, PyObject *out) noexcept:
    """The last, in whose place the result goes."""
    if role == ROWS_OUT:
        return goes_into(c, out, c.ndim, c.shape)
    elif role == VALUES_OUT:
        return values_go_into(c, out)
    else:
        return matrices_go_into(c, out)


cdef bint judge(call *c, operation *does, const arguments *given) noexcept:
    """Whether the fast path can do it: then all is in c."""
    cdef word *w = does.words
    cdef int i, last = does.count - does.has_out
    c.does, c.converted, c.work.scale, c.work.j = does, NULL, 1, 0
    c.keepdims = c.return_lse = False
    c.smoothing = c.z_loss = 0
    c.arrays[<int>FEATURES] = c.arrays[<int>WEIGHT] = c.arrays[<int>OUT] = NULL  # not all have them
    c.arrays[w.slot] = <ndarray *>given.at[0]
    if not begins(c, w.role, w.slot, given.at[0]):
        return False
    for i in range(1, last):
        w = &does.words[i]
        if given.at[i] == w.usual:
            c.arrays[w.slot] = NULL
            continue
        c.arrays[w.slot] = <ndarray *>given.at[i]
        if not suits(c, w.role, w.slot, given.at[i]):
            return False
    if does.has_out:
        w = &does.words[last]
        if not ends(c, w.role, given.at[last]):
            return False
        if given.at[last] != Py_None:
            c.arrays[<int>OUT] = <ndarray *>given.at[last]
            return overlaps_nothing(c, w.role)
    return not c.sliced or c.axes.end - c.axes.begin == 1
