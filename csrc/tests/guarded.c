/* Memory for tests/fuzz/: each piece at the end of a page before one that must not be touched.  It
 * is what NumPy's interface for allocators (NEP 49) asks for, in C because NumPy frees while an
 * exception is set.  All calls hold the GIL. */
#define _DEFAULT_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define EXPORTED __attribute__((visibility("default")))
enum { PAGE = 4096, ALIGNMENT = 16, CANARY = 0xA5, LEAST = 64, KEPT = 32 };

typedef struct piece {
  struct piece *next;
  char *pages; /* the first that may be touched */
  char *data;
  size_t count, size; /* of pages, of bytes */
} piece;

/* What Python reads and sets.  Requests of fewer than LEAST bytes are never refused: for want of
 * numbers NumPy's own copying may crash. */
typedef struct {
  uint64_t requests, fail_at, held, damaged;
} guarded_state;

EXPORTED extern guarded_state guarded;
guarded_state guarded;
static piece *held, *unused[KEPT + 1];

static piece *mapped(size_t count) {
  piece *p = count <= KEPT ? unused[count] : NULL;
  if (p) return unused[count] = p->next, p;
  char *all = mmap(NULL, (count + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  p = malloc(sizeof *p);
  if (all == MAP_FAILED || !p) abort();
  if (mprotect(all + PAGE, count * PAGE, PROT_READ | PROT_WRITE)) abort();
  *p = (piece){.pages = all + PAGE, .count = count};
  return p;
}

static size_t rounded(size_t size) { return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

EXPORTED void *guarded_malloc(void *context, size_t size) {
  (void)context;
  if (size >= LEAST && ++guarded.requests == guarded.fail_at) return NULL;
  const size_t count = size / PAGE + 1;
  piece *p = mapped(count);
  p->size = size;
  p->data = p->pages + count * PAGE - rounded(size);
  memset(p->data, CANARY, rounded(size)); /* what is not set is the same in every run */
  p->next = held, held = p;
  ++guarded.held;
  return p->data;
}

EXPORTED void guarded_free(void *context, void *data, size_t size) {
  (void)context, (void)size;
  if (!data) return;
  piece **at = &held;
  while ((*at)->data != data) at = &(*at)->next;
  piece *p = *at;
  *at = p->next;
  --guarded.held;
  for (size_t i = p->size; i < rounded(p->size); ++i) {
    guarded.damaged += (unsigned char)p->data[i] != CANARY;
  }
  if (p->count <= KEPT) {
    p->next = unused[p->count], unused[p->count] = p;
  } else {
    munmap(p->pages - PAGE, (p->count + 2) * PAGE);
    free(p);
  }
}

EXPORTED void *guarded_calloc(void *context, size_t count, size_t size) {
  void *data = guarded_malloc(context, count * size);
  return data ? memset(data, 0, count * size) : NULL;
}

EXPORTED void *guarded_realloc(void *context, void *data, size_t size) {
  void *moved = guarded_malloc(context, size);
  if (!moved || !data) return moved;
  const piece *p = held;
  while (p->data != data) p = p->next;
  memcpy(moved, data, p->size < size ? p->size : size);
  guarded_free(context, data, 0);
  return moved;
}

/* Write over labels, some at a time, until told to stop: a thread that does so without the GIL. */
EXPORTED void scribble(volatile int64_t *labels, size_t n, int64_t wild, const volatile int *stop) {
  enum { SOME = 200 };
  for (size_t begin = 0; !*stop; begin = begin + 2 * SOME < n ? begin + SOME : 0) {
    for (size_t i = 0; i < SOME; ++i) labels[begin + i] = wild;
    for (size_t i = 0; i < SOME; ++i) labels[begin + i] = 0;
  }
}
