/* softmax, log_softmax, logsumexp: one algorithm, three endings.
 *
 *   1. the maximum;
 *   2. the sum of the exponentials, kept for the third pass where there is room;
 *   3. each element's result.
 *
 * softmax divides by the whole sum.  The other two need log(sum) = max + log1p(S'/e_k), where S' is
 * summed without one position k of the maximum: nothing cancels (SciPy issue 19521 shows what does).
 *
 * A row of many blocks is read twice (M. Dukhan and A. Ablavatski, "The Two-Pass Softmax Algorithm",
 * 2020): sums are about the largest maximum so far and, when that rises, are multiplied by a power of two,
 * which is exact, as what is taken away from exponents is an integer.
 */
#ifndef SMC_FORWARD_FORWARD_H
#define SMC_FORWARD_FORWARD_H

#include "../log1p.h"
#include "lane_blocks.h"
#include "single_row.h"
#include "uniform.h"

/* What results are made of. */
typedef struct {
  const scaling *scale;
  const softmax_sums *sums;
  const pair *by; /* the inverse of each sum, or the maximum and log1p(S'/e_k) */
  int kept;       /* the exponentials, in the output */
} results_of;

/* Passes 1 and 2.  The exponentials go to the output, if they are to be kept, which needs a maximum that
 * is known. */
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

/* log1p(S'/e_k) */
SMC_INLINE pair log_of_sum(const softmax_sums *s, const scaling *scale) {
  pair e = exp_of_peak(s->m, &s->sh, scale);
  return log1p_of_pair(pair_quotient(s->sum, e, v_div(v_set1(1), e.hi)));
}

static void softmax_results(tile *t, const void *args) {
  const results_of *of = args;
  if (is_packed(t) && of->kept) {
    t->epilogue = (epilogue){SMC_TIMES, of->by};
    return;
  }
  size_t u = divide_jammed(t, SMC_Y, of->sums, of->scale, of->by, of->kept);
  for (; u < t->panels; ++u) {
    const panel x = panel_of(t, SMC_X, u), y = panel_of(t, SMC_Y, u);
    const extent n = extent_of(t, u);
    const size_t g = lane_block_of(t, u);
    const pair factor = pair_of_panel(t, u, &of->by[g]);
    if (of->kept) {
      scale_panel(t, y, n, factor);
    } else {
      const shift sh = shift_of_panel(t, u, &of->sums[g].sh);
      quotient_panel(t, u, x, y, n, &sh, of->scale, factor);
    }
  }
}

static void log_softmax_results(tile *t, const void *args) {
  const results_of *of = args;
  if (is_packed(t) && !of->scale->active) {
    t->epilogue = (epilogue){SMC_LESS, of->by};
    return;
  }
  size_t u = of->scale->active ? 0 : panels_jammed(t);
  if (u > 0) logs_jammed(t, u, of->by, of->scale);
  for (; u < t->panels; ++u) {
    const pair by = pair_of_panel(t, u, &of->by[lane_block_of(t, u)]);
    if (t->plan.online) prefetch_panel(t, u, steps_of(extent_of(t, u)));
    log_panel(t, panel_of(t, SMC_X, u), panel_of(t, SMC_Y, u), extent_of(t, u), by, of->scale);
  }
}

/* operands: x; y, of x's shape, unless only the logsumexp is wanted */
static void softmax_tile(tile *t) {
  if (t->call->scale == 0) {
    uniform_tile(t, pair_value(inverse_of(count_of(t->call->k))));
    return;
  }
  const scaling scale = scaling_by(t->call->scale, is_across(t));
  const int keep = !t->plan.online;
  if (is_lane_block(t) && softmax_of_lane_block(t, &scale)) return;
  softmax_sums *s = reserve(t, t->panels * sizeof *s);
  sums_of_exp(t, &scale, SMC_TOTAL, keep, s);
  if (is_single_row(t)) {
    single_row_quotients(t, inverse_of(s[0].sum));
    return;
  }
  pair *inverse = reserve(t, t->panels * sizeof *inverse);
  for (size_t g = 0; g < lane_blocks_of(t); ++g) inverse[g] = inverse_of(s[g].sum);
  for_results(t, softmax_results, &(results_of){&scale, s, .by = inverse, .kept = keep});
}

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
  for_results(t, log_softmax_results, &(results_of){&scale, s, .by = by});
}

/* log(sum) without the maximum, or what makes a result of an infinite one. */
SMC_INLINE pair excess_of(const softmax_sums *s, const scaling *scale, mask finite) {
  const pair log = log_of_sum(s, scale);
  return (pair){v_select(finite, log.hi, s->nan), log.lo};
}

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

/* The same as a pair: rounded, and what rounding took from it. */
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
