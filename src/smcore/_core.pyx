# cython: boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
# cython: binding=False, embedsignature=True, embedsignature.format=clinic, auto_pickle=False
"""The native backend: rows of typed memoryviews, walked without the GIL by the C kernels.

The functions take what `_reference` takes, checked by `_arrays`.  `fast_path` puts a short way
before some of the public functions: arrays that lie in C order, with nothing out of the ordinary
asked for, go to the kernel with no Python-level work at all.
"""

import functools
import os
import types

cimport cython
cimport numpy as cnp
from cpython.exc cimport PyErr_Clear
from cpython.long cimport PyLong_AsLongAndOverflow
from cpython.object cimport Py_EQ, PyObject, PyObject_RichCompareBool, PyTypeObject
from cpython.ref cimport Py_DECREF
from libc.math cimport INFINITY, NAN, fabs
from libc.stdint cimport int64_t, uint16_t, uint64_t
from libc.string cimport memcmp, memset

import numpy as np

cnp.import_array()

NAME = "native"


cdef extern from "smcore_kernels.h" nogil:
    ctypedef enum smc_dtype:
        SMC_F32, SMC_F64, SMC_F16, SMC_BF16

    ctypedef struct smc_spread:
        void (*over)(void *, size_t, void (*)(void *, size_t, size_t) noexcept nogil,
                     void *) noexcept nogil
        void *context

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


ctypedef void (*scaled_kernel)(
    smc_view, smc_view, size_t, size_t, double, const smc_spread *) noexcept nogil
ctypedef void (*reducing_kernel)(
    smc_view, smc_view, size_t, size_t, const smc_spread *) noexcept nogil
ctypedef void (*product_kernel)(
    smc_view, smc_view, smc_view, size_t, size_t, const smc_spread *) noexcept nogil
ctypedef void (*logsumexp_vjp_kernel)(
    smc_view, smc_view, smc_view, smc_view, size_t, size_t, const smc_spread *) noexcept nogil
ctypedef void (*jacobian_kernel)(smc_view, smc_view, size_t, size_t) noexcept nogil
ctypedef void (*layer_kernel)(
    smc_view, smc_view, smc_view, size_t, size_t, size_t) noexcept nogil
ctypedef void (*merge_kernel)(const smc_view *, size_t) noexcept nogil
ctypedef void (*cross_entropy_kernel)(
    smc_view, smc_view, smc_view, size_t, size_t, const smc_targets *, const smc_spread *
) noexcept nogil


cdef extern from "smcore_kernels.h" nogil:
    ctypedef struct smc_kernels:
        scaled_kernel softmax
        scaled_kernel log_softmax
        reducing_kernel logsumexp
        product_kernel logsumexp_partial
        product_kernel softmax_vjp
        product_kernel log_softmax_vjp
        product_kernel log_softmax_jvp
        logsumexp_vjp_kernel logsumexp_vjp
        merge_kernel logsumexp_merge
        jacobian_kernel softmax_jacobian
        jacobian_kernel log_softmax_jacobian
        layer_kernel softmax_layer_jacobian
        cross_entropy_kernel cross_entropy

    ctypedef struct smc_target:
        const char *name
        const smc_kernels *kernels[4]

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


cdef extern from "flags.h" nogil:
    int smc_has_underflowed()
    void smc_forget_underflow()


cdef extern from "numpy/arrayobject.h":
    PyObject *PyArray_EMPTY(int ndim, cnp.npy_intp *shape, int number, int fortran)
    object PyArray_Scalar(void *data, cnp.PyArray_Descr *descr, object base)


cdef extern from *:
    """
    /* A label, read from memory once: another thread may be writing it, and what was judged must be
     * what is used. */
    static inline int64_t read_once(const int64_t *label) {
      return *(const volatile int64_t *)label;
    }
    """
    int64_t read_once(const int64_t *label) noexcept nogil


# An element as it lies in memory; the 16-bit floats have no C type of their own.
ctypedef fused stored:
    float
    double
    uint16_t
    int64_t

# Less work than this, in elements, is over before another thread could have had the GIL.
cdef enum:
    RELEASE_GIL_FROM = 8192

# The least work to give to a thread, in elements of long rows of a softmax in float32: some 100 us.
# To wake one costs 5 us on a quiet machine, and 10 where all cores are busy and it cannot help.
cdef double worth_a_thread = 1 << 18

# What there is to do for a row besides its elements, in elements: the ends of sums and maxima.
cdef enum:
    ROW = 20

cdef const smc_target *active = smc_available(0)

# The number NumPy has given to that type, which it does not have itself; known once one was here.
cdef int bfloat16 = -1


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


# ---- loops over rows, spread over threads --------------------------------------------------------

# An operand (A, B, ...) as it lies in memory: steps in bytes along A, along B and along a row.
cdef struct operand:
    char *data
    ptrdiff_t block
    ptrdiff_t row
    ptrdiff_t col


# A kernel with all that it is called with.
ctypedef void (*any_kernel)() noexcept nogil

cdef struct loop:
    void (*part)(const loop *, size_t, size_t, size_t) noexcept nogil
    any_kernel kernel
    operand[6] operands
    Py_ssize_t blocks, rows, k, j  # (A, B, K); J of a layer
    double work  # for a row, as in worth_a_thread
    double scale
    smc_targets targets
    const smc_spread *spread  # of a row over threads, or NULL


cdef inline smc_view at(const loop *self, int i, size_t block, size_t row) noexcept nogil:
    """Operand i from a row on."""
    cdef const operand *o = &self.operands[i]
    return smc_view(o.data + <ptrdiff_t>block * o.block + <ptrdiff_t>row * o.row, o.row, o.col)


