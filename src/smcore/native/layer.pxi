# Short ways of softmax_layer, its Jacobian, vjp and jvp, and of linear_cross_entropy, its gradient
# and its Hessian's product.

cdef struct layer:
    int number, ndim  # type and dimensions of input and output
    cnp.npy_intp[2] inputs, outputs, weights  # shapes, of which those of a vector begin at 1
    const smc_kernels *kernels


cdef bint is_plain_layer(layer *self, object x, object W) noexcept:
    """Whether x and W are plain, and fit; fills in self."""
    if plain_kernels(W) == &no_kernels or plain_kernels(x) == &no_kernels:
        return False
    cdef cnp.ndarray X = <cnp.ndarray>x, weights = <cnp.ndarray>W
    self.kernels = plain_kernels(x)
    self.number, self.ndim = cnp.PyArray_TYPE(X), cnp.PyArray_NDIM(X)
    if (self.ndim > 2 or cnp.PyArray_NDIM(weights) != 2
            or cnp.PyArray_TYPE(weights) != self.number
            or matmul_loops[cnp.PyArray_ITEMSIZE(X) == 8] == NULL):
        return False
    cdef matrix m = matrix_of(X)
    self.weights[0], self.weights[1] = cnp.PyArray_DIM(weights, 0), cnp.PyArray_DIM(weights, 1)
    self.inputs[0], self.inputs[1] = m.rows, m.columns
    self.outputs[0], self.outputs[1] = m.rows, self.weights[1]
    return self.weights[0] == m.columns and m.rows * self.weights[1] <= SMALL_LAYER


cdef inline const cnp.npy_intp *shape_of(const layer *self, const cnp.npy_intp *rows) noexcept:
    """The shape of inputs or outputs."""
    return rows + 2 - self.ndim


cdef inline bint is_plain_bias(const layer *self, object b) noexcept:
    return b is None or is_plain(b, self.number, 1, &self.weights[1])


cdef object logits_in(object out, const layer *self, object x, object W, object b):
    """``x @ W + b``, with out as result_in has it; or None."""
    z = result_in(out, self.number, self.ndim, shape_of(self, self.outputs))
    if z is None:
        return None
    if out is not None:
        if not are_apart(x, out) or not are_apart(W, out):
            return None
        if b is not None and not are_apart(b, out):
            return None
    multiply(matrix_of(x), matrix_of(W), z)
    if b is not None:
        add_rows(z, b)
    return z


cdef object short_layer(PyObject **given):
    cdef layer self
    cdef loop work
    x, W, b = <object>given[0], <object>given[1], <object>given[2]
    if not is_plain_layer(&self, x, W) or not is_plain_bias(&self, b):
        return None
    z = logits_in(<object>given[3], &self, x, W, b)
    if z is None:
        return None
    take_plain(&work, 0, z)
    take_plain(&work, 1, z)
    run_scaled(&work, self.kernels.softmax, 1.0)
    return z


cdef object short_layer_jacobian(PyObject **given):
    cdef loop work
    cdef smc_kernel kernel = plain_kernels(<object>given[0]).softmax_layer_jacobian
    if kernel == NULL or plain_kernels(<object>given[1]).softmax_layer_jacobian != kernel:
        return None
    cdef cnp.ndarray s = <cnp.ndarray>given[0], x = <cnp.ndarray>given[1]
    cdef int ndim = cnp.PyArray_NDIM(s)
    if (ndim > 2 or cnp.PyArray_NDIM(x) != ndim
            or not are_alike(cnp.PyArray_DIMS(s), cnp.PyArray_DIMS(x), ndim - 1)):
        return None
    out = matrices_in(<object>given[2], s, row_length(s) * row_length(x))
    if out is None or not are_apart(x, out):
        return None
    take_plain(&work, 0, s)
    take_plain(&work, 1, x)
    take_matrices(&work, 2, out)
    run_layer(&work, kernel, row_length(x))
    return out


cdef int through_softmax(
    const layer *self, cnp.ndarray s, cnp.ndarray g, cnp.ndarray out
) except -1:
    cdef loop work
    take_plain(&work, 0, s)
    take_plain(&work, 1, g)
    take_plain(&work, 2, out)
    return run_product(&work, self.kernels.softmax_vjp)


