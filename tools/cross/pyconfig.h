/* What CPython's headers need to know of a platform, as the compiler knows it: for `nox -s cross`,
 * which links the module for platforms whose Python is not at hand. */
#pragma once
#define SIZEOF_INT __SIZEOF_INT__
#define SIZEOF_LONG __SIZEOF_LONG__
#define SIZEOF_LONG_LONG __SIZEOF_LONG_LONG__
#define SIZEOF_SIZE_T __SIZEOF_SIZE_T__
#define SIZEOF_VOID_P __SIZEOF_POINTER__
#define SIZEOF_WCHAR_T __SIZEOF_WCHAR_T__
#define ALIGNOF_MAX_ALIGN_T __BIGGEST_ALIGNMENT__
#define HAVE_STDDEF_H 1
#define HAVE_SYS_STAT_H 1
#define HAVE_SYS_TYPES_H 1
#define HAVE_WCHAR_H 1
#define WITH_THREAD 1
#ifdef _WIN32
#define HAVE_DECLSPEC_DLL 1
#define HAVE_PY_SSIZE_T 1
#define MS_WINDOWS 1
#define NT_THREADS 1
#define PY_SSIZE_T_MAX __PTRDIFF_MAX__
#define Py_ENABLE_SHARED 1
typedef __PTRDIFF_TYPE__ Py_ssize_t;
#ifdef _WIN64
#define MS_WIN64 1
#endif
#else
#define HAVE_PTHREAD_H 1
#define HAVE_SSIZE_T 1
#define HAVE_UNISTD_H 1
#define _POSIX_THREADS 1
#endif
