# Calls of a public function that has a fast path: how arguments reach it.

cdef enum:
    MOST = 16  # parameters of a function


ctypedef object (*vectorcall)(object, PyObject *const *, size_t, PyObject *)


cdef extern from "Python.h":
    object PyObject_Vectorcall(object, PyObject *const *, size_t, PyObject *)
    Py_ssize_t PyVectorcall_NARGS(size_t)


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
    """A public function with its fast path before it.

    What is not plain, wrong calls included, goes on to the function as it came.  For whoever looks
    at it, it is the function: all that the function has is found here, too.
    """

    cdef vectorcall entry
    cdef operation does
    cdef dict roles  # by parameter, in the order in which the fast path takes them
    cdef object general  # the function
    cdef tuple names, defaults  # of its parameters, held for the pointers below
    cdef PyObject *name[MOST]
    cdef PyObject *default[MOST]  # NULL: must be given
    cdef signed char place[MOST]  # among what the fast path takes; -1: has to be the default
    cdef arguments initial  # what the fast path takes, as long as nothing is given
    cdef Py_ssize_t required, positional, count
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


cdef _PublicFunction function_with(call_body body, int kernel, str words):
    """A row of the table; it is a function when `stand_before` has been called."""
    cdef _PublicFunction self = _PublicFunction.__new__(_PublicFunction)
    cdef word *w
    self.entry, self.roles = enter, {}
    self.does.body, self.does.kernel, self.does.count = body, kernel, 0
    for text in words.split():
        role, _, parameter = text.rstrip("?").partition(":")
        w = &self.does.words[self.does.count]
        w.role, w.slot = ROLES[role]
        w.usual = Py_None if text.endswith("?") else NULL
        self.roles[parameter or role] = role
        self.does.has_out = w.slot == OUT
        self.does.count += 1
    return self


cdef int stand_before(_PublicFunction self, function) except -1:
    cdef Py_ssize_t i
    cdef word *w
    code = function.__code__
    named = list(self.roles)
    self.general, self.positional = function, code.co_argcount
    self.required = code.co_argcount - len(function.__defaults__ or ())
    self.count = code.co_argcount + code.co_kwonlyargcount
    self.names = code.co_varnames[:self.count]
    values = (function.__defaults__ or ())
    defaults = dict(zip(self.names[self.positional - len(values):self.positional], values))
    defaults.update(function.__kwdefaults__ or {})
    self.defaults = tuple(defaults.values())
    if self.count > MOST or not set(named) <= set(self.names):
        raise SystemError(f"the fast path of {function.__name__} does not suit it")
    for i, name in enumerate(self.names):
        self.name[i] = <PyObject *>name
        self.default[i] = <PyObject *>defaults[name] if name in defaults else NULL
        self.place[i] = named.index(name) if name in named else -1
        if self.place[i] >= 0:
            self.initial.at[self.place[i]] = self.default[i]
            w = &self.does.words[self.place[i]]
            if w.role in BEGINNINGS and defaults[name] == BEGINNINGS[w.role]:
                w.usual = self.default[i]
    return 0


cdef inline bint put(
    _PublicFunction self, Py_ssize_t i, PyObject *value, arguments *given
) noexcept:
    """Take the argument for parameter i; False if the fast path cannot do with it."""
    cdef PyObject *default = self.default[i]
    if self.place[i] >= 0:
        given.at[self.place[i]] = value
        return True
    return value == default or (
        default != NULL
        and Py_TYPE(value) == Py_TYPE(default)
        and PyObject_RichCompareBool(<object>value, <object>default, Py_EQ) > 0
    )


cdef inline bint bind(
    _PublicFunction self, PyObject *const *args, Py_ssize_t n, PyObject *keywords, arguments *given
) noexcept:
    """Sort the arguments; False for those that only the function itself can judge."""
    cdef Py_ssize_t i, j
    if n > self.positional:
        return False
    given[0] = self.initial
    for i in range(n):
        if not put(self, i, args[i], given):
            return False
    if keywords != NULL:
        for j in range(PyTuple_GET_SIZE(keywords)):
            i = n
            while i < self.count and self.name[i] != PyTuple_GET_ITEM(keywords, j):
                i += 1
            if i == self.count or not put(self, i, args[n + j], given):
                return False
    for i in range(self.does.count if n < self.required else 0):
        if given.at[i] == NULL:
            return False
    return True


cdef inline object on_the_fast_path(operation *does, const arguments *given):
    """What the function would return; None for what it has to do itself."""
    cdef call c
    cdef bint suited = judge(&c, does, given)
    if c.converted != NULL:
        converted = <object>c.converted  # until the end
        Py_DECREF(converted)
    return does.body(&c) if suited else None


cdef object enter(function, PyObject *const *args, size_t flagged, PyObject *keywords):
    """The call: as PEP 590 has it."""
    cdef arguments given
    if bind(<_PublicFunction>function, args, PyVectorcall_NARGS(flagged), keywords, &given):
        result = on_the_fast_path(&(<_PublicFunction>function).does, &given)
        if result is not None:
            return result
    return pass_on(<_PublicFunction>function, args, flagged, keywords)


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
