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
    operand[7] operands  # in the order of ops.def, the first `count`
    int count
    Py_ssize_t blocks, rows, k, j  # (A, B, K); J of a layer
    double work  # for a row, as in worth_a_thread
    double scale
    smc_targets targets
    const smc_parallel *parallel  # over the parts of a row, or NULL
    smc_watch watch  # of signals


cdef inline smc_view at(const loop *self, int i, size_t block, size_t row) noexcept nogil:
    """Operand i from a row on."""
    cdef const operand *o = &self.operands[i]
    return smc_view(o.data + <ptrdiff_t>block * o.block + <ptrdiff_t>row * o.row, o.row, o.col)


cdef inline void clear_raised(unsigned before, unsigned which) noexcept nogil:
    """Clear those of the flags `which` that were not set `before`."""
    cdef unsigned raised = smc_flags() & ~before & which
    if raised:
        smc_clear_flags(raised)


cdef void walk(void *context, size_t begin, size_t end) noexcept nogil:
    """Rows begin to end of the A * B, block by block, up to the one that was stopped.

    An underflow is no error of the caller, in whose ufunc this may be: its flag stays as it was. So
    do all, where parts of a row were left out and results are made of nothing.
    """
    cdef const loop *self = <const loop *>context
    cdef size_t row, n, rows = self.rows
    cdef unsigned before = smc_flags()
    if self.blocks == 1:
        self.part(self, 0, begin, end - begin)
        begin = end
    while begin < end and not is_stopped(self):
        row = begin % rows
        n = min(rows - row, end - begin)
        self.part(self, begin // rows, row, n)
        begin += n
    clear_raised(before, SMC_ALL_FLAGS if is_stopped(self) else SMC_UNDERFLOW)


cdef inline bint is_stopped(const loop *self) noexcept nogil:
    """Whether a row was, whose parts are shared out. (Of rows that are, each is finished.)"""
    return self.parallel != NULL and self.watch.stopped


cdef size_t grain(const loop *self) noexcept nogil:
    """How many rows kernels take together: four vectors of 16, if the rows are short or columns.

    Columns side by side are then whole cache lines, too.
    """
    return 64 if self.k <= 512 or are_columns(self) else 4 if self.k <= 8192 else 1


cdef inline bint are_columns(const loop *self) noexcept nogil:
    cdef const operand *x = &self.operands[0]
    return fabs(x.row) < fabs(x.col)


# Columns that kernels go through together: 64 vectors of 16.
cdef enum:
    STRIP = 1024


cdef int look() noexcept nogil:
    """Run the handlers of signals that came; not 0 if one raised an error."""
    with gil:
        return PyErr_CheckSignals()


cdef inline smc_watch *watch_of(loop *self) noexcept nogil:
    """Python runs handlers in its main thread alone: others need not look."""
    return &self.watch if PyThread_get_thread_ident() == main_thread else NULL


cdef inline int settle(const loop *self) except -1:
    """Pass on what stopped a loop."""
    if self.watch.stopped:
        return stop(self.watch.stopped)
    return 0


cdef int stop(int reason) except -1:
    if reason == SMC_FORKED:
        raise RuntimeError("a signal's handler forked: the call goes on in the parent alone")
    return -1  # the error is set


# Less work than this, in elements, is over before another thread could have had the GIL.
cdef enum:
    RELEASE_GIL_FROM = 8192


cdef int run(loop *self) except -1:
    cdef Py_ssize_t count = self.blocks * self.rows
    cdef double work = count * self.work
    self.parallel = NULL
    if work < RELEASE_GIL_FROM and work < worth_a_thread:
        walk(self, 0, count)
        return 0
    self.watch = smc_watch(look, STRIP if are_columns(self) else grain(self), 0, 0, 0)
    with nogil:
        smc_parallel_for(
            count, self.work / worth_a_thread, grain(self), walk, self, watch_of(self))
    return settle(self)


cdef int over(
    void *context, size_t parts, void (*body)(void *, size_t, size_t) noexcept nogil, void *work
) noexcept nogil:
    """Share out the parts of a row; of one that was stopped, none."""
    cdef loop *self = <loop *>context
    if not self.watch.stopped:
        smc_parallel_for(
            parts, self.work / (parts * worth_a_thread), 1, body, work, watch_of(self))
    return self.watch.stopped


# So few rows for each thread are not spread: one may have a row more to do than the others.
cdef enum:
    FEW = 4


cdef int run_divisible(loop *self) except -1:
    """The loop of a kernel that can share out one row: of a few long ones, each is in parts."""
    cdef Py_ssize_t count = self.blocks * self.rows
    cdef smc_parallel parallel
    if self.work < 2 * worth_a_thread or count >= FEW * <Py_ssize_t>smc_get_num_threads():
        return run(self)
    parallel.over, parallel.context = over, self
    self.parallel, self.watch = &parallel, smc_watch(look, 1, 0, 0, 0)
    with nogil:
        walk(self, 0, count)
    return settle(self)
