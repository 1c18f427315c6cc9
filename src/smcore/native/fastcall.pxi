# Calls of a public function that has a short way before it: how arguments reach it.

# A short way takes those arguments of a public function that `short_ways` names, in that order, and
# returns what the function would; or None where a case is not plain, and then nothing has been
# written.
ctypedef object (*short_way)(PyObject **given)

cdef enum:
    MOST = 16  # parameters of a function


ctypedef object (*vectorcall)(object, PyObject *const *, size_t, PyObject *)


cdef extern from "Python.h":
    object PyObject_Vectorcall(object, PyObject *const *, size_t, PyObject *)
    Py_ssize_t PyVectorcall_NARGS(size_t)
    Py_ssize_t length "PyTuple_GET_SIZE"(PyObject *)
    PyObject *item "PyTuple_GET_ITEM"(PyObject *, Py_ssize_t)
    PyTypeObject *Py_TYPE(PyObject *)


cdef extern from *:
    """
    /* What Cython has no word for: calls that pass the arguments as they lie, without a tuple. */
    static void call_by_vector(PyTypeObject *type, Py_ssize_t offset) {
      type->tp_vectorcall_offset = offset;
      type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
      PyType_Modified(type);
    }
    """
    void call_by_vector(PyTypeObject *type, Py_ssize_t offset)


@cython.final
cdef class _PublicFunction:
    """A public function with a short way before it.

    What is not plain, wrong calls included, goes on to the function as it came.  For whoever looks
    at it, it is the function: all that the function has is found here, too.
    """

    cdef vectorcall entry
    cdef short_way way
    cdef object general  # the function
    cdef tuple names, defaults  # of its parameters, held for the pointers below
    cdef PyObject *name[MOST]
    cdef PyObject *default[MOST]  # NULL: must be given
    cdef signed char place[MOST]  # among what the short way takes; -1: has to be the default
    cdef PyObject *initial[MOST]  # what the short way takes, as long as nothing is given
    cdef Py_ssize_t taken, positional, count
    cdef public object _remedy  # the message for keywords that the function refuses, or None
    cdef dict __dict__
    cdef object __weakref__

    def __call__(self, *arguments, **keywords):
        return self.general(*arguments, **keywords)  # calls by vector do not come here

    def __get__(self, instance, owner):
        return self if instance is None else types.MethodType(self, instance)

    def __getattr__(self, name):
        return getattr(self.general, name)

    @property
    def __class__(self):
        return types.FunctionType

    def __repr__(self):
        return repr(self.general)

    def __reduce__(self):
        return self.__qualname__  # by its name, as functions are pickled


cdef _PublicFunction function_with(short_way way, str parameters):
    """A function that is there when `stand_before` has been called."""
    cdef _PublicFunction self = _PublicFunction.__new__(_PublicFunction)
    self.entry, self.way, self.names = enter, way, tuple(parameters.split())
    return self


cdef int stand_before(_PublicFunction self, function) except -1:
    cdef Py_ssize_t i
    code = function.__code__
    named = self.names
    self.general, self.taken, self.positional = function, len(named), code.co_argcount
    self.count = code.co_argcount + code.co_kwonlyargcount
    self.names = code.co_varnames[:self.count]
    values = (function.__defaults__ or ())
    defaults = dict(zip(self.names[self.positional - len(values):self.positional], values))
    defaults.update(function.__kwdefaults__ or {})
    self.defaults = tuple(defaults.values())
    if self.count > MOST or not set(named) <= set(self.names):
        raise SystemError(f"the short way of {function.__name__} does not suit it")
    for i, name in enumerate(self.names):
        self.name[i] = <PyObject *>name
        self.default[i] = <PyObject *>defaults[name] if name in defaults else NULL
        self.place[i] = named.index(name) if name in named else -1
        if self.place[i] >= 0:
            self.initial[self.place[i]] = self.default[i]
    return 0


cdef inline bint put(
    _PublicFunction self, Py_ssize_t i, PyObject *value, PyObject **given
) noexcept:
    """Take the argument for parameter i; False if the short way cannot do with it."""
    cdef PyObject *default = self.default[i]
    if self.place[i] >= 0:
        given[self.place[i]] = value
        return True
    return value == default or (
        default != NULL
        and Py_TYPE(value) == Py_TYPE(default)
        and PyObject_RichCompareBool(<object>value, <object>default, Py_EQ) > 0
    )


cdef inline bint bind(
    _PublicFunction self, PyObject *const *args, Py_ssize_t n, PyObject *keywords, PyObject **given
) noexcept:
    """Sort the arguments; False for those that only the function itself can judge."""
    cdef Py_ssize_t i, j
    if n > self.positional:
        return False
    for i in range(self.taken):
        given[i] = self.initial[i]
    for i in range(n):
        if not put(self, i, args[i], given):
            return False
    if keywords != NULL:
        for j in range(length(keywords)):
            i = n
            while i < self.count and self.name[i] != item(keywords, j):
                i += 1
            if i == self.count or not put(self, i, args[n + j], given):
                return False
    for i in range(self.taken):
        if given[i] == NULL:
            return False
    return True


cdef object enter(function, PyObject *const *args, size_t flagged, PyObject *keywords):
    """The call: as PEP 590 has it."""
    cdef _PublicFunction self = <_PublicFunction>function
    cdef PyObject *given[MOST]
    if bind(self, args, PyVectorcall_NARGS(flagged), keywords, given):
        result = self.way(given)
        if result is not None:
            return result
    return pass_on(self, args, flagged, keywords)


cdef object pass_on(
    _PublicFunction self, PyObject *const *args, size_t flagged, PyObject *keywords
):
    """Call the function itself; where that fails by a name, say which is right."""
    try:
        return PyObject_Vectorcall(self.general, args, flagged, keywords)
    except TypeError:
        if keywords == NULL or self._remedy is None:
            raise
        message = self._remedy(self.general, <object>keywords)
        if message is None:
            raise
    raise TypeError(message)
