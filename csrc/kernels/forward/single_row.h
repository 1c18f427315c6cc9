/* A short row that comes alone, the usual small call: it lies along, so that a vector has W of its classes. */
#ifndef SMC_FORWARD_SINGLE_ROW_H
#define SMC_FORWARD_SINGLE_ROW_H

#include "sums.h"

/* The sum of k exponentials that are there, in the order of a row that is packed: in every lane. */
SMC_INLINE pair sum_in_order(const real *x, const real *e, size_t k, vec m, const scaling *scale,
                             pair *peaks, const smc_sum which) {
  const vec offset = v_set1(which == SMC_TOTAL ? 4 * SMC_C(LIFTED) : 0);
  pair total = pair_of(0);
  vec count = v_set1(0), a[2], b[2];
  for (size_t i = 0, from; i < k;) {
    const size_t end = k - i < SMC_SUM_STEPS ? k : i + SMC_SUM_STEPS;
    pair sum = {offset, v_set1(0)};
    const size_t unrolled = i + (end - i) / SMC_UNROLL * SMC_UNROLL;
    for (from = i; i < unrolled; i += 2) {
      SMC_EACH(j, 2) a[j] = v_mul(v_set1(x[i + (size_t)j]), scale->unit);
      SMC_EACH(j, 2) b[j] = v_set1(e[i + (size_t)j]);
      if (which == SMC_TAIL) leave_out_peaks(a, b, m, &count, 2);
      add_two_terms(&sum, b[0], b[1], which, which == SMC_TAIL);
    }
    for (; i < end; ++i) {
      a[0] = v_mul(v_set1(x[i]), scale->unit), b[0] = v_set1(e[i]);
      if (which == SMC_TAIL) leave_out_peaks(a, b, m, &count, 1);
      add_term(&sum, b[0], which);
    }
    total = running_sum(total, (pair){v_sub(sum.hi, offset), sum.lo}, from == 0);
  }
  *peaks = (pair){count, v_set1(0)};
  return total;
}

/* The exponentials of a single row: aligned, for what is stored is soon loaded. */
SMC_INLINE panel single_row_exps(const tile *t) { return (panel){t->buffer[0], sizeof(vec)}; }

/* Of a short row that comes alone: all that there is to know of it. */
static void single_row_sums(tile *t, const wanted_sums *wanted) {
  const scaling *scale = wanted->scale;
  enter_k_block(t, 0);
  const panel x = panel_of(t, SMC_X, 0), kept = single_row_exps(t);
  const extent n = extent_of(t, 0);
  const vec m = reduce_lanes((pair){max_of(dense(x), whole(n), scale), v_set1(0)}, SMC_BY_MAX).hi;
  const shift sh = make_shift(m, scale);
  pair peaks = pair_of(0);
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
  const pair sum = wanted->which == SMC_TOTAL
                       ? sum_in_order(x.p, kept.p, t->call->k, m, scale, &peaks, SMC_TOTAL)
                       : sum_in_order(x.p, kept.p, t->call->k, m, scale, &peaks, SMC_TAIL);
  softmax_sums *s = wanted->sums; /* field by field, for a whole one is filled with zeros first */
  s->m = m, s->sh = sh, s->sum = normalized(sum), s->peaks = peaks;
  if (wanted->which == SMC_TAIL) add_ties(s, scale);
}

/* Of a single row. */
SMC_INLINE void single_row_quotients(const tile *t, const pair inverse) {
  const panel y = panel_of(t, SMC_Y, 0), kept = single_row_exps(t);
  const extent n = extent_of(t, 0);
  for (size_t i = 0; i < steps_of(n); ++i) {
    store_lanes(ahead(y, i), times_inverse(v_load(vector_at(kept, i)), inverse), lanes_at(n, i));
  }
}

#endif
