# cython: boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
# cython: binding=False, embedsignature=True, embedsignature.format=clinic, auto_pickle=False
"""The native backend: rows of typed memoryviews, walked without the GIL by the C kernels.

The functions take what `_reference` takes, checked by `_arrays`.  Some of the public functions have
a fast path: arrays that lie in C order, with nothing out of the ordinary asked for, go to the
kernel with no Python-level work at all.  A table says what each argument must be.
"""

import functools
import os
import threading
import types

cimport cython
cimport numpy as cnp
from cpython.exc cimport PyErr_Clear
from cpython.long cimport PyLong_AsLongAndOverflow
from cpython.object cimport Py_EQ, PyObject, PyObject_RichCompareBool, PyTypeObject
from cpython.pycapsule cimport PyCapsule_New
from cpython.ref cimport Py_DECREF
from libc.math cimport INFINITY, NAN, fabs
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

import numpy as np

cnp.import_array()

NAME = "native"

# One module and one file of C, in parts: what declares a type stands before what names it.

# What is declared in C; which kernels and how many threads are in use.
include "native/headers.pxi"
include "native/targets.pxi"
include "native/threads.pxi"

# From operands as they lie in memory to calls of a kernel, and a backend's functions.
include "native/loops.pxi"
include "native/families.pxi"
include "native/backend.pxi"

# The fast path: roles of arguments, a judge of all, what is done then, and the table.
include "native/roles.pxi"
include "native/arrays.pxi"
include "native/results.pxi"
include "native/judge.pxi"
include "native/bodies.pxi"
include "native/losses.pxi"
include "native/matmul.pxi"
include "native/layer.pxi"
include "native/fastcall.pxi"
include "native/fastpath.pxi"

# What other compiled code calls.
include "native/c_api.pxi"
