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

/* Store SMC_UNROLL vectors of a panel, non-temporally if `past` the caches. */
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

/* ---- the write combiner ---------------------------------------------------------------------- */

/* A buffer for results that no cache will hold, and whose rows end within lines: whole lines go to
 * memory from there, non-temporally.  `held` bytes of it are in use, of which the first `before`
 * are others' and stay as they are in memory.  Between calls less than a line is held. */
typedef struct {
  char *line; /* in memory, where the first byte of the buffer goes */
  size_t before, held;
  SMC_ALIGN(64) char bytes[SMC_STAGE_BYTES + SMC_LINE];
} combiner;

/* Whether the tiles of a target go through the write combiner: with vectors of half a line it gains
 * as often as it loses. */
SMC_INLINE int can_combine(void) { return SMC_NONTEMPORAL && sizeof(vec) == SMC_LINE; }

/* Whether those of n rows are, so many `rows` at a time: they lie side by side in memory, and fit
 * the buffer. */
SMC_INLINE int are_combined(smc_view y, size_t n, size_t k, size_t rows, const smc_caches *caches) {
  const size_t size = sizeof(elem);
  return can_combine() && y.col == (ptrdiff_t)size && y.row == (ptrdiff_t)(k * size) &&
         n * k * size > uncached_bytes(caches) && rows * k * size <= SMC_STAGE_BYTES;
}

/* Begin at an address of an element. */
SMC_INLINE void combiner_start(combiner *c, char *data) {
  c->before = c->held = (uintptr_t)data % SMC_LINE;
  c->line = data - c->held;
}

/* A view of the buffer in which the next row has that index, as it has in the operand y. */
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

/* Put factor*x, less than a line of n elements, into the buffer. */
SMC_INLINE void combiner_hold(combiner *c, const char *x, vec factor, size_t n) {
  char *to = c->bytes + c->held;
  for (size_t i = 0; i < n; i += W) {
    const size_t lanes = n - i < W ? n - i : W;
    e_store(to + i * sizeof(elem), v_mul(factor, e_load_n(x + i * sizeof(elem), lanes, v_set1(0))));
  }
  const int fills_line = c->held + n * sizeof(elem) == SMC_LINE;
  if (fills_line) {
    combiner_flush(c, n * sizeof(elem), 0);
  } else {
    c->held += n * sizeof(elem);
  }
}

/* Store factor*x, n elements of the type computed in: what fills whole lines goes there straight,
 * and only the ends by way of the buffer. */
static SMC_OUTLINE void combiner_scaled(combiner *c, const char *x, vec factor, size_t n) {
  const size_t step = SMC_LINE / sizeof(elem), left = (SMC_LINE - c->held) / sizeof(elem) % step;
  size_t i = n < left ? n : left;
  combiner_hold(c, x, factor, i);
  for (; i + step <= n; i += step, c->line += SMC_LINE) {
    SMC_UNROLLED for (size_t j = 0; j < SMC_LINE; j += sizeof(vec)) {
      const vec a = v_mul(factor, v_load(x + i * sizeof(elem) + j));
      store_nontemporal((panel){(real *)(c->line + j), 0}, a);
    }
  }
  combiner_hold(c, x + i * sizeof(elem), factor, n - i);
}

#endif
