/* The operations of ops.def for one stored type (SMC_D, computed in SMC_T).  Included once for each. */

#include "tile.h"
#include "softmax.h"
#include "products.h"
#include "cross_entropy.h"
#include "rows.h"
#include "jacobian.h"

/* ---- the tile functions, in every layout -------------------------------------------------------- */

#define softmax_vjp_tile(t, o, extra, layout)                                                      \
  (void)(extra), product_tile(t, o, SMC_SOFTMAX_VJP, layout)
#define log_softmax_vjp_tile(t, o, extra, layout)                                                  \
  (void)(extra), product_tile(t, o, SMC_LOG_SOFTMAX_VJP, layout)
#define log_softmax_jvp_tile(t, o, extra, layout)                                                  \
  (void)(extra), product_tile(t, o, SMC_LOG_SOFTMAX_JVP, layout)
#define logsumexp_vjp_tile(t, o, extra, layout) (void)(extra), logsumexp_product_tile(t, o, layout)

SMC_LAYOUTS(forward_tiles, forward_tile);
SMC_LAYOUTS(softmax_vjp_tiles, softmax_vjp_tile);
SMC_LAYOUTS(log_softmax_vjp_tiles, log_softmax_vjp_tile);
SMC_LAYOUTS(log_softmax_jvp_tiles, log_softmax_jvp_tile);
SMC_LAYOUTS(logsumexp_vjp_tiles, logsumexp_vjp_tile);
SMC_LAYOUTS(cross_entropy_tiles, cross_entropy_tile);

/* Packed rows are of the type computed in. */
#define SMC_TILES(name) SMC_K(name), SMC_V(name)

/* ---- the operations ----------------------------------------------------------------------------- */

static void SMC_K(op_softmax)(smc_view x, smc_view y, size_t n, size_t k, double scale) {
  for_tiles(SMC_TILES(forward_tiles), (argument[]){{x, k}, {y, k}}, 2, 1, n, k,
            &(smc_forward){SMC_SOFTMAX, scale});
}

static void SMC_K(op_log_softmax)(smc_view x, smc_view y, size_t n, size_t k, double scale) {
  for_tiles(SMC_TILES(forward_tiles), (argument[]){{x, k}, {y, k}}, 2, 1, n, k,
            &(smc_forward){SMC_LOG_SOFTMAX, scale});
}

static void SMC_K(op_logsumexp)(smc_view x, smc_view y, size_t n, size_t k) {
  for_tiles(SMC_TILES(forward_tiles), (argument[]){{x, k}, {y, 1}}, 2, 1, n, k,
            &(smc_forward){SMC_LOGSUMEXP, 1});
}

static void SMC_K(op_softmax_vjp)(smc_view s, smc_view g, smc_view y, size_t n, size_t k) {
  for_tiles(SMC_TILES(softmax_vjp_tiles), (argument[]){{s, k}, {g, k}, {y, k}}, 3, 2, n, k, NULL);
}

static void SMC_K(op_log_softmax_vjp)(smc_view s, smc_view g, smc_view y, size_t n, size_t k) {
  for_tiles(SMC_TILES(log_softmax_vjp_tiles), (argument[]){{s, k}, {g, k}, {y, k}}, 3, 2, n, k,
            NULL);
}

static void SMC_K(op_log_softmax_jvp)(smc_view s, smc_view v, smc_view y, size_t n, size_t k) {
  for_tiles(SMC_TILES(log_softmax_jvp_tiles), (argument[]){{s, k}, {v, k}, {y, k}}, 3, 2, n, k,
            NULL);
}

static void SMC_K(op_logsumexp_vjp)(smc_view x, smc_view lse, smc_view g, smc_view y, size_t n,
                                    size_t k) {
  for_tiles(SMC_TILES(logsumexp_vjp_tiles), (argument[]){{x, k}, {lse, 1}, {g, 1}, {y, k}}, 4, 3, n,
            k, NULL);
}

static void SMC_K(op_cross_entropy)(smc_view x, smc_view soft, smc_view grad, size_t n, size_t k,
                                    const smc_targets *how) {
  for_tiles(SMC_TILES(cross_entropy_tiles), (argument[]){{x, k}, {soft, k}, {grad, k}}, 3, 2, n, k,
            how);
}

static void SMC_K(op_softmax_jacobian)(smc_view s, smc_view jacobian, size_t n, size_t k) {
  for (size_t i = 0; i < n; ++i) {
    softmax_jacobian_row(view_operand(s, i).p, view_operand(jacobian, i).p, k);
  }
}

static void SMC_K(op_log_softmax_jacobian)(smc_view log_s, smc_view jacobian, size_t n, size_t k) {
  for (size_t i = 0; i < n; ++i) {
    log_softmax_jacobian_row(view_operand(log_s, i).p, view_operand(jacobian, i).p, k);
  }
}

static void SMC_K(op_softmax_layer_jacobian)(smc_view s, smc_view x, smc_view jacobian, size_t n,
                                             size_t k, size_t j) {
  for (size_t i = 0; i < n; ++i) {
    layer_jacobian_row(view_operand(s, i).p, view_operand(x, i).p, view_operand(jacobian, i).p, k,
                       j);
  }
}