cdef void walk(void *context, size_t begin, size_t end) noexcept nogil:
    """Rows begin to end of the A * B, block by block.

    An underflow is no error of the caller, in whose ufunc this may be: its flag stays as it was.
    """
    cdef const loop *self = <const loop *>context
    cdef size_t row, n, rows = self.rows
    cdef bint had_underflowed = smc_has_underflowed()
    if self.blocks == 1:
        self.part(self, 0, begin, end - begin)
        begin = end
    while begin < end:
        row = begin % rows
        n = min(rows - row, end - begin)
        self.part(self, begin // rows, row, n)
        begin += n
    if not had_underflowed and smc_has_underflowed():
        smc_forget_underflow()


cdef size_t grain(const loop *self) noexcept nogil:
    """How many rows kernels take together: four vectors of 16, if the rows are short or columns.

    Columns side by side are then whole cache lines, too.
    """
    cdef const operand *x = &self.operands[0]
    return 64 if self.k <= 512 or fabs(x.row) < fabs(x.col) else 4 if self.k <= 8192 else 1


cdef void run(loop *self) noexcept:
    cdef Py_ssize_t count = self.blocks * self.rows
    cdef double work = count * self.work
    self.spread = NULL
    if work < RELEASE_GIL_FROM and work < worth_a_thread:
        walk(self, 0, count)
        return
    cdef size_t share = 1 + <size_t>(worth_a_thread / self.work)
    with nogil:
        smc_parallel_for(count, share, grain(self), walk, self)


cdef void over(
    void *context, size_t parts, void (*body)(void *, size_t, size_t) noexcept nogil, void *work
) noexcept nogil:
    """Spread the parts of a row."""
    cdef const loop *self = <const loop *>context
    smc_parallel_for(parts, 1 + <size_t>(parts * worth_a_thread / self.work), 1, body, work)


# So few rows for each thread are not spread: one may have a row more to do than the others.
cdef enum:
    FEW = 4


cdef void run_divisible(loop *self) noexcept:
    """The loop of a kernel that can share out one row: of a few long ones, each is spread."""
    cdef Py_ssize_t count = self.blocks * self.rows
    cdef smc_spread spread
    if self.work < 2 * worth_a_thread or count >= FEW * <Py_ssize_t>smc_get_num_threads():
        run(self)
        return
    spread.over, spread.context = over, self
    self.spread = &spread
    with nogil:
        walk(self, 0, count)


# Each family of kernels has a `part`, its call for n rows from one on, and a `run` for a loop whose
# operands and shape are there: by `take` or by `take_plain`, below.

cdef void scaled_part(const loop *self, size_t block, size_t row, size_t n) noexcept nogil:
    (<scaled_kernel>self.kernel)(
        at(self, 0, block, row), at(self, 1, block, row), n, self.k, self.scale, self.spread)


cdef void run_scaled(loop *self, scaled_kernel kernel, double scale) noexcept:
    self.part, self.kernel, self.scale = scaled_part, <any_kernel>kernel, scale
    self.work = ROW + self.k
    run_divisible(self)


cdef void scaled_rows_part(const loop *self, size_t block, size_t row, size_t n) noexcept nogil:
    """The same with a scale for each row: rows that follow each other and share one go together."""
    cdef const operand *scales = &self.operands[2]
    cdef const char *scale
    cdef size_t end = row + n, first = row
    while first < end:
        scale = scales.data + <ptrdiff_t>block * scales.block + <ptrdiff_t>first * scales.row
        row = first + 1
        while row < end and not memcmp(
            scale, scale + <ptrdiff_t>(row - first) * scales.row, sizeof(double)
        ):
            row += 1
        (<scaled_kernel>self.kernel)(
            at(self, 0, block, first),
            at(self, 1, block, first),
            row - first,
            self.k,
            (<const double *>scale)[0],
            self.spread,
        )
        first = row


cdef void run_scaled_rows(loop *self, scaled_kernel kernel) noexcept:
    """Operands: x, out, scales."""
    self.part, self.kernel, self.work = scaled_rows_part, <any_kernel>kernel, ROW + self.k
    run_divisible(self)


cdef void reducing_part(const loop *self, size_t block, size_t row, size_t n) noexcept nogil:
    (<reducing_kernel>self.kernel)(
        at(self, 0, block, row), at(self, 1, block, row), n, self.k, self.spread)


cdef void run_reduction(loop *self, reducing_kernel kernel) noexcept:
    self.part, self.kernel, self.work = reducing_part, <any_kernel>kernel, ROW + self.k
    run_divisible(self)


cdef void jacobian_part(const loop *self, size_t block, size_t row, size_t n) noexcept nogil:
    (<jacobian_kernel>self.kernel)(
        at(self, 0, block, row), at(self, 1, block, row), n, self.k)


cdef void run_jacobian(loop *self, jacobian_kernel kernel) noexcept:
    self.part, self.kernel = jacobian_part, <any_kernel>kernel
    self.work = ROW + <double>self.k * self.k / 4
    run(self)


cdef void product_part(const loop *self, size_t block, size_t row, size_t n) noexcept nogil:
    (<product_kernel>self.kernel)(
        at(self, 0, block, row),
        at(self, 1, block, row),
        at(self, 2, block, row),
        n,
        self.k,
        self.spread,
    )


cdef void run_product(loop *self, product_kernel kernel) noexcept:
    self.part, self.kernel, self.work = product_part, <any_kernel>kernel, ROW + self.k / 2.0
    if self.operands[2].col == sizeof(uint16_t):
        run(self)  # a row of 16-bit floats is one piece: it is converted in registers
    else:
        run_divisible(self)


cdef void logsumexp_vjp_part(const loop *self, size_t block, size_t row, size_t n) noexcept nogil:
    (<logsumexp_vjp_kernel>self.kernel)(
        at(self, 0, block, row),
        at(self, 1, block, row),
        at(self, 2, block, row),
        at(self, 3, block, row),
        n,
        self.k,
        self.spread,
    )


cdef void run_logsumexp_vjp(loop *self, logsumexp_vjp_kernel kernel) noexcept:
    self.part, self.kernel, self.work = logsumexp_vjp_part, <any_kernel>kernel, ROW + self.k
    run_divisible(self)


cdef void layer_part(const loop *self, size_t block, size_t row, size_t n) noexcept nogil:
    (<layer_kernel>self.kernel)(
        at(self, 0, block, row),
        at(self, 1, block, row),
        at(self, 2, block, row),
        n,
        self.k,
        self.j,
    )


cdef void run_layer(loop *self, layer_kernel kernel, Py_ssize_t j) noexcept:
    self.part, self.kernel, self.j = layer_part, <any_kernel>kernel, j
    self.work = ROW + <double>self.k * self.k * j / 4
    run(self)


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
        self.spread,
    )


cdef void run_cross_entropy(loop *self, cross_entropy_kernel kernel) noexcept:
    """Operands: x, soft, grad, labels, loss, lse; data is NULL where one is not wanted."""
    self.part, self.kernel, self.work = cross_entropy_part, <any_kernel>kernel, ROW + self.k
    run_divisible(self)


# Elements of some rows that a second pass still finds near by.
cdef enum:
    CLOSE = 1 << 14


cdef void scale(cython.floating *y, cython.floating factor, size_t n) noexcept nogil:
    cdef size_t i, j
    for i in range(0, n - n % 8, 8):
        for j in range(8):  # a count known to the compiler: vectors
            y[i + j] *= factor
    for i in range(n - n % 8, n):
        y[i] *= factor


