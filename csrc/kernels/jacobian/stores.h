/* Rows of a dense Jacobian: scaled copies, cached or non-temporal. */
#ifndef SMC_JACOBIAN_STORES_H
#define SMC_JACOBIAN_STORES_H

#include "../stores.h"
#include "../convert.h"

enum { SMC_ALIGNED_FROM = 8 }; /* vectors: of so many more are saved than one of a part costs */

/* out = factor*x, n elements.  Many are stored a cache line at a time.  `loose`: what is beyond their end
 * may be written as well, as it will be written over: a whole store is faster than one of a part. */
SMC_INLINE void store_scaled(char *out, const char *x, vec factor, size_t n, int overstore) {
  const size_t beyond = (uintptr_t)out / sizeof(elem) % W;
  const size_t step = W * sizeof(elem);
  if (n >= SMC_ALIGNED_FROM * W && beyond > 0) {
    const size_t head = W - beyond;
    e_store_n(out, v_mul(factor, e_load(x)), head);
    out += head * sizeof(elem), x += head * sizeof(elem), n -= head;
  }
  /* Where it takes little to store one, a loop of one may not be fetched fast enough. */
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

/* Out of line where it converts, and is long. */
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

/* Whether a result is stored non-temporally: a line that is stored whole need not be fetched before. */
SMC_INLINE int is_beyond_caches(size_t n, size_t row) {
  return SMC_NONTEMPORAL && sizeof(elem) == sizeof(real) &&
         row * sizeof(elem) >= SMC_NONTEMPORAL_ROW_BYTES &&
         n * row * sizeof(elem) > uncached_bytes(smc_get_caches());
}

/* The end of a row that is stored non-temporally, which does not fill its vector yet. */
typedef struct {
  size_t lanes;
  real lane[2 * W];
} unfinished_row;

#if SMC_NONTEMPORAL
/* out = factor*x, but `value` at one place, non-temporally; after what is unfinished, if anything is.  Whole
 * vectors, one after the other, fill lines: of one that is stored so, nothing may be stored otherwise, or it would
 * be fetched again. */
static SMC_OUTLINE void store_scaled_nontemporal(unfinished_row *end, char *out, const char *x,
                                                 vec factor, size_t n, size_t place, real value) {
  const size_t beyond = (uintptr_t)out % sizeof(vec) / sizeof(elem);
  const size_t head = beyond ? W - beyond : 0;
  size_t i = head;
  if (head > 0) {
    v_store(end->lane + beyond, v_mul(factor, v_load(x)));
    if (place < head) end->lane[beyond + place] = value;
    if (end->lanes == beyond) {
      v_store_nontemporal(out - beyond * sizeof(elem), v_load(end->lane));
    } else {
      v_store_n(out, v_load(end->lane + beyond), head);
    }
  }
  for (; i + W <= n; i += W) {
    vec a = v_mul(factor, v_load(x + i * sizeof(elem)));
    if (place - i < W) {
      v_store(end->lane, a);
      end->lane[place - i] = value;
      a = v_load(end->lane);
    }
    v_store_nontemporal(out + i * sizeof(elem), a);
  }
  end->lanes = n - i;
  v_store(end->lane, v_mul(factor, v_load_n(x + i * sizeof(elem), n - i, v_set1(0))));
  if (place - i < W) end->lane[place - i] = value;
}

/* What is unfinished, to before `out`. */
static void finish_row(const unfinished_row *end, char *out) {
  if (end->lanes > 0) v_store_n(out - end->lanes * sizeof(elem), v_load(end->lane), end->lanes);
  smc_fence();
}
#endif

/* A row of n numbers, of which one is another value; as scaled_copy or, if `end` is given, non-temporally. */
SMC_INLINE void row_of_jacobian(char *out, const char *x, vec factor, size_t n, size_t place,
                                real value, int overstore, unfinished_row *end) {
#if SMC_NONTEMPORAL
  if (end) {
    store_scaled_nontemporal(end, out, x, factor, n, place, value);
    return;
  }
#endif
  (void)end;
  scaled_copy(out, x, factor, n, overstore);
  if (place < n) e_put(out + place * sizeof(elem), value);
}

SMC_INLINE void end_of_jacobian(char *out, const unfinished_row *end) {
#if SMC_NONTEMPORAL
  if (end) finish_row(end, out);
#endif
  (void)out, (void)end;
}

#endif
