/* The operations of ops.def for the stored type at hand. */
#ifndef SMC_OPS_H
#define SMC_OPS_H

#include "forward/forward.h"
#include "jacobian/jacobian.h"
#include "loss/cross_entropy.h"
#include "merge.h"
#include "vjp/logsumexp.h"
#include "vjp/vjp.h"

/* Bytes that passes reserve of each panel: what is known of its sums, and while they are made the
 * maxima and sums of a k-block, or afterwards what results are made of; the peak, the sums and what
 * products are made of. */
#define SMC_FORWARD_PANEL (sizeof(softmax_sums) + sizeof(pair) + sizeof(vec))
#define SMC_PRODUCT_PANEL (sizeof(panel_peak) + sizeof(panel_sums) + sizeof(product_sums))

static const traits traits_of[SMC_OPS] = {
    [SMC_OP_softmax] = {.panels = 2,
                        .inputs = 1,
                        .panel_bytes = SMC_FORWARD_PANEL,
                        .single_row = 1,
                        .lane_blocks = 1,
                        .prefetches = 1},
    [SMC_OP_log_softmax] = {.panels = 2,
                            .inputs = 1,
                            .panel_bytes = SMC_FORWARD_PANEL,
                            .single_row = 1,
                            .once = 1,
                            .prefetches = 1},
    [SMC_OP_logsumexp] = {.panels = 1,
                          .inputs = 1,
                          .panel_bytes = SMC_FORWARD_PANEL,
                          .single_row = 1,
                          .once = 1,
                          .prefetches = 1},
    [SMC_OP_logsumexp_partial] = {.panels = 1,
                                  .inputs = 1,
                                  .panel_bytes = SMC_FORWARD_PANEL,
                                  .single_row = 1,
                                  .once = 1,
                                  .prefetches = 1},
    [SMC_OP_softmax_vjp] = {.panels = 3,
                            .inputs = 2,
                            .panel_bytes = SMC_PRODUCT_PANEL,
                            .light = 1,
                            .single_row = 1,
                            .short_along = 1,
                            .once = 1},
    [SMC_OP_log_softmax_vjp] = {.panels = 3,
                                .inputs = 2,
                                .panel_bytes = SMC_PRODUCT_PANEL,
                                .light = 1},
    [SMC_OP_log_softmax_jvp] = {.panels = 3,
                                .inputs = 2,
                                .panel_bytes = SMC_PRODUCT_PANEL,
                                .light = 1},
    [SMC_OP_logsumexp_vjp] = {.panels = 2,
                              .inputs = 1,
                              .panel_bytes = 2 * sizeof(vec),
                              .single_row = 1},
    [SMC_OP_cross_entropy] = {.panels = 3,
                              .inputs = 2,
                              .panel_bytes = SMC_FORWARD_PANEL + sizeof(targets) + sizeof(slope),
                              .prefetches = 1},
};

static void op_softmax(const smc_call *c) {
  for_tiles(c, &traits_of[SMC_OP_softmax], softmax_tile);
}

static void op_log_softmax(const smc_call *c) {
  for_tiles(c, &traits_of[SMC_OP_log_softmax], log_softmax_tile);
}

static void op_logsumexp(const smc_call *c) {
  for_tiles(c, &traits_of[SMC_OP_logsumexp], logsumexp_tile);
}

static void op_logsumexp_partial(const smc_call *c) {
  for_tiles(c, &traits_of[SMC_OP_logsumexp_partial], logsumexp_partial_tile);
}

static void op_softmax_vjp(const smc_call *c) {
  if (products_of_short_rows(c) || products_of_rows(c)) return;
  for_tiles(c, &traits_of[SMC_OP_softmax_vjp], softmax_vjp_tile);
}

static void op_log_softmax_vjp(const smc_call *c) {
  for_tiles(c, &traits_of[SMC_OP_log_softmax_vjp], log_softmax_vjp_tile);
}

static void op_log_softmax_jvp(const smc_call *c) {
  for_tiles(c, &traits_of[SMC_OP_log_softmax_jvp], log_softmax_jvp_tile);
}

static void op_logsumexp_vjp(const smc_call *c) {
  for_tiles(c, &traits_of[SMC_OP_logsumexp_vjp], logsumexp_vjp_tile);
}

static void op_logsumexp_merge(const smc_call *c) { merge_pairs(c->operands, c->n); }

static void op_cross_entropy(const smc_call *c) {
  smc_call call = *c;
  if (call.operands[SMC_LABELS].data) call.operands[SMC_SOFT].data = NULL;
  for_tiles(&call, &traits_of[SMC_OP_cross_entropy], cross_entropy_tile);
}

static void op_softmax_jacobian(const smc_call *c) { softmax_jacobians(c); }

static void op_log_softmax_jacobian(const smc_call *c) { log_softmax_jacobians(c); }

static void op_softmax_layer_jacobian(const smc_call *c) { layer_jacobians(c); }

/* Fill in the plan of an operation that has tiles. */
static void op_plan(smc_op op, const smc_call *call, const smc_caches *caches, smc_plan *plan) {
  if (traits_of[op].panels > 0) *plan = plan_of(call, &traits_of[op], caches);
}

#endif
