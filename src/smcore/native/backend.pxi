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


cdef fill_scaled(smc_kernel kernel, x, out, scale):
    """The scale is a number, or an array of one for each row."""
    cdef loop work
    take(&work, 0, x)
    take(&work, 1, out)
    if isinstance(scale, np.ndarray):
        take(&work, 2, scale)
        run_scaled_rows(&work, kernel)
    else:
        run_scaled(&work, kernel, scale)


cdef fill_product(smc_kernel kernel, s, g, out):
    cdef loop work
    take(&work, 0, s)
    take(&work, 1, g)
    take(&work, 2, out)
    run_product(&work, kernel)


cdef fill_jacobian(smc_kernel kernel, s, out):
    cdef loop work
    take(&work, 0, s)
    take(&work, 1, out)
    run_jacobian(&work, kernel)


def softmax(x, out, scale):
    fill_scaled(kernels_for(x).softmax, x, out, scale)


def log_softmax(x, out, scale):
    fill_scaled(kernels_for(x).log_softmax, x, out, scale)


def logsumexp(x, out):
    cdef loop work
    take(&work, 0, x)
    take(&work, 1, out)
    run_rows(&work, kernels_for(x).logsumexp, 2)


def logsumexp_partial(x, m, s):
    cdef loop work
    take(&work, 0, x)
    take(&work, 1, m)
    take(&work, 2, s)
    run_rows(&work, kernels_for(x).logsumexp_partial, 3)


def softmax_jacobian(s, out):
    fill_jacobian(kernels_for(s).softmax_jacobian, s, out)


def softmax_vjp(s, g, out):
    fill_product(kernels_for(s).softmax_vjp, s, g, out)


def log_softmax_jacobian(log_s, out):
    fill_jacobian(kernels_for(log_s).log_softmax_jacobian, log_s, out)


def log_softmax_vjp(log_s, g, out):
    fill_product(kernels_for(log_s).log_softmax_vjp, log_s, g, out)


def log_softmax_jvp(log_s, v, out):
    fill_product(kernels_for(log_s).log_softmax_jvp, log_s, v, out)


def logsumexp_vjp(x, lse, g, out):
    cdef loop work
    take(&work, 0, x)
    take(&work, 1, out)
    take(&work, 2, lse)
    take(&work, 3, g)
    run_rows(&work, kernels_for(x).logsumexp_vjp, 4)


def logsumexp_merge(p_m, p_s, q_m, q_s, m, s):
    cdef loop work
    cdef cnp.ndarray x
    for i, x in enumerate((p_m, p_s, q_m, q_s, m, s)):
        take_values(&work, i, cnp.PyArray_DATA(x), cnp.PyArray_ITEMSIZE(x))
    run_merge(&work, kernels_for(m).logsumexp_merge, m.size)


def softmax_layer_jacobian(s, x, out):
    cdef loop work
    if out.size == 0:
        return
    s, x = np.ascontiguousarray(s), np.ascontiguousarray(x)
    take(&work, 0, s[np.newaxis])
    take(&work, 1, x[np.newaxis])
    take(&work, 2, out[np.newaxis])
    run_layer(&work, kernels_for(s).softmax_layer_jacobian, x.shape[1])


def cross_entropy(x, labels, soft, weight, on, off, z_loss, factor, loss, lse, grad):
    cdef loop work
    work.targets.weight = NULL if weight is None else cnp.PyArray_DATA(weight)
    work.targets.on, work.targets.off = on, off
    work.targets.z_loss, work.targets.factor = z_loss, factor
    for i, array in enumerate((x, soft, grad, labels, loss, lse)):
        take(&work, i, array)
    run_rows(&work, kernels_for(x).cross_entropy, 6)
