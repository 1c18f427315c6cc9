/* Passes 2 and 3 over columns: SMC_UNROLL panels jammed into one loop over the classes. */
#ifndef SMC_FORWARD_COLUMNS_H
#define SMC_FORWARD_COLUMNS_H

#include "../prefetch.h"
#include "elements.h"

/* Whether the argument of every exponential, in so many lane blocks, is x itself: neither scaled
 * nor centered. */
SMC_INLINE int are_plain(const softmax_sums *s, size_t lane_blocks, const scaling *scale) {
  int general = 0;
  for (size_t g = 0; g < lane_blocks; ++g) general |= is_general(scale, &s[g].sh);
  return !general;
}

/* So many classes of columns jammed: their exponentials join the sums, and go to y if they are
 * kept.  (`classes` and `jam` are constants; classes x jam <= SMC_UNROLL.) */
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

/* Four columns jammed, so that lines are read in the order in which they lie in memory, and no
 * group is left over whatever the number of classes; or two columns and two classes, as a tail
 * takes two terms to a sum at a time. */
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

/* The results of one class of SMC_UNROLL panels of columns, from panel u on. */
SMC_INLINE void results_of_class(const tile *t, const panel x, const panel y, size_t u,
                                 const wanted_results *of, int past, const smc_result how) {
  vec a[SMC_UNROLL];
  shift sh[SMC_UNROLL];
  if (how != SMC_SCALED) prefetch_later_class(t, x);
  load_jammed(x, a, SMC_UNROLL, SMC_UNROLL);
  if (how == SMC_LOGARITHM) prefetch_later_results(y, past);
  if (how == SMC_QUOTIENT) {
    SMC_EACH(j, SMC_UNROLL) sh[j] = of->sums[u + (size_t)j].sh;
  }
  make_results(a, SMC_UNROLL, sh, &of->by[u], 1, of->scale, how, 0);
  store_unrolled(dense(y), a, W, past);
}

/* The results of so many panels of columns: class after class, as they lie in memory; but of
 * exponentials, which are in a cache, SMC_UNROLL panels after others.  (What is stored may be, for
 * all that a compiler knows, a part of the tile: so that is looked at before.) */
SMC_INLINE void results_jammed(const tile *t, int out, size_t panels, const wanted_results *all,
                               const smc_result how) {
  const wanted_results of = *all;
  const size_t classes = k_block_classes(t), strip = how == SMC_SCALED ? SMC_UNROLL : panels;
  const panel first_y = panel_of(t, out, 0), first_x = panel_of(t, SMC_X, 0);
  const panel from = how == SMC_SCALED ? first_y : first_x;
  const int past = how != SMC_SCALED && fills_lines(t, first_y, extent_of(t, 0));
  for (size_t first = 0; first < panels; first += strip) {
    panel x = beside(from, first), y = beside(first_y, first);
    for (size_t i = 0; i < classes; ++i, x = ahead(x, 1), y = ahead(y, 1)) {
      for (size_t u = 0; u < strip; u += SMC_UNROLL) {
        results_of_class(t, beside(x, u), beside(y, u), first + u, &of, past, how);
      }
    }
  }
}

/* How many panels' results were made jammed: none where arguments are more than x itself. */
static SMC_OUTLINE size_t results_of_columns(const tile *t, int out, const wanted_results *of,
                                             smc_result how) {
  const size_t panels = panels_jammed(t);
  if (panels == 0 || how == SMC_SCALED_LOGARITHM) return 0;
  if (how == SMC_QUOTIENT && !are_plain(of->sums, panels, of->scale)) return 0;
  switch (how) {
  case SMC_SCALED: results_jammed(t, out, panels, of, SMC_SCALED); break;
  case SMC_QUOTIENT: results_jammed(t, out, panels, of, SMC_QUOTIENT); break;
  default: results_jammed(t, out, panels, of, SMC_LOGARITHM);
  }
  return panels;
}

#endif
