# cython: boundscheck=False, wraparound=False, freethreading_compatible=True
"""The native backend: rows of typed memoryviews, walked without the GIL by the C kernels.

The functions take what `_reference` takes, checked by `_arrays`.  `fast_path` gives some of the
public functions an entry of their own: a C-contiguous float32 or float64 array along its last axis,
with nothing else asked for, goes to the kernel with no Python-level work at all.
"""

import functools
import os

cimport cython
cimport numpy as cnp
from libc.math cimport INFINITY, fabs
from libc.stdint cimport int64_t, uint16_t

import numpy as np

cnp.import_array()

NAME = "native"


cdef extern from "smcore_kernels.h" nogil:
    ctypedef enum smc_dtype:
        SMC_F32, SMC_F64, SMC_F16, SMC_BF16

    ctypedef struct smc_view:
        void *data
        ptrdiff_t row
        ptrdiff_t col

    ctypedef struct smc_targets:
        const int64_t *labels
        ptrdiff_t labels_row
        const void *weight
        double on
        double off
        double z_loss
        double factor
        void *loss
        ptrdiff_t loss_row
        void *lse
        ptrdiff_t lse_row


ctypedef void (*scaled_kernel)(smc_view, smc_view, size_t, size_t, double) noexcept nogil
ctypedef void (*reducing_kernel)(smc_view, smc_view, size_t, size_t) noexcept nogil
ctypedef void (*product_kernel)(smc_view, smc_view, smc_view, size_t, size_t) noexcept nogil
ctypedef void (*logsumexp_vjp_kernel)(
    smc_view, smc_view, smc_view, smc_view, size_t, size_t) noexcept nogil
ctypedef void (*layer_kernel)(
    smc_view, smc_view, smc_view, size_t, size_t, size_t) noexcept nogil
ctypedef void (*cross_entropy_kernel)(
    smc_view, smc_view, smc_view, size_t, size_t, const smc_targets *) noexcept nogil


cdef extern from "smcore_kernels.h" nogil:
    ctypedef struct smc_kernels:
        scaled_kernel softmax
        scaled_kernel log_softmax
        reducing_kernel logsumexp
        product_kernel softmax_vjp
        product_kernel log_softmax_vjp
        product_kernel log_softmax_jvp
        logsumexp_vjp_kernel logsumexp_vjp
        reducing_kernel softmax_jacobian
        reducing_kernel log_softmax_jacobian
        layer_kernel softmax_layer_jacobian
        cross_entropy_kernel cross_entropy

    ctypedef struct smc_target:
        const char *name
        smc_kernels kernels[4]

    const smc_target *smc_available(size_t index)
    const char *smc_compiler()


cdef extern from "pool.h" nogil:
    int smc_pool_init()
    int smc_pool_reset()
    void smc_set_num_threads(size_t count)
    size_t smc_get_num_threads()
    void smc_parallel_for(
        size_t items,
        size_t share,
        size_t grain,
        void (*body)(void *, size_t, size_t) noexcept nogil,
        void *context,
    )


cdef extern from "numpy/arrayobject.h":
    object PyArray_Scalar(void *data, cnp.PyArray_Descr *descr, object base)


# An element as it lies in memory; the 16-bit floats have no C type of their own.
ctypedef fused stored:
    float
    double
    uint16_t

# Below this many elements the work is over before another thread could have had the GIL.
cdef enum:
    RELEASE_GIL_FROM = 8192

# The least work to give to a thread, in elements of long rows of a softmax in float32: some 100 us.
# To wake one costs 5 us on a quiet machine, and 10 where all cores are busy and it cannot help.
cdef double worth_a_thread = 1 << 18

# What there is to do for a row besides its elements, in elements: the ends of sums and maxima.
cdef enum:
    ROW = 20

cdef const smc_target *active = smc_available(0)


# ---- targets -------------------------------------------------------------------------------------

def targets():
    names = []
    while smc_available(len(names)) != NULL:
        names.append(smc_available(len(names)).name.decode())
    return tuple(names)


def active_target():
    return active.name.decode()


def set_target(name):
    global active
    available = targets()
    if name not in available:
        raise ValueError(f"target must be one of {available}; found {name!r}")
    active = smc_available(available.index(name))


def compiler():
    return smc_compiler().decode()


# ---- threads -------------------------------------------------------------------------------------

def set_num_threads(count):
    smc_set_num_threads(count)


def get_num_threads():
    return smc_get_num_threads()


def _set_worth_a_thread(work):
    """For tests; returns the former value."""
    global worth_a_thread
    former, worth_a_thread = worth_a_thread, work
    return former


def _after_fork_in_child():
    if smc_pool_reset() < 0:
        raise MemoryError


if smc_pool_init() < 0:
    raise MemoryError
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


# ---- arrays --------------------------------------------------------------------------------------

