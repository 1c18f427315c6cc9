/* A short row that comes alone, the usual small call: its maximum, exponentials and results are
 * found along it, W classes to a vector; its sum class by class, for the bits of a packed row. */
#ifndef SMC_FORWARD_SINGLE_ROW_H
#define SMC_FORWARD_SINGLE_ROW_H

#include "sums.h"

/* Add the first `count` terms e, each in all lanes, to the sum of a single row. */
SMC_INLINE void terms_in_order(exp_sum *sum, const real *x, const real *e, vec m,
                               const scaling *scale, const int count, const smc_sum which) {
  vec a[2], b[2];
  SMC_EACH(j, count) a[j] = v_mul(v_set1(x[j]), scale->unit), b[j] = v_set1(e[j]);
  if (which == SMC_TAIL) leave_out_peaks(sum, a, b, m, count);
  add_terms(sum, b, count, 1, which, which == SMC_TAIL);
}

/* The sum of k exponentials that are there, class after class as if the row were packed: in every
 * lane. */
SMC_INLINE exp_sum sum_in_order(const real *x, const real *e, size_t k, vec m, const scaling *scale,
                                const smc_sum which) {
  exp_sum sum;
  start_sums(&sum, 1);
  for (size_t i = 0, begin; i < k;) {
    const size_t end = sum_block_end(i, k), paired = last_group_end(i, end);
    begin = i;
    begin_sum_blocks(&sum, 1, which);
    for (; i < paired; i += 2) terms_in_order(&sum, x + i, e + i, m, scale, 2, which);
    for (; i < end; ++i) terms_in_order(&sum, x + i, e + i, m, scale, 1, which);
    end_sum_blocks(&sum, 1, which, begin == 0);
  }
  return sum;
}

/* Where the exponentials of a single row are kept: aligned, for what is stored is soon loaded. */
SMC_INLINE panel single_row_exps(const tile *t) { return (panel){t->buffer[0], sizeof(vec)}; }

/* Passes 1 and 2 over a single row. */
static void single_row_sums(tile *t, const wanted_sums *wanted) {
  const scaling *scale = wanted->scale;
  enter_k_block(t, 0);
  const panel x = panel_of(t, SMC_X, 0), kept = single_row_exps(t);
  const extent n = extent_of(t, 0);
  const vec m =
      reduce_lanes((pair){max_along(dense(x), whole(n), scale, NULL, 0), v_set1(0)}, SMC_BY_MAX).hi;
  const shift sh = make_shift(m, scale);
  const int general = is_general(scale, &sh);
  for (size_t i = 0; i < steps_of(n); ++i) {
    const size_t lanes = lanes_at(n, i);
    vec a = load_lanes(ahead(x, i), lanes, scale->vacant), e;
    if (general) {
      exp_unrolled(&a, &e, &sh, scale, 1, 1);
    } else {
      exp_unrolled(&a, &e, &sh, scale, 1, 0);
    }
    v_store(vector_at(kept, i), e);
  }
  const size_t k = t->call->k;
  const exp_sum sum = wanted->which == SMC_TOTAL ? sum_in_order(x.p, kept.p, k, m, scale, SMC_TOTAL)
                                                 : sum_in_order(x.p, kept.p, k, m, scale, SMC_TAIL);
  softmax_sums *s = wanted->sums; /* field by field, for a whole one is filled with zeros first */
  s->m = m, s->sh = sh, s->sum = normalized(sum.total);
  s->peaks = (pair){sum.count, v_set1(0)};
  if (wanted->which == SMC_TAIL) add_ties(s, scale);
}

/* Pass 3 over a single row: results of x, or of its exponentials. */
SMC_INLINE void single_row_results(const tile *t, const panel x, const scaling *scale,
                                   const pair by, const smc_result how) {
  const panel_results of = {.scale = scale, .by = by};
  results_along(x, dense(panel_of(t, SMC_Y, 0)), extent_of(t, 0), &of, 0, how, 0);
}

#endif
