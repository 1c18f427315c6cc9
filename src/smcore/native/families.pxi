# How a kernel is called for some rows, and how long a row takes; for a loop whose operands and
# shape are there: by `take` (backend.pxi) or by `take_along` (arrays.pxi).

cdef int operand_counts[<int>SMC_OPS]  # of each operation


cdef void count_operands():
    cdef int op
    for op in range(SMC_OPS):
        operand_counts[op] = 0
        while operand_roles[op][operand_counts[op]]:
            operand_counts[op] += 1


count_operands()

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


cdef inline void prepare(loop *self, const smc_kernels *kernels, int op) noexcept nogil:
    """Call an operation's kernel, as often as need be; `run_operation` knows how long it takes."""
    self.part, self.kernel, self.count = call_part, kernel_of(kernels, op), operand_counts[op]


cdef int run_operation(loop *self, const smc_kernels *kernels, int op) except -1:
    """Run it on operands in the order of ops.def; shape, j and scale are there, too."""
    cdef double k = self.k
    cdef bint divisible = True
    prepare(self, kernels, op)
    self.work = ROW + k  # as exponentials do
    if op in (SMC_OP_softmax_vjp, SMC_OP_log_softmax_vjp, SMC_OP_log_softmax_jvp):
        self.work = ROW + k / 2
        # a row of 16-bit floats is one piece: it is converted in registers
        divisible = self.operands[2].col != sizeof(uint16_t)
    elif op in (SMC_OP_softmax_jacobian, SMC_OP_log_softmax_jacobian):
        self.work, divisible = ROW + k * k / 4, False
    elif op == SMC_OP_softmax_layer_jacobian:
        self.work, divisible = ROW + k * k * self.j / 4, False
    elif op == SMC_OP_logsumexp_merge:
        self.work, divisible = 8, False
    return run_divisible(self) if divisible else run(self)


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


cdef int run_scaled_rows(loop *self, const smc_kernels *kernels, int op) except -1:
    """Operands: x, out; and scales, which the kernel does not look at."""
    prepare(self, kernels, op)
    self.part, self.work = scaled_rows_part, ROW + self.k
    return run_divisible(self)


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


cdef int run_scaled_product(loop *self, const smc_kernels *kernels, double factor) except -1:
    """Operands: s, v, out, all plain, and labels, data NULL without; a row of no class gives 0."""
    prepare(self, kernels, SMC_OP_softmax_vjp)
    self.part, self.count, self.scale = scaled_product_part, 4, factor
    self.work = ROW + self.k / 2.0
    return run(self)
