/* A scale of 0, which makes all results of a row alike. */
#ifndef SMC_FORWARD_UNIFORM_H
#define SMC_FORWARD_UNIFORM_H

#include "../run.h"
#include "nans.h"

/* Store the value of each row as all its results. */
static void uniform_results(tile *t, const void *args) {
  const vec *value = args;
  for (size_t u = 0; u < t->panels; ++u) {
    const vec a = of_panel(t, u, &value[lane_block_of(t, u)]);
    const extent n = extent_of(t, u);
    panel y = panel_of(t, SMC_Y, u);
    for (size_t i = 0; i < steps_of(n); ++i, y = ahead(y, 1)) store_lanes(y, a, lanes_at(n, i));
  }
}

/* Results of a scale of 0: of_finite, but NaN for a row with an infinity, which times 0 is NaN. */
static void uniform_tile(tile *t, vec of_finite) {
  vec *value = reserve(t, t->panels * sizeof *value);
  nans_of_rows(t, 1, value, sizeof *value);
  for (size_t g = 0; g < lane_blocks_of(t); ++g) value[g] = v_add(value[g], of_finite);
  for_results(t, uniform_results, value);
}

/* A number of classes, which may have more digits than a float. */
SMC_INLINE pair count_of(size_t k) {
  const real hi = (real)k;
  return (pair){v_set1(hi), v_set1((real)((double)k - (double)hi))};
}

#endif