cdef const smc_kernels *kernels_for(cnp.ndarray x) except NULL:
    """The table for the dtype of x."""
    cdef int number = cnp.PyArray_TYPE(x)
    if number == cnp.NPY_FLOAT32:
        return &active.kernels[<int>SMC_F32]
    if number == cnp.NPY_FLOAT64:
        return &active.kernels[<int>SMC_F64]
    if number == cnp.NPY_FLOAT16:
        return &active.kernels[<int>SMC_F16]
    if x.dtype.name == "bfloat16":
        return &active.kernels[<int>SMC_BF16]
    raise TypeError(f"no native kernels for dtype {x.dtype}")


cdef object elements(cnp.ndarray x):
    """x, or the bits of its 16-bit floats: what a memoryview of `stored` takes."""
    return x.view(np.uint16) if cnp.PyArray_ITEMSIZE(x) == 2 else x


# ---- loops over rows, spread over threads --------------------------------------------------------

# An operand (A, B, ...) as it lies in memory: steps in bytes along A, along B and along a row.
cdef struct operand:
    char *data
    ptrdiff_t block
    ptrdiff_t row
    ptrdiff_t col


cdef inline operand rows(const stored[:, :, :] x) noexcept nogil:
    return operand(<char *>&x[0, 0, 0], x.strides[0], x.strides[1], x.strides[2])


cdef inline operand singles(const stored[:, :] x) noexcept nogil:
    """One value for each row."""
    return operand(<char *>&x[0, 0], x.strides[0], x.strides[1], 0)


cdef inline operand label_of_each(const int64_t[:, :] x) noexcept nogil:
    return operand(<char *>&x[0, 0], x.strides[0], x.strides[1], 0)


cdef inline operand result_of_each(const cython.floating[:, :] x) noexcept nogil:
    return operand(<char *>&x[0, 0], x.strides[0], x.strides[1], 0)


cdef inline operand matrices(const stored[:, :, :, :] x) noexcept nogil:
    """One dense block for each row."""
    return operand(<char *>&x[0, 0, 0, 0], x.strides[0], x.strides[1], x.strides[3])


cdef operand nothing = operand(NULL, 0, 0, 0)


# A kernel with all that it is called with.
ctypedef void (*any_kernel)() noexcept nogil

cdef struct loop:
    void (*part)(const loop *, size_t, size_t, size_t) noexcept nogil
    any_kernel kernel
    operand[6] operands
    size_t blocks, rows, k, j  # (A, B, K); J of a layer
    double work  # for a row, as in worth_a_thread
    double scale
    smc_targets targets


cdef inline smc_view at(const loop *self, int i, size_t block, size_t row) noexcept nogil:
    """Operand i from a row on."""
    cdef const operand *o = &self.operands[i]
    return smc_view(o.data + <ptrdiff_t>block * o.block + <ptrdiff_t>row * o.row, o.row, o.col)