cdef void scaled_product_part(const loop *self, size_t block, size_t row, size_t n) noexcept nogil:
    cdef smc_view s, v, out, labels
    cdef size_t i, k = self.k, count, end = row + n, step = grain(self)
    step *= max(1, CLOSE // (k * step))
    while row < end:
        count = min(step, end - row)
        s, v, out = at(self, 0, block, row), at(self, 1, block, row), at(self, 2, block, row)
        (<product_kernel>self.kernel)(s, v, out, count, k, NULL)
        if out.col == sizeof(float):
            scale(<float *>out.data, <float>self.scale, count * k)
        else:
            scale(<double *>out.data, self.scale, count * k)
        labels = at(self, 3, block, row)
        for i in range(count if labels.data != NULL else 0):
            if (<const int64_t *>labels.data)[i] < 0:
                memset(<char *>out.data + <ptrdiff_t>i * out.row, 0, k * out.col)
        row += count


cdef void run_scaled_product(loop *self, product_kernel kernel, double factor) noexcept:
    """Operands: s, v, out, all plain, and labels, data NULL without; a row of no class gives 0."""
    self.part, self.kernel, self.scale = scaled_product_part, <any_kernel>kernel, factor
    self.work = ROW + self.k / 2.0
    run(self)


# ---- pairs of a logarithm and what it lacks ------------------------------------------------------

cdef void merge_part(const loop *self, size_t block, size_t row, size_t n) noexcept nogil:
    cdef smc_view[6] pairs
    cdef int i
    for i in range(6):
        pairs[i] = at(self, i, block, row)
    (<merge_kernel>self.kernel)(pairs, n)


cdef void run_merge(loop *self, merge_kernel kernel, Py_ssize_t n) noexcept:
    """Operands: p_m, p_s, q_m, q_s, m, s: n numbers each, one after the other."""
    self.part, self.kernel, self.work = merge_part, <any_kernel>kernel, 8
    self.blocks, self.rows, self.k = 1, n, 1
    run(self)


cdef void run_partial(loop *self, product_kernel kernel) noexcept:
    """Operands: x, m, s, which are passed on as those of a product are."""
    self.part, self.kernel, self.work = product_part, <any_kernel>kernel, ROW + self.k
    run_divisible(self)


# ---- the interface of a backend ------------------------------------------------------------------

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


cdef fill_scaled(scaled_kernel kernel, x, out, scale):
    """The scale is a number, or an array of one for each row."""
    cdef loop work
    take(&work, 0, x)
    take(&work, 1, out)
    if isinstance(scale, np.ndarray):
        take(&work, 2, scale)
        run_scaled_rows(&work, kernel)
    else:
        run_scaled(&work, kernel, scale)


cdef fill_product(product_kernel kernel, s, g, out):
    cdef loop work
    take(&work, 0, s)
    take(&work, 1, g)
    take(&work, 2, out)
    run_product(&work, kernel)


cdef fill_jacobian(jacobian_kernel kernel, s, out):
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
    run_reduction(&work, kernels_for(x).logsumexp)


def logsumexp_partial(x, m, s):
    cdef loop work
    take(&work, 0, x)
    take(&work, 1, m)
    take(&work, 2, s)
    run_partial(&work, kernels_for(x).logsumexp_partial)


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
    take(&work, 1, lse)
    take(&work, 2, g)
    take(&work, 3, out)
    run_logsumexp_vjp(&work, kernels_for(x).logsumexp_vjp)


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
    run_cross_entropy(&work, kernels_for(x).cross_entropy)


# ---- small calls: the public functions -----------------------------------------------------------

# A short way takes those arguments of a public function that the table at the end names, in that
# order, and returns what the function would; or None where a case is not plain, and then nothing
# has been written.
ctypedef object (*short_way)(PyObject **given)

cdef enum:
    MOST = 16  # parameters of a function
    MOST_AXES = 32  # of an array


ctypedef object (*vectorcall)(object, PyObject *const *, size_t, PyObject *)


cdef extern from "Python.h":
    object PyObject_Vectorcall(object, PyObject *const *, size_t, PyObject *)
    Py_ssize_t PyVectorcall_NARGS(size_t)
    Py_ssize_t length "PyTuple_GET_SIZE"(PyObject *)
    PyObject *item "PyTuple_GET_ITEM"(PyObject *, Py_ssize_t)
    PyTypeObject *Py_TYPE(PyObject *)


cdef extern from *:
    """
    /* What Cython has no word for: calls that pass the arguments as they lie, without a tuple. */
    static void call_by_vector(PyTypeObject *type, Py_ssize_t offset) {
      type->tp_vectorcall_offset = offset;
      type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
      PyType_Modified(type);
    }
    """
    void call_by_vector(PyTypeObject *type, Py_ssize_t offset)


@cython.final
cdef class _PublicFunction:
    """A public function with a short way before it.

    What is not plain, wrong calls included, goes on to the function as it came.  For whoever looks
    at it, it is the function: all that the function has is found here, too.
    """

    cdef vectorcall entry
    cdef short_way way
    cdef object general  # the function
    cdef tuple names, defaults  # of its parameters, held for the pointers below
    cdef PyObject *name[MOST]
    cdef PyObject *default[MOST]  # NULL: must be given
    cdef signed char place[MOST]  # among what the short way takes; -1: has to be the default
    cdef PyObject *initial[MOST]  # what the short way takes, as long as nothing is given
    cdef Py_ssize_t taken, positional, count
    cdef public object _remedy  # the message for keywords that the function refuses, or None
    cdef dict __dict__
    cdef object __weakref__

    def __call__(self, *arguments, **keywords):
        return self.general(*arguments, **keywords)  # calls by vector do not come here

    def __get__(self, instance, owner):
        return self if instance is None else types.MethodType(self, instance)

    def __getattr__(self, name):
        return getattr(self.general, name)

    @property
    def __class__(self):
        return types.FunctionType

    def __repr__(self):
        return repr(self.general)

    def __reduce__(self):
        return self.__qualname__  # by its name, as functions are pickled


cdef _PublicFunction function_with(short_way way, str parameters):
    """A function that is there when `stand_before` has been called."""
    cdef _PublicFunction self = _PublicFunction.__new__(_PublicFunction)
    self.entry, self.way, self.names = enter, way, tuple(parameters.split())
    return self


cdef int stand_before(_PublicFunction self, function) except -1:
    cdef Py_ssize_t i
    code = function.__code__
    named = self.names
    self.general, self.taken, self.positional = function, len(named), code.co_argcount
    self.count = code.co_argcount + code.co_kwonlyargcount
    self.names = code.co_varnames[:self.count]
    values = (function.__defaults__ or ())
    defaults = dict(zip(self.names[self.positional - len(values):self.positional], values))
    defaults.update(function.__kwdefaults__ or {})
    self.defaults = tuple(defaults.values())
    if self.count > MOST or not set(named) <= set(self.names):
        raise SystemError(f"the short way of {function.__name__} does not suit it")
    for i, name in enumerate(self.names):
        self.name[i] = <PyObject *>name
        self.default[i] = <PyObject *>defaults[name] if name in defaults else NULL
        self.place[i] = named.index(name) if name in named else -1
        if self.place[i] >= 0:
            self.initial[self.place[i]] = self.default[i]
    return 0


cdef inline bint put(
    _PublicFunction self, Py_ssize_t i, PyObject *value, PyObject **given
) noexcept:
    """Take the argument for parameter i; False if the short way cannot do with it."""
    cdef PyObject *default = self.default[i]
    if self.place[i] >= 0:
        given[self.place[i]] = value
        return True
    return value == default or (
        default != NULL
        and Py_TYPE(value) == Py_TYPE(default)
        and PyObject_RichCompareBool(<object>value, <object>default, Py_EQ) > 0
    )


cdef inline bint bind(
    _PublicFunction self, PyObject *const *args, Py_ssize_t n, PyObject *keywords, PyObject **given
) noexcept:
    """Sort the arguments; False for those that only the function itself can judge."""
    cdef Py_ssize_t i, j
    if n > self.positional:
        return False
    for i in range(self.taken):
        given[i] = self.initial[i]
    for i in range(n):
        if not put(self, i, args[i], given):
            return False
    if keywords != NULL:
        for j in range(length(keywords)):
            i = n
            while i < self.count and self.name[i] != item(keywords, j):
                i += 1
            if i == self.count or not put(self, i, args[n + j], given):
                return False
    for i in range(self.taken):
        if given[i] == NULL:
            return False
    return True


cdef object enter(function, PyObject *const *args, size_t flagged, PyObject *keywords):
    """The call: as PEP 590 has it."""
    cdef _PublicFunction self = <_PublicFunction>function
    cdef PyObject *given[MOST]
    if bind(self, args, PyVectorcall_NARGS(flagged), keywords, given):
        result = self.way(given)
        if result is not None:
            return result
    return pass_on(self, args, flagged, keywords)


cdef object pass_on(
    _PublicFunction self, PyObject *const *args, size_t flagged, PyObject *keywords
):
    """Call the function itself; where that fails by a name, say which is right."""
    try:
        return PyObject_Vectorcall(self.general, args, flagged, keywords)
    except TypeError:
        if keywords == NULL or self._remedy is None:
            raise
        message = self._remedy(self.general, <object>keywords)
        if message is None:
            raise
    raise TypeError(message)


# ---- small calls: plain arrays -------------------------------------------------------------------

cdef object LAST = -1  # as the axis; Python has that number once

# From this many bytes on a result may not fit: the function itself asks the system.
cdef enum:
    SURELY_FITS = 1 << 26


cdef inline Py_ssize_t row_length(cnp.ndarray x) noexcept:
    return cnp.PyArray_DIM(x, cnp.PyArray_NDIM(x) - 1)


cdef inline Py_ssize_t count(cnp.ndarray x, int begin, int end) noexcept:
    """How many elements these axes have."""
    cdef Py_ssize_t elements = 1
    cdef int axis
    for axis in range(begin, end):
        elements *= cnp.PyArray_DIM(x, axis)
    return elements


cdef inline Py_ssize_t row_count(cnp.ndarray x) noexcept:
    return count(x, 0, cnp.PyArray_NDIM(x) - 1)


cdef inline bint is_plain_array(object x) noexcept:
    """Whether x is a C-contiguous ndarray with elements in it."""
    return (
        cnp.PyArray_CheckExact(x)
        and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x)
        and count(<cnp.ndarray>x, 0, cnp.PyArray_NDIM(<cnp.ndarray>x)) > 0
    )


