/* Pass 3 over a tile: the results of the k-block at hand. */
#ifndef SMC_FORWARD_RESULTS_H
#define SMC_FORWARD_RESULTS_H

#include "columns.h"
#include "rows.h"

/* The results of panel u in that operand. */
static SMC_OUTLINE void results_of_panel(const tile *t, size_t u, int out, const wanted_results *of,
                                         smc_result how) {
  const panel x = panel_of(t, SMC_X, u), y = panel_of(t, out, u);
  const extent n = extent_of(t, u);
  const size_t g = lane_block_of(t, u);
  const pair by = pair_of_panel(t, u, &of->by[g]);
  panel_results from = {.scale = of->scale, .by = by};
  switch (how) {
  case SMC_SCALED: results_from_line(t, y, y, n, &from, SMC_SCALED, 0); return;
  case SMC_QUOTIENT:
    from.sh = shift_of_panel(t, u, &of->sums[g].sh);
    from.lines = prefetcher_of(t, u);
    if (is_general(of->scale, &from.sh)) {
      results_along(x, y, n, &from, 0, SMC_QUOTIENT, 1);
    } else {
      results_from_line(t, x, y, n, &from, SMC_QUOTIENT, 0);
    }
    return;
  default:
    if (t->plan.online) prefetch_panel(t, u, steps_of(n));
    if (how == SMC_LOGARITHM) {
      results_from_line(t, x, y, n, &from, SMC_LOGARITHM, 0);
    } else {
      results_along(x, y, n, &from, 0, SMC_SCALED_LOGARITHM, 0);
    }
  }
}

/* The results of all panels in that operand: of columns jammed, as far as they are, then one by
 * one. */
static void results_of_tile(const tile *t, int out, const wanted_results *of, smc_result how) {
  for (size_t u = results_of_columns(t, out, of, how); u < t->panels; ++u) {
    results_of_panel(t, u, out, of, how);
  }
}

#endif
