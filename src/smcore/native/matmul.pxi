# Products by the loop of np.matmul itself, called as NumPy's ufuncs call it, which knows BLAS: the
# function around it costs 1 us and, with the warnings turned off for it, another.
#
# Thin products are given to OpenBLAS in pieces, or column-major: of ten layers of 3 to 32 classes,
# one thread of a Zen 4, the layer takes 1/1.63 of the time in float32 (geometric mean) and 1/1.79
# in float64, the loss with its gradient 1/1.39 and 1/1.27.

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
    """Find the loops; without them layers have no fast path."""
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
    """A plain array, or matrix; a vector is one row."""
    cdef cnp.npy_intp k = cnp.PyArray_DIM(x, cnp.PyArray_NDIM(x) - 1)
    cdef cnp.npy_intp n = cnp.PyArray_SIZE(x) // k
    cdef cnp.npy_intp item = cnp.PyArray_ITEMSIZE(x)
    cdef char *data = <char *>cnp.PyArray_DATA(x)
    if cnp.PyArray_IS_C_CONTIGUOUS(x):
        return matrix(data, n, k, k * item, item)
    return matrix(data, n, k, item, n * item)


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
    cdef unsigned before = smc_flags()
    cdef cnp.npy_intp[4] sizes = [1, a.rows, a.columns, b.columns]
    cdef cnp.npy_intp[9] steps = [
        0, 0, 0, a.row, a.column, b.row, b.column, c.row, c.column]
    if a.rows * a.columns * b.columns < SMALL_PRODUCT:
        matmul_loops[kind](data, sizes, steps, matmul_data[kind])
        clear_raised(before, SMC_ALL_FLAGS)
        return
    with nogil:
        while start < a.rows:
            data[:] = [a.data + start * a.row, b.data, c.data + start * c.row]
            sizes[1] = min(rows, a.rows - start)
            matmul_loops[kind](data, sizes, steps, matmul_data[kind])
            start += rows
        clear_raised(before, SMC_ALL_FLAGS)


cdef void add_bias(cython.floating *z, const cython.floating *b, size_t n, size_t k) noexcept nogil:
    cdef size_t i, j
    for i in range(n):
        for j in range(k):
            z[i * k + j] += b[j]


cdef void add_rows(cnp.ndarray z, cnp.ndarray b) noexcept:
    """Add b, or its one row, to each row of z."""
    cdef matrix m = matrix_of(z), terms = matrix_of(b)
    cdef size_t n = m.rows, k = m.columns
    cdef unsigned before = smc_flags()
    if terms.rows == m.rows:
        n, k = 1, n * k
    if cnp.PyArray_ITEMSIZE(z) == 4:
        add_bias(<float *>m.data, <const float *>terms.data, n, k)
    else:
        add_bias(<double *>m.data, <const double *>terms.data, n, k)
    clear_raised(before, SMC_ALL_FLAGS)


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
    cdef cnp.npy_intp k = matrix_of(x).columns
    cdef size_t n = matrix_of(x).rows
    cdef cnp.ndarray sums = cnp.PyArray_EMPTY(1, &k, cnp.PyArray_TYPE(x), 0)
    cdef cnp.ndarray wide = cnp.PyArray_EMPTY(1, &k, cnp.NPY_FLOAT64, 0)
    cdef double *room = <double *>cnp.PyArray_DATA(wide)
    cdef unsigned before = smc_flags()
    if cnp.PyArray_ITEMSIZE(x) == 4:
        sum_rows(<const float *>cnp.PyArray_DATA(x), room, <float *>cnp.PyArray_DATA(sums), n, k)
    else:
        sum_rows(<const double *>cnp.PyArray_DATA(x), room, <double *>cnp.PyArray_DATA(sums), n, k)
    clear_raised(before, SMC_ALL_FLAGS)
    return sums
