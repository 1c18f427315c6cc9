/* Pass 2 over one panel: the sum of its exponentials. */
#ifndef SMC_FORWARD_ROWS_H
#define SMC_FORWARD_ROWS_H

#include "../prefetch.h"
#include "expsum.h"

/* The vectors that may hold what a tail leaves out. */
typedef struct {
  size_t first, count;
} peak_range;

/* Of a panel whose maximum's place was found: so that not every vector has to be compared with what is absent.
 * Where there is none of it, an empty range. */
SMC_INLINE peak_range range_of_peak(const tile *t, size_t u, vec absent) {
  if (is_across(t) || u >= t->known) return (peak_range){0, (size_t)-1};
  const vec place = v_select(v_eq(t->maxima[u], absent), t->places[u], v_set1(-SMC_UNROLL));
  const vec last = reduce_lanes((pair){place, place}, SMC_BY_MAX).hi;
  return (peak_range){(size_t)(ptrdiff_t)real_at(&last), SMC_UNROLL};
}

/* What the terms of a panel are, and what is fetched while they are summed. */
typedef struct {
  const shift *sh;
  const scaling *scale;
  vec absent;       /* from a tail, */
  peak_range range; /* in those vectors */
  prefetcher lines;
} panel_terms;

/* The sum of 2^LIFT exp(x - max), which go to y unless that is nowhere.  How many terms a tail leaves out, is
 * added to `peaks`. */
SMC_INLINE pair sum_of_terms(panel x, panel y, const extent n, const panel_terms *of, pair *peaks,
                             const smc_sum which, int paired, const int general) {
  const scaling *scale = of->scale;
  const shift *sh = of->sh;
  const peak_range range = of->range;
  const vec m = of->absent;
  const vec zero = v_set1(0);
  const vec offset = v_set1(which == SMC_TOTAL ? 4 * SMC_C(LIFTED) : 0);
  const int keep = y.p != NULL, together = general ? 2 : SMC_UNROLL; /* rare: so it is short */
  pair total = pair_of(0);
  vec count = zero, a[SMC_UNROLL], e[SMC_UNROLL];
  for (size_t i = 0, from; i < steps_of(n);) {
    const size_t end = steps_of(n) - i < SMC_SUM_STEPS ? steps_of(n) : i + SMC_SUM_STEPS;
    const size_t unrolled = end < n.count ? end : n.count;
    pair sum = {offset, zero};
    from = i;
    for (; i + SMC_UNROLL <= unrolled; i += SMC_UNROLL) {
      for (int h = 0; h < SMC_UNROLL; h += together) {
        SMC_EACH(j, together) a[j] = load_lanes(ahead(x, (size_t)j), n.lanes, scale->vacant);
        exp_unrolled(a, e, sh, scale, together, general);
        if (keep) {
          SMC_EACH(j, together) store_lanes(ahead(y, (size_t)j), e[j], n.lanes);
        }
        if (which == SMC_TAIL && i - range.first < range.count)
          leave_out_peaks(a, e, m, &count, together);
        add_two_terms(&sum, e[0], e[1], which, paired);
        if (!general) add_two_terms(&sum, e[2], e[3], which, paired);
        x = ahead(x, (size_t)together), y = ahead(y, (size_t)together);
      }
      if (!general) prefetch_vectors(&of->lines, i, SMC_UNROLL);
    }
    if (!general) prefetch_vectors(&of->lines, i, end - i);
    for (; i < end; ++i, x = ahead(x, 1), y = ahead(y, 1)) {
      const size_t lanes = lanes_at(n, i);
      a[0] = load_lanes(x, lanes, scale->vacant);
      exp_unrolled(a, e, sh, scale, 1, general);
      if (keep) store_lanes(y, e[0], lanes);
      if (which == SMC_TAIL && i - range.first < range.count) leave_out_peaks(a, e, m, &count, 1);
      add_term(&sum, e[0], which);
    }
    total = running_sum(total, (pair){v_sub(sum.hi, offset), sum.lo}, from == 0);
  }
  *peaks = counted(*peaks, count);
  return total;
}

SMC_INLINE pair sum_of_panel(const tile *t, size_t u, const panel x, const panel y, const extent n,
                             panel_terms of, pair *peaks, const smc_sum which, int paired) {
  of.lines = prefetcher_of(t, u);
  if (is_dense(x, n) && is_dense(y, n)) {
    return sum_of_terms(dense(x), dense(y), whole(n), &of, peaks, which, paired, 0);
  }
  return sum_of_terms(x, y, n, &of, peaks, which, paired, 0);
}

#endif
