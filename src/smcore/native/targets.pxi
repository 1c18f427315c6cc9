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
