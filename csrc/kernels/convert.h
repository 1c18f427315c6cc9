/* Elements of an array as numbers of the type computed in, and back. */
#ifndef SMC_CONVERT_H
#define SMC_CONVERT_H

#include "../smcore_kernels.h"
#include "../simd/common.h"

SMC_INLINE char *element_at(const smc_view v, size_t row, size_t c) {
  return (char *)v.data + (ptrdiff_t)row * v.row + (ptrdiff_t)c * v.col;
}

static void get_elements(const char *p, ptrdiff_t step, size_t n, real *to) {
  for (size_t i = 0; i < n; ++i, p += step) to[i] = e_get(p);
}

static void put_elements(char *p, ptrdiff_t step, size_t n, const real *from) {
  for (size_t i = 0; i < n; ++i, p += step) e_put(p, from[i]);
}

/* n elements of a row, side by side or not. */
SMC_INLINE void load_elements(const char *p, ptrdiff_t step, size_t n, real *to) {
  size_t i = 0;
  if (step != sizeof(elem)) {
    get_elements(p, step, n, to);
    return;
  }
  for (; i + W <= n; i += W) v_store(to + i, e_load(p + i * sizeof(elem)));
  if (i < n) v_store_n(to + i, e_load_n(p + i * sizeof(elem), n - i, v_set1(0)), n - i);
}

SMC_INLINE void store_elements(char *p, ptrdiff_t step, size_t n, const real *from) {
  size_t i = 0;
  if (step != sizeof(elem)) {
    put_elements(p, step, n, from);
    return;
  }
  for (; i + W <= n; i += W) e_store(p + i * sizeof(elem), v_load(from + i));
  if (i < n) e_store_n(p + i * sizeof(elem), v_load_n(from + i, n - i, v_set1(0)), n - i);
}

#endif
