/* Threads that sleep until there is a loop to share.
 *
 * One mutex guards everything.  Whoever works on the loop, its caller like any other, takes the
 * next chunk under the mutex and works on it without.  The caller waits only for chunks that others
 * have taken: a thread that does not wake in time, because its core is busy with something else,
 * costs nothing.  Locks and threads are those of CPython, which it has for every platform; none of
 * these functions needs the GIL, and no thread here ever touches a Python object, so that the end
 * of the interpreter does not concern them.
 *
 * No OpenMP: its threads spin where this one's sleep, and a child forked after a parallel region
 * hangs.
 */
#include <Python.h>
#include <pythread.h>
#include <string.h>

#include "pool.h"

/* Chunks for each thread: so many that one which is late leaves little to wait for at the end. */
enum { CHUNKS_PER_THREAD = 8 };

/* Looks at a lock, of some 10 ns each, before sleeping: shorter than to be woken up again.  No
 * longer: while the caller spins, the thread that it waits for may want its core. */
enum { SPINS = 500 };

typedef struct worker {
  PyThread_type_lock wake; /* held while asleep */
  struct worker *below;    /* in the stack of sleepers */
} worker;

static PyThread_type_lock mutex; /* guards all below */

static struct {
  smc_body body;
  void *context;
  size_t next, end, chunk; /* the items not yet taken, and how many to take at once */
  size_t seats;            /* threads that may still join */
  size_t running;          /* chunks taken and not done */
  int waiting;             /* whether the caller waits for `done` */
} job;

static int busy; /* whether a loop has the pool: its caller alone changes job and count then */
static size_t threads = 1;
static size_t count; /* of workers */
static worker *sleepers;
static PyThread_type_lock done; /* held but for a moment at the end of a loop */

static void lock(PyThread_type_lock l) { PyThread_acquire_lock(l, WAIT_LOCK); }
static void unlock(PyThread_type_lock l) { PyThread_release_lock(l); }

static PyThread_type_lock new_lock(int held) {
  PyThread_type_lock l = PyThread_allocate_lock();
  if (l && held) lock(l);
  return l;
}

/* Called and left with the mutex held, like all that follow until worker_main. */
static void take_chunks(void) {
  while (job.next < job.end) {
    const smc_body body = job.body;
    void *const context = job.context;
    const size_t begin = job.next, left = job.end - begin;
    const size_t end = begin + (left < job.chunk ? left : job.chunk);
    job.next = end;
    ++job.running;
    unlock(mutex);
    body(context, begin, end);
    lock(mutex);
    --job.running;
  }
}

/* Wake two, who will each wake two more: nobody makes many calls to the system. */
static void wake_others(void) {
  PyThread_type_lock woken[2];
  int n = 0;
  const size_t chunks = (job.end - job.next) / job.chunk;
  for (; n < 2 && sleepers && (size_t)n < job.seats && (size_t)n < chunks; ++n) {
    woken[n] = sleepers->wake;
    sleepers = sleepers->below;
  }
  if (n == 0) return;
  unlock(mutex);
  while (n) unlock(woken[--n]);
  lock(mutex);
}

/* Help, if there is anything to do.  Returns whether the caller of the loop is to be told that all
 * is done. */
static int join(void) {
  if (job.seats == 0 || job.next == job.end) return 0;
  --job.seats;
  wake_others();
  take_chunks();
  if (job.running || !job.waiting) return 0;
  job.waiting = 0;
  return 1;
}

static void worker_main(void *argument) {
  worker *const self = argument;
  lock(mutex);
  for (;;) {
    const int last = join();
    self->below = sleepers;
    sleepers = self;
    unlock(mutex);
    if (last) unlock(done);
    lock(self->wake);
    lock(mutex);
  }
}

/* Up to `wanted` workers; fewer if the system will give no more. */
static void grow(size_t wanted) {
  for (; count < wanted; ++count) {
    worker *const w = PyMem_RawCalloc(1, sizeof *w);
    if (!w) return;
    w->wake = new_lock(1);
    if (!w->wake || PyThread_start_new_thread(worker_main, w) == PYTHREAD_INVALID_THREAD_ID) {
      if (w->wake) PyThread_free_lock(w->wake);
      PyMem_RawFree(w);
      return;
    }
  }
}

static void wait_for_workers(void) {
  job.seats = 0;
  if (!job.running) return;
  job.waiting = 1;
  unlock(mutex);
  int spins = SPINS;
  while (spins && !PyThread_acquire_lock(done, NOWAIT_LOCK)) --spins;
  if (!spins) lock(done);
  lock(mutex);
}

/* Take the pool for a loop worth so many threads; returns those to use, one if there is no pool. */
static size_t acquire_pool(size_t worth) {
  if (worth <= 1) return 1;
  lock(mutex);
  const size_t n = busy ? 1 : threads < worth ? threads : worth;
  busy |= n > 1;
  unlock(mutex);
  if (n > 1) grow(n - 1);
  return n;
}

void smc_parallel_for(size_t items, size_t share, size_t grain, smc_body body, void *context) {
  const size_t n = acquire_pool(items / share);
  if (n <= 1) {
    body(context, 0, items);
    return;
  }
  const size_t chunk = items / (n * CHUNKS_PER_THREAD) + 1;
  lock(mutex);
  job.body = body;
  job.context = context;
  job.next = 0;
  job.end = items;
  job.chunk = (chunk + grain - 1) / grain * grain;
  job.seats = n - 1;
  wake_others();
  take_chunks();
  wait_for_workers();
  busy = 0;
  unlock(mutex);
}

int smc_pool_init(void) { return mutex ? 0 : smc_pool_reset(); }

int smc_pool_reset(void) {
  const PyThread_type_lock fresh = new_lock(0), fresh_done = new_lock(1);
  if (!fresh || !fresh_done) return -1;
  /* Those of before a fork are left alone: threads that are not here may hold them. */
  mutex = fresh;
  done = fresh_done;
  memset(&job, 0, sizeof job);
  busy = 0;
  count = 0;
  sleepers = NULL;
  return 0;
}

void smc_set_num_threads(size_t n) {
  lock(mutex);
  threads = n;
  unlock(mutex);
}

size_t smc_get_num_threads(void) {
  lock(mutex);
  const size_t n = threads;
  unlock(mutex);
  return n;
}
