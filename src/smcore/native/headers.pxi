# What is declared in C: by smcore_kernels.h, pool.h, flags.h and NumPy.

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
