/* NaN in rows whose maximum is infinite. */
#ifndef SMC_FORWARD_NANS_H
#define SMC_FORWARD_NANS_H

#include "../row_values.h"
#include "expsum.h"

/* Of each group 0, or NaN in a row that holds one, or infinity less itself if `infinite`.  (There are as many of them
 * as panels, until they are reduced.) */
static void nans_of_rows(tile *t, int infinite, vec *nan) {
  for (size_t u = 0; u < t->panels; ++u) nan[u] = v_set1(0);
  for (size_t begin = 0; begin < t->call->k; begin += t->plan.k_block) {
    enter_k_block(t, begin);
    for (size_t u = 0; u < t->panels; ++u) {
      panel x = panel_of(t, SMC_X, u);
      const extent n = extent_of(t, u);
      for (size_t i = 0; i < steps_of(n); ++i, x = ahead(x, 1)) {
        vec a = load_lanes(x, lanes_at(n, i), v_set1(0));
        if (infinite) a = v_sub(a, a);
        nan[u] = v_select(v_eq(a, a), nan[u], a);
      }
    }
  }
  count_by_row(t, nan, sizeof *nan);
}

/* What is to be added to an infinite maximum; it is rare, so rows are looked at only then. */
static void find_nans(tile *t, softmax_sums *s) {
  vec nan[SMC_MAX_PANELS];
  int infinite = 0;
  for (size_t g = 0; g < lane_blocks_of(t); ++g) {
    s[g].nan = v_set1(0);
    infinite |= v_count(v_lt(v_abs(s[g].m), v_set1((real)INFINITY))) != W;
  }
  if (!infinite) return;
  nans_of_rows(t, 0, nan);
  for (size_t g = 0; g < lane_blocks_of(t); ++g) s[g].nan = nan[g];
}

#endif
