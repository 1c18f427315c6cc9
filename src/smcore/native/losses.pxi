# Short ways of cross_entropy, cross_entropy_with_grad and cross_entropy_hvp.

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


cdef object plain_labels(object target, cnp.ndarray x):
    """One integer for each row of x, as int64, C-contiguous; or None."""
    if not cnp.PyArray_CheckExact(target):
        return None
    cdef cnp.ndarray labels = <cnp.ndarray>target
    cdef int ndim = cnp.PyArray_NDIM(labels)
    cdef bint wide = cnp.PyArray_ITEMSIZE(labels) == 8
    if (ndim != cnp.PyArray_NDIM(x) - 1
            or not are_alike(cnp.PyArray_DIMS(labels), cnp.PyArray_DIMS(x), ndim)):
        return None
    if wide and cnp.PyArray_ISSIGNED(labels) and cnp.PyArray_ISCARRAY_RO(labels):
        return labels
    if not cnp.PyArray_ISINTEGER(labels) or wide and not cnp.PyArray_ISSIGNED(labels):
        return None
    return cnp.PyArray_FROM_OTF(labels, cnp.NPY_INT64, cnp.NPY_ARRAY_CARRAY_RO)


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


cdef double counted_rows(const loop *work, ptrdiff_t item) noexcept:
    """The summed weights of the rows whose labels, or probabilities, and weights are taken.

    NaN if a label is wrong, none counts or a weight is not finite.
    """
    cdef const int64_t *labels = <const int64_t *>work.operands[3].data
    cdef const void *weight = work.targets.weight
    cdef Py_ssize_t counted
    if weight != NULL and not (
        are_finite(<const float *>weight, work.k) if item == sizeof(float)
        else are_finite(<const double *>weight, work.k)
    ):
        return NAN
    if labels == NULL:
        return work.rows
    if weight == NULL:
        counted = count_labels(labels, work.rows, work.k)
        return counted if counted > 0 else NAN
    if item == sizeof(float):
        return weigh_labels(<const float *>weight, work.k, labels, work.rows)
    return weigh_labels(<const double *>weight, work.k, labels, work.rows)


cdef double take_target(loop *work, cnp.ndarray target, object weight, ptrdiff_t item) noexcept:
    """Take labels or probabilities, after the logits, and the weights; return `counted_rows`."""
    take_values(work, 1, NULL, 0)
    take_values(work, 3, NULL, 0)
    if cnp.PyArray_ISINTEGER(target):
        take_values(work, 3, cnp.PyArray_DATA(target), sizeof(int64_t))
    else:
        take_plain(work, 1, target)
    work.targets.weight = NULL if weight is None else cnp.PyArray_DATA(<cnp.ndarray>weight)
    return counted_rows(work, item)


cdef object number_like(cnp.ndarray x, double value):
    """A NumPy scalar of the type of x."""
    cdef float single = <float>value
    return PyArray_Scalar(
        <void *>&single if cnp.PyArray_ITEMSIZE(x) == 4 else <void *>&value,
        cnp.PyArray_DESCR(x),
        None,
    )


cdef double divisor_of(object reduction, double counted) noexcept:
    """What the sum of so many losses is divided by; 0: there is no sum; NaN: wrong."""
    if type(reduction) is not str:
        return NAN
    if <str>reduction == "mean":
        return counted if counted else NAN
    return 1 if <str>reduction == "sum" else 0 if <str>reduction == "none" else NAN