cdef object layer_gradients(const layer *self, cnp.ndarray x, cnp.ndarray W, cnp.ndarray dz):
    """``dW`` and ``dx``, in new arrays."""
    dW = cnp.PyArray_EMPTY(2, <cnp.npy_intp *>self.weights, self.number, 0)
    dx = cnp.PyArray_EMPTY(self.ndim, cnp.PyArray_DIMS(x), self.number, 0)
    multiply(transposed(matrix_of(x)), matrix_of(dz), dW)
    multiply(matrix_of(dz), transposed(matrix_of(W)), dx)
    return dW, dx


cdef object short_layer_vjp(PyObject **given):
    cdef layer self
    s, x, W, g = <object>given[0], <object>given[1], <object>given[2], <object>given[3]
    if not is_plain_layer(&self, x, W):
        return None
    cdef const cnp.npy_intp *shape = shape_of(&self, self.outputs)
    if not is_plain(s, self.number, self.ndim, shape) or not is_like(g, s):
        return None
    dz = new_like(s)
    through_softmax(&self, s, g, dz)
    dW, dx = layer_gradients(&self, x, W, dz)
    return dW, column_sums(dz), dx


cdef object short_layer_jvp(PyObject **given):
    cdef layer self
    s, x, W = <object>given[0], <object>given[1], <object>given[2]
    dW, db, dx = <object>given[3], <object>given[4], <object>given[5]
    if not is_plain_layer(&self, x, W) or not is_plain_bias(&self, db):
        return None
    cdef const cnp.npy_intp *shape = shape_of(&self, self.outputs)
    if (not is_plain(s, self.number, self.ndim, shape)
            or dW is not None and not is_like(dW, W)
            or dx is not None and not is_like(dx, x)):
        return None
    dz = cnp.PyArray_ZEROS(self.ndim, <cnp.npy_intp *>shape, self.number, 0)
    if dW is not None:
        multiply(matrix_of(x), matrix_of(dW), dz)
    if db is not None:
        add_rows(dz, db)
    if dx is not None:
        more = new_like(dz)
        multiply(matrix_of(dx), matrix_of(W), more)
        add_rows(dz, more)
    through_softmax(&self, s, dz, dz)
    return dz


cdef object layer_loss(PyObject **given, bint with_gradient):
    cdef layer self
    X, W, target, b = <object>given[0], <object>given[1], <object>given[2], <object>given[3]
    if not is_plain_layer(&self, X, W) or not is_plain_bias(&self, b):
        return None
    z = logits_in(None, &self, X, W, b)
    if z is None:
        return None
    lse = new_by_row(z) if <object>given[8] else None
    gradient = z if with_gradient else None
    loss = reduced_loss(
        self.kernels, z, target, <object>given[4], <object>given[5], <object>given[6],
        <object>given[7], lse, gradient)
    if loss is None:
        return None
    lse = None if lse is None else number_or(lse)
    if not with_gradient:
        return loss if lse is None else (loss, lse)
    dW, dX = layer_gradients(&self, X, W, z)
    found = dX, dW, None if b is None else column_sums(z)
    return (loss, found) if lse is None else (loss, found, lse)


cdef object short_layer_loss(PyObject **given):
    return layer_loss(given, False)


cdef object short_layer_loss_with_grad(PyObject **given):
    return layer_loss(given, True)


cdef object short_layer_hvp(PyObject **given):
    cdef layer self
    cdef loop work
    X, W, V, b, Vb = (
        <object>given[0], <object>given[1], <object>given[2], <object>given[4], <object>given[5])
    if not is_plain_layer(&self, X, W) or not is_plain_bias(&self, b) or not is_like(V, W):
        return None
    if not is_plain_bias(&self, Vb) or b is None and Vb is not None:
        return None
    s = logits_in(None, &self, X, W, b)
    if s is None:
        return None
    take_plain(&work, 0, s)
    target = <object>given[3]
    if target is not None:
        target = plain_labels(target, s)
        if target is None:
            return None
    cdef double factor = factor_of_rows(&work, target, <object>given[6])
    if factor != factor:
        return None
    v = logits_in(None, &self, X, V, Vb)
    if v is None:
        return None
    take_plain(&work, 1, s)
    run_scaled(&work, self.kernels.softmax, 1.0)
    take_plain(&work, 1, v)
    take_plain(&work, 2, v)
    run_scaled_product(&work, self.kernels.softmax_vjp, factor)
    HW = cnp.PyArray_EMPTY(2, <cnp.npy_intp *>self.weights, self.number, 0)
    multiply(transposed(matrix_of(X)), matrix_of(v), HW)
    return HW, None if b is None else column_sums(v)
