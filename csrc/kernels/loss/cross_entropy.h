/* Cross-entropy and its gradient in one pass over a tile: sum_c a_c (logsumexp(x) - x_c), where the
 * target a is one-hot with smoothing or a whole distribution (smc_targets).
 *
 * With the tail S' of forward.h, logsumexp(x) - x_c = log1p(S'/e_k) + (max - x_c): two terms that
 * are never negative.  The gradient A s - a, A = sum a, cancels where the target is at the peak;
 * there it is (A - a_k) s_k - a_k S'/S, with A - a_k summed without k (PyTorch issue 195684 and JAX
 * issue 40386 show what A s_k - a_k gives).  A z-loss z lse^2 (Chowdhery et al., "PaLM", 2022) has
 * the gradient 2 z lse s: in both forms it joins A, as mass that lies away from the peak. */
#ifndef SMC_LOSS_CROSS_ENTROPY_H
#define SMC_LOSS_CROSS_ENTROPY_H

#include "../forward/sums.h"
#include "../log1p.h"
#include "gradient.h"

/* Store the losses of lane block g, each times the weight of its row, and make what their gradient
 * will need, of which the factor is known. */
static void loss_and_slope(const tile *t, size_t g, const softmax_sums *s, const targets *a,
                           vec weight, slope *d) {
  const smc_view *of_loss = &t->call->operands[SMC_LOSS], *of_lse = &t->call->operands[SMC_LSE];
  const scaling scale = scaling_by(1, is_across(t));
  const vec zero = v_set1(0), one = v_set1(1), infinity = v_set1((real)INFINITY);
  pair e = exp_of_peak(s->m, &s->sh, &scale), total = pair_add(s->sum, e);
  vec excess = log1p_of_pair(pair_quotient(s->sum, e, v_div(one, e.hi))).hi;
  vec lse = v_add(s->m, v_select(v_lt(v_abs(s->m), infinity), excess, s->nan));
  pair others = a->others;
  vec mass = pair_value(pair_add(others, a->peak));
  /* NaN if the maximum is infinite, or the mass */
  const vec undefined = v_add(v_sub(s->m, s->m), v_sub(mass, mass));
  vec log = v_add(excess, undefined);
  vec far = v_mul(a->at_label, v_sub(s->m, a->x_label));
  far = v_select(v_eq(a->at_label, zero), zero, far);
  vec loss = v_fma(mass, log, v_add(pair_value(a->distance), far));
  if (t->call->targets->z_loss != 0) { /* as 0 times an infinite square is NaN */
    vec z = v_mul(v_set1((real)t->call->targets->z_loss), lse);
    loss = v_fma(z, lse, loss);
    others = pair_add(others, (pair){v_add(z, z), zero});
    mass = pair_value(pair_add(others, a->peak));
  }
  loss = v_select(v_eq(a->present, zero), zero, v_mul(loss, weight));
  store_results(t, g, loss, of_loss->data, of_loss->row);
  if (of_lse->data) store_results(t, g, lse, of_lse->data, of_lse->row);

  total = fast_two_sum(v_add(total.hi, undefined), total.lo);
  vec inverse = v_div(one, total.hi);
  const pair all = {times_factor(mass, d), zero};
  const mask small = v_lt(v_abs(all.hi), v_set1(SMC_C(SMALL_MASS)));
  d->lowered = v_select(small, v_set1(1 / SMC_C(LIFTED)), one);
  const vec raised = v_select(small, v_set1(SMC_C(LIFTED)), one);
  d->per_exp = pair_quotient(all, pair_times_power(total, d->lowered), v_mul(inverse, raised));
  d->tail = pair_value(pair_quotient(s->sum, total, inverse));
  d->peak = v_select(v_lt(d->tail, v_set1(SMC_TAIL_MAX)), e.hi, infinity);
  d->at_peak = v_mul(times_factor(pair_value(others), d), v_sub(one, d->tail));
}

/* What is known of the targets before the logits are looked at; and sums of nothing. */
static void begin_targets(tile *t, targets *a) {
  if (has_single_k_block(t)) enter_k_block(t, 0);
  for (size_t g = 0; g < lane_blocks_of(t); ++g) {
    a[g].present = v_set1(1);
    a[g].at_label = a[g].base_at_label = v_set1(0);
    if (has_labels(t)) read_labels(t, g, &a[g]);
  }
  for (size_t g = 0; has_labels(t) && g < lane_blocks_of(t); ++g) look_up_labels(t, g, &a[g]);
  for (size_t u = 0; u < t->panels; ++u) a[u].others = a[u].peak = a[u].distance = pair_of(0);
}

/* The losses of a tile, and its gradient if that is wanted. */
static void cross_entropy_tile(tile *t) {
  const scaling scale = scaling_by(1, is_across(t));
  const int dense_target = !has_labels(t) || t->call->targets->off != 0;
  const int grad = t->call->operands[SMC_GRAD].data != NULL;
  softmax_sums *s = reserve(t, t->panels * sizeof *s);
  const int keep =
      grad && !t->plan.online && !is_over_target(t); /* the exponentials, in the gradient */
  const wanted_sums wanted = {&scale, SMC_TAIL, keep, s};
  targets *a = reserve(t, t->panels * sizeof *a);
  slope *d = reserve(t, t->panels * sizeof *d);
  const slope with_factor = slope_by(t->call->targets->factor);

  begin_targets(t, a);
  if (t->plan.online) {
    sums_online(t, &wanted);
  } else {
    maxima_of_rows(t, &wanted);
  }
  find_nans(t, s);
  if (dense_target) masses_of_rows(t, s, a);
  if (!t->plan.online) sums_of_rows(t, &wanted);
  for (size_t g = 0; g < lane_blocks_of(t); ++g) {
    if (!has_labels(t)) a[g].x_label = s[g].m;
    add_label(&a[g], s[g].m);
    const vec weight = load_weights(t, g, &t->call->operands[SMC_SAMPLE]);
    a[g].present = v_select(v_eq(weight, v_set1(0)), weight, a[g].present);
    d[g].unit = with_factor.unit, d[g].factor = v_mul(with_factor.factor, weight);
    loss_and_slope(t, g, &s[g], &a[g], weight, &d[g]);
  }
  if (!grad) return;
  const int at_label = has_labels(t) && has_single_k_block(t);
  for_results(t, gradient_of_block, &(gradient_from){s, d, a, dense_target, keep, at_label});
  for (size_t g = 0; has_labels(t) && !at_label && g < lane_blocks_of(t); ++g) {
    gradient_at_labels(t, g, &s[g], &d[g], &a[g]);
  }
}

#endif