cdef void walk(void *context, size_t begin, size_t end) noexcept nogil:
    """Rows begin to end of the A * B, block by block."""
    cdef const loop *self = <const loop *>context
    cdef size_t row, n
    while begin < end:
        row = begin % self.rows
        n = min(self.rows - row, end - begin)
        self.part(self, begin // self.rows, row, n)
        begin += n


cdef size_t grain(const loop *self) noexcept nogil:
    """How many rows kernels take together: four vectors of 16, if the rows are short or columns.

    Columns side by side are then whole cache lines, too.
    """
    cdef const operand *x = &self.operands[0]
    return 64 if self.k <= 512 or fabs(x.row) < fabs(x.col) else 4 if self.k <= 8192 else 1


cdef void run(loop *self) noexcept:
    # Rows are what threads share: a few very long ones stay with the thread that calls.
    cdef size_t share = 1 + <size_t>(worth_a_thread / self.work)
    with nogil:
        smc_parallel_for(self.blocks * self.rows, share, grain(self), walk, self)


# Each family of kernels has a `part`, its call for n rows from one on; a `run` for the loop over
# operands; a `sweep` that runs over typed memoryviews; and a `call` that finds the sweep for the
# stored type by hand: the dispatch of a fused `def` would cost 350 ns.

cdef void scaled_part(const loop *self, size_t block, size_t row, size_t n) noexcept nogil:
    (<scaled_kernel>self.kernel)(
        at(self, 0, block, row), at(self, 1, block, row), n, self.k, self.scale)


cdef void run_scaled(
    scaled_kernel kernel, operand x, operand out, size_t blocks, size_t rows, size_t k, double scale
) noexcept:
    cdef loop work
    work.part, work.kernel, work.scale = scaled_part, <any_kernel>kernel, scale
    work.operands[0], work.operands[1] = x, out
    work.blocks, work.rows, work.k, work.work = blocks, rows, k, ROW + k
    run(&work)


cdef void sweep_scaled(
    scaled_kernel kernel, const stored[:, :, :] x, stored[:, :, :] out, double scale
) noexcept:
    run_scaled(kernel, rows(x), rows(out), x.shape[0], x.shape[1], x.shape[2], scale)


cdef call_scaled(scaled_kernel kernel, cnp.ndarray x, cnp.ndarray out, double scale):
    if cnp.PyArray_ITEMSIZE(x) == 4:
        sweep_scaled[float](kernel, x, out, scale)
    elif cnp.PyArray_ITEMSIZE(x) == 8:
        sweep_scaled[double](kernel, x, out, scale)
    else:
        sweep_scaled[uint16_t](kernel, elements(x), elements(out), scale)


cdef void product_part(const loop *self, size_t block, size_t row, size_t n) noexcept nogil:
    (<product_kernel>self.kernel)(
        at(self, 0, block, row), at(self, 1, block, row), at(self, 2, block, row), n, self.k)


cdef void run_product(
    product_kernel kernel,
    operand s,
    operand g,
    operand out,
    size_t blocks,
    size_t rows,
    size_t k,
) noexcept:
    cdef loop work
    work.part, work.kernel = product_part, <any_kernel>kernel
    work.operands[0], work.operands[1], work.operands[2] = s, g, out
    work.blocks, work.rows, work.k, work.work = blocks, rows, k, ROW + k / 2.0
    run(&work)


cdef void sweep_product(
    product_kernel kernel, const stored[:, :, :] s, const stored[:, :, :] g, stored[:, :, :] out
) noexcept:
    run_product(kernel, rows(s), rows(g), rows(out), s.shape[0], s.shape[1], s.shape[2])


cdef call_product(product_kernel kernel, cnp.ndarray s, cnp.ndarray g, cnp.ndarray out):
    if cnp.PyArray_ITEMSIZE(s) == 4:
        sweep_product[float](kernel, s, g, out)
    elif cnp.PyArray_ITEMSIZE(s) == 8:
        sweep_product[double](kernel, s, g, out)
    else:
        sweep_product[uint16_t](kernel, elements(s), elements(g), elements(out))


cdef void reducing_part(const loop *self, size_t block, size_t row, size_t n) noexcept nogil:
    (<reducing_kernel>self.kernel)(
        at(self, 0, block, row), at(self, 1, block, row), n, self.k)


cdef void run_reducing(
    reducing_kernel kernel,
    operand x,
    operand out,
    size_t blocks,
    size_t rows,
    size_t k,
    double work_of_row,
) noexcept:
    cdef loop work
    work.part, work.kernel = reducing_part, <any_kernel>kernel
    work.operands[0], work.operands[1] = x, out
    work.blocks, work.rows, work.k, work.work = blocks, rows, k, work_of_row
    run(&work)


cdef void sweep_jacobian(
    reducing_kernel kernel, const stored[:, :, :] s, stored[:, :, :, :] out
) noexcept:
    cdef double k = s.shape[2]
    run_reducing(
        kernel, rows(s), matrices(out), s.shape[0], s.shape[1], s.shape[2], ROW + k * k / 4)


cdef call_jacobian(reducing_kernel kernel, cnp.ndarray s, cnp.ndarray out):
    s = np.ascontiguousarray(s)  # K numbers, read K times
    if cnp.PyArray_ITEMSIZE(s) == 4:
        sweep_jacobian[float](kernel, s, out)
    elif cnp.PyArray_ITEMSIZE(s) == 8:
        sweep_jacobian[double](kernel, s, out)
    else:
        sweep_jacobian[uint16_t](kernel, elements(s), elements(out))


cdef void sweep_logsumexp(
    reducing_kernel kernel, const stored[:, :, :] x, stored[:, :] out
) noexcept:
    run_reducing(
        kernel, rows(x), singles(out), x.shape[0], x.shape[1], x.shape[2], ROW + x.shape[2])


cdef void logsumexp_vjp_part(const loop *self, size_t block, size_t row, size_t n) noexcept nogil:
    (<logsumexp_vjp_kernel>self.kernel)(
        at(self, 0, block, row),
        at(self, 1, block, row),
        at(self, 2, block, row),
        at(self, 3, block, row),
        n,
        self.k,
    )


cdef void sweep_logsumexp_vjp(
    logsumexp_vjp_kernel kernel,
    const stored[:, :, :] x,
    const stored[:, :] lse,
    const stored[:, :] g,
    stored[:, :, :] out,
) noexcept:
    cdef loop work
    work.part, work.kernel = logsumexp_vjp_part, <any_kernel>kernel
    work.operands[0], work.operands[1] = rows(x), singles(lse)
    work.operands[2], work.operands[3] = singles(g), rows(out)
    work.blocks, work.rows, work.k = x.shape[0], x.shape[1], x.shape[2]
    work.work = ROW + work.k
    run(&work)


cdef void layer_part(const loop *self, size_t block, size_t row, size_t n) noexcept nogil:
    (<layer_kernel>self.kernel)(
        at(self, 0, block, row),
        at(self, 1, block, row),
        at(self, 2, block, row),
        n,
        self.k,
        self.j,
    )


cdef void sweep_layer(
    layer_kernel kernel,
    const stored[:, ::1] s,
    const stored[:, ::1] x,
    stored[:, :, ::1] out,
) noexcept:
    cdef loop work
    work.part, work.kernel = layer_part, <any_kernel>kernel
    work.operands[0] = operand(<char *>&s[0, 0], 0, s.strides[0], s.strides[1])
    work.operands[1] = operand(<char *>&x[0, 0], 0, x.strides[0], x.strides[1])
    work.operands[2] = operand(<char *>&out[0, 0, 0], 0, out.strides[0], out.strides[2])
    work.blocks, work.rows, work.k, work.j = 1, s.shape[0], s.shape[1], x.shape[1]
    work.work = ROW + <double>work.k * work.k * work.j / 4
    run(&work)


cdef void cross_entropy_part(const loop *self, size_t block, size_t row, size_t n) noexcept nogil:
    cdef smc_targets targets = self.targets
    cdef smc_view labels = at(self, 3, block, row)
    cdef smc_view loss = at(self, 4, block, row), lse = at(self, 5, block, row)
    targets.labels, targets.labels_row = <const int64_t *>labels.data, labels.row
    targets.loss, targets.loss_row = loss.data, loss.row
    targets.lse, targets.lse_row = lse.data, lse.row
    (<cross_entropy_kernel>self.kernel)(
        at(self, 0, block, row),
        at(self, 1, block, row),
        at(self, 2, block, row),
        n,
        self.k,
        &targets,
    )


cdef void run_cross_entropy(
    cross_entropy_kernel kernel,
    operand x,
    operand soft,
    operand grad,
    operand labels,
    operand loss,
    operand lse,
    size_t blocks,
    size_t rows,
    size_t k,
    const smc_targets *targets,
) noexcept:
    """With labels, losses and logsumexps of the operands in place of those of targets."""
    cdef loop work
    work.part, work.kernel, work.targets = cross_entropy_part, <any_kernel>kernel, targets[0]
    work.operands[0], work.operands[1], work.operands[2] = x, soft, grad
    work.operands[3], work.operands[4], work.operands[5] = labels, loss, lse
    work.blocks, work.rows, work.k, work.work = blocks, rows, k, ROW + k
    run(&work)


cdef void sweep_cross_entropy(
    cross_entropy_kernel kernel,
    const stored[:, :, :] x,
    const int64_t[:, :] labels,
    const stored[:, :, :] soft,
    const cython.floating[::1] weight,
    double on,
    double off,
    double z_loss,
    double factor,
    cython.floating[:, :] loss,
    cython.floating[:, :] lse,
    stored[:, :, :] grad,
) noexcept:
    """Without labels, soft, weight, lse or grad: None in its place."""
    cdef smc_targets targets
    targets.on, targets.off, targets.z_loss, targets.factor = on, off, z_loss, factor
    targets.weight = NULL
    if weight is not None:
        targets.weight = &weight[0]
    run_cross_entropy(
        kernel,
        rows(x),
        nothing if soft is None else rows(soft),
        nothing if grad is None else rows(grad),
        nothing if labels is None else label_of_each(labels),
        result_of_each(loss),
        nothing if lse is None else result_of_each(lse),
        x.shape[0],
        x.shape[1],
        x.shape[2],
        &targets,
    )


# ---- the interface of a backend ------------------------------------------------------------------

def softmax(x, out, scale):
    call_scaled(kernels_for(x).softmax, x, out, scale)


def log_softmax(x, out, scale):
    call_scaled(kernels_for(x).log_softmax, x, out, scale)


def logsumexp(x, out):
    cdef const smc_kernels *kernels = kernels_for(x)
    if cnp.PyArray_ITEMSIZE(x) == 4:
        sweep_logsumexp[float](kernels.logsumexp, x, out)
    elif cnp.PyArray_ITEMSIZE(x) == 8:
        sweep_logsumexp[double](kernels.logsumexp, x, out)
    else:
        sweep_logsumexp[uint16_t](kernels.logsumexp, elements(x), elements(out))


def softmax_jacobian(s, out):
    call_jacobian(kernels_for(s).softmax_jacobian, s, out)


def softmax_vjp(s, g, out):
    call_product(kernels_for(s).softmax_vjp, s, g, out)


def log_softmax_jacobian(log_s, out):
    call_jacobian(kernels_for(log_s).log_softmax_jacobian, log_s, out)


def log_softmax_vjp(log_s, g, out):
    call_product(kernels_for(log_s).log_softmax_vjp, log_s, g, out)


def log_softmax_jvp(log_s, v, out):
    call_product(kernels_for(log_s).log_softmax_jvp, log_s, v, out)


def logsumexp_vjp(x, lse, g, out):
    cdef logsumexp_vjp_kernel kernel = kernels_for(x).logsumexp_vjp
    if cnp.PyArray_ITEMSIZE(x) == 4:
        sweep_logsumexp_vjp[float](kernel, x, lse, g, out)
    elif cnp.PyArray_ITEMSIZE(x) == 8:
        sweep_logsumexp_vjp[double](kernel, x, lse, g, out)
    else:
        sweep_logsumexp_vjp[uint16_t](
            kernel, elements(x), elements(lse), elements(g), elements(out))


def softmax_layer_jacobian(s, x, out):
    cdef layer_kernel kernel = kernels_for(s).softmax_layer_jacobian
    if out.size == 0:
        return
    s, x = np.ascontiguousarray(s), np.ascontiguousarray(x)
    if cnp.PyArray_ITEMSIZE(s) == 4:
        sweep_layer[float](kernel, s, x, out)
    elif cnp.PyArray_ITEMSIZE(s) == 8:
        sweep_layer[double](kernel, s, x, out)
    else:
        sweep_layer[uint16_t](kernel, elements(s), elements(x), elements(out))


def cross_entropy(x, labels, soft, weight, on, off, z_loss, factor, loss, lse, grad):
    cdef cross_entropy_kernel kernel = kernels_for(x).cross_entropy
    if weight is None and off != 0:
        weight = np.ones(x.shape[2], loss.dtype)  # what the kernels ask for with smoothing
    if cnp.PyArray_ITEMSIZE(x) == 4:
        sweep_cross_entropy[float, float](
            kernel, x, labels, soft, weight, on, off, z_loss, factor, loss, lse, grad)
    elif cnp.PyArray_ITEMSIZE(x) == 8:
        sweep_cross_entropy[double, double](
            kernel, x, labels, soft, weight, on, off, z_loss, factor, loss, lse, grad)
    else:
        soft = None if soft is None else elements(soft)
        grad = None if grad is None else elements(grad)
        sweep_cross_entropy[uint16_t, float](
            kernel, elements(x), labels, soft, weight, on, off, z_loss, factor, loss, lse, grad)


# ---- small calls ---------------------------------------------------------------------------------

cdef object LAST = -1  # the default of every axis, compared by identity: small integers are unique
cdef object ONE = 1.0

# The public functions that the entries below stand before.
cdef object general_softmax
cdef object general_log_softmax
cdef object general_logsumexp
cdef object general_softmax_vjp
cdef object general_softmax_jvp
cdef object general_cross_entropy
cdef object general_cross_entropy_with_grad
cdef object general_linear_cross_entropy
cdef object general_linear_cross_entropy_with_grad

cdef object matmul = np.matmul, add = np.add, errstate = np.errstate


cdef inline const smc_kernels *kernels_if_plain(object x) noexcept:
    """The table for a C-contiguous ndarray of float32 or float64 with rows in it, else NULL."""
    if not cnp.PyArray_CheckExact(x) or not cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x):
        return NULL
    cdef cnp.ndarray array = <cnp.ndarray>x
    cdef int ndim = cnp.PyArray_NDIM(array)
    if ndim == 0 or cnp.PyArray_SIZE(array) == 0:
        return NULL
    if cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT32:
        return &active.kernels[<int>SMC_F32]
    if cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT64:
        return &active.kernels[<int>SMC_F64]
    return NULL


