# The targets of the kernels: which there are, and which is in use.

cdef const smc_target *active = smc_available(0)


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


def _caches():
    """The bytes of the data caches of the first, second and last level that kernels plan for."""
    cdef const smc_caches *here = smc_get_caches()
    return here.l1, here.l2, here.l3


def _set_caches(sizes):
    """For tests; without sizes, those of this machine."""
    cdef smc_caches given
    if sizes is None:
        smc_set_caches(NULL)
    else:
        given.l1, given.l2, given.l3 = sizes
        smc_set_caches(&given)


smc_set_caches(NULL)
