/* The operations of ops.def for the stored type at hand. */
#ifndef SMC_OPS_H
#define SMC_OPS_H

#include "forward/forward.h"
#include "jacobian/jacobian.h"
#include "loss/cross_entropy.h"
#include "merge.h"
#include "vjp/logsumexp.h"
#include "vjp/vjp.h"

#define SMC_ROWS(...) .operands = {__VA_ARGS__}, .n = n, .k = k, .spread = spread

static void op_softmax(smc_view x, smc_view y, size_t n, size_t k, double scale,
                       const smc_spread *spread) {
  const batch b = {SMC_ROWS(x, y),  .count = 2,      .inputs = 1,
                   .single_row = 1, .prefetches = 1, .lane_blocks = are_few_vectors(k)};
  for_tiles(softmax_tile, &b, &(forward_args){.scale = scale});
}

static void op_log_softmax(smc_view x, smc_view y, size_t n, size_t k, double scale,
                           const smc_spread *spread) {
  const batch b = {SMC_ROWS(x, y),  .count = 2, .inputs = 1,
                   .single_row = 1, .once = 1,  .prefetches = 1};
  for_tiles(log_softmax_tile, &b, &(forward_args){.scale = scale});
}

static void op_logsumexp(smc_view x, smc_view y, size_t n, size_t k, const smc_spread *spread) {
  const batch b = {SMC_ROWS(x),     .count = 1, .inputs = 1,
                   .single_row = 1, .once = 1,  .prefetches = 1};
  for_tiles(logsumexp_tile, &b, &(forward_args){.lse = y});
}

static void op_logsumexp_partial(smc_view x, smc_view m, smc_view s, size_t n, size_t k,
                                 const smc_spread *spread) {
  const batch b = {SMC_ROWS(x),     .count = 1, .inputs = 1,
                   .single_row = 1, .once = 1,  .prefetches = 1};
  for_tiles(logsumexp_tile, &b, &(forward_args){.lse = m, .rest = s});
}

static void op_softmax_vjp(smc_view s, smc_view g, smc_view y, size_t n, size_t k,
                           const smc_spread *spread) {
  if (products_of_short_rows(s, g, y, n, k) || products_of_rows(s, g, y, n, k)) return;
  const batch b = {SMC_ROWS(s, g, y),
                   .count = 3,
                   .inputs = 2,
                   .light = 1,
                   .single_row = 1,
                   .once = 1,
                   .along = SMC_FAST_MASKS && is_short(k, sizeof(elem)) && !are_paired(k)};
  for_tiles(product_tile, &b, &(smc_product){SMC_SOFTMAX_VJP});
}

static void op_log_softmax_vjp(smc_view s, smc_view g, smc_view y, size_t n, size_t k,
                               const smc_spread *spread) {
  for_tiles(product_tile, &(batch){SMC_ROWS(s, g, y), .count = 3, .inputs = 2, .light = 1},
            &(smc_product){SMC_LOG_SOFTMAX_VJP});
}

static void op_log_softmax_jvp(smc_view s, smc_view v, smc_view y, size_t n, size_t k,
                               const smc_spread *spread) {
  for_tiles(product_tile, &(batch){SMC_ROWS(s, v, y), .count = 3, .inputs = 2, .light = 1},
            &(smc_product){SMC_LOG_SOFTMAX_JVP});
}

static void op_logsumexp_vjp(smc_view x, smc_view lse, smc_view g, smc_view y, size_t n, size_t k,
                             const smc_spread *spread) {
  for_tiles(lse_product_tile, &(batch){SMC_ROWS(x, y), .count = 2, .inputs = 1, .single_row = 1},
            &(smc_rowwise){lse, g});
}

static void op_logsumexp_merge(const smc_view *pairs, size_t n) { merge_pairs(pairs, n); }

static void op_cross_entropy(smc_view x, smc_view soft, smc_view grad, size_t n, size_t k,
                             const smc_targets *args, const smc_spread *spread) {
  if (args->labels) soft.data = NULL;
  for_tiles(cross_entropy_tile,
            &(batch){SMC_ROWS(x, soft, grad), .count = 3, .inputs = 2, .prefetches = 1}, args);
}

static void op_softmax_jacobian(smc_view s, smc_view jacobian, size_t n, size_t k) {
  const int beyond = is_beyond_caches(n * k, k);
  for (size_t i = 0; i < n; ++i) {
    const char *row = element_at(s, i, 0);
    char *out = element_at(jacobian, i, 0);
    if (beyond) {
      softmax_jacobian_row(row, out, k, 1);
    } else {
      softmax_jacobian_row(row, out, k, 0);
    }
  }
}

static void op_log_softmax_jacobian(smc_view log_s, smc_view jacobian, size_t n, size_t k) {
  const int beyond = is_beyond_caches(n * k, k);
  for (size_t i = 0; i < n; ++i) {
    log_softmax_jacobian_row(element_at(log_s, i, 0), element_at(jacobian, i, 0), k, beyond);
  }
}

static void op_softmax_layer_jacobian(smc_view s, smc_view x, smc_view jacobian, size_t n, size_t k,
                                      size_t j) {
  const int beyond = is_beyond_caches(n * k * k, j);
  for (size_t i = 0; i < n; ++i) {
    layer_jacobian_row(element_at(s, i, 0), element_at(x, i, 0), element_at(jacobian, i, 0), k, j,
                       beyond);
  }
}

#endif
