# What the fast path does once all is judged: results, and the call of one kernel.

cdef int operand_slots[<int>SMC_OPS][<int>SMC_MAX_OPERANDS]  # what fills the operands in ops.def


cdef int assign_slots() except -1:
    cdef int op, i, role
    slots = {
        ROWS_IN_ROLE: (X, G),
        VALUES_IN_ROLE: (LSE, G),
        FEATURES_IN_ROLE: (FEATURES,),
        ROWS_OUT_ROLE: (OUT,),
        VALUES_OUT_ROLE: (OUT,),
        MATRIX_OUT_ROLE: (OUT,),
    }
    for op in range(SMC_OPS):
        free = {role: list(found) for role, found in slots.items()}
        for i in range(operand_counts[op]):
            role = operand_roles[op][i]
            operand_slots[op][i] = free[role].pop(0) if free.get(role) else NOTHING
    return 0


assign_slots()


cdef object new_array(const call *c, int ndim, const cnp.npy_intp *shape):
    return cnp.PyArray_EMPTY(ndim, <cnp.npy_intp *>shape, c.number, 0)


cdef inline object new_rows(const call *c):
    return new_array(c, c.ndim, c.shape)


cdef inline object new_values(const call *c):
    return new_array(c, c.ndim - 1, c.shape)


cdef inline object number_or(cnp.ndarray x):
    """x, or its element if it is 0-d."""
    return x if cnp.PyArray_NDIM(x) else x[()]


cdef inline object scalar_of(const call *c, void *data):
    """A NumPy scalar of the type of the rows."""
    if c.number == cnp.NPY_FLOAT32:
        return new_float32((<float *>data)[0])
    if c.number == cnp.NPY_FLOAT64:
        return new_float64((<double *>data)[0])
    return PyArray_Scalar(data, c.descr, None)


cdef inline object make_out(call *c):
    """Where the result goes; None if that does not fit, of which the function itself will speak."""
    if c.arrays[<int>OUT] != NULL:
        return <object>c.arrays[<int>OUT]
    cdef PyObject *new = PyArray_EMPTY(c.out_ndim, <cnp.npy_intp *>c.out_shape, c.number, 0)
    if new == NULL:
        PyErr_Clear()
        return None
    out = <object>new
    Py_DECREF(out)
    return out


cdef inline void lay_out(call *c, ndarray *out) noexcept:
    """Make them operands, in the order of ops.def."""
    cdef loop *work = &c.work
    cdef int op = c.does.kernel, i, slot, role
    cdef ndarray *x
    take_along(work, 0, c.arrays[<int>X], c.axes)
    for i in range(1, operand_counts[op]):
        slot, role = operand_slots[op][i], operand_roles[op][i]
        x = out if slot == OUT else c.arrays[slot]
        if role == ROWS_IN_ROLE or role == ROWS_OUT_ROLE:
            if c.sliced:
                take_along(work, i, x, c.axes)
            else:
                take_alike(work, i, x)
        elif role == MATRIX_OUT_ROLE:
            take_matrices(work, i, x)
        elif role == FEATURES_IN_ROLE:
            take_plain(work, i, x)
            work.j = length_of(x, c.ndim - 1)
        elif x == NULL:
            take_values(work, i, &c.room[slot], 0)
        else:
            take_values(work, i, data_of(x), item_size(x))
            work.operands[i].block = work.rows * item_size(x)


cdef object one_kernel(call *c):
    out = make_out(c)
    if out is None:
        return None
    lay_out(c, pointer(out))
    run_operation(&c.work, c.kernels, c.does.kernel)
    return out


cdef object one_value(call *c):
    """The same; one number alone is a scalar, for which no array is made."""
    if c.out_ndim or c.arrays[<int>OUT] != NULL:
        return one_kernel(c)
    take_along(&c.work, 0, c.arrays[<int>X], c.axes)
    take_values(&c.work, 1, &c.room[<int>OUT], 0)
    run_operation(&c.work, c.kernels, c.does.kernel)
    return scalar_of(c, &c.room[<int>OUT])


cdef object from_lse(call *c):
    put_number(c, G, 1)
    return one_kernel(c)


cdef object pair_into(call *c, int i, int ndim):
    """Run the kernel that fills operands i and i + 1, of that many axes; scalars without any."""
    cdef int op = c.does.kernel
    cdef size_t item = sizeof(float) if c.number == cnp.NPY_FLOAT32 else sizeof(double)
    if ndim == 0:
        take_values(&c.work, i, &c.room[<int>OUT], 0)
        take_values(&c.work, i + 1, &c.room[<int>LACK], 0)
        run_operation(&c.work, c.kernels, op)
        return scalar_of(c, &c.room[<int>OUT]), scalar_of(c, &c.room[<int>LACK])
    m, s = new_array(c, ndim, c.shape), new_array(c, ndim, c.shape)
    take_values(&c.work, i, data_of(pointer(m)), item)
    take_values(&c.work, i + 1, data_of(pointer(s)), item)
    run_operation(&c.work, c.kernels, op)
    return m, s


cdef object partial(call *c):
    take_plain(&c.work, 0, c.arrays[<int>X])
    return pair_into(c, 1, c.ndim - 1)


cdef object merge(call *c):
    cdef int i
    cdef ndarray *x
    c.work.blocks, c.work.rows, c.work.k = 1, count(c.shape, 0, c.ndim), 1
    for i in range(4):
        x = c.arrays[<int>X + i]
        if x == NULL:
            take_values(&c.work, i, &c.room[<int>X + i], 0)
        else:
            take_values(&c.work, i, data_of(x), item_size(x))
    return pair_into(c, 4, c.ndim)
