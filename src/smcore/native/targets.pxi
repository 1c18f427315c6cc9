# The targets of the kernels: which there are, and which is in use.

# An element as it lies in memory; the 16-bit floats have no C type of their own.
ctypedef fused stored:
    float
    double
    uint16_t
    int64_t

# Less work than this, in elements, is over before another thread could have had the GIL.
cdef enum:
    RELEASE_GIL_FROM = 8192

# The least work to give to a thread, in elements of long rows of a softmax in float32: some 100 us.
# To wake one costs 5 us on a quiet machine, and 10 where all cores are busy and it cannot help.
cdef double worth_a_thread = 1 << 18

# What there is to do for a row besides its elements, in elements: the ends of sums and maxima.
cdef enum:
    ROW = 20

cdef const smc_target *active = smc_available(0)

# The number NumPy has given to that type, which it does not have itself; known once one was here.
cdef int bfloat16 = -1


def targets():
    names = []
    while smc_available(len(names)) != NULL:
        names.append(smc_available(len(names)).name.decode())
    return tuple(names)


def active_target():
    return active.name.decode()


def set_target(name):
    global active
    available = targets()
    if name not in available:
        raise ValueError(f"target must be one of {available}; found {name!r}")
    active = smc_available(available.index(name))


def compiler():
    return smc_compiler().decode()
