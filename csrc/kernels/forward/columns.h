/* Passes 2 and 3 over columns, four panels jammed into one loop over the classes. */
#ifndef SMC_FORWARD_COLUMNS_H
#define SMC_FORWARD_COLUMNS_H

#include "results.h"

/* Whether no argument, in so many groups, is more than x itself. */
SMC_INLINE int are_plain(const softmax_sums *s, size_t lane_blocks, const scaling *scale) {
  int general = 0;
  for (size_t g = 0; g < lane_blocks; ++g) general |= is_general(scale, &s[g].sh);
  return !general;
}

/* So many classes of columns jammed: their exponentials join the sums, and go to y if they are kept.
 * (`classes` and `jam` are constants; classes x jam <= SMC_UNROLL.) */
SMC_INLINE void terms_jammed(exp_sum *sum, const panel x, const panel y, const softmax_sums *s,
                             const scaling *scale, int keep, const int classes, const int jam,
                             const smc_sum which) {
  const int n = classes * jam;
  vec a[SMC_UNROLL], e[SMC_UNROLL];
  shift sh[SMC_UNROLL];
  load_jammed(x, a, n, jam);
  SMC_EACH(j, n) e[j] = a[j], sh[j] = s[j % jam].sh;
  exp_shifted(e, sh, 1, scale, n, 0);
  if (keep) store_jammed(y, e, n, jam);
  if (which == SMC_TAIL) {
    SMC_EACH(j, n) leave_out_peaks(&sum[j % jam], &a[j], &e[j], s[j % jam].absent, 1);
  }
  SMC_EACH(j, jam) add_terms(&sum[j], &e[j], classes, jam, which, 1);
}

/* Four columns jammed, so that lines are read in the order in which they lie in memory, and no group
 * is left over whatever the number of classes; or two columns and two classes, as a tail takes two
 * terms to a sum at a time. */
SMC_INLINE void sums_jammed(const tile *t, size_t u, const scaling *scale, int keep,
                            softmax_sums *s, const smc_sum which) {
  const int jam = which == SMC_TOTAL ? SMC_UNROLL : SMC_UNROLL / 2;
  const size_t k = k_block_classes(t);
  const prefetcher lines = prefetcher_of(t, u);
  panel x = panel_of(t, SMC_X, u), y = keep ? panel_of(t, t->op->inputs, u) : x;
  exp_sum sum[SMC_UNROLL];
  start_sums(sum, jam);
  for (size_t i = 0, begin; i < k;) {
    const size_t end = sum_block_end(i, k), paired = last_group_end(i, end);
    begin = i;
    begin_sum_blocks(sum, jam, which);
    for (; which == SMC_TAIL && i < paired; i += 2, x = ahead(x, 2), y = ahead(y, 2)) {
      terms_jammed(sum, x, y, s, scale, keep, 2, jam, which);
      SMC_EACH(c, 2) prefetch_jammed(&lines, i + (size_t)c, jam);
    }
    for (; i < end; ++i, x = ahead(x, 1), y = ahead(y, 1)) {
      terms_jammed(sum, x, y, s, scale, keep, 1, jam, which);
      prefetch_jammed(&lines, i, jam);
    }
    end_sum_blocks(sum, jam, which, begin == 0);
  }
  SMC_EACH(j, jam) join_k_block(&s[j], &sum[j], t->begin == 0);
}

static SMC_OUTLINE void totals_jammed(const tile *t, size_t panels, const scaling *scale, int keep,
                                      softmax_sums *s) {
  for (size_t u = 0; u < panels; u += SMC_UNROLL) sums_jammed(t, u, scale, keep, s + u, SMC_TOTAL);
}

static SMC_OUTLINE void tails_jammed(const tile *t, size_t panels, const scaling *scale, int keep,
                                     softmax_sums *s) {
  for (size_t u = 0; u < panels; u += SMC_UNROLL / 2) {
    sums_jammed(t, u, scale, keep, s + u, SMC_TAIL);
  }
}

/* Of so many panels of columns, jammed, in the block at hand. */
static SMC_OUTLINE void scale_jammed(const tile *t, int out, size_t panels, const pair *inverse) {
  const size_t classes = k_block_classes(t);
  for (size_t u = 0; u < panels; u += SMC_UNROLL) {
    panel y = panel_of(t, out, u);
    for (size_t i = 0; i < classes; ++i, y = ahead(y, 1)) {
      vec e[SMC_UNROLL];
      load_unrolled(dense(y), e, W, v_set1(0));
      SMC_EACH(j, SMC_UNROLL) e[j] = times_inverse(e[j], inverse[u + (size_t)j]);
      store_unrolled(dense(y), e, W, 0);
    }
  }
}

/* The same where e is computed once more: class after class, as they lie in memory. */
static SMC_OUTLINE void quotients_jammed(const tile *t, int out, size_t panels,
                                         const softmax_sums *s, const scaling *scale,
                                         const pair *inverse) {
  const size_t classes = k_block_classes(t);
  const int past = fills_lines(t, panel_of(t, out, 0), extent_of(t, 0));
  for (size_t i = 0; i < classes; ++i) {
    for (size_t u = 0; u < panels; u += SMC_UNROLL) {
      const panel x = ahead(panel_of(t, SMC_X, u), i), y = ahead(panel_of(t, out, u), i);
      vec e[SMC_UNROLL];
      shift sh[SMC_UNROLL];
      prefetch_later_class(t, x);
      load_jammed(x, e, SMC_UNROLL, SMC_UNROLL);
      SMC_EACH(j, SMC_UNROLL) sh[j] = s[u + (size_t)j].sh;
      exp_shifted(e, sh, 1, scale, SMC_UNROLL, 0);
      SMC_EACH(j, SMC_UNROLL) e[j] = times_inverse(e[j], inverse[u + (size_t)j]);
      store_unrolled(dense(y), e, W, past);
    }
  }
}

/* How many panels' quotients were taken jammed. */
static size_t divide_jammed(const tile *t, int out, const softmax_sums *s, const scaling *scale,
                            const pair *inverse, int kept) {
  const size_t u = panels_jammed(t);
  if (u == 0 || !(kept || are_plain(s, u, scale))) return 0;
  if (kept) {
    scale_jammed(t, out, u, inverse);
  } else {
    quotients_jammed(t, out, u, s, scale, inverse);
  }
  return u;
}

/* Of so many panels of columns, jammed, in the block at hand: class after class, as they lie in memory. */
static SMC_OUTLINE void logs_jammed(const tile *t, size_t panels, const pair *by,
                                    const scaling *scale) {
  const size_t classes = k_block_classes(t);
  const int past = fills_lines(t, panel_of(t, SMC_Y, 0), extent_of(t, 0));
  for (size_t i = 0; i < classes; ++i) {
    for (size_t u = 0; u < panels; u += SMC_UNROLL) {
      const panel x = ahead(panel_of(t, SMC_X, u), i), y = ahead(panel_of(t, SMC_Y, u), i);
      vec a[SMC_UNROLL];
      prefetch_later_class(t, x);
      load_unrolled(dense(x), a, W, scale->vacant);
      prefetch_later_results(y, past);
      SMC_EACH(j, SMC_UNROLL) a[j] = log_of(a[j], by[u + (size_t)j], scale, 0);
      store_unrolled(dense(y), a, W, past);
    }
  }
}

#endif
