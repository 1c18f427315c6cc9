/* A panel: a sequence of vectors at one distance from each other, in memory or in a buffer.  Passes
 * over rows are written in terms of panels, and know neither the strides of an array nor its dtype.
 */
#ifndef SMC_PANEL_H
#define SMC_PANEL_H

#include "../simd/common.h"
#include "tuning.h"

typedef struct {
  real *p;
  ptrdiff_t step; /* bytes from one vector to the next */
} panel;

/* Vectors of a panel.  Of two words, which are passed in registers. */
typedef struct {
  size_t count;
  uint32_t lanes; /* in use in each: W, unless rows that lie side by side are left over */
  uint32_t rest;  /* in use in one more, at the end of a row; or 0 */
} extent;

/* Vector i of a panel. */
SMC_INLINE real *vector_at(const panel s, size_t i) {
  return (real *)((char *)s.p + (ptrdiff_t)i * s.step);
}

/* Whether whole vectors lie side by side; `dense` and `whole` then say so in a way that the
 * compiler sees, which is worth an instance of its own.  (Columns as far apart as a vector is long
 * may be fewer than it has lanes.) */
SMC_INLINE int is_dense(const panel s, const extent n) {
  return W > 1 && s.step == (ptrdiff_t)sizeof(vec) && n.lanes == W;
}

SMC_INLINE panel dense(const panel s) { return (panel){s.p, sizeof(vec)}; }

SMC_INLINE extent whole(const extent n) { return (extent){n.count, W, n.rest}; }

/* Count what is left of a row without some lanes. */
SMC_INLINE extent without(const extent n, size_t lanes) {
  const size_t left = n.count * W + n.rest - lanes;
  return (extent){left / W, W, (uint32_t)(left % W)};
}

/* The panel from vector i on. */
SMC_INLINE panel ahead(const panel s, size_t i) { return (panel){vector_at(s, i), s.step}; }

/* The panel of columns u places further on. */
SMC_INLINE panel beside(const panel s, size_t u) { return (panel){s.p + u * W, s.step}; }

SMC_INLINE size_t steps_of(const extent n) { return n.count + (n.rest > 0); }

/* Lanes in use in vector i. */
SMC_INLINE size_t lanes_at(const extent n, size_t i) { return i < n.count ? n.lanes : n.rest; }

/* The first vector. */
SMC_INLINE vec load_lanes(const panel s, size_t lanes, vec fill) {
  return lanes >= W ? v_load(s.p) : v_load_n(s.p, lanes, fill);
}

SMC_INLINE void store_lanes(const panel s, vec a, size_t lanes) {
  if (lanes >= W) {
    v_store(s.p, a);
  } else {
    v_store_n(s.p, a, lanes);
  }
}

/* Load the first SMC_UNROLL vectors. */
SMC_INLINE void load_unrolled(const panel s, vec *a, size_t lanes, vec fill) {
  SMC_EACH(j, SMC_UNROLL) a[j] = load_lanes(ahead(s, (size_t)j), lanes, fill);
}

/* Load the first n vectors of `jam` columns, class after class.  (Both are constants.) */
SMC_INLINE void load_jammed(const panel s, vec *a, const int n, const int jam) {
  SMC_EACH(j, n) a[j] = v_load(vector_at(beside(s, (size_t)(j % jam)), (size_t)(j / jam)));
}

SMC_INLINE void store_jammed(const panel s, const vec *a, const int n, const int jam) {
  SMC_EACH(j, n) v_store(vector_at(beside(s, (size_t)(j % jam)), (size_t)(j / jam)), a[j]);
}

/* What a panel is made of: numbers of the type computed in, or elements as they are stored, which
 * are converted in registers.  (Where one type is both, the two are the same.) */
typedef enum { SMC_COMPUTED, SMC_STORED } smc_format;

/* The first vector of a panel.  (`of` is a constant.) */
SMC_INLINE vec load_from(const panel s, size_t lanes, vec fill, const smc_format of) {
  if (of == SMC_COMPUTED) return load_lanes(s, lanes, fill);
  return lanes >= W ? e_load(s.p) : e_load_n(s.p, lanes, fill);
}

SMC_INLINE void store_to(const panel s, vec a, size_t lanes, const smc_format of) {
  if (of == SMC_COMPUTED) {
    store_lanes(s, a, lanes);
  } else if (lanes >= W) {
    e_store(s.p, a);
  } else {
    e_store_n(s.p, a, lanes);
  }
}

SMC_INLINE real number_at(const panel s, size_t i, const smc_format of) {
  if (of == SMC_COMPUTED) return s.p[i];
  return e_get((const elem *)s.p + i);
}

#endif