cdef inline const smc_kernels *stored_kernels(object x) noexcept:
    """The table for such an array of rows, or no_kernels."""
    if is_plain_array(x) and cnp.PyArray_NDIM(<cnp.ndarray>x) > 0:
        return kernels_of(cnp.PyArray_TYPE(<cnp.ndarray>x))
    return &no_kernels


cdef inline const smc_kernels *plain_kernels(object x) noexcept:
    """The same where not only kernels have to know what is stored: float or double alone."""
    cdef const smc_kernels *kernels = stored_kernels(x)
    if kernels != &no_kernels and cnp.PyArray_ITEMSIZE(<cnp.ndarray>x) < <int>sizeof(float):
        return &no_kernels
    return kernels


cdef inline bint is_sliced(object x) noexcept:
    """Whether x is a matrix whose elements lie in C order, but not side by side."""
    return (
        cnp.PyArray_CheckExact(x)
        and cnp.PyArray_NDIM(<cnp.ndarray>x) == 2
        and cnp.PyArray_ISBEHAVED_RO(<cnp.ndarray>x)
        and count(<cnp.ndarray>x, 0, 2) > 0
        and 0 < cnp.PyArray_STRIDE(<cnp.ndarray>x, 1) <= cnp.PyArray_STRIDE(<cnp.ndarray>x, 0)
    )


cdef inline const smc_kernels *sliced_kernels(object x) noexcept:
    """As stored_kernels, and of such a matrix."""
    return kernels_of(cnp.PyArray_TYPE(<cnp.ndarray>x)) if is_sliced(x) else stored_kernels(x)


cdef inline bint are_alike(
    const cnp.npy_intp *shape, const cnp.npy_intp *other, int ndim
) noexcept:
    cdef int axis
    for axis in range(ndim):
        if shape[axis] != other[axis]:
            return False
    return True


cdef bint is_plain(object x, int number, int ndim, const cnp.npy_intp *shape) noexcept:
    """Whether x is plain, of that type and shape."""
    return (
        is_plain_array(x)
        and cnp.PyArray_TYPE(<cnp.ndarray>x) == number
        and cnp.PyArray_NDIM(<cnp.ndarray>x) == ndim
        and are_alike(cnp.PyArray_DIMS(<cnp.ndarray>x), shape, ndim)
    )


cdef inline bint is_like(object other, cnp.ndarray x) noexcept:
    return is_plain(other, cnp.PyArray_TYPE(x), cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x))


cdef bint is_sliced_like(object other, cnp.ndarray x) noexcept:
    """Whether x and other are matrices of one type and shape, either plain or sliced."""
    return (
        (is_sliced(other) or is_plain_array(other))
        and cnp.PyArray_TYPE(<cnp.ndarray>other) == cnp.PyArray_TYPE(x)
        and cnp.PyArray_NDIM(<cnp.ndarray>other) == cnp.PyArray_NDIM(x) == 2
        and are_alike(cnp.PyArray_DIMS(<cnp.ndarray>other), cnp.PyArray_DIMS(x), 2)
    )


