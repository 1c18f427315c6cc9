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

    ctypedef enum smc_op:
        SMC_OP_softmax
        SMC_OP_log_softmax
        SMC_OP_logsumexp
        SMC_OP_logsumexp_partial
        SMC_OP_softmax_vjp
        SMC_OP_log_softmax_vjp
        SMC_OP_log_softmax_jvp
        SMC_OP_logsumexp_vjp
        SMC_OP_logsumexp_merge
        SMC_OP_softmax_jacobian
        SMC_OP_log_softmax_jacobian
        SMC_OP_softmax_layer_jacobian
        SMC_OP_cross_entropy
        SMC_OPS

    ctypedef struct smc_kernels:  # a kernel for each operation
        pass

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


# What ops.def says of each operation, as a table.
cdef extern from *:
    """
    #include <assert.h>

    enum { ROWS_IN_ROLE = 1, ROWS_OUT_ROLE, VALUES_IN_ROLE, VALUES_OUT_ROLE, PAIR_IN_ROLE,
           PAIR_OUT_ROLE, LABELS_IN_ROLE, FEATURES_IN_ROLE, MATRIX_OUT_ROLE };
    #define ROWS_IN(name) ROWS_IN_ROLE
    #define ROWS_OUT(name) ROWS_OUT_ROLE
    #define VALUES_IN(name) VALUES_IN_ROLE
    #define VALUES_OUT(name) VALUES_OUT_ROLE
    #define PAIR_IN(name) PAIR_IN_ROLE
    #define PAIR_OUT(name) PAIR_OUT_ROLE
    #define LABELS_IN(name) LABELS_IN_ROLE
    #define FEATURES_IN(name) FEATURES_IN_ROLE
    #define MATRIX_OUT(name) MATRIX_OUT_ROLE
    #define SMC_OP(name, ...) {__VA_ARGS__},
    static const unsigned char operand_roles[SMC_OPS][SMC_MAX_OPERANDS + 1] = { /* 0: no more */
    #include "ops.def"
    };
    #undef SMC_OP

    static_assert(offsetof(smc_kernels, plan) == SMC_OPS * sizeof(smc_kernel *),
                  "kernels are in the order of ops.def");
    static inline smc_kernel *kernel_of(const smc_kernels *kernels, int op) {
      return ((smc_kernel *const *)kernels)[op];
    }
    """
    enum:
        ROWS_IN_ROLE, ROWS_OUT_ROLE, VALUES_IN_ROLE, VALUES_OUT_ROLE, PAIR_IN_ROLE
        PAIR_OUT_ROLE, LABELS_IN_ROLE, FEATURES_IN_ROLE, MATRIX_OUT_ROLE, SMC_MAX_OPERANDS
    const unsigned char operand_roles[SMC_OPS][8]
    smc_kernel kernel_of(const smc_kernels *kernels, int op) noexcept nogil


# Arrays by pointers, which the fast path looks at without counting references.
cdef extern from "numpy/arrayobject.h":
    ctypedef struct ndarray "PyArrayObject":
        pass

    bint is_array "PyArray_CheckExact"(PyObject *)
    int number_of "PyArray_TYPE"(ndarray *)
    cnp.PyArray_Descr *descr_of "PyArray_DESCR"(ndarray *)
    int ndim_of "PyArray_NDIM"(ndarray *)
    int item_size "PyArray_ITEMSIZE"(ndarray *)
    cnp.npy_intp byte_count "PyArray_NBYTES"(ndarray *)
    cnp.npy_intp *shape_of "PyArray_DIMS"(ndarray *)
    cnp.npy_intp length_of "PyArray_DIM"(ndarray *, int axis)
    cnp.npy_intp stride_of "PyArray_STRIDE"(ndarray *, int axis)
    void *data_of "PyArray_DATA"(ndarray *)
    bint is_contiguous "PyArray_IS_C_CONTIGUOUS"(ndarray *)
    bint is_carray "PyArray_ISCARRAY_RO"(ndarray *)
    bint is_farray "PyArray_ISFARRAY_RO"(ndarray *)
    bint is_behaved "PyArray_ISBEHAVED_RO"(ndarray *)
    bint is_writeable "PyArray_ISWRITEABLE"(ndarray *)
    bint holds_integers "PyArray_ISINTEGER"(ndarray *)
    bint is_signed "PyArray_ISSIGNED"(ndarray *)
    PyObject *PyArray_EMPTY(int ndim, cnp.npy_intp *shape, int number, int fortran)
    PyObject *PyArray_FROM_OTF(PyObject *, int number, int requirements)
    object PyArray_Scalar(void *data, cnp.PyArray_Descr *descr, object base)


# NumPy scalars, read and made in half the time that the functions of its API take.
cdef extern from *:
    """
    #include <numpy/arrayscalars.h>

    #define FLOAT32_OF(scalar) PyArrayScalar_VAL(scalar, Float)
    #define FLOAT64_OF(scalar) PyArrayScalar_VAL(scalar, Double)

    static inline PyObject *new_float32(float value) {
      PyObject *scalar = PyArrayScalar_New(Float);
      if (scalar != NULL) PyArrayScalar_ASSIGN(scalar, Float, value);
      return scalar;
    }

    static inline PyObject *new_float64(double value) {
      PyObject *scalar = PyArrayScalar_New(Double);
      if (scalar != NULL) PyArrayScalar_ASSIGN(scalar, Double, value);
      return scalar;
    }
    """
    float FLOAT32_OF(PyObject *)
    double FLOAT64_OF(PyObject *)
    object new_float32(float value)
    object new_float64(double value)


cdef extern from "Python.h":
    PyObject *Py_None
    PyObject *Py_True
    PyObject *Py_False
    PyTypeObject *Py_TYPE(PyObject *)
    PyTypeObject PyFloat_Type, PyTuple_Type, PyUnicode_Type
    double PyFloat_AS_DOUBLE(PyObject *)
    PyObject *PyTuple_GET_ITEM(PyObject *, Py_ssize_t)
    Py_ssize_t PyTuple_GET_SIZE(PyObject *)