cdef inline bint is_like(object other, cnp.ndarray x) noexcept:
    """Whether other is plain, of the dtype and shape of x."""
    return (
        kernels_if_plain(other) != NULL
        and cnp.PyArray_TYPE(<cnp.ndarray>other) == cnp.PyArray_TYPE(x)
        and cnp.PyArray_SAMESHAPE(<cnp.ndarray>other, x)
    )


cdef inline bint are_apart(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether two C-contiguous arrays share no memory."""
    cdef char *start = <char *>cnp.PyArray_DATA(a)
    cdef char *other = <char *>cnp.PyArray_DATA(b)
    return start + cnp.PyArray_NBYTES(a) <= other or other + cnp.PyArray_NBYTES(b) <= start


cdef inline bint may_hold_result(object out, cnp.ndarray x) noexcept:
    """Whether out is_like x, writeable, and x itself or apart from it."""
    if not is_like(out, x) or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray>out):
        return False
    cdef cnp.ndarray array = <cnp.ndarray>out
    return cnp.PyArray_DATA(array) == cnp.PyArray_DATA(x) or are_apart(array, x)


cdef inline cnp.ndarray new_like(cnp.ndarray x):
    return cnp.PyArray_EMPTY(
        cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), 0)


cdef inline cnp.ndarray new_by_row(cnp.ndarray x):
    return cnp.PyArray_EMPTY(
        cnp.PyArray_NDIM(x) - 1, cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), 0)


cdef inline size_t row_length(cnp.ndarray x) noexcept:
    return cnp.PyArray_DIM(x, cnp.PyArray_NDIM(x) - 1)


cdef inline smc_view dense(cnp.ndarray x) noexcept:
    cdef ptrdiff_t item = cnp.PyArray_ITEMSIZE(x)
    return smc_view(cnp.PyArray_DATA(x), <ptrdiff_t>row_length(x) * item, item)


cdef inline operand plain(cnp.ndarray x) noexcept:
    cdef smc_view view = dense(x)
    return operand(<char *>view.data, 0, view.row, view.col)


cdef inline operand plain_singles(cnp.ndarray x) noexcept:
    return operand(<char *>cnp.PyArray_DATA(x), 0, cnp.PyArray_ITEMSIZE(x), 0)


cdef inline object fast_scaled(scaled_kernel kernel, cnp.ndarray x, object out):
    """The result, or None if out wants the general path."""
    if out is None:
        out = new_like(x)
    elif not may_hold_result(out, x):
        return None
    cdef size_t k = row_length(x), size = cnp.PyArray_SIZE(x)
    if size < RELEASE_GIL_FROM:
        kernel(dense(x), dense(<cnp.ndarray>out), size // k, k, 1.0)
    else:
        run_scaled(kernel, plain(x), plain(<cnp.ndarray>out), 1, size // k, k, 1.0)
    return out


cdef inline object fast_product(product_kernel kernel, cnp.ndarray s, object g, object out):
    """The result, or None if g or out wants the general path."""
    if not is_like(g, s):
        return None
    if out is None:
        out = new_like(s)
    elif not may_hold_result(out, s) or not may_hold_result(out, <cnp.ndarray>g):
        return None
    cdef cnp.ndarray right = <cnp.ndarray>g, target = <cnp.ndarray>out
    cdef size_t k = row_length(s), size = cnp.PyArray_SIZE(s)
    if size < RELEASE_GIL_FROM:
        kernel(dense(s), dense(right), dense(target), size // k, k)
    else:
        run_product(kernel, plain(s), plain(right), plain(target), 1, size // k, k)
    return out


def fast_softmax(x, axis=-1, *, where=None, scale=1.0, dtype=None, out=None):
    cdef const smc_kernels *kernels = kernels_if_plain(x)
    if kernels != NULL and axis is LAST and where is None and scale is ONE and dtype is None:
        result = fast_scaled(kernels.softmax, x, out)
        if result is not None:
            return result
    return general_softmax(x, axis, where=where, scale=scale, dtype=dtype, out=out)


def fast_log_softmax(x, axis=-1, *, where=None, scale=1.0, dtype=None, out=None):
    cdef const smc_kernels *kernels = kernels_if_plain(x)
    if kernels != NULL and axis is LAST and where is None and scale is ONE and dtype is None:
        result = fast_scaled(kernels.log_softmax, x, out)
        if result is not None:
            return result
    return general_log_softmax(x, axis, where=where, scale=scale, dtype=dtype, out=out)


def fast_logsumexp(
    x,
    axis=-1,
    *,
    b=None,
    where=None,
    keepdims=False,
    return_sign=False,
    dtype=None,
    out=None,
):
    cdef const smc_kernels *kernels = kernels_if_plain(x)
    cdef bint default = axis is LAST and b is None and where is None and dtype is None
    if (kernels != NULL and default and out is None
            and keepdims is False and return_sign is False):
        return fast_reduction(kernels.logsumexp, x)
    return general_logsumexp(
        x,
        axis,
        b=b,
        where=where,
        keepdims=keepdims,
        return_sign=return_sign,
        dtype=dtype,
        out=out,
    )


cdef inline object fast_reduction(reducing_kernel kernel, cnp.ndarray x):
    cdef ptrdiff_t item = cnp.PyArray_ITEMSIZE(x)
    cdef size_t k = row_length(x), size = cnp.PyArray_SIZE(x)
    cdef double value  # room for either type
    if cnp.PyArray_NDIM(x) == 1 and size < RELEASE_GIL_FROM:
        kernel(dense(x), smc_view(&value, item, 0), 1, k)
        return PyArray_Scalar(&value, cnp.PyArray_DESCR(x), None)
    cdef cnp.ndarray out = new_by_row(x)
    if size < RELEASE_GIL_FROM:
        kernel(dense(x), smc_view(cnp.PyArray_DATA(out), item, 0), size // k, k)
    else:
        run_reducing(kernel, plain(x), plain_singles(out), 1, size // k, k, ROW + k)
    return out if cnp.PyArray_NDIM(out) else out[()]


def fast_softmax_vjp(s, g, axis=-1, *, out=None):
    cdef const smc_kernels *kernels = kernels_if_plain(s)
    if kernels != NULL and axis is LAST:
        result = fast_product(kernels.softmax_vjp, s, g, out)
        if result is not None:
            return result
    return general_softmax_vjp(s, g, axis, out=out)


def fast_softmax_jvp(s, v, axis=-1, *, out=None):
    cdef const smc_kernels *kernels = kernels_if_plain(s)
    if kernels != NULL and axis is LAST:
        result = fast_product(kernels.softmax_vjp, s, v, out)
        if result is not None:
            return result
    return general_softmax_jvp(s, v, axis, out=out)


cdef object MEAN = "mean"  # interned, as the default of `reduction` is
cdef object ZERO = 0.0  # the default of `label_smoothing`


cdef Py_ssize_t count_labels(const int64_t *labels, Py_ssize_t n, int64_t k) noexcept nogil:
    """How many labels are classes; -1 if one is neither a class nor the ignored -100."""
    cdef Py_ssize_t i, counted = 0
    for i in range(n):
        if 0 <= labels[i] < k:
            counted += 1
        elif labels[i] != -100:
            return -1
    return counted


cdef double sum_of_losses(const cython.floating *losses, Py_ssize_t n) noexcept nogil:
    """Neumaier's sum (1974): the rounding error of each addition is summed apart."""
    cdef double total = 0, error = 0, after, loss
    cdef Py_ssize_t i
    for i in range(n):
        loss = losses[i]
        after = total + loss
        error += (total - after) + loss if total >= loss else (loss - after) + total
        total = after
    return total + error if error == error else total


cdef inline bint is_default(ignore_index) noexcept:
    return type(ignore_index) is int and <object>ignore_index == -100


cdef inline bint are_plain_labels(object target, cnp.ndarray x) noexcept:
    """Whether target holds one int64 for each row of x, C-contiguous."""
    if not cnp.PyArray_CheckExact(target) or not cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>target):
        return False
    cdef cnp.ndarray labels = <cnp.ndarray>target
    cdef int axis, ndim = cnp.PyArray_NDIM(labels)
    if not cnp.PyArray_ISSIGNED(labels) or cnp.PyArray_ITEMSIZE(labels) != 8:
        return False
    if ndim != cnp.PyArray_NDIM(x) - 1:
        return False
    for axis in range(ndim):
        if cnp.PyArray_DIM(labels, axis) != cnp.PyArray_DIM(x, axis):
            return False
    return True


