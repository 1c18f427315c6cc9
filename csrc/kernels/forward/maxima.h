/* Pass 1: the maximum of unit*x, lane by lane. */
#ifndef SMC_FORWARD_MAXIMA_H
#define SMC_FORWARD_MAXIMA_H

#include "../exp.h"
#include "../prefetch.h"
#include "../row_values.h"
#include "expsum.h"

/* n vectors raise the maxima m; or, if places are sought, the first of them, and where it rises
 * `place` becomes i.  (n and sought are constants.) */
SMC_INLINE void raise_maxima(vec *m, const vec *a, const int n, size_t i, vec *place,
                             const int sought) {
  if (!sought) {
    SMC_EACH(j, n) m[j] = v_max(m[j], a[j]);
    return;
  }
  const vec most = n == 1 ? a[0] : max_of_four(a);
  *place = v_select(v_lt(m[0], most), v_set1((real)i), *place);
  m[0] = v_max(m[0], most);
}

/* The maximum of a panel, lane by lane; and, if that is sought, in which vector, or group of
 * SMC_UNROLL vectors from that one on, it was first found. */
SMC_INLINE vec max_along(panel x, const extent n, const scaling *scale, vec *place,
                         const int sought) {
  const vec unit = scale->unit;
  vec m[SMC_UNROLL], a[SMC_UNROLL];
  size_t i = 0;
  SMC_EACH(j, SMC_UNROLL) m[j] = v_set1((real)-INFINITY);
  vec first = v_set1(0);
  for (; i + SMC_UNROLL <= n.count; i += SMC_UNROLL, x = ahead(x, SMC_UNROLL)) {
    load_unrolled(x, a, n.lanes, scale->vacant);
    SMC_EACH(j, SMC_UNROLL) a[j] = v_mul(a[j], unit);
    raise_maxima(m, a, SMC_UNROLL, i, &first, sought);
  }
  for (; i < steps_of(n); ++i, x = ahead(x, 1)) {
    a[0] = v_mul(load_lanes(x, lanes_at(n, i), scale->vacant), unit);
    raise_maxima(m, a, 1, i, &first, sought);
  }
  if (!sought) return max_of_four(m);
  *place = first;
  return m[0];
}

/* max_along in an instance for vectors that lie side by side and one for all others. */
SMC_INLINE vec max_of_panel(const panel x, const extent n, const scaling *scale) {
  if (is_dense(x, n)) return max_along(dense(x), whole(n), scale, NULL, 0);
  return max_along(x, n, scale, NULL, 0);
}

/* The maxima of so many whole vectors of SMC_UNROLL panels jammed, and of m. */
SMC_INLINE void max_jammed(const panel *x, size_t count, vec unit, vec *m) {
  for (size_t i = 0; i < count; ++i) {
    SMC_EACH(j, SMC_UNROLL) m[j] = v_max(m[j], v_mul(v_load(vector_at(x[j], i)), unit));
  }
}

/* Whether it pays to find the place of the maximum, for a tail that leaves it out: of a row along
 * that is not short. */
SMC_INLINE int is_place_sought(const tile *t, const extent n, const smc_sum which) {
  return which == SMC_TAIL && !is_across(t) && n.count >= SMC_SOUGHT_MIN;
}

/* The maxima of so many panels of columns in the k-block at hand, and of m. */
static SMC_OUTLINE void max_of_columns(const tile *t, size_t panels, const scaling *scale, vec *m) {
  for (size_t u = 0; u < panels; u += SMC_UNROLL) {
    panel x[SMC_UNROLL];
    vec most[SMC_UNROLL];
    SMC_EACH(j, SMC_UNROLL) {
      x[j] = beside(panel_of(t, SMC_X, u), (size_t)j), most[j] = m[u + (size_t)j];
    }
    max_jammed(x, k_block_classes(t), scale->unit, most);
    SMC_EACH(j, SMC_UNROLL) m[u + (size_t)j] = most[j];
  }
}

/* Raise m to the maxima of all panels in the k-block at hand; and find their places, if a tail will
 * leave them out. */
static void find_maxima(tile *t, const scaling *scale, vec *m, smc_sum which) {
  const size_t known = is_packed(t) && !scale->active ? t->known : 0;
  size_t u = panels_jammed(t);
  if (u > 0) max_of_columns(t, u, scale, m);
  for (; u < known; ++u) m[u] = v_max(m[u], t->maxima[u]);
  for (; u < t->panels; ++u) {
    const panel x = panel_of(t, SMC_X, u);
    const extent n = extent_of(t, u);
    vec most;
    if (is_place_sought(t, n, which)) {
      most = t->maxima[u] = max_along(W > 1 ? dense(x) : x, n, scale, &t->places[u], 1);
      t->known = u + 1;
    } else {
      most = max_of_panel(x, n, scale);
    }
    m[u] = v_max(m[u], most);
  }
}

#endif
