/* How results get to memory: cached, non-temporal, or non-temporal by way of a write combiner. */
#ifndef SMC_STORES_H
#define SMC_STORES_H

#include "panel.h"

/* Store a vector non-temporally. */
SMC_INLINE void store_nontemporal(const panel s, vec a) {
#if SMC_NONTEMPORAL
  v_store_nontemporal(s.p, a);
#else
  v_store(s.p, a);
#endif
}

SMC_INLINE void store_unrolled(const panel s, const vec *a, size_t lanes, int past) {
  if (SMC_NONTEMPORAL && past) {
    SMC_EACH(j, SMC_UNROLL) store_nontemporal(ahead(s, (size_t)j), a[j]);
  } else {
    SMC_EACH(j, SMC_UNROLL) store_lanes(ahead(s, (size_t)j), a[j], lanes);
  }
}

/* To be called by whoever has stored results non-temporally, before others may read them. */
SMC_INLINE void fence_nontemporal(int past) {
#if SMC_NONTEMPORAL
  if (past) smc_fence();
#else
  (void)past;
#endif
}

/* Whether a target has the write combiner: with vectors of half a line it gains as often as it
 * loses. */
SMC_INLINE int can_combine(void) { return SMC_NONTEMPORAL && sizeof(vec) == SMC_LINE; }

/* A write combiner: results of rows that no cache will hold, and whose ends fill no lines, are
 * collected in a buffer, and stored non-temporally from there.  `held` bytes of it are in use, of
 * which the first `before` are others'. */
typedef struct {
  char *line; /* in memory, where the first byte of the buffer goes */
  size_t before, held;
  SMC_ALIGN(64) char bytes[SMC_STAGE_BYTES + SMC_LINE];
} combiner;

/* Whether results of so many rows at a time go through the write combiner: side by side in memory,
 * more than the caches hold. */
SMC_INLINE int are_combined(smc_view y, size_t n, size_t k, size_t rows, const smc_caches *caches) {
  const size_t size = sizeof(elem);
  return can_combine() && y.col == (ptrdiff_t)size && y.row == (ptrdiff_t)(k * size) &&
         n * k * size > uncached_bytes(caches) && rows * k * size <= SMC_STAGE_BYTES;
}

SMC_INLINE void combiner_start(combiner *c, smc_view y) {
  c->before = c->held = (uintptr_t)y.data % SMC_LINE;
  c->line = (char *)y.data - c->held;
}

/* The place of the next row in the buffer, as a view of which it is that row. */
SMC_INLINE smc_view combiner_place(combiner *c, smc_view y, size_t row) {
  return (smc_view){c->bytes + c->held - (ptrdiff_t)row * y.row, y.row, y.col};
}

/* Take so many bytes more, and store the lines that are full; the last time, the rest. */
static SMC_OUTLINE void combiner_flush(combiner *c, size_t bytes, int last) {
  const size_t end = c->held + bytes;
  size_t at = 0;
  for (; at + SMC_LINE <= end; at += SMC_LINE, c->before = 0) {
    if (c->before > 0) {
      memcpy(c->line + c->before, c->bytes + c->before, SMC_LINE - c->before);
      continue;
    }
    for (size_t j = at; j < at + SMC_LINE; j += sizeof(vec)) {
      store_nontemporal((panel){(real *)(c->line + j), 0}, v_load(c->bytes + j));
    }
  }
  c->line += at, c->held = end - at;
  memcpy(c->bytes, c->bytes + at, SMC_LINE);
  if (last) memcpy(c->line + c->before, c->bytes + c->before, c->held - c->before);
}

#endif