cdef inline bint is_plain_factor(z_loss) noexcept:
    return type(z_loss) is float and 0 <= <double>z_loss < INFINITY


cdef object fast_mean_loss(
    const smc_kernels *kernels, cnp.ndarray x, object target, double z_loss, object lse, object out
):
    """The mean loss; None for the general path.  Fills in lse and the gradient out unless None."""
    if not are_plain_labels(target, x):
        return None
    if out is not None and not are_apart(<cnp.ndarray>target, <cnp.ndarray>out):
        return None
    cdef smc_targets targets
    cdef operand grad = nothing if out is None else plain(<cnp.ndarray>out)
    cdef size_t k = row_length(x), size = cnp.PyArray_SIZE(x)
    cdef cnp.npy_intp n = size // k
    cdef const int64_t *labels = <const int64_t *>cnp.PyArray_DATA(<cnp.ndarray>target)
    cdef Py_ssize_t counted = count_labels(labels, n, k)
    if counted <= 0:
        return None
    cdef cnp.ndarray losses = cnp.PyArray_EMPTY(1, &n, cnp.PyArray_TYPE(x), 0)
    targets.labels, targets.labels_row = labels, sizeof(int64_t)
    targets.weight, targets.on, targets.off, targets.factor = NULL, 1, 0, 1.0 / counted
    targets.z_loss, targets.lse, targets.lse_row = z_loss, NULL, cnp.PyArray_ITEMSIZE(x)
    if lse is not None:
        targets.lse = cnp.PyArray_DATA(<cnp.ndarray>lse)
    targets.loss, targets.loss_row = cnp.PyArray_DATA(losses), cnp.PyArray_ITEMSIZE(losses)
    if size < RELEASE_GIL_FROM:
        kernels.cross_entropy(
            dense(x),
            smc_view(NULL, 0, 0),
            smc_view(grad.data, grad.row, grad.col),
            n,
            k,
            &targets,
        )
    else:
        run_cross_entropy(
            kernels.cross_entropy,
            plain(x),
            nothing,
            grad,
            plain_singles(<cnp.ndarray>target),
            plain_singles(losses),
            nothing if lse is None else plain_singles(<cnp.ndarray>lse),
            1,
            n,
            k,
            &targets,
        )
    if cnp.PyArray_ITEMSIZE(x) == 4:
        return np.float32(sum_of_losses(<const float *>targets.loss, n) / counted)
    return np.float64(sum_of_losses(<const double *>targets.loss, n) / counted)


