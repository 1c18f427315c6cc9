/* Passes 2 and 3 over one panel: the sum of its exponentials, and its results. */
#ifndef SMC_FORWARD_ROWS_H
#define SMC_FORWARD_ROWS_H

#include "../prefetch.h"
#include "elements.h"

/* The vectors of a panel that may hold what a tail leaves out. */
typedef struct {
  size_t first, count;
} peak_range;

/* The range of a panel whose maximum's place was found, so that not every vector has to be
 * compared; all vectors of others, and none where the panel does not hold what is absent. */
SMC_INLINE peak_range range_of_peak(const tile *t, size_t u, vec absent) {
  if (is_across(t) || u >= t->known) return (peak_range){0, (size_t)-1};
  const vec place = v_select(v_eq(t->maxima[u], absent), t->places[u], v_set1(-SMC_UNROLL));
  const vec last = reduce_lanes((pair){place, place}, SMC_BY_MAX).hi;
  return (peak_range){(size_t)(ptrdiff_t)real_at(&last), SMC_UNROLL};
}

/* What the terms of a panel are, the sums that they join, and what is fetched meanwhile. */
typedef struct {
  softmax_sums *sums;
  int first; /* whether the k-block is the row's first */
  shift sh;
  const scaling *scale;
  int keep;         /* the exponentials, in y */
  vec absent;       /* from a tail, */
  peak_range range; /* in those vectors */
  prefetcher lines;
} panel_terms;

/* Vectors i to i + count - 1 of a panel, count a constant: their exponentials, 2^LIFT exp(x - max),
 * join the sum, and go to y if they are kept. */
SMC_INLINE void terms_along(exp_sum *sum, const panel x, const panel y, size_t lanes,
                            const panel_terms *of, size_t i, const int count, const smc_sum which,
                            int paired, const int general) {
  vec a[SMC_UNROLL], e[SMC_UNROLL];
  SMC_EACH(j, count) a[j] = load_lanes(ahead(x, (size_t)j), lanes, of->scale->vacant);
  exp_unrolled(a, e, &of->sh, of->scale, count, general);
  if (of->keep) {
    SMC_EACH(j, count) store_lanes(ahead(y, (size_t)j), e[j], lanes);
  }
  if (which == SMC_TAIL && i - of->range.first < of->range.count) {
    leave_out_peaks(sum, a, e, of->absent, count);
  }
  add_terms(sum, e, count, 1, which, paired);
}

/* The exponentials of a panel in the k-block at hand join its sums. */
SMC_INLINE void sum_along(panel x, panel y, const extent n, const panel_terms *all,
                          const smc_sum which, int paired, const int general) {
  const panel_terms own = *all, *const of = &own; /* so that it stays in registers */
  const size_t steps = steps_of(n);
  exp_sum sum;
  start_sums(&sum, 1);
  for (size_t i = 0, begin; i < steps;) {
    const size_t end = sum_block_end(i, steps), unrolled = end < n.count ? end : n.count;
    begin = i;
    begin_sum_blocks(&sum, 1, which);
    for (; i + SMC_UNROLL <= unrolled; i += SMC_UNROLL) {
      terms_along(&sum, x, y, n.lanes, of, i, SMC_UNROLL, which, paired, general);
      prefetch_vectors(&of->lines, i, SMC_UNROLL);
      x = ahead(x, SMC_UNROLL), y = ahead(y, SMC_UNROLL);
    }
    prefetch_vectors(&of->lines, i, end - i);
    for (; i < end; ++i, x = ahead(x, 1), y = ahead(y, 1)) {
      terms_along(&sum, x, y, lanes_at(n, i), of, i, 1, which, paired, general);
    }
    end_sum_blocks(&sum, 1, which, begin == 0);
  }
  join_k_block(of->sums, &sum, of->first);
}

/* sum_along in an instance for vectors that lie side by side and one for all others. */
SMC_INLINE void sum_of_panel(const panel x, const panel y, const extent n, const panel_terms *of,
                             const smc_sum which, int paired) {
  if (is_dense(x, n) && is_dense(y, n)) {
    sum_along(dense(x), dense(y), whole(n), of, which, paired, 0);
  } else {
    sum_along(x, y, n, of, which, paired, 0);
  }
}

/* What the results of a panel are made of, and what is fetched meanwhile. */
typedef struct {
  const scaling *scale;
  shift sh;
  pair by;
  prefetcher lines;
} panel_results;

/* The results y of a panel of x, or of kept exponentials; past: stored non-temporally. */
SMC_INLINE void results_along(panel x, panel y, const extent n, const panel_results *of, int past,
                              const smc_result how, const int general) {
  const vec vacant = of->scale->vacant;
  vec a[SMC_UNROLL];
  size_t i = 0;
  for (; i + SMC_UNROLL <= n.count; i += SMC_UNROLL) {
    load_unrolled(x, a, n.lanes, vacant);
    make_results(a, SMC_UNROLL, &of->sh, &of->by, 0, of->scale, how, general);
    store_unrolled(y, a, n.lanes, past);
    if (how == SMC_QUOTIENT) prefetch_vectors(&of->lines, i, SMC_UNROLL);
    x = ahead(x, SMC_UNROLL), y = ahead(y, SMC_UNROLL);
  }
  for (; i < steps_of(n); ++i, x = ahead(x, 1), y = ahead(y, 1)) {
    const size_t lanes = lanes_at(n, i);
    a[0] = load_lanes(x, lanes, vacant);
    make_results(a, 1, &of->sh, &of->by, 0, of->scale, how, general);
    store_lanes(y, a[0], lanes);
  }
}

/* The results of a panel.  Those of a long one are aligned first, so that no store is into two
 * lines.  There is an instance for vectors that lie side by side and one for all others. */
SMC_INLINE void results_from_line(const tile *t, panel x, panel y, extent n,
                                  const panel_results *of, const smc_result how,
                                  const int general) {
  for (size_t head; (head = lanes_to_line(t, y, n)) > 0; n = without(n, head)) {
    vec a = v_load(x.p);
    make_results(&a, 1, &of->sh, &of->by, 0, of->scale, how, general);
    store_lanes(y, a, head);
    x.p += head, y.p += head;
  }
  const int past = fills_lines(t, y, n);
  if (is_dense(x, n) && is_dense(y, n)) {
    results_along(dense(x), dense(y), whole(n), of, past, how, general);
  } else {
    results_along(x, y, n, of, past, how, general);
  }
}

#endif
