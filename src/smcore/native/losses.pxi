# The fast path of the losses: cross_entropy, its gradient and its Hessian's product.

cdef enum:
    AT_HAND = 128  # losses for which no array is made
    SUMS = 4  # of losses, side by side, so that none waits for another


cdef extern from *:
    """
    /* A label, read from memory once: another thread may be writing it, and what was judged must be
     * what is used. */
    static inline int64_t read_once(const int64_t *label) {
      return *(const volatile int64_t *)label;
    }
    """
    int64_t read_once(const int64_t *label) noexcept nogil


cdef Py_ssize_t count_labels(const int64_t *labels, Py_ssize_t n, int64_t k) noexcept nogil:
    """How many labels are classes; -1 if one is neither a class nor the ignored -100."""
    cdef Py_ssize_t i, counted = 0
    cdef uint64_t signs = 0, last = <uint64_t>k - 1
    cdef int64_t label
    for i in range(n):  # most often all are classes, and no difference is negative
        signs |= <uint64_t>labels[i] | (last - <uint64_t>labels[i])
    if signs < <uint64_t>1 << 63:
        return n
    for i in range(n):
        label = read_once(labels + i)
        if not 0 <= label < k and label != -100:
            return -1
        counted += label != -100
    return counted


cdef double add_to(double *total, double term) noexcept nogil:
    """Returns the rounding error (Knuth, The Art of Computer Programming 2, 4.2.2)."""
    cdef double before = total[0]
    total[0] = before + term
    cdef double added = total[0] - before
    return (before - (total[0] - added)) + (term - added)