def fast_cross_entropy(
    x,
    target,
    *,
    axis=-1,
    weight=None,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    z_loss=0.0,
    return_lse=False,
):
    cdef const smc_kernels *kernels = kernels_if_plain(x)
    if (kernels != NULL and axis is LAST and weight is None and is_default(ignore_index)
            and reduction is MEAN and label_smoothing is ZERO
            and is_plain_factor(z_loss)):
        lse = new_by_row(x) if return_lse else None
        loss = fast_mean_loss(kernels, x, target, z_loss, lse, None)
        if loss is not None:
            return (loss, lse[()]) if return_lse else loss
    return general_cross_entropy(
        x,
        target,
        axis=axis,
        weight=weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        return_lse=return_lse,
    )


def fast_cross_entropy_with_grad(
    x,
    target,
    *,
    axis=-1,
    weight=None,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    z_loss=0.0,
    return_lse=False,
    out=None,
):
    cdef const smc_kernels *kernels = kernels_if_plain(x)
    if (kernels != NULL and axis is LAST and weight is None and is_default(ignore_index)
            and reduction is MEAN and label_smoothing is ZERO
            and is_plain_factor(z_loss)
            and (out is None or may_hold_result(out, x))):
        gradient = new_like(x) if out is None else out
        lse = new_by_row(x) if return_lse else None
        loss = fast_mean_loss(kernels, x, target, z_loss, lse, gradient)
        if loss is not None:
            return (loss, gradient, lse[()]) if return_lse else (loss, gradient)
    return general_cross_entropy_with_grad(
        x,
        target,
        axis=axis,
        weight=weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        return_lse=return_lse,
        out=out,
    )