cdef inline bint are_apart(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether two C-contiguous arrays share no memory."""
    cdef char *start = <char *>cnp.PyArray_DATA(a)
    cdef char *other = <char *>cnp.PyArray_DATA(b)
    return start + cnp.PyArray_NBYTES(a) <= other or other + cnp.PyArray_NBYTES(b) <= start


cdef inline bint are_one_or_apart(cnp.ndarray a, cnp.ndarray b) noexcept:
    """The same, or whether they are the same elements, if they have the same shape."""
    return cnp.PyArray_DATA(a) == cnp.PyArray_DATA(b) or are_apart(a, b)


cdef object result_in(object out, int number, int ndim, const cnp.npy_intp *shape):
    """A new array, or out if it is plain, writeable and of that shape; or None."""
    cdef PyObject *new
    if out is None:
        new = PyArray_EMPTY(ndim, <cnp.npy_intp *>shape, number, 0)
        if new == NULL:
            PyErr_Clear()  # the function itself will say what did not fit
            return None
        result = <object>new
        Py_DECREF(result)
        return result
    if is_plain(out, number, ndim, shape) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>out):
        return out
    return None


cdef object result_like(object out, cnp.ndarray x):
    """The same for the type and shape of x; out is x itself or apart from it."""
    result = result_in(out, cnp.PyArray_TYPE(x), cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x))
    if out is None or result is None or are_one_or_apart(x, out):
        return result
    return None


cdef inline cnp.ndarray new_like(cnp.ndarray x):
    return cnp.PyArray_EMPTY(
        cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), 0)


cdef inline cnp.ndarray new_by_row(cnp.ndarray x):
    return cnp.PyArray_EMPTY(
        cnp.PyArray_NDIM(x) - 1, cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), 0)


cdef inline object number_or(cnp.ndarray x):
    """x, or its element if it is 0-d."""
    return x if cnp.PyArray_NDIM(x) else x[()]


cdef struct span:
    int begin, end  # of the class axes, which lie side by side


cdef inline int index_of(object axis, int ndim) noexcept:
    """The number of an axis, or -1."""
    cdef int overflow
    if type(axis) is not int:
        return -1
    cdef long index = PyLong_AsLongAndOverflow(axis, &overflow)
    if overflow or not -ndim <= index < ndim:
        return -1
    return <int>(index if index >= 0 else index + ndim)


cdef inline span axes_of(object axis, cnp.ndarray x) noexcept:
    """The axes of x that are meant; begin is -1: for the function itself to judge."""
    cdef int ndim = cnp.PyArray_NDIM(x)
    if axis is LAST:  # soonest
        return span(ndim - 1, ndim)
    cdef int first = index_of(axis, ndim)
    if first >= 0:
        return span(first, first + 1)
    if not cnp.PyArray_IS_C_CONTIGUOUS(x):
        return span(-1, 0)
    if axis is None:
        return span(0, ndim)
    return neighbours(axis, ndim) if type(axis) is tuple else span(-1, 0)


cdef span neighbours(tuple axes, int ndim) noexcept:
    """The same for axes that follow each other."""
    cdef int i, n = <int>len(axes), first = index_of(axes[0], ndim) if n else -1
    for i in range(1, n):
        if first < 0 or index_of(axes[i], ndim) != first + i:
            return span(-1, 0)
    return span(first, first + n)


cdef inline void take_along(loop *work, int i, cnp.ndarray x, span axes) noexcept:
    """Make it operand i, rows along these axes; the loop is over the rows of the first."""
    cdef ptrdiff_t item = cnp.PyArray_ITEMSIZE(x)
    cdef Py_ssize_t outer = count(x, 0, axes.begin)
    cdef Py_ssize_t inner = count(x, axes.end, cnp.PyArray_NDIM(x))
    cdef Py_ssize_t k = count(x, axes.begin, axes.end)
    cdef operand *o = &work.operands[i]
    o.data = <char *>cnp.PyArray_DATA(x)
    o.block, o.row, o.col = k * inner * item, item, inner * item
    if not cnp.PyArray_IS_C_CONTIGUOUS(x):  # a sliced matrix
        o.row, o.col = cnp.PyArray_STRIDE(x, 1 - axes.begin), cnp.PyArray_STRIDE(x, axes.begin)
        outer, inner = 1, outer * inner
    elif inner == 1:
        o.row = o.block
        outer, inner = 1, outer
    if i == 0:
        work.blocks, work.rows, work.k = outer, inner, k


cdef inline void take_alike(loop *work, int i, cnp.ndarray x) noexcept:
    """The same for what lies as operand 0 does."""
    work.operands[i] = work.operands[0]
    work.operands[i].data = <char *>cnp.PyArray_DATA(x)


cdef inline void take_plain(loop *work, int i, cnp.ndarray x) noexcept:
    """The same for rows along the last axis."""
    take_along(work, i, x, span(cnp.PyArray_NDIM(x) - 1, cnp.PyArray_NDIM(x)))


cdef inline void take_values(loop *work, int i, void *data, ptrdiff_t step) noexcept:
    """The same for one value a row."""
    work.operands[i] = operand(<char *>data, 0, step, 0)


cdef inline void take_matrices(loop *work, int i, cnp.ndarray x) noexcept:
    """The same for one matrix a row; after operand 0."""
    cdef ptrdiff_t size = cnp.PyArray_NBYTES(x)
    work.operands[i] = operand(
        <char *>cnp.PyArray_DATA(x), 0, size // <ptrdiff_t>work.rows, cnp.PyArray_ITEMSIZE(x))


cdef object short_scaled(scaled_kernel kernel, PyObject **given):
    cdef loop work
    if kernel == NULL:
        return None
    cdef cnp.ndarray x = <cnp.ndarray>given[0]
    cdef span axes = axes_of(<object>given[1], x)
    factor, out = <object>given[2], <object>given[3]
    if axes.begin < 0 or type(factor) is not float or not fabs(<double>factor) < INFINITY:
        return None
    if out is not None and not cnp.PyArray_IS_C_CONTIGUOUS(x):
        return None
    out = result_like(out, x)
    if out is None:
        return None
    take_along(&work, 0, x, axes)
    take_along(&work, 1, out, axes)
    run_scaled(&work, kernel, factor)
    return out


cdef object short_softmax(PyObject **given):
    return short_scaled(sliced_kernels(<object>given[0]).softmax, given)


cdef object short_log_softmax(PyObject **given):
    return short_scaled(sliced_kernels(<object>given[0]).log_softmax, given)


cdef object reduced_in(object out, cnp.ndarray x, span axes, bint kept):
    """As result_in, for the shape without those axes, or with a length of 1 there; apart from x."""
    cdef cnp.npy_intp[MOST_AXES] shape
    cdef int i, ndim = 0
    cdef bint reduced
    for i in range(cnp.PyArray_NDIM(x)):
        reduced = axes.begin <= i < axes.end
        if kept or not reduced:
            shape[ndim] = 1 if reduced else cnp.PyArray_DIM(x, i)
            ndim += 1
    result = result_in(out, cnp.PyArray_TYPE(x), ndim, shape)
    return None if out is not None and result is not None and not are_apart(x, result) else result


cdef object short_logsumexp(PyObject **given):
    cdef loop work
    cdef double value  # room for any type
    cdef reducing_kernel kernel = sliced_kernels(<object>given[0]).logsumexp
    keepdims, out = <object>given[2], <object>given[3]
    if kernel == NULL or keepdims is not True and keepdims is not False:
        return None
    cdef cnp.ndarray x = <cnp.ndarray>given[0]
    cdef ptrdiff_t item = cnp.PyArray_ITEMSIZE(x)
    cdef span axes = axes_of(<object>given[1], x)
    if axes.begin < 0 or cnp.PyArray_NDIM(x) > MOST_AXES:
        return None
    if out is not None and not cnp.PyArray_IS_C_CONTIGUOUS(x):
        return None
    take_along(&work, 0, x, axes)
    if keepdims is False and out is None and axes.end - axes.begin == cnp.PyArray_NDIM(x):
        take_values(&work, 1, &value, 0)
        run_reduction(&work, kernel)
        return PyArray_Scalar(&value, cnp.PyArray_DESCR(x), None)
    out = reduced_in(out, x, axes, keepdims)
    if out is None:
        return None
    take_values(&work, 1, cnp.PyArray_DATA(<cnp.ndarray>out), item)
    work.operands[1].block = work.rows * item
    run_reduction(&work, kernel)
    return out


cdef object short_product(product_kernel kernel, PyObject **given):
    cdef loop work
    if kernel == NULL:
        return None
    cdef cnp.ndarray s = <cnp.ndarray>given[0], g
    cdef span axes = axes_of(<object>given[2], s)
    if axes.begin < 0:
        return None
    if not is_like(<object>given[1], s) or not cnp.PyArray_IS_C_CONTIGUOUS(s):
        return sliced_product(kernel, given, axes)
    g = <cnp.ndarray>given[1]
    out = result_like(<object>given[3], s)
    if out is None or not are_one_or_apart(g, out):
        return None
    take_along(&work, 0, s, axes)
    take_alike(&work, 1, g)
    take_alike(&work, 2, out)
    run_product(&work, kernel)
    return out


cdef object sliced_product(product_kernel kernel, PyObject **given, span axes):
    """Along one axis, in a new array."""
    cdef loop work
    cdef cnp.ndarray s = <cnp.ndarray>given[0]
    if axes.end - axes.begin > 1 or <object>given[3] is not None:
        return None
    if not is_sliced_like(<object>given[1], s):
        return None
    out = result_like(None, s)
    if out is None:
        return None
    take_along(&work, 0, s, axes)
    take_along(&work, 1, <cnp.ndarray>given[1], axes)
    take_along(&work, 2, out, axes)
    run_product(&work, kernel)
    return out


cdef object short_softmax_product(PyObject **given):
    return short_product(sliced_kernels(<object>given[0]).softmax_vjp, given)


cdef object short_log_softmax_vjp(PyObject **given):
    return short_product(sliced_kernels(<object>given[0]).log_softmax_vjp, given)


cdef object short_log_softmax_jvp(PyObject **given):
    return short_product(sliced_kernels(<object>given[0]).log_softmax_jvp, given)


cdef bint take_numbers(
    loop *work, int i, object value, cnp.ndarray x, double *room, bint one_for_all
) noexcept:
    """Take one number of the type of x for each of its rows: an array, or a scalar, put in room."""
    cdef int number = cnp.PyArray_TYPE(x)
    if is_plain(value, number, cnp.PyArray_NDIM(x) - 1, cnp.PyArray_DIMS(x)):
        take_values(work, i, cnp.PyArray_DATA(<cnp.ndarray>value), cnp.PyArray_ITEMSIZE(x))
        return True
    if not one_for_all and cnp.PyArray_NDIM(x) > 1:
        return False
    if type(value) is (FLOAT32 if number == cnp.NPY_FLOAT32 else FLOAT64):
        cnp.PyArray_ScalarAsCtype(value, room)
    elif type(value) is not float:
        return False
    elif number == cnp.NPY_FLOAT32:
        (<float *>room)[0] = <float><double>value
    else:
        room[0] = <double>value
    take_values(work, i, room, 0)
    return True


cdef inline bint are_finite(const cython.floating *x, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        if not x[i] - x[i] == 0:
            return False
    return True


cdef bint take_finite_lse(loop *work, object lse, cnp.ndarray x, double *room) noexcept:
    """Take the logsumexp of each row of x as operand 1; False if one is infinite or NaN."""
    if not take_numbers(work, 1, lse, x, room, False):
        return False
    cdef void *values = work.operands[1].data
    if cnp.PyArray_ITEMSIZE(x) == sizeof(float):
        return are_finite(<float *>values, row_count(x))
    return are_finite(<double *>values, row_count(x))


cdef object short_logsumexp_vjp(PyObject **given):
    cdef loop work
    cdef double lse, g  # room for either type
    cdef logsumexp_vjp_kernel kernel = plain_kernels(<object>given[0]).logsumexp_vjp
    if kernel == NULL:
        return None
    cdef cnp.ndarray x = <cnp.ndarray>given[0]
    if not take_finite_lse(&work, <object>given[1], x, &lse):
        return None
    if not take_numbers(&work, 2, <object>given[2], x, &g, True):
        return None
    out = result_like(<object>given[3], x)
    if out is None:
        return None
    for i in range(1, 3):
        if cnp.PyArray_Check(<object>given[i]) and not are_apart(<cnp.ndarray>given[i], out):
            return None
    take_plain(&work, 0, x)
    take_plain(&work, 3, out)
    run_logsumexp_vjp(&work, kernel)
    return out


cdef object short_softmax_from_lse(PyObject **given):
    cdef loop work
    cdef double lse, one  # room for either type
    cdef logsumexp_vjp_kernel kernel = plain_kernels(<object>given[0]).logsumexp_vjp
    if kernel == NULL:
        return None
    cdef cnp.ndarray x = <cnp.ndarray>given[0]
    cdef ptrdiff_t item = cnp.PyArray_ITEMSIZE(x)
    if item == sizeof(float) and type(<object>given[1]) is float:  # which has more digits
        return None
    if not take_finite_lse(&work, <object>given[1], x, &lse):
        return None
    out = result_like(<object>given[2], x)
    if out is None:
        return None
    if cnp.PyArray_Check(<object>given[1]) and not are_apart(<cnp.ndarray>given[1], out):
        return None
    if item == sizeof(float):
        (<float *>&one)[0] = 1
    else:
        one = 1
    take_plain(&work, 0, x)
    take_values(&work, 2, &one, 0)
    take_plain(&work, 3, out)
    run_logsumexp_vjp(&work, kernel)
    return out


cdef object short_partial(PyObject **given):
    cdef loop work
    cdef product_kernel kernel = plain_kernels(<object>given[0]).logsumexp_partial
    if kernel == NULL:
        return None
    cdef cnp.ndarray x = <cnp.ndarray>given[0]
    cdef ptrdiff_t item = cnp.PyArray_ITEMSIZE(x)
    first, second = new_by_row(x), new_by_row(x)
    take_plain(&work, 0, x)
    take_values(&work, 1, cnp.PyArray_DATA(<cnp.ndarray>first), item)
    take_values(&work, 2, cnp.PyArray_DATA(<cnp.ndarray>second), item)
    run_partial(&work, kernel)
    return number_or(first), number_or(second)


cdef object short_merge(PyObject **given):
    cdef loop work
    cdef int i
    if type(<object>given[0]) is not tuple or type(<object>given[1]) is not tuple:
        return None
    cdef tuple p = <tuple><object>given[0], q = <tuple><object>given[1]
    if len(p) != 2 or len(q) != 2:
        return None
    cdef list members = [p[0], p[1], q[0], q[1]]
    cdef merge_kernel kernel = plain_kernels(p[0]).logsumexp_merge
    if kernel == NULL:
        return merged_numbers(members)
    cdef cnp.ndarray first = <cnp.ndarray>p[0]
    members += [new_like(first), new_like(first)]
    for i in range(6):
        if not is_like(members[i], first):
            return None
        take_values(
            &work, i, cnp.PyArray_DATA(<cnp.ndarray>members[i]), cnp.PyArray_ITEMSIZE(first))
    run_merge(&work, kernel, cnp.PyArray_SIZE(first))
    return members[4], members[5]


cdef object merged_numbers(list members):
    """Of scalars of one type, or None."""
    cdef loop work
    cdef double[6] room  # for either type
    cdef int i
    kind = type(members[0])
    if kind is not FLOAT32 and kind is not FLOAT64:
        return None
    cdef bint single = kind is FLOAT32
    for i in range(4):
        if type(members[i]) is not kind:
            return None
        cnp.PyArray_ScalarAsCtype(members[i], &room[i])
    for i in range(6):
        take_values(&work, i, &room[i], sizeof(float) if single else sizeof(double))
    run_merge(&work, active.kernels[<int>SMC_F32 if single else <int>SMC_F64].logsumexp_merge, 1)
    if single:
        return FLOAT32((<float *>&room[4])[0]), FLOAT32((<float *>&room[5])[0])
    return FLOAT64(room[4]), FLOAT64(room[5])


cdef object matrices_in(object out, cnp.ndarray s, cnp.npy_intp columns):
    """As result_in, for a matrix of so many columns for each row of s; out apart from s."""
    cdef cnp.npy_intp[MOST_AXES] shape
    cdef int axis, ndim = cnp.PyArray_NDIM(s)
    if ndim >= MOST_AXES or cnp.PyArray_NBYTES(s) * <double>columns > SURELY_FITS:
        return None
    for axis in range(ndim):
        shape[axis] = cnp.PyArray_DIM(s, axis)
    shape[ndim] = columns
    result = result_in(out, cnp.PyArray_TYPE(s), ndim + 1, shape)
    return None if result is None or not are_apart(s, result) else result


cdef object short_jacobian(jacobian_kernel kernel, PyObject **given):
    cdef loop work
    if kernel == NULL:
        return None
    cdef cnp.ndarray s = <cnp.ndarray>given[0]
    out = matrices_in(<object>given[1], s, row_length(s))
    if out is None:
        return None
    take_plain(&work, 0, s)
    take_matrices(&work, 1, out)
    run_jacobian(&work, kernel)
    return out


cdef object short_softmax_jacobian(PyObject **given):
    return short_jacobian(stored_kernels(<object>given[0]).softmax_jacobian, given)


cdef object short_log_softmax_jacobian(PyObject **given):
    return short_jacobian(stored_kernels(<object>given[0]).log_softmax_jacobian, given)


# ---- small calls: losses -------------------------------------------------------------------------

cdef enum:
    AT_HAND = 128  # losses for which no array is made
    SUMS = 4  # of losses, side by side, so that none waits for another


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
    run_cross_entropy(&work, kernels.cross_entropy)
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
    cdef product_kernel kernel = plain_kernels(<object>given[0]).softmax_vjp
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


# ---- small calls: layers -------------------------------------------------------------------------

# Products by the loop of np.matmul itself, called as NumPy's ufuncs call it, which knows BLAS: the
# function around it costs 1 us and, with the warnings turned off for it, another.

ctypedef void (*ufunc_loop)(
    char **, const cnp.npy_intp *, const cnp.npy_intp *, void *) noexcept nogil

# Of NumPy's header, as what Cython's declarations show of it differs between versions of NumPy.
cdef extern from "numpy/ufuncobject.h":
    ctypedef void (*PyUFuncGenericFunction)(
        char **, const cnp.npy_intp *, const cnp.npy_intp *, void *)

    ctypedef struct ufunc "PyUFuncObject":
        int nin
        int nout
        int ntypes
        PyUFuncGenericFunction *functions
        void **data
        const char *types

cdef bint has_avx512 = "avx512" in targets()
cdef ufunc_loop[2] matmul_loops  # for float, for double
cdef void *matmul_data[2]

cdef enum:
    SMALL_LAYER = 1 << 17  # logits, above which it does not matter what a call costs
    SMALL_PRODUCT = 1 << 15  # multiplications in less than 1 us or 2
    # OpenBLAS, where it has AVX-512, multiplies without packing its operands first up to so many
    # multiplications. With a thin factor that is up to twice as fast: so it is given such pieces.
    UNPACKED_PRODUCT = 1_000_000
    THIN_COLUMNS = 32  # of that factor
    THIN_ROWS = 16  # of a piece, at least
    THIN_BYTES = 1 << 22  # of a matrix that is cut across its rows
    # Of float, from so many to so many columns it takes two thirds of the time column-major,
    # as long as a piece of the product has no more elements than so many.
    BY_COLUMNS_FIRST = 9
    BY_COLUMNS_LAST = 12
    BY_COLUMNS_ELEMENTS = 1024
    BY_COLUMNS_ROWS = 64  # that copying takes less time than it saves
    BY_COLUMNS_LENGTH = 128


cdef int find_matmul() except -1:
    """Find the loops; without them the layers' short ways are not taken."""
    cdef ufunc *matmul = <ufunc *><void *>np.matmul
    cdef int i, kind
    cdef int[2] numbers = [cnp.NPY_FLOAT32, cnp.NPY_FLOAT64]
    cdef const char *number
    if not isinstance(np.matmul, np.ufunc):
        return 0
    if matmul.nin != 2 or matmul.nout != 1 or np.matmul.signature != "(n?,k),(k,m?)->(n?,m?)":
        return 0
    for i in range(matmul.ntypes):
        number = matmul.types + 3 * i
        for kind in range(2):
            if number[0] == number[1] == number[2] == numbers[kind]:
                matmul_loops[kind] = <ufunc_loop><void *>matmul.functions[i]
                matmul_data[kind] = matmul.data[i]
    return 0


find_matmul()


cdef struct matrix:
    char *data
    cnp.npy_intp rows, columns, row, column  # and steps in bytes


cdef inline matrix matrix_of(cnp.ndarray x) noexcept:
    """A plain array; a vector is one row."""
    cdef cnp.npy_intp k = row_length(x), item = cnp.PyArray_ITEMSIZE(x)
    return matrix(<char *>cnp.PyArray_DATA(x), row_count(x), k, k * item, item)


cdef inline matrix transposed(matrix x) noexcept:
    return matrix(x.data, x.columns, x.rows, x.column, x.row)


cdef cnp.npy_intp rows_at_once(matrix a, matrix b) noexcept:
    """The rows of a that are multiplied at once, that the product be done soonest."""
    cdef cnp.npy_intp multiplications = a.rows * a.columns * b.columns
    cdef cnp.npy_intp pieces = multiplications // UNPACKED_PRODUCT + 1
    cdef cnp.npy_intp rows = (a.rows + pieces - 1) // pieces
    if multiplications <= UNPACKED_PRODUCT or b.columns > THIN_COLUMNS or rows < THIN_ROWS:
        return a.rows
    if a.row < a.column and a.columns * a.column > THIN_BYTES:
        return a.rows
    return rows if has_avx512 else a.rows


cdef bint goes_by_columns(matrix a, matrix b, cnp.npy_intp rows) noexcept:
    """Whether b is copied to column-major order, for so many rows of a at once."""
    cdef bint single = a.column == sizeof(float) and b.column == sizeof(float)
    return (
        has_avx512 and single and BY_COLUMNS_FIRST <= b.columns <= BY_COLUMNS_LAST
        and a.rows >= BY_COLUMNS_ROWS and a.columns >= BY_COLUMNS_LENGTH
        and rows * a.columns * b.columns <= UNPACKED_PRODUCT
    )


cdef cnp.ndarray columns_of(matrix b):
    """The columns of b, of float, one after the other."""
    cdef cnp.npy_intp i, j, size = b.rows * b.columns
    cdef cnp.ndarray copy = cnp.PyArray_EMPTY(1, &size, cnp.NPY_FLOAT32, 0)
    cdef float *column = <float *>cnp.PyArray_DATA(copy)
    for j in range(b.columns):
        for i in range(b.rows):
            column[j * b.rows + i] = (<float *>(b.data + i * b.row))[j]
    return copy


cdef void multiply(matrix a, matrix b, cnp.ndarray out):
    """out = a b"""
    cdef bint kind = cnp.PyArray_ITEMSIZE(out) == 8
    cdef cnp.npy_intp start = 0, rows = rows_at_once(a, b), item = sizeof(float)
    cdef matrix c = matrix_of(out)
    cdef cnp.ndarray copy
    if goes_by_columns(a, b, rows):
        rows = min(rows, BY_COLUMNS_ELEMENTS // b.columns)
        copy = columns_of(b)
        b = matrix(<char *>cnp.PyArray_DATA(copy), b.rows, b.columns, item, b.rows * item)
    cdef char *data[3]
    data[:] = [a.data, b.data, c.data]
    cdef cnp.npy_intp[4] sizes = [1, a.rows, a.columns, b.columns]
    cdef cnp.npy_intp[9] steps = [
        0, 0, 0, a.row, a.column, b.row, b.column, b.columns * c.column, c.column]
    if a.rows * a.columns * b.columns < SMALL_PRODUCT:
        matmul_loops[kind](data, sizes, steps, matmul_data[kind])
        return
    with nogil:
        while start < a.rows:
            data[:] = [a.data + start * a.row, b.data, c.data + start * c.row]
            sizes[1] = min(rows, a.rows - start)
            matmul_loops[kind](data, sizes, steps, matmul_data[kind])
            start += rows


cdef void add_bias(cython.floating *z, const cython.floating *b, size_t n, size_t k) noexcept nogil:
    cdef size_t i, j
    for i in range(n):
        for j in range(k):
            z[i * k + j] += b[j]


cdef void add_rows(cnp.ndarray z, cnp.ndarray b) noexcept:
    """Add b, or its one row, to each row of z."""
    cdef matrix m = matrix_of(z), terms = matrix_of(b)
    cdef size_t n = m.rows, k = m.columns
    if terms.rows == m.rows:
        n, k = 1, n * k
    if cnp.PyArray_ITEMSIZE(z) == 4:
        add_bias(<float *>m.data, <const float *>terms.data, n, k)
    else:
        add_bias(<double *>m.data, <const double *>terms.data, n, k)


cdef void sum_rows(
    const cython.floating *x, double *room, cython.floating *sums, size_t n, size_t k
) noexcept nogil:
    cdef size_t i, j
    for j in range(k):
        room[j] = 0
    for i in range(n):
        for j in range(k):
            room[j] += x[i * k + j]
    for j in range(k):
        sums[j] = <cython.floating>room[j]


cdef cnp.ndarray column_sums(cnp.ndarray x):
    cdef cnp.npy_intp k = row_length(x)
    cdef size_t n = matrix_of(x).rows
    cdef cnp.ndarray sums = cnp.PyArray_EMPTY(1, &k, cnp.PyArray_TYPE(x), 0)
    cdef cnp.ndarray wide = cnp.PyArray_EMPTY(1, &k, cnp.NPY_FLOAT64, 0)
    cdef double *room = <double *>cnp.PyArray_DATA(wide)
    if cnp.PyArray_ITEMSIZE(x) == 4:
        sum_rows(<const float *>cnp.PyArray_DATA(x), room, <float *>cnp.PyArray_DATA(sums), n, k)
    else:
        sum_rows(<const double *>cnp.PyArray_DATA(x), room, <double *>cnp.PyArray_DATA(sums), n, k)
    return sums


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
    cdef layer_kernel kernel = plain_kernels(<object>given[0]).softmax_layer_jacobian
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


cdef void through_softmax(const layer *self, cnp.ndarray s, cnp.ndarray g, cnp.ndarray out):
    cdef loop work
    take_plain(&work, 0, s)
    take_plain(&work, 1, g)
    take_plain(&work, 2, out)
    run_product(&work, self.kernels.softmax_vjp)


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


# ---- small calls: which functions have a short way, and what it takes ----------------------------

cdef object FLOAT32 = np.float32, FLOAT64 = np.float64

cdef dict short_ways = {
    "softmax": function_with(short_softmax, "x axis scale out"),
    "log_softmax": function_with(short_log_softmax, "x axis scale out"),
    "logsumexp": function_with(short_logsumexp, "x axis keepdims out"),
    "softmax_jacobian": function_with(short_softmax_jacobian, "s out"),
    "softmax_vjp": function_with(short_softmax_product, "s g axis out"),
    "softmax_jvp": function_with(short_softmax_product, "s v axis out"),
    "log_softmax_jacobian": function_with(short_log_softmax_jacobian, "log_s out"),
    "log_softmax_vjp": function_with(short_log_softmax_vjp, "log_s g axis out"),
    "log_softmax_jvp": function_with(short_log_softmax_jvp, "log_s v axis out"),
    "logsumexp_vjp": function_with(short_logsumexp_vjp, "x lse g out"),
    "logsumexp_partial": function_with(short_partial, "x"),
    "logsumexp_merge": function_with(short_merge, "p q"),
    "softmax_from_lse": function_with(short_softmax_from_lse, "x lse out"),
    "softmax_layer": function_with(short_layer, "x W b out"),
    "softmax_layer_jacobian": function_with(short_layer_jacobian, "s x out"),
    "softmax_layer_vjp": function_with(short_layer_vjp, "s x W g"),
    "softmax_layer_jvp": function_with(short_layer_jvp, "s x W dW db dx"),
    "cross_entropy": function_with(
        short_cross_entropy, "x target weight reduction label_smoothing z_loss return_lse"),
    "cross_entropy_with_grad": function_with(
        short_cross_entropy_with_grad,
        "x target weight reduction label_smoothing z_loss return_lse out"),
    "cross_entropy_hvp": function_with(short_cross_entropy_hvp, "s v target reduction out"),
    "linear_cross_entropy": function_with(
        short_layer_loss, "X W target b weight reduction label_smoothing z_loss return_lse"),
    "linear_cross_entropy_with_grad": function_with(
        short_layer_loss_with_grad,
        "X W target b weight reduction label_smoothing z_loss return_lse"),
    "linear_cross_entropy_hvp": function_with(short_layer_hvp, "X W V target b Vb reduction"),
}


def fast_path(function):
    """The public function with its short way before it, if it has one."""
    found = short_ways.get(function.__name__)
    if found is None:
        return function
    stand_before(found, function)
    return functools.update_wrapper(found, function)


cdef _PublicFunction any_function = function_with(NULL, "")
call_by_vector(
    <PyTypeObject *>_PublicFunction,
    <char *>&any_function.entry - <char *><PyObject *>any_function,
)
