# The fast path of softmax_layer, its vjp and jvp, and of linear_cross_entropy, its gradient and its
# Hessian's product.

cdef inline cnp.ndarray given(const call *c, int slot):
    return <cnp.ndarray>c.arrays[slot]


cdef void fill_logits(const call *c, int weights, int bias, cnp.ndarray z):
    """``z = x @ W + b``, where there is a bias."""
    multiply(matrix_of(given(c, FEATURES)), matrix_of(given(c, weights)), z)
    if c.arrays[bias] != NULL:
        add_rows(z, given(c, bias))


cdef int apply_softmax(call *c, ndarray *z, ndarray *out) except -1:
    take_plain(&c.work, 0, z)
    take_plain(&c.work, 1, out)
    return run_operation(&c.work, c.kernels, SMC_OP_softmax)


cdef int through_softmax(call *c, ndarray *g, ndarray *out) except -1:
    """Multiply by the Jacobian matrices."""
    take_plain(&c.work, 0, c.arrays[<int>X])
    take_plain(&c.work, 1, g)
    take_plain(&c.work, 2, out)
    return run_operation(&c.work, c.kernels, SMC_OP_softmax_vjp)


cdef bint hides_rows(const call *c, cnp.ndarray z) noexcept:
    """Whether a row that does not count has to be left out of the products, as zeros would not do.

    That is so if its features or the weights are not finite: then its logits z are not, either.
    """
    cdef const int64_t *labels = labels_of(c)
    cdef Py_ssize_t i, k = class_count(c)
    cdef void *logits = cnp.PyArray_DATA(z)
    for i in range(row_count(c) if labels != NULL else 0):
        if labels[i] >= 0:
            continue
        if not (are_finite(<const float *>logits + i * k, k) if c.number == cnp.NPY_FLOAT32
                else are_finite(<const double *>logits + i * k, k)):
            return True
    return False


cdef object weight_gradient(const call *c, cnp.ndarray dz, int like):
    """In the order of the weights, or of their direction, that is like it."""
    cdef cnp.ndarray weights = given(c, like)
    cdef bint fortran = not cnp.PyArray_IS_C_CONTIGUOUS(weights)
    cdef cnp.ndarray dW = cnp.PyArray_EMPTY(2, cnp.PyArray_DIMS(weights), c.number, fortran)
    multiply(transposed(matrix_of(given(c, FEATURES))), matrix_of(dz), dW)
    return dW


cdef object feature_gradient(const call *c, cnp.ndarray dz):
    dx = new_array(c, c.ndim, cnp.PyArray_DIMS(given(c, FEATURES)))
    multiply(matrix_of(dz), transposed(matrix_of(given(c, W))), dx)
    return dx


cdef object layer(call *c):
    z = make_out(c)
    if z is not None:
        fill_logits(c, W, B, z)
        apply_softmax(c, pointer(z), pointer(z))
    return z


cdef object layer_vjp(call *c):
    dz = new_rows(c)
    through_softmax(c, c.arrays[<int>G], pointer(dz))
    dW = weight_gradient(c, dz, W) if c.by_weights else None
    db = column_sums(dz) if c.by_bias else None
    return dW, db, feature_gradient(c, dz) if c.by_features else None


cdef object layer_jvp(call *c):
    dz = cnp.PyArray_ZEROS(c.ndim, <cnp.npy_intp *>c.shape, c.number, 0)
    if c.arrays[<int>V] != NULL:
        multiply(matrix_of(given(c, FEATURES)), matrix_of(given(c, V)), dz)
    if c.arrays[<int>B] != NULL:
        add_rows(dz, given(c, B))
    if c.arrays[<int>VX] != NULL:
        more = new_rows(c)
        multiply(matrix_of(given(c, VX)), matrix_of(given(c, W)), more)
        add_rows(dz, more)
    through_softmax(c, pointer(dz), pointer(dz))
    return dz


cdef object layer_loss(call *c):
    z, lse = new_rows(c), new_lse(c)
    fill_logits(c, W, B, z)
    found = reduced_loss(c, pointer(z), lse, NULL)
    return found if lse is None else (found, number_or(lse))


cdef object layer_loss_with_grad(call *c):
    z, lse = new_rows(c), new_lse(c)
    fill_logits(c, W, B, z)
    if hides_rows(c, z):
        return None
    found = reduced_loss(c, pointer(z), lse, pointer(z))
    dX = feature_gradient(c, z) if c.by_features else None
    dW = weight_gradient(c, z, W) if c.by_weights else None
    db = column_sums(z) if c.by_bias and c.arrays[<int>B] != NULL else None
    gradients = dX, dW, db
    return (found, gradients) if lse is None else (found, gradients, number_or(lse))


cdef object layer_loss_hvp(call *c):
    cdef ndarray *s = c.arrays[<int>X]
    v = new_rows(c)
    fill_logits(c, V, VB, v)
    if hides_rows(c, v):
        return None
    if s == NULL:
        made = new_rows(c)
        s = pointer(made)
        fill_logits(c, W, B, made)
        apply_softmax(c, s, s)
    multiply_by_hessian(c, s, pointer(v), pointer(v))
    HW = weight_gradient(c, v, V)
    return HW, None if c.arrays[<int>B] == NULL else column_sums(v)
