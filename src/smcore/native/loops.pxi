# Loops over rows, spread over threads.

# An operand (A, B, ...) as it lies in memory: steps in bytes along A, along B and along a row.
cdef struct operand:
    char *data
    ptrdiff_t block
    ptrdiff_t row
    ptrdiff_t col


# A kernel with all that it is called with; `part` calls it for some rows.
cdef struct loop:
    void (*part)(const loop *, size_t, size_t, size_t) noexcept nogil
    smc_kernel kernel
    operand[6] operands  # in the order of ops.def, the first `count`
    int count
    Py_ssize_t blocks, rows, k, j  # (A, B, K); J of a layer
    double work  # for a row, as in worth_a_thread
    double scale
    smc_targets targets
    const smc_parallel *parallel  # over the parts of a row, or NULL


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


# Less work than this, in elements, is over before another thread could have had the GIL.
cdef enum:
    RELEASE_GIL_FROM = 8192


cdef void run(loop *self) noexcept:
    cdef Py_ssize_t count = self.blocks * self.rows
    cdef double work = count * self.work
    self.parallel = NULL
    if work < RELEASE_GIL_FROM and work < worth_a_thread:
        walk(self, 0, count)
        return
    cdef size_t share = 1 + <size_t>(worth_a_thread / self.work)
    with nogil:
        smc_parallel_for(count, share, grain(self), walk, self)


cdef void over(
    void *context, size_t parts, void (*body)(void *, size_t, size_t) noexcept nogil, void *work
) noexcept nogil:
    """Share out the parts of a row."""
    cdef const loop *self = <const loop *>context
    smc_parallel_for(parts, 1 + <size_t>(parts * worth_a_thread / self.work), 1, body, work)


# So few rows for each thread are not spread: one may have a row more to do than the others.
cdef enum:
    FEW = 4


cdef void run_divisible(loop *self) noexcept:
    """The loop of a kernel that can share out one row: of a few long ones, each is in parts."""
    cdef Py_ssize_t count = self.blocks * self.rows
    cdef smc_parallel parallel
    if self.work < 2 * worth_a_thread or count >= FEW * <Py_ssize_t>smc_get_num_threads():
        run(self)
        return
    parallel.over, parallel.context = over, self
    self.parallel = &parallel
    with nogil:
        walk(self, 0, count)
