/* The product with the Jacobian of logsumexp: one elementwise pass. */
#ifndef SMC_VJP_LOGSUMEXP_H
#define SMC_VJP_LOGSUMEXP_H

#include "../run.h"
#include "../row_values.h"
#include "../exp.h"

typedef struct {
  const vec *lse, *g; /* of each lane block */
} lse_products;

static void lse_products_of_block(tile *t, const void *args) {
  const lse_products *of = args;
  for (size_t u = 0; u < t->panels; ++u) {
    const vec lse = of_panel(t, u, &of->lse[lane_block_of(t, u)]);
    const vec g = of_panel(t, u, &of->g[lane_block_of(t, u)]);
    panel x = panel_of(t, SMC_X, u), y = panel_of(t, SMC_Y, u);
    const extent n = extent_of(t, u);
    prefetch_panel(t, u, steps_of(n));
    /* A number below `least` gives 0; from there on the difference does not overflow. */
    const mask finite = v_lt(v_abs(lse), v_set1((real)INFINITY));
    const vec low = v_sub(lse, v_set1(SMC_C(EXP_UNDERFLOW)));
    const vec least = v_select(finite, low, v_set1((real)-INFINITY));
    for (size_t i = 0; i < steps_of(n); ++i, x = ahead(x, 1), y = ahead(y, 1)) {
      const size_t lanes = lanes_at(n, i);
      const vec a = v_max(least, load_lanes(x, lanes, lse));
      const pair d = two_sum(a, v_sub(v_set1(0), lse));
      store_lanes(y, v_mul(exp_full(d.hi, d.lo), g), lanes);
    }
  }
}

/* The product exp(x - lse) g, with operands x, the product, lse and g.  The rounding error of x -
 * lse is carried into exp. */
static void logsumexp_vjp_tile(tile *t) {
  const smc_view *values = &t->call->operands[t->op->panels]; /* lse, g */
  vec *lse = reserve(t, t->panels * sizeof *lse), *g = reserve(t, t->panels * sizeof *g);
  for (size_t i = 0; i < lane_blocks_of(t); ++i) {
    lse[i] = load_by_row(t, i, &values[0]);
    if (t->plan.lane_rows > 1) {
      /* A lane without a row may hold numbers of another: none of them overflows less the most. */
      const mask rows = v_lt(lane_numbers(), v_set1((real)lane_block_rows(t, i)));
      lse[i] = v_select(rows, lse[i], v_set1(SMC_C(MAX)));
    }
    g[i] = load_by_row(t, i, &values[1]);
  }
  for_results(t, lse_products_of_block, &(lse_products){lse, g});
}

#endif
