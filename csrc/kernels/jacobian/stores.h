/* Rows of a dense Jacobian: scaled copies, cached or by way of the write combiner. */
#ifndef SMC_JACOBIAN_STORES_H
#define SMC_JACOBIAN_STORES_H

#include "../stores.h"
#include "../convert.h"

/* Vectors of the shortest row worth aligning: then fewer stores are into two lines, which saves
 * more than the store of a part that comes first. */
enum { SMC_ALIGNED_FROM = 8 };

/* out = factor*x, n elements.  If `overstore`, a whole vector may be stored at the end, as what is
 * beyond it will be written over: that takes less than to store a part. */
SMC_INLINE void store_scaled(char *out, const char *x, vec factor, size_t n, int overstore) {
  const size_t beyond = (uintptr_t)out / sizeof(elem) % W;
  const size_t step = W * sizeof(elem);
  if (n >= SMC_ALIGNED_FROM * W && beyond > 0) {
    const size_t head = W - beyond;
    e_store_n(out, v_mul(factor, e_load(x)), head);
    out += head * sizeof(elem), x += head * sizeof(elem), n -= head;
  }
  /* Where a vector takes little to store, a loop of one may not be fetched fast enough. */
  const int two = W >= 8 && sizeof(elem) == sizeof(real);
  for (; two && n >= 2 * W; n -= 2 * W, out += 2 * step, x += 2 * step) {
    e_store(out, v_mul(factor, e_load(x)));
    e_store(out + step, v_mul(factor, e_load(x + step)));
  }
  for (; n >= W; n -= W, out += step, x += step) {
    e_store(out, v_mul(factor, e_load(x)));
  }
  if (n == 0) return;
  const vec rest = v_mul(factor, e_load_n(x, n, v_set1(0)));
  if (overstore) {
    e_store(out, rest);
  } else {
    e_store_n(out, rest, n);
  }
}

/* store_scaled() out of line, for types whose conversion makes it long. */
static SMC_OUTLINE void convert_scaled(char *out, const char *x, vec factor, size_t n,
                                       int overstore) {
  store_scaled(out, x, factor, n, overstore);
}

SMC_INLINE void scaled_copy(char *out, const char *x, vec factor, size_t n, int overstore) {
  if (sizeof(elem) == sizeof(real)) {
    store_scaled(out, x, factor, n, overstore);
  } else {
    convert_scaled(out, x, factor, n, overstore);
  }
}

/* Whether n rows of that length go past the caches: a line that is stored whole need not be fetched
 * before. */
SMC_INLINE int is_beyond_caches(size_t n, size_t row) {
  return SMC_NONTEMPORAL && sizeof(elem) == sizeof(real) &&
         row * sizeof(elem) >= SMC_NONTEMPORAL_ROW_BYTES &&
         n * row * sizeof(elem) > uncached_bytes(smc_get_caches());
}

/* A combiner that begins at `out` if results go past the caches; else none. */
SMC_INLINE combiner *combiner_beyond(combiner *c, char *out, int beyond) {
  if (!SMC_NONTEMPORAL || !beyond) return NULL;
  combiner_start(c, out);
  return c;
}

/* factor*x, n elements, but `value` at one place, if it is below n: by way of a combiner if there
 * is one, else to `out`. */
SMC_INLINE void row_of_jacobian(char *out, const char *x, vec factor, size_t n, size_t place,
                                real value, int overstore, combiner *c) {
  if (SMC_NONTEMPORAL && c) {
    combiner_scaled(c, x, factor, place < n ? place : n);
    if (place >= n) return;
    combiner_hold(c, (const char *)&value, v_set1(1), 1);
    combiner_scaled(c, x + (place + 1) * sizeof(elem), factor, n - place - 1);
    return;
  }
  scaled_copy(out, x, factor, n, overstore);
  if (place < n) e_put(out + place * sizeof(elem), value);
}

SMC_INLINE void end_of_jacobian(combiner *c) {
  if (!SMC_NONTEMPORAL || !c) return;
  combiner_flush(c, 0, 1);
  fence_nontemporal(1);
}

#endif
