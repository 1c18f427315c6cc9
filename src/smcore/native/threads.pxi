# Threads: how many there are, and what becomes of them after a fork.

# The least work to give to a thread, in elements of long rows of a softmax in float32: some 100 us.
# To wake one costs 5 us on a quiet machine, and 10 where all cores are busy and it cannot help.
cdef double worth_a_thread = 1 << 18


def set_num_threads(count):
    smc_set_num_threads(count)


def get_num_threads():
    return smc_get_num_threads()


def _set_worth_a_thread(work):
    """For tests; returns the former value."""
    global worth_a_thread
    former, worth_a_thread = worth_a_thread, work
    return former


# The thread whose calls look for signals: see loops.pxi.
cdef unsigned long main_thread = threading.main_thread().ident


def _after_fork_in_child():
    global main_thread
    main_thread = PyThread_get_thread_ident()
    if smc_pool_reset() < 0:
        raise MemoryError


if smc_pool_init() < 0:
    raise MemoryError
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
