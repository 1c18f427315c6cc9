/* Threads that sleep until there is a loop to share.
 *
 * One mutex guards everything.  Whoever works on the loop, its caller like any other, takes the
 * next chunk under the mutex and works on it without.  The caller waits only for chunks that others
 * have taken: a thread that does not wake in time, because its core is busy with something else,
 * costs nothing.  Locks are those of CPython, which it has for every platform; none of these
 * functions needs the GIL, and no thread here ever touches a Python object, so that the end of the
 * interpreter does not concern them.
 *
 * No OpenMP: its threads spin where this one's sleep, and a child forked after a parallel region
 * hangs.
 */
#include <Python.h>
#include <pythread.h>
#include <string.h>

#include "pool.h"
#include "start_thread.h"

/* Chunks for each thread: so many that one which is late leaves little to wait for at the end. */
enum { CHUNKS_PER_THREAD = 8 };

/* Looks at a lock, of some 10 ns each, before sleeping: shorter than to be woken up again.  No
 * longer: while the caller spins, the thread that it waits for may want its core. */
enum { SPINS = 500 };

/* Work between two looks of the caller, in what is worth a thread, some 100 us: at first, and at
 * most, as each look doubles it.  So a loop of 10 ms looks never, and a long one twenty times a
 * second: where a look waits for another thread, as for the GIL, it takes 5 ms.  No piece of work
 * is longer than the first. */
enum { LOOK_AFTER = 128, LOOK_SELDOM = 512 };

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
static unsigned resets;         /* how often the pool was made anew, after a fork */
static PyThread_type_lock done; /* held but for a moment at the end of a loop */

static void lock(PyThread_type_lock l) { PyThread_acquire_lock(l, WAIT_LOCK); }
static void unlock(PyThread_type_lock l) { PyThread_release_lock(l); }

static PyThread_type_lock new_lock(int held) {
  PyThread_type_lock l = PyThread_allocate_lock();
  if (l && held) lock(l);
  return l;
}

/* Whether to look again, after so much work. */
static int is_due(smc_watch *watch, double work) {
  if (!watch) return 0;
  if (watch->rest == 0) watch->rest = LOOK_AFTER;
  watch->since += work;
  if (watch->since < watch->rest) return 0;
  watch->since = 0;
  if (watch->rest < LOOK_SELDOM) watch->rest *= 2;
  return 1;
}

/* Called and left with the mutex held, like all that follow until worker_main. */
static void look(smc_watch *watch) {
  const unsigned before = resets;
  unlock(mutex);
  watch->stopped = watch->look();
  lock(mutex);
  if (!watch->stopped && resets != before) watch->stopped = SMC_FORKED;
  if (watch->stopped) job.next = job.end;
}

/* An item is so much work; workers have no watch. */
static void take_chunks(smc_watch *watch, double work) {
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
    if (is_due(watch, work * (double)(end - begin)) && job.next < job.end) look(watch);
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
  take_chunks(NULL, 0);
  if (job.running || !job.waiting) return 0;
  job.waiting = 0;
  return 1;
}

static smc_thread_result SMC_THREAD_CALL worker_main(void *argument) {
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
  return (smc_thread_result)0; /* never: compilers ask for it */
}

/* Up to `wanted` workers; fewer if the system will give no more. */
static void grow(size_t wanted) {
  for (; count < wanted; ++count) {
    worker *const w = PyMem_RawCalloc(1, sizeof *w);
    if (!w) return;
    w->wake = new_lock(1);
    if (!w->wake || smc_start_thread(worker_main, w) < 0) {
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

/* Items of a piece: so few that the caller can look after each, or a grain of the watch. */
static size_t piece_of(size_t items, double work, const smc_watch *watch) {
  const double most = LOOK_AFTER / work;
  if (!watch || most >= (double)items) return items;
  return ((size_t)most / watch->grain + 1) * watch->grain;
}

static int work_alone(size_t items, size_t piece, double work, smc_body body, void *context,
                      smc_watch *watch) {
  for (size_t begin = 0, n; begin < items; begin += n) {
    n = items - begin < piece ? items - begin : piece;
    body(context, begin, begin + n);
    if (is_due(watch, work * (double)n) && begin + n < items) watch->stopped = watch->look();
    if (watch && watch->stopped) return watch->stopped;
  }
  return 0;
}

int smc_parallel_for(size_t items, double work, size_t grain, smc_body body, void *context,
                     smc_watch *watch) {
  const size_t share = 1 + (size_t)(1 / work), piece = piece_of(items, work, watch);
  const size_t n = acquire_pool(items / share);
  if (n <= 1) return work_alone(items, piece, work, body, context, watch);
  const size_t chunk = (items / (n * CHUNKS_PER_THREAD) + grain) / grain * grain;
  lock(mutex);
  job.body = body;
  job.context = context;
  job.next = 0;
  job.end = items;
  job.chunk = chunk < piece ? chunk : piece;
  job.seats = n - 1;
  wake_others();
  take_chunks(watch, work);
  wait_for_workers();
  busy = 0;
  unlock(mutex);
  return watch ? watch->stopped : 0;
}

int smc_pool_init(void) { return mutex ? 0 : smc_pool_reset(); }

int smc_pool_reset(void) {
  const PyThread_type_lock fresh = new_lock(0), fresh_done = new_lock(1);
  if (!fresh || !fresh_done) return -1;
  /* Those of before a fork are left alone: threads that are not here may hold them. */
  mutex = fresh;
  done = fresh_done;
  ++resets;
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
