/* A thread with a stack of a size of its own, whatever the system's is: 8 MiB, 128 KiB with musl,
 * or what `ulimit -s` says.  Python's way to start one offers no choice without the GIL. */
#ifndef SMCORE_START_THREAD_H
#define SMCORE_START_THREAD_H

#include <Python.h>
#include <pythread.h>

/* Kernels need less than 64 KiB (`nox -s stack`).  The rest is for the thread-local variables of
 * all libraries, which glibc puts there, too, and for handlers of signals, whose frame holds all
 * registers.  It is address space: what is not used takes no memory. */
enum { SMC_STACK = 256 << 10 };

#if defined(_WIN32)
#include <windows.h>
#include <process.h>

typedef unsigned smc_thread_result;
#define SMC_THREAD_CALL __stdcall
typedef smc_thread_result(SMC_THREAD_CALL *smc_thread_main)(void *);

/* Returns 0, or -1 if the system gives no thread; so do the others. */
static int smc_start_thread(smc_thread_main run, void *argument) {
  const uintptr_t thread =
      _beginthreadex(NULL, SMC_STACK, run, argument, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
  if (thread) CloseHandle((HANDLE)thread);
  return thread ? 0 : -1;
}

#elif defined(_POSIX_THREADS) && !defined(HAVE_PTHREAD_STUBS)
#include <pthread.h>
#include <unistd.h>

typedef void *smc_thread_result;
#define SMC_THREAD_CALL
typedef smc_thread_result (*smc_thread_main)(void *);

/* On top, what the C library asks for at least: with AMX, a signal's frame alone takes 11 KiB. */
static size_t smc_stack_size(void) {
  size_t least = 0;
#ifdef _SC_THREAD_STACK_MIN
  const long found = sysconf(_SC_THREAD_STACK_MIN);
  if (found > 0) least = ((size_t)found + 0xffff) / 0x10000 * 0x10000; /* pages of any size */
#endif
  return SMC_STACK + least;
}

/* A size that is refused, as beside so many thread-local variables, is left to the system. */
static int smc_start_thread(smc_thread_main run, void *argument) {
  pthread_attr_t attributes;
  pthread_t thread;
  if (pthread_attr_init(&attributes)) return -1;
  const int refused = pthread_attr_setstacksize(&attributes, smc_stack_size()) ||
                      pthread_create(&thread, &attributes, run, argument);
  pthread_attr_destroy(&attributes);
  if (refused && pthread_create(&thread, NULL, run, argument)) return -1;
  pthread_detach(thread);
  return 0;
}

#else
typedef void smc_thread_result;
#define SMC_THREAD_CALL
typedef smc_thread_result (*smc_thread_main)(void *);

static int smc_start_thread(smc_thread_main run, void *argument) {
  return PyThread_start_new_thread(run, argument) == PYTHREAD_INVALID_THREAD_ID ? -1 : 0;
}
#endif

#endif
