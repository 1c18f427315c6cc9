# The backend's functions, with the names and signatures of `_reference`: rows are checked, and laid
# out as (A, B, K).

# NumPy's number for bfloat16, a type that it does not have itself; known once an array of it came.
cdef int bfloat16 = -1

cdef smc_kernels no_kernels  # NULL, all of them


cdef inline const smc_kernels *kernels_of(int number) noexcept:
    """The table for a type of elements, or no_kernels."""
    if number == cnp.NPY_FLOAT32:
        return active.kernels[<int>SMC_F32]
    if number == cnp.NPY_FLOAT64:
        return active.kernels[<int>SMC_F64]
    if number == cnp.NPY_FLOAT16:
        return active.kernels[<int>SMC_F16]
    if number == bfloat16:
        return active.kernels[<int>SMC_BF16]
    return &no_kernels


cdef const smc_kernels *kernels_for(cnp.ndarray x) except NULL:
    """The table for the dtype of x."""
    global bfloat16
    cdef int number = cnp.PyArray_TYPE(x)
    if kernels_of(number) == &no_kernels:
        if x.dtype.name != "bfloat16":
            raise TypeError(f"no native kernels for dtype {x.dtype}")
        bfloat16 = number
    return kernels_of(number)


# An element as it lies in memory; the 16-bit floats have no C type of their own.
ctypedef fused stored:
    float
    double
    uint16_t
    int64_t

# A typed memoryview sees to it that an operand is what it should be: of its dtype, native, with so
# many dimensions.  It does so here alone, and lets go at once: the caller holds the array.  One for
# each argument of each function made the module twice as large, and a fused `def` takes 350 ns to
# find its type.

cdef operand seen(cnp.ndarray x, const stored *kind) except *:
    """An operand (A, B), one value for each row; (A, B, K), rows; (A, B, M, N), a matrix each."""
    cdef const stored[:, :] values
    cdef const stored[:, :, :] rows
    cdef const stored[:, :, :, :] matrices
    if cnp.PyArray_NDIM(x) == 2:
        values = x
        return operand(<char *>&values[0, 0], values.strides[0], values.strides[1], 0)
    if cnp.PyArray_NDIM(x) == 3:
        rows = x
        return operand(<char *>&rows[0, 0, 0], rows.strides[0], rows.strides[1], rows.strides[2])
    matrices = x
    return operand(
        <char *>&matrices[0, 0, 0, 0],
        matrices.strides[0],
        matrices.strides[1],
        matrices.strides[3],
    )


cdef int take(loop *work, int i, object array) except -1:
    """Make it operand i; None is none.  The loop is over the rows of the first."""
    if array is None:
        work.operands[i] = operand(NULL, 0, 0, 0)
        return 0
    cdef cnp.ndarray x = array, bits
    if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT32:
        work.operands[i] = seen(x, <const float *>NULL)
    elif cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT64:
        work.operands[i] = seen(x, <const double *>NULL)
    elif cnp.PyArray_ITEMSIZE(x) == 2:
        bits = x.view(np.uint16)
        work.operands[i] = seen(bits, <const uint16_t *>NULL)
    else:
        work.operands[i] = seen(x, <const int64_t *>NULL)
    if i == 0:
        work.blocks, work.rows = cnp.PyArray_DIM(x, 0), cnp.PyArray_DIM(x, 1)
        work.k = cnp.PyArray_DIM(x, 2)
    return 0


cdef fill(int op, tuple arrays, double scale, Py_ssize_t j):
    """Run an operation on operands in the order of ops.def."""
    cdef loop work
    cdef int i
    for i in range(len(arrays)):
        take(&work, i, arrays[i])
    work.scale, work.j = scale, j
    run_operation(&work, kernels_for(arrays[0]), op)


cdef fill_scaled(int op, x, out, scale):
    """The scale is a number, or an array of one for each row."""
    cdef loop work
    if not isinstance(scale, np.ndarray):
        fill(op, (x, out), scale, 0)
        return
    for i, array in enumerate((x, out, scale)):
        take(&work, i, array)
    work.j = 0
    run_scaled_rows(&work, kernels_for(x), op)


def softmax(x, out, scale):
    fill_scaled(SMC_OP_softmax, x, out, scale)


def log_softmax(x, out, scale):
    fill_scaled(SMC_OP_log_softmax, x, out, scale)


def logsumexp(x, out):
    fill(SMC_OP_logsumexp, (x, out), 1, 0)


def logsumexp_partial(x, m, s):
    fill(SMC_OP_logsumexp_partial, (x, m, s), 1, 0)


def softmax_jacobian(s, out):
    fill(SMC_OP_softmax_jacobian, (s, out), 1, 0)


def softmax_vjp(s, g, out):
    fill(SMC_OP_softmax_vjp, (s, g, out), 1, 0)


def log_softmax_jacobian(log_s, out):
    fill(SMC_OP_log_softmax_jacobian, (log_s, out), 1, 0)


def log_softmax_vjp(log_s, g, out):
    fill(SMC_OP_log_softmax_vjp, (log_s, g, out), 1, 0)


def log_softmax_jvp(log_s, v, out):
    fill(SMC_OP_log_softmax_jvp, (log_s, v, out), 1, 0)


def logsumexp_vjp(x, lse, g, out):
    fill(SMC_OP_logsumexp_vjp, (x, out, lse, g), 1, 0)


def logsumexp_merge(p_m, p_s, q_m, q_s, m, s):
    cdef loop work
    cdef cnp.ndarray x
    for i, x in enumerate((p_m, p_s, q_m, q_s, m, s)):
        take_values(&work, i, cnp.PyArray_DATA(x), cnp.PyArray_ITEMSIZE(x))
    work.blocks, work.rows, work.k, work.j, work.scale = 1, m.size, 1, 0, 1
    run_operation(&work, kernels_for(m), SMC_OP_logsumexp_merge)


def softmax_layer_jacobian(s, x, out):
    if out.size == 0:
        return
    rows = np.ascontiguousarray(s)[np.newaxis], np.ascontiguousarray(x)[np.newaxis]
    fill(SMC_OP_softmax_layer_jacobian, (*rows, out[np.newaxis]), 1, x.shape[1])


def cross_entropy(
    x, labels, soft, sample, weight, on, off, z_loss, factor, loss, lse, grad
):
    cdef loop work
    work.targets.weight = NULL if weight is None else cnp.PyArray_DATA(weight)
    work.targets.on, work.targets.off = on, off
    work.targets.z_loss, work.targets.factor = z_loss, factor
    for i, array in enumerate((x, soft, grad, labels, loss, lse, sample)):
        take(&work, i, array)
    work.j, work.scale = 0, 1
    run_operation(&work, kernels_for(x), SMC_OP_cross_entropy)