cdef double sum_of_losses(const cython.floating *losses, Py_ssize_t n) noexcept nogil:
    """Rounding errors are summed apart (Ogita, Rump and Oishi, 2005)."""
    cdef double[SUMS] total = [0, 0, 0, 0]
    cdef double[SUMS] error = [0, 0, 0, 0]
    cdef Py_ssize_t i, j
    for i in range(n // SUMS):
        for j in range(SUMS):
            error[j] += add_to(&total[j], losses[i * SUMS + j])
    for i in range(n - n % SUMS, n):
        error[0] += add_to(&total[0], losses[i])
    for j in range(1, SUMS):
        error[0] += add_to(&total[0], total[j]) + error[j]
    return total[0] + error[0] if error[0] == error[0] else total[0]


cdef bint are_labels(call *c, PyObject *target) noexcept:
    """Whether it is one integer for each row; c has them as int64, C-contiguous."""
    cdef ndarray *labels = <ndarray *>target
    if not is_array(target) or ndim_of(labels) != c.ndim - 1:
        return False
    if not are_alike(shape_of(labels), c.shape, c.ndim - 1):
        return False
    cdef bint wide = item_size(labels) == 8
    if wide and is_signed(labels) and is_carray(labels):
        return True
    if not holds_integers(labels) or wide and not is_signed(labels):
        return False
    c.converted = PyArray_FROM_OTF(target, cnp.NPY_INT64, cnp.NPY_ARRAY_CARRAY_RO)
    if c.converted == NULL:
        PyErr_Clear()  # the function itself will say what did not fit
        return False
    c.arrays[<int>TARGET] = <ndarray *>c.converted
    return True


cdef double weigh_labels(
    const cython.floating *weight, Py_ssize_t k, const int64_t *labels, Py_ssize_t n
) noexcept nogil:
    """The summed weights of the labels; NaN if one is wrong, none counts or one is not finite."""
    cdef double total = 0, error = 0
    cdef Py_ssize_t i, counted = 0
    cdef int64_t label
    for i in range(n):
        label = read_once(labels + i)
        if 0 <= label < k:
            counted += 1
            error += add_to(&total, weight[label])
        elif label != -100:
            return NAN
    return total + error if counted else NAN


cdef inline const int64_t *labels_of(const call *c) noexcept:
    """The labels, or NULL if there are none, or probabilities."""
    cdef ndarray *target = c.arrays[<int>TARGET]
    return NULL if target == NULL or not holds_integers(target) else <int64_t *>data_of(target)


cdef double counted_rows(const call *c) noexcept:
    """The summed weights of the rows.

    NaN if a label is wrong, none counts or a weight is not finite.
    """
    cdef const int64_t *labels = labels_of(c)
    cdef const void *weight = NULL
    cdef Py_ssize_t counted, n = row_count(c), k = class_count(c)
    cdef bint single = c.number == cnp.NPY_FLOAT32
    if c.arrays[<int>WEIGHT] != NULL:
        weight = data_of(c.arrays[<int>WEIGHT])
        if not (are_finite(<float *>weight, k) if single else are_finite(<double *>weight, k)):
            return NAN
    if labels == NULL:
        return n
    if weight == NULL:
        counted = count_labels(labels, n, k)
        return counted if counted > 0 else NAN
    if single:
        return weigh_labels(<const float *>weight, k, labels, n)
    return weigh_labels(<const double *>weight, k, labels, n)


cdef bint is_reduction(call *c, PyObject *reduction) noexcept:
    """Whether it is known, and the labels and weights, judged before, leave something to reduce."""
    cdef double counted
    if Py_TYPE(reduction) != &PyUnicode_Type:
        return False
    counted = counted_rows(c)
    if <str><object>reduction == "mean":
        c.divisor = counted if counted else NAN
    elif <str><object>reduction == "sum":
        c.divisor = 1
    elif <str><object>reduction == "none":
        c.divisor = 0
    else:
        return False
    return counted == counted and c.divisor == c.divisor


cdef inline double factor_of(const call *c) noexcept:
    """What rows are scaled by, where the loss is not the sum of theirs."""
    return 1 / c.divisor if c.divisor else 1


cdef object number_like(const call *c, double value):
    cdef float single = <float>value
    return scalar_of(c, <void *>&single if c.number == cnp.NPY_FLOAT32 else <void *>&value)


cdef object reduced_loss(call *c, ndarray *x, object lse, ndarray *gradient):
    """The loss of logits x.  Fills in lse and the gradient unless None, or NULL."""
    cdef loop *work = &c.work
    cdef double[AT_HAND] at_hand
    cdef void *losses = at_hand
    cdef ndarray *target = c.arrays[<int>TARGET]
    cdef ndarray *weight = c.arrays[<int>WEIGHT]
    cdef ptrdiff_t item = item_size(x)
    cdef Py_ssize_t n = row_count(c)
    cdef unsigned before = smc_flags()
    if n > AT_HAND or c.divisor == 0:
        by_row = new_values(c)
        losses = data_of(pointer(by_row))
    take_plain(work, 0, x)
    for i in range(1, 7):
        take_values(work, i, NULL, 0)
    if holds_integers(target):
        take_values(work, 3, data_of(target), sizeof(int64_t))
    else:
        take_plain(work, 1, target)
    if gradient != NULL:
        take_plain(work, 2, gradient)
    take_values(work, 4, losses, item)
    if lse is not None:
        take_values(work, 5, data_of(pointer(lse)), item)
    work.targets.weight = NULL if weight == NULL else data_of(weight)
    work.targets.on, work.targets.off = 1 - c.smoothing, c.smoothing / work.k
    work.targets.z_loss, work.targets.factor = c.z_loss, factor_of(c)
    run_operation(work, c.kernels, SMC_OP_cross_entropy)
    if c.divisor == 0:
        return number_or(by_row)
    if item == sizeof(float):
        found = number_like(c, sum_of_losses(<const float *>losses, n) / c.divisor)
    else:
        found = number_like(c, sum_of_losses(<const double *>losses, n) / c.divisor)
    clear_raised(before, SMC_UNDERFLOW)
    return found


cdef inline object new_lse(const call *c):
    return new_values(c) if c.return_lse else None


cdef object loss(call *c):
    lse = new_lse(c)
    found = reduced_loss(c, c.arrays[<int>X], lse, NULL)
    return found if lse is None else (found, number_or(lse))


cdef object loss_with_grad(call *c):
    out, lse = make_out(c), new_lse(c)
    if out is None:
        return None
    found = reduced_loss(c, c.arrays[<int>X], lse, pointer(out))
    return (found, out) if lse is None else (found, out, number_or(lse))


cdef int multiply_by_hessian(call *c, ndarray *s, ndarray *v, ndarray *out) except -1:
    """By that of the loss by the logits."""
    take_plain(&c.work, 0, s)
    take_plain(&c.work, 1, v)
    take_plain(&c.work, 2, out)
    take_values(&c.work, 3, <void *>labels_of(c), sizeof(int64_t))
    return run_scaled_product(&c.work, c.kernels, factor_of(c))


cdef object loss_hvp(call *c):
    out = make_out(c)
    if out is not None:
        multiply_by_hessian(c, c.arrays[<int>X], c.arrays[<int>G], pointer(out))
    return out