cdef enum:
    SMALL_LAYER = 1 << 17  # logits, above which it does not matter what a call costs


cdef cnp.ndarray small_logits(object X, object W, object b):
    """``X @ W + b`` of plain arrays of one dtype; None for the general path."""
    if kernels_if_plain(X) == NULL or kernels_if_plain(W) == NULL:
        return None
    cdef cnp.ndarray x = <cnp.ndarray>X, weights = <cnp.ndarray>W
    if cnp.PyArray_NDIM(x) != 2 or cnp.PyArray_NDIM(weights) != 2:
        return None
    cdef cnp.npy_intp n = cnp.PyArray_DIM(x, 0), k = cnp.PyArray_DIM(weights, 1)
    if (cnp.PyArray_DIM(x, 1) != cnp.PyArray_DIM(weights, 0) or n * k > SMALL_LAYER
            or cnp.PyArray_TYPE(x) != cnp.PyArray_TYPE(weights)):
        return None
    if b is not None and not (
            kernels_if_plain(b) != NULL and cnp.PyArray_NDIM(<cnp.ndarray>b) == 1
            and cnp.PyArray_DIM(<cnp.ndarray>b, 0) == k
            and cnp.PyArray_TYPE(<cnp.ndarray>b) == cnp.PyArray_TYPE(x)):
        return None
    z = matmul(X, W)
    return z if b is None else add(z, b, z)


