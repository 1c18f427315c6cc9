/* W rows to W lanes and back.  On the way in the maxima of the rows are found; on the way out the
 * epilogue is applied. */
#ifndef SMC_TRANSPOSE_H
#define SMC_TRANSPOSE_H

#include "epilogue.h"
#include "lanes.h"

enum { SMC_SQUARE_MAX = 64 }; /* columns that are transposed by way of a buffer together */

/* W rows of at least four classes: eight or four classes at a time, the last four perhaps once
 * more.  Their maxima. */
SMC_INLINE vec load_whole(const char *p, ptrdiff_t row, size_t classes, real *to) {
  vec m = v_set1((real)-INFINITY);
  size_t c = 0;
#if SMC_C(OCTS)
  for (; c + 8 <= classes; c += 8) {
    vec v[8];
    v_load_oct(p + c * sizeof(real), row, v);
    SMC_UNROLLED for (size_t j = 0; j < 8; ++j) v_store(to + (c + j) * W, v[j]);
    SMC_UNROLLED for (size_t j = 0; j < 8; j += 4) m = v_max(m, max_of_four(v + j));
  }
#endif
  for (; c < classes; c += 4) {
    const size_t first = c + 4 <= classes ? c : classes - 4;
    vec v[4];
    v_load_quad(p + first * sizeof(real), row, v);
    SMC_UNROLLED for (size_t j = 0; j < 4; ++j) v_store(to + (first + j) * W, v[j]);
    m = v_max(m, max_of_four(v));
  }
  return m;
}

/* Unpack W rows; `from` stays as it is. */
SMC_INLINE void store_whole(char *p, ptrdiff_t row, size_t classes, const real *from,
                            const epilogue *by) {
  size_t c = 0;
#if SMC_C(OCTS)
  for (; c + 8 <= classes; c += 8) {
    vec v[8];
    SMC_UNROLLED for (size_t j = 0; j < 8; ++j) v[j] = v_load(from + (c + j) * W);
    apply_epilogue(v, 8, by);
    v_store_oct(p + c * sizeof(real), row, v);
  }
#endif
  for (; c < classes; c += 4) {
    const size_t first = c + 4 <= classes ? c : classes - 4;
    vec v[4];
    SMC_UNROLLED for (size_t j = 0; j < 4; ++j) v[j] = v_load(from + (first + j) * W);
    apply_epilogue(v, 4, by);
    v_store_quad(p + first * sizeof(real), row, v);
  }
}

/* Room for W rows that were, or will be, converted, or are fewer. */
typedef struct {
  real rows[W][SMC_SQUARE_MAX];
} square;

/* Count the classes of the next square, of so many that are left: four at least, of which there are
 * as many. */
SMC_INLINE size_t square_classes(size_t left) {
  if (left <= SMC_SQUARE_MAX) return left;
  return left < SMC_SQUARE_MAX + 4 ? SMC_SQUARE_MAX - 4 : SMC_SQUARE_MAX;
}

static SMC_OUTLINE void load_square(const square *s, size_t classes, real *to) {
  (void)load_whole((const char *)s->rows, sizeof s->rows[0], classes, to);
}

static SMC_OUTLINE void store_square(square *s, size_t classes, const real *from,
                                     const epilogue *by) {
  store_whole((char *)s->rows, sizeof s->rows[0], classes, from, by);
}

#endif
