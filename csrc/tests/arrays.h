/* Operands: n rows of k elements, laid out in every way that the kernels tell apart. */
#ifndef SMC_TESTS_ARRAYS_H
#define SMC_TESTS_ARRAYS_H

#include <stdlib.h>
#include <string.h>

#include "formats.h"

enum { DENSE, GAPPED, STRIDED, REVERSED, COLUMNS, LAYOUTS };
static const char *const layout_names[] = {"dense", "gapped", "strided", "reversed", "columns"};

typedef struct {
  const format *f;
  size_t n, k, bytes;
  unsigned char *memory, *untouched;
  smc_view view;
} array;

static char *element(const array *a, size_t i, size_t c) {
  return (char *)a->view.data + (ptrdiff_t)i * a->view.row + (ptrdiff_t)c * a->view.col;
}

static array make(const format *f, size_t n, size_t k, int layout) {
  array a = {f, n, k, (n * (3 * k + 2) + 8) * f->size, NULL, NULL, {NULL, 0, 0}};
  ptrdiff_t size = (ptrdiff_t)f->size, across = (ptrdiff_t)k * size;
  a.memory = malloc(a.bytes);
  a.untouched = malloc(a.bytes);
  if (!a.memory || !a.untouched) abort();
  for (size_t i = 0; i < a.bytes; ++i) a.memory[i] = (unsigned char)rand();
  a.view = (smc_view){a.memory + 4 * size, across, size};
  if (layout == GAPPED) a.view.row = across + 2 * size;
  if (layout == STRIDED) a.view = (smc_view){a.memory + 4 * size, 3 * across + size, 3 * size};
  if (layout == REVERSED) a.view = (smc_view){a.memory + 3 * size + across, across, -size};
  if (layout == COLUMNS) a.view = (smc_view){a.memory + 4 * size, size, (ptrdiff_t)n * size};
  memcpy(a.untouched, a.memory, a.bytes);
  return a;
}

static void release(array *a) {
  free(a->memory);
  free(a->untouched);
}

/* Whether nothing beside the elements was written; the elements are overwritten by this. */
static int kept_outside(array *a) {
  for (size_t i = 0; i < a->n; ++i) {
    for (size_t c = 0; c < a->k; ++c) {
      char *p = element(a, i, c);
      memcpy(p, a->untouched + ((unsigned char *)p - a->memory), a->f->size);
    }
  }
  return memcmp(a->memory, a->untouched, a->bytes) == 0;
}

static real uniform(void) { return (real)rand() / RAND_MAX; }

static void fill(array *a, real center, real spread) {
  for (size_t i = 0; i < a->n; ++i) {
    for (size_t c = 0; c < a->k; ++c) {
      put(a->f, element(a, i, c), center + spread * (uniform() - (real)0.5));
    }
  }
}

#endif
