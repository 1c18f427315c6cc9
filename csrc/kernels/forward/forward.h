/* softmax, log_softmax, logsumexp: one algorithm, three endings.
 *
 *   1. the maximum;
 *   2. the sum of the exponentials, kept for the third pass where there is room;
 *   3. each element's result.
 *
 * softmax divides by the whole sum.  The other two need log(sum) = max + log1p(S'/e_k), where S'
 * is summed without one position k of the maximum: nothing cancels (SciPy issue 19521 shows what
 * does).
 *
 * A row of many blocks is read twice (M. Dukhan and A. Ablavatski, "The Two-Pass Softmax
 * Algorithm", 2020): exponentials are those of differences from the largest maximum so far; when
 * that rises, their sums are multiplied by a power of two, which is exact, as an integer is taken
 * away from exponents.
 */
#ifndef SMC_FORWARD_FORWARD_H
#define SMC_FORWARD_FORWARD_H

#include "../log1p.h"
#include "lane_blocks.h"
#include "results.h"
#include "single_row.h"
#include "uniform.h"

/* Passes 1 and 2.  keep: store the exponentials in the output, for which the maximum must be known
 * before. */
static void sums_of_exp(tile *t, const scaling *scale, smc_sum which, int keep, softmax_sums *s) {
  const wanted_sums wanted = {scale, which, keep, s};
  if (is_single_row(t)) {
    single_row_sums(t, &wanted);
  } else if (t->plan.online) {
    sums_online(t, &wanted);
  } else {
    maxima_of_rows(t, &wanted);
  }
  if (which == SMC_TAIL) find_nans(t, s);
  if (!is_single_row(t) && !t->plan.online) sums_of_rows(t, &wanted);
}

/* log1p(S'/e_k), from the tail S' and the exponential e_k of the maximum. */
SMC_INLINE pair log_of_sum(const softmax_sums *s, const scaling *scale) {
  pair e = exp_of_peak(s->m, &s->sh, scale);
  return log1p_of_pair(pair_quotient(s->sum, e, v_div(v_set1(1), e.hi)));
}

/* Pass 3 of softmax.  Packed rows, whose exponentials are kept, are divided when they leave the
 * buffer. */
static void softmax_results(tile *t, const void *results) {
  const wanted_results *of = results;
  if (is_packed(t) && !t->plan.online) {
    t->epilogue = (epilogue){SMC_TIMES, of->by};
  } else {
    results_of_tile(t, SMC_Y, of, t->plan.online ? SMC_QUOTIENT : SMC_SCALED);
  }
}

/* Pass 3 of log_softmax.  Packed rows leave the buffer by way of the subtraction, unless x is
 * scaled. */
static void log_softmax_results(tile *t, const void *results) {
  const wanted_results *of = results;
  if (is_packed(t) && !of->scale->active) {
    t->epilogue = (epilogue){SMC_LESS, of->by};
  } else {
    results_of_tile(t, SMC_Y, of, of->scale->active ? SMC_SCALED_LOGARITHM : SMC_LOGARITHM);
  }
}

/* softmax of a tile: operands x and y. */
static void softmax_tile(tile *t) {
  if (t->call->scale == 0) {
    uniform_tile(t, pair_value(inverse_of(count_of(t->call->k))));
    return;
  }
  const scaling scale = scaling_by(t->call->scale, is_across(t));
  if (is_lane_block(t) && softmax_of_lane_block(t, &scale)) return;
  softmax_sums *s = reserve(t, t->panels * sizeof *s);
  sums_of_exp(t, &scale, SMC_TOTAL, !t->plan.online, s);
  if (is_single_row(t)) {
    single_row_results(t, single_row_exps(t), &scale, inverse_of(s[0].sum), SMC_SCALED);
    return;
  }
  pair *inverse = reserve(t, t->panels * sizeof *inverse);
  for (size_t g = 0; g < lane_blocks_of(t); ++g) inverse[g] = inverse_of(s[g].sum);
  for_results(t, softmax_results, &(wanted_results){&scale, s, inverse});
}

/* log_softmax of a tile: operands x and y. */
static void log_softmax_tile(tile *t) {
  if (t->call->scale == 0) {
    const vec log = log1p_of_pair(count_of(t->call->k - 1)).hi;
    uniform_tile(t, v_sub(v_set1(0), log));
    return;
  }
  const scaling scale = scaling_by(t->call->scale, is_across(t));
  softmax_sums *s = reserve(t, t->panels * sizeof *s);
  sums_of_exp(t, &scale, SMC_TAIL, 0, s);
  pair *by = reserve(t, t->panels * sizeof *by);
  for (size_t g = 0; g < lane_blocks_of(t); ++g) {
    /* NaN where the maximum is infinite: no element of such a row has a logarithm. */
    by[g] = (pair){s[g].m, v_add(log_of_sum(&s[g], &scale).hi, v_sub(s[g].m, s[g].m))};
  }
  if (is_single_row(t) && !scale.active) {
    single_row_results(t, dense(panel_of(t, SMC_X, 0)), &scale, by[0], SMC_LOGARITHM);
    return;
  }
  for_results(t, log_softmax_results, &(wanted_results){&scale, s, by});
}

/* logsumexp less the maximum; where that is infinite, NaN if the row holds one, else 0. */
SMC_INLINE pair excess_of(const softmax_sums *s, const scaling *scale, mask finite) {
  const pair log = log_of_sum(s, scale);
  return (pair){v_select(finite, log.hi, s->nan), log.lo};
}

/* logsumexp of a tile: operands x and a value for each row. */
static void logsumexp_tile(tile *t) {
  const scaling scale = scaling_by(1, is_across(t));
  softmax_sums *s = reserve(t, t->panels * sizeof *s);
  sums_of_exp(t, &scale, SMC_TAIL, 0, s);
  for (size_t g = 0; g < lane_blocks_of(t); ++g) {
    const mask finite = v_lt(v_abs(s[g].m), v_set1((real)INFINITY));
    const vec lse = v_add(s[g].m, excess_of(&s[g], &scale, finite).hi);
    store_by_row(t, g, lse, &t->call->operands[SMC_Y]);
  }
}

/* logsumexp of a tile as a pair: rounded, and what rounding took from it. */
static void logsumexp_partial_tile(tile *t) {
  const scaling scale = scaling_by(1, is_across(t));
  const smc_view *m = &t->call->operands[1], *rest = &t->call->operands[2];
  softmax_sums *s = reserve(t, t->panels * sizeof *s);
  sums_of_exp(t, &scale, SMC_TAIL, 0, s);
  for (size_t g = 0; g < lane_blocks_of(t); ++g) {
    const mask finite = v_lt(v_abs(s[g].m), v_set1((real)INFINITY));
    const pair log = excess_of(&s[g], &scale, finite);
    const pair sum = two_sum(s[g].m, log.hi);
    const pair both = fast_two_sum(sum.hi, v_add(sum.lo, log.lo));
    store_results(t, g, v_select(finite, both.hi, sum.hi), m->data, m->row);
    store_results(t, g, v_select(finite, both.lo, s[g].nan), rest->data, rest->row);
  }
}

#endif
