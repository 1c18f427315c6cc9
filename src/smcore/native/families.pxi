# How a kernel is called for some rows, and how long a row takes; for a loop whose operands and
# shape are there: by `take` (backend.pxi) or by `take_plain` (arrays.pxi).

# What there is to do for a row besides its elements, in elements: the ends of sums and maxima.
cdef enum:
    ROW = 20


cdef inline void fill_call(
    smc_call *call, const loop *self, size_t block, size_t row, size_t n
) noexcept nogil:
    """A call for n rows from one on."""
    cdef int i
    for i in range(self.count):
        call.operands[i] = at(self, i, block, row)
    call.n, call.k, call.j, call.scale = n, self.k, self.j, self.scale
    call.targets, call.parallel = &self.targets, self.parallel


cdef void call_part(const loop *self, size_t block, size_t row, size_t n) noexcept nogil:
    cdef smc_call call
    fill_call(&call, self, block, row, n)
    self.kernel(&call)


cdef inline void prepare(loop *self, smc_kernel kernel, int count, double work) noexcept:
    """Call a kernel of so many operands, a row of which takes so long."""
    self.part, self.kernel, self.count, self.work = call_part, kernel, count, ROW + work
    self.j, self.scale = 0, 1


cdef int run_rows(loop *self, smc_kernel kernel, int count) except -1:
    """An operation that takes as long as exponentials do."""
    prepare(self, kernel, count, self.k)
    return run_divisible(self)


cdef int run_scaled(loop *self, smc_kernel kernel, double scale) except -1:
    prepare(self, kernel, 2, self.k)
    self.scale = scale
    return run_divisible(self)


cdef void scaled_rows_part(const loop *self, size_t block, size_t row, size_t n) noexcept nogil:
    """The same with a scale for each row: rows that follow each other and share one go together."""
    cdef const operand *scales = &self.operands[2]
    cdef const char *scale
    cdef size_t end = row + n, first = row
    cdef smc_call call
    while first < end and not is_stopped(self):
        scale = scales.data + <ptrdiff_t>block * scales.block + <ptrdiff_t>first * scales.row
        row = first + 1
        while row < end and not memcmp(
            scale, scale + <ptrdiff_t>(row - first) * scales.row, sizeof(double)
        ):
            row += 1
        fill_call(&call, self, block, first, row - first)
        call.scale = (<const double *>scale)[0]
        self.kernel(&call)
        first = row


cdef int run_scaled_rows(loop *self, smc_kernel kernel) except -1:
    """Operands: x, out; and scales, which the kernel does not look at."""
    prepare(self, kernel, 2, self.k)
    self.part = scaled_rows_part
    return run_divisible(self)


cdef int run_product(loop *self, smc_kernel kernel) except -1:
    prepare(self, kernel, 3, self.k / 2.0)
    if self.operands[2].col == sizeof(uint16_t):
        return run(self)  # a row of 16-bit floats is one piece: it is converted in registers
    else:
        return run_divisible(self)


cdef int run_jacobian(loop *self, smc_kernel kernel) except -1:
    prepare(self, kernel, 2, <double>self.k * self.k / 4)
    return run(self)


cdef int run_layer(loop *self, smc_kernel kernel, Py_ssize_t j) except -1:
    prepare(self, kernel, 3, <double>self.k * self.k * j / 4)
    self.j = j
    return run(self)


cdef int run_merge(loop *self, smc_kernel kernel, Py_ssize_t n) except -1:
    """Operands: p_m, p_s, q_m, q_s, m, s: n numbers each, one after the other."""
    self.blocks, self.rows, self.k = 1, n, 1
    prepare(self, kernel, 6, 0)
    self.work = 8
    return run(self)


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
    cdef smc_view out, labels
    cdef smc_call call
    cdef size_t i, k = self.k, count, end = row + n, step = grain(self)
    step *= max(1, CLOSE // (k * step))
    while row < end:
        count = min(step, end - row)
        fill_call(&call, self, block, row, count)
        self.kernel(&call)
        out, labels = call.operands[2], call.operands[3]
        if out.col == sizeof(float):
            scale(<float *>out.data, <float>self.scale, count * k)
        else:
            scale(<double *>out.data, self.scale, count * k)
        for i in range(count if labels.data != NULL else 0):
            if (<const int64_t *>labels.data)[i] < 0:
                memset(<char *>out.data + <ptrdiff_t>i * out.row, 0, k * out.col)
        row += count


cdef int run_scaled_product(loop *self, smc_kernel kernel, double factor) except -1:
    """Operands: s, v, out, all plain, and labels, data NULL without; a row of no class gives 0."""
    prepare(self, kernel, 4, self.k / 2.0)
    self.part, self.scale = scaled_product_part, factor
    return run(self)