cdef object reduced_loss(
    const smc_kernels *kernels,
    cnp.ndarray x,
    object target,
    object weight,
    object reduction,
    object label_smoothing,
    object z_loss,
    object lse,
    object out,
):
    """The loss, or None.  Fills in lse and the gradient out unless None."""
    cdef loop work
    cdef double[AT_HAND] at_hand
    cdef void *losses = at_hand
    if type(z_loss) is not float or not 0 <= <double>z_loss < INFINITY:
        return None
    if type(label_smoothing) is not float or not 0 <= <double>label_smoothing <= 1:
        return None
    values = target if is_like(target, x) else plain_labels(target, x)
    if values is None:
        return None
    cdef ptrdiff_t item = cnp.PyArray_ITEMSIZE(x)
    take_plain(&work, 0, x)
    cdef cnp.npy_intp n = work.rows, classes = work.k
    if weight is not None and not is_plain(weight, cnp.PyArray_TYPE(x), 1, &classes):
        return None
    cdef double counted = take_target(&work, <cnp.ndarray>values, weight, item)
    cdef double divisor = divisor_of(reduction, counted)
    if counted != counted or divisor != divisor:
        return None
    if n > AT_HAND or divisor == 0:
        by_row = new_by_row(x)
        losses = cnp.PyArray_DATA(by_row)
    take_values(&work, 2, NULL, 0)
    take_values(&work, 4, losses, item)
    take_values(&work, 5, NULL, 0)
    if out is not None:
        if not are_apart(<cnp.ndarray>values, out):
            return None
        if weight is not None and not are_apart(<cnp.ndarray>weight, out):
            return None
        take_plain(&work, 2, out)
    if lse is not None:
        take_values(&work, 5, cnp.PyArray_DATA(lse), item)
    work.targets.on = 1 - <double>label_smoothing
    work.targets.off = <double>label_smoothing / work.k
    work.targets.z_loss, work.targets.factor = z_loss, 1 / divisor if divisor else 1
    run_rows(&work, kernels.cross_entropy, 6)
    if divisor == 0:
        return number_or(by_row)
    if item == 4:
        return number_like(x, sum_of_losses(<const float *>losses, n) / divisor)
    return number_like(x, sum_of_losses(<const double *>losses, n) / divisor)


cdef object short_cross_entropy(PyObject **given):
    cdef const smc_kernels *kernels = plain_kernels(<object>given[0])
    if kernels == &no_kernels:
        return None
    cdef cnp.ndarray x = <cnp.ndarray>given[0]
    lse = new_by_row(x) if <object>given[6] else None
    loss = reduced_loss(
        kernels, x, <object>given[1], <object>given[2], <object>given[3], <object>given[4],
        <object>given[5], lse, None)
    return loss if loss is None or lse is None else (loss, number_or(lse))


cdef object short_cross_entropy_with_grad(PyObject **given):
    cdef const smc_kernels *kernels = plain_kernels(<object>given[0])
    if kernels == &no_kernels:
        return None
    cdef cnp.ndarray x = <cnp.ndarray>given[0]
    out = result_like(<object>given[7], x)
    if out is None:
        return None
    lse = new_by_row(x) if <object>given[6] else None
    loss = reduced_loss(
        kernels, x, <object>given[1], <object>given[2], <object>given[3], <object>given[4],
        <object>given[5], lse, out)
    if loss is None:
        return None
    return (loss, out) if lse is None else (loss, out, number_or(lse))


cdef double factor_of_rows(loop *work, object target, object reduction) noexcept:
    """What the Hessian of a loss scales rows by, or NaN.  Makes the labels, or None, operand 3."""
    cdef Py_ssize_t counted = work.rows
    take_values(work, 3, NULL, 0)
    if target is not None:
        take_values(work, 3, cnp.PyArray_DATA(<cnp.ndarray>target), sizeof(int64_t))
        counted = count_labels(<int64_t *>work.operands[3].data, counted, work.k)
        if counted < 0:
            return NAN
    cdef double divisor = divisor_of(reduction, max(1, counted))
    return 1 / divisor if divisor else 1  # NaN stays one


cdef object short_cross_entropy_hvp(PyObject **given):
    cdef loop work
    cdef smc_kernel kernel = plain_kernels(<object>given[0]).softmax_vjp
    target = <object>given[2]
    if kernel == NULL or not is_like(<object>given[1], <cnp.ndarray>given[0]):
        return None
    cdef cnp.ndarray s = <cnp.ndarray>given[0], v = <cnp.ndarray>given[1]
    take_plain(&work, 0, s)
    if target is not None:
        target = plain_labels(target, s)
        if target is None:
            return None
    cdef double factor = factor_of_rows(&work, target, <object>given[3])
    if factor != factor:
        return None
    out = result_like(<object>given[4], s)
    if out is None or not are_one_or_apart(v, out):
        return None
    if target is not None and not are_apart(<cnp.ndarray>target, out):
        return None
    take_plain(&work, 1, v)
    take_plain(&work, 2, out)
    run_scaled_product(&work, kernel, factor)
    return out
