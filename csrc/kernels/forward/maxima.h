/* Pass 1 of softmax and its like: the maximum of unit*x, lane by lane. */
#ifndef SMC_FORWARD_MAXIMA_H
#define SMC_FORWARD_MAXIMA_H

#include "../exp.h"
#include "../prefetch.h"
#include "../row_values.h"
#include "expsum.h"

SMC_INLINE vec max_of(panel x, const extent n, const scaling *scale) {
  const vec unit = scale->unit;
  vec m[SMC_UNROLL], a[SMC_UNROLL];
  size_t i = 0;
  SMC_EACH(j, SMC_UNROLL) m[j] = v_set1((real)-INFINITY);
  for (; i + SMC_UNROLL <= n.count; i += SMC_UNROLL, x = ahead(x, SMC_UNROLL)) {
    load_unrolled(x, a, n.lanes, scale->vacant);
    SMC_EACH(j, SMC_UNROLL) m[j] = v_max(m[j], v_mul(a[j], unit));
  }
  for (; i < steps_of(n); ++i, x = ahead(x, 1)) {
    m[0] = v_max(m[0], v_mul(load_lanes(x, lanes_at(n, i), scale->vacant), unit));
  }
  return max_of_four(m);
}

SMC_INLINE vec max_of_panel(const panel x, const extent n, const scaling *scale) {
  if (is_dense(x, n)) return max_of(dense(x), whole(n), scale);
  return max_of(x, n, scale);
}

/* The same of a row along, and in which vector, or group of vectors from that one on, it was first found. */
SMC_INLINE vec max_and_place(panel x, const extent n, const scaling *scale, vec *place) {
  vec m = v_set1((real)-INFINITY), a[SMC_UNROLL];
  *place = v_set1(0);
  for (size_t i = 0, next; i < steps_of(n); i += next, x = ahead(x, next)) {
    next = i + SMC_UNROLL <= n.count ? SMC_UNROLL : 1;
    if (next == 1) {
      a[0] = v_mul(load_lanes(x, lanes_at(n, i), scale->vacant), scale->unit);
    } else {
      load_unrolled(x, a, W, scale->vacant);
      SMC_EACH(j, SMC_UNROLL) a[j] = v_mul(a[j], scale->unit);
      a[0] = max_of_four(a);
    }
    *place = v_select(v_lt(m, a[0]), v_set1((real)i), *place);
    m = v_max(m, a[0]);
  }
  return m;
}

/* Whether what a tail leaves out of a panel is worth finding before: of a row along that is not short. */
SMC_INLINE int is_place_sought(const tile *t, const extent n, const smc_sum which) {
  return which == SMC_TAIL && !is_across(t) && n.count >= SMC_SOUGHT_MIN;
}

/* Of so many panels of columns, jammed, in the block at hand: of each class SMC_UNROLL vectors, which are dense. */
static SMC_OUTLINE void max_jammed(const tile *t, size_t panels, const scaling *scale, vec *m) {
  const size_t classes = k_block_classes(t);
  for (size_t u = 0; u < panels; u += SMC_UNROLL) {
    panel x = panel_of(t, SMC_X, u);
    vec most[SMC_UNROLL], a[SMC_UNROLL];
    SMC_EACH(j, SMC_UNROLL) most[j] = m[u + (size_t)j];
    for (size_t i = 0; i < classes; ++i, x = ahead(x, 1)) {
      load_unrolled(dense(x), a, W, scale->vacant);
      SMC_EACH(j, SMC_UNROLL) most[j] = v_max(most[j], v_mul(a[j], scale->unit));
    }
    SMC_EACH(j, SMC_UNROLL) m[u + (size_t)j] = most[j];
  }
}

/* The maxima, in the block at hand, of each lane; and their places, if a tail will leave them out. */
static void find_maxima(tile *t, const scaling *scale, vec *m, smc_sum which) {
  const size_t known = is_packed(t) && !scale->active ? t->known : 0;
  size_t u = panels_jammed(t);
  if (u > 0) max_jammed(t, u, scale, m);
  for (; u < known; ++u) m[u] = v_max(m[u], t->maxima[u]);
  for (; u < t->panels; ++u) {
    const panel x = panel_of(t, SMC_X, u);
    const extent n = extent_of(t, u);
    vec most;
    if (is_place_sought(t, n, which)) {
      most = t->maxima[u] = max_and_place(W > 1 ? dense(x) : x, n, scale, &t->places[u]);
      t->known = u + 1;
    } else {
      most = max_of_panel(x, n, scale);
    }
    m[u] = v_max(m[u], most);
  }
}

#endif
