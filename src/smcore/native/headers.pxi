# What is declared in C: by smcore_kernels.h, pool.h, flags.h and NumPy.

cdef extern from "smcore_kernels.h" nogil:
    ctypedef enum smc_dtype:
        SMC_F32, SMC_F64, SMC_F16, SMC_BF16

    ctypedef struct smc_parallel:
        int (*over)(void *, size_t, void (*)(void *, size_t, size_t) noexcept nogil,
                    void *) noexcept nogil
        void *context

    ctypedef struct smc_view:
        void *data
        ptrdiff_t row
        ptrdiff_t col

    ctypedef struct smc_targets:
        const void *weight
        double on
        double off
        double z_loss
        double factor

    ctypedef struct smc_call:
        smc_view[6] operands
        size_t n
        size_t k
        size_t j
        double scale
        const smc_targets *targets
        const smc_parallel *parallel

    ctypedef void (*smc_kernel "smc_kernel *")(const smc_call *) noexcept nogil

    ctypedef struct smc_kernels:
        smc_kernel softmax
        smc_kernel log_softmax
        smc_kernel logsumexp
        smc_kernel logsumexp_partial
        smc_kernel softmax_vjp
        smc_kernel log_softmax_vjp
        smc_kernel log_softmax_jvp
        smc_kernel logsumexp_vjp
        smc_kernel logsumexp_merge
        smc_kernel softmax_jacobian
        smc_kernel log_softmax_jacobian
        smc_kernel softmax_layer_jacobian
        smc_kernel cross_entropy

    ctypedef struct smc_caches:
        size_t l1
        size_t l2
        size_t l3

    const smc_caches *smc_get_caches()
    void smc_set_caches(const smc_caches *caches)

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

    ctypedef struct smc_watch:
        int (*look)() noexcept nogil
        size_t grain
        double since
        double rest
        int stopped

    int SMC_FORKED
    int smc_parallel_for(
        size_t items,
        double work,
        size_t grain,
        void (*body)(void *, size_t, size_t) noexcept nogil,
        void *context,
        smc_watch *watch,
    )


cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept  # who calls it passes on the error
    unsigned long PyThread_get_thread_ident() noexcept nogil


cdef extern from "flags.h" nogil:
    unsigned SMC_UNDERFLOW
    unsigned SMC_ALL_FLAGS
    unsigned smc_flags()
    void smc_clear_flags(unsigned flags)


cdef extern from "numpy/arrayobject.h":
    PyObject *PyArray_EMPTY(int ndim, cnp.npy_intp *shape, int number, int fortran)
    object PyArray_Scalar(void *data, cnp.PyArray_Descr *descr, object base)
