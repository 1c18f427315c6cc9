/* Rows that are packed, W of them: to a lane each in a buffer, and from there.  No conversion takes place
 * (storage.h).  On the way in their maxima are found, on the way out results get their last touch, as they are
 * in registers then: that saves a pass over the buffer each.
 */
#ifndef SMC_TRANSPOSE_H
#define SMC_TRANSPOSE_H

#include "exact.h"
#include "tuning.h"

enum { SMC_SQUARE_MAX = 64 }; /* columns that are transposed by way of a buffer together */
typedef enum { SMC_NOTHING_LEFT, SMC_TIMES, SMC_LESS } smc_ending;

/* 0, 1, 2, ... */
SMC_INLINE vec lane_numbers(void) {
  static const real numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return v_load(numbers);
}

/* What is left to do when results leave the buffer, where they are loaded once more anyway. */
typedef struct {
  smc_ending how;
  const pair *of; /* each strand: y*of, or y - of.hi - of.lo */
} last_touch;

SMC_INLINE last_touch touch_of_strand(const last_touch by, size_t u) {
  return (last_touch){by.how, by.of ? by.of + u : NULL};
}

/* Done to n vectors; to all of a strand. */
SMC_INLINE void finish(vec *y, const int n, const last_touch *by) {
  if (by->how == SMC_TIMES) {
    SMC_EACH(j, n) y[j] = times_inverse(y[j], *by->of);
  } else if (by->how == SMC_LESS) {
    SMC_EACH(j, n) y[j] = v_sub(v_sub(y[j], by->of->hi), by->of->lo);
  }
}

static SMC_OUTLINE void finish_strand(real *y, size_t classes, const last_touch *by) {
  for (size_t c = 0; c < classes && by->how != SMC_NOTHING_LEFT; ++c, y += W) {
    vec a = v_load(y);
    finish(&a, 1, by);
    v_store(y, a);
  }
}

/* Lane by lane. */
SMC_INLINE vec max_of_four(const vec *a) { return v_max(v_max(a[0], a[1]), v_max(a[2], a[3])); }

/* W rows of at least four classes: eight or four classes at a time, the last four perhaps once more.  Their
 * maxima. */
SMC_INLINE vec load_whole(const char *p, ptrdiff_t row, size_t classes, real *to) {
  vec m = v_set1((real)-INFINITY);
  size_t c = 0;
#if SMC_C(OCTS)
  for (; c + 8 <= classes; c += 8) {
    vec v[8];
    v_load_oct(p + c * sizeof(real), row, v);
    SMC_UNROLL for (size_t j = 0; j < 8; ++j) v_store(to + (c + j) * W, v[j]);
    SMC_UNROLL for (size_t j = 0; j < 8; j += 4) m = v_max(m, max_of_four(v + j));
  }
#endif
  for (; c < classes; c += 4) {
    const size_t first = c + 4 <= classes ? c : classes - 4;
    vec v[4];
    v_load_quad(p + first * sizeof(real), row, v);
    SMC_UNROLL for (size_t j = 0; j < 4; ++j) v_store(to + (first + j) * W, v[j]);
    m = v_max(m, max_of_four(v));
  }
  return m;
}

/* The same the other way; `from` stays as it is. */
SMC_INLINE void store_whole(char *p, ptrdiff_t row, size_t classes, const real *from,
                            const last_touch *by) {
  size_t c = 0;
#if SMC_C(OCTS)
  for (; c + 8 <= classes; c += 8) {
    vec v[8];
    SMC_UNROLL for (size_t j = 0; j < 8; ++j) v[j] = v_load(from + (c + j) * W);
    finish(v, 8, by);
    v_store_oct(p + c * sizeof(real), row, v);
  }
#endif
  for (; c < classes; c += 4) {
    const size_t first = c + 4 <= classes ? c : classes - 4;
    vec v[4];
    SMC_UNROLL for (size_t j = 0; j < 4; ++j) v[j] = v_load(from + (first + j) * W);
    finish(v, 4, by);
    v_store_quad(p + first * sizeof(real), row, v);
  }
}

/* Rows that were, or will be, converted, or are fewer: room for W of them. */
typedef struct {
  real rows[W][SMC_SQUARE_MAX];
} square;

/* Classes of the next square, of so many that are left: four at least, of which there are as many. */
SMC_INLINE size_t square_classes(size_t left) {
  if (left <= SMC_SQUARE_MAX) return left;
  return left < SMC_SQUARE_MAX + 4 ? SMC_SQUARE_MAX - 4 : SMC_SQUARE_MAX;
}

static SMC_OUTLINE void load_square(const square *s, size_t classes, real *to) {
  (void)load_whole((const char *)s->rows, sizeof s->rows[0], classes, to);
}

static SMC_OUTLINE void store_square(square *s, size_t classes, const real *from,
                                     const last_touch *by) {
  store_whole((char *)s->rows, sizeof s->rows[0], classes, from, by);
}

#endif
