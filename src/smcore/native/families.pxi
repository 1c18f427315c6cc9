# Each family of kernels has a `part`, its call for n rows from one on, and a `run` for a loop whose
# operands and shape are there: by `take` (backend.pxi) or by `take_plain` (arrays.pxi).

# What there is to do for a row besides its elements, in elements: the ends of sums and maxima.
cdef enum:
    ROW = 20


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


# Pairs of a logarithm and what it lacks.

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