cdef void add_columns(const cython.floating *x, double *sums, size_t n, size_t k) noexcept nogil:
    cdef size_t i, j
    for i in range(n):
        for j in range(k):
            sums[j] += x[i * k + j]


cdef object column_sums(cnp.ndarray x):
    cdef cnp.npy_intp k = row_length(x)
    cdef size_t n = cnp.PyArray_DIM(x, 0)
    cdef cnp.ndarray sums = cnp.PyArray_ZEROS(1, &k, cnp.NPY_FLOAT64, 0)
    if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT64:
        add_columns[double](<const double *>cnp.PyArray_DATA(x), <double *>sums.data, n, k)
        return sums
    add_columns[float](<const float *>cnp.PyArray_DATA(x), <double *>sums.data, n, k)
    return sums.astype(np.float32)


def fast_linear_cross_entropy(
    X,
    W,
    target,
    b=None,
    *,
    weight=None,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    z_loss=0.0,
    return_lse=False,
    block_bytes=None,
):
    if (weight is None and is_default(ignore_index) and reduction is MEAN
            and label_smoothing is ZERO and is_plain_factor(z_loss) and block_bytes is None):
        with errstate(all="ignore"):
            z = small_logits(X, W, b)
        if z is not None:
            lse = new_by_row(z) if return_lse else None
            loss = fast_mean_loss(kernels_if_plain(z), z, target, z_loss, lse, None)
            if loss is not None:
                return (loss, lse) if return_lse else loss
    return general_linear_cross_entropy(
        X,
        W,
        target,
        b,
        weight=weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        return_lse=return_lse,
        block_bytes=block_bytes,
    )


def fast_linear_cross_entropy_with_grad(
    X,
    W,
    target,
    b=None,
    *,
    weight=None,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    z_loss=0.0,
    return_lse=False,
    block_bytes=None,
):
    if (weight is None and is_default(ignore_index) and reduction is MEAN
            and label_smoothing is ZERO and is_plain_factor(z_loss) and block_bytes is None):
        with errstate(all="ignore"):
            z = small_logits(X, W, b)
            if z is not None:
                lse = new_by_row(z) if return_lse else None
                loss = fast_mean_loss(kernels_if_plain(z), z, target, z_loss, lse, z)
                if loss is not None:
                    dX, dW = matmul(z, W.T), matmul(X.T, z)
                    found = dX, dW, None if b is None else column_sums(z)
                    return (loss, found, lse) if return_lse else (loss, found)
    return general_linear_cross_entropy_with_grad(
        X,
        W,
        target,
        b,
        weight=weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        return_lse=return_lse,
        block_bytes=block_bytes,
    )


def fast_path(function):
    """The accelerated twin of a public function, if it has one, which falls back on it."""
    global general_softmax, general_log_softmax, general_logsumexp
    global general_softmax_vjp, general_softmax_jvp
    global general_cross_entropy, general_cross_entropy_with_grad
    global general_linear_cross_entropy, general_linear_cross_entropy_with_grad
    name = function.__name__
    if name == "softmax":
        general_softmax, twin = function, fast_softmax
    elif name == "log_softmax":
        general_log_softmax, twin = function, fast_log_softmax
    elif name == "logsumexp":
        general_logsumexp, twin = function, fast_logsumexp
    elif name == "softmax_vjp":
        general_softmax_vjp, twin = function, fast_softmax_vjp
    elif name == "softmax_jvp":
        general_softmax_jvp, twin = function, fast_softmax_jvp
    elif name == "cross_entropy":
        general_cross_entropy, twin = function, fast_cross_entropy
    elif name == "cross_entropy_with_grad":
        general_cross_entropy_with_grad, twin = function, fast_cross_entropy_with_grad
    elif name == "linear_cross_entropy":
        general_linear_cross_entropy, twin = function, fast_linear_cross_entropy
    elif name == "linear_cross_entropy_with_grad":
        general_linear_cross_entropy_with_grad = function
        twin = fast_linear_cross_entropy_with_grad
    else:
        return function
    return functools.update_wrapper(twin, function)
