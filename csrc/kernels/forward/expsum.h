/* The sum of the exponentials of a row: its terms, how they are added, and what is known of the row beside it. */
#ifndef SMC_FORWARD_EXPSUM_H
#define SMC_FORWARD_EXPSUM_H

#include "../exp.h"
#include "../tile.h"

typedef enum { SMC_TOTAL, SMC_TAIL } smc_sum; /* all exponentials; all but that of one maximum */

enum { SMC_X, SMC_Y }; /* operands */

/* What is known of a group of rows; but until finish_sums, entry u has of `sum` and `peaks` those of panel
 * u, lane by lane. */
typedef struct {
  vec m;      /* the maximum of unit*x */
  vec absent; /* what terms are left out of a tail: m */
  shift sh;   /* what sums are about */
  pair sum;   /* of SMC_TOTAL or SMC_TAIL */
  pair peaks; /* how many terms were left out: of a long row, more than a float can count */
  vec nan;    /* of a tail, where m is infinite: NaN if the row holds one, else 0 */
} softmax_sums;

SMC_INLINE pair pair_of_panel(const tile *t, size_t u, const pair *a) {
  return (pair){of_panel(t, u, &a->hi), of_panel(t, u, &a->lo)};
}

SMC_INLINE shift shift_of_panel(const tile *t, size_t u, const shift *s) {
  return (shift){of_panel(t, u, &s->center), of_panel(t, u, &s->peak), of_panel(t, u, &s->floor),
                 of_panel(t, u, &s->origin)};
}

/* 2^LIFT exp(x - max) of n vectors; a becomes unit*x. */
SMC_INLINE void exp_unrolled(vec *a, vec *e, const shift *sh, const scaling *scale, const int n,
                             const int general) {
  if (general) {
    SMC_EACH(j, n) a[j] = v_mul(a[j], scale->unit);
  }
  SMC_EACH(j, n) e[j] = a[j];
  exp_shifted(e, sh, 0, scale, n, general);
}

/* The whole sum starts from an offset above any term, which is at most two terms of sqrt(2) 2^LIFT each,
 * and C of the table: the rounding error of each addition is then exact in three operations
 * (fast_two_sum) instead of six. */
SMC_INLINE void add_term(pair *sum, vec e, const smc_sum which) {
  pair s = which == SMC_TOTAL ? fast_two_sum(sum->hi, e) : two_sum(sum->hi, e);
  *sum = (pair){s.hi, v_add(sum->lo, s.lo)};
}

/* Two terms to a sum: `paired`, they are added to each other first, for one more rounding and less work. */
SMC_INLINE void add_two_terms(pair *sum, vec a, vec b, const smc_sum which, int paired) {
  if (paired) {
    add_term(sum, v_add(a, b), which);
  } else {
    add_term(sum, a, which);
    add_term(sum, b, which);
  }
}

SMC_INLINE void leave_out_peaks(const vec *a, vec *e, vec m, vec *count, const int n) {
  SMC_EACH(j, n) {
    mask peak = v_eq(a[j], m);
    e[j] = v_select(peak, v_set1(0), e[j]);
    *count = v_add_if(peak, *count, v_set1(1));
  }
}

/* Those of a block, which a float counts, to all before, which it may not: these are more then. */
SMC_INLINE pair counted(pair all, vec more) {
  const pair s = fast_two_sum(all.hi, more);
  return (pair){s.hi, v_add(all.lo, s.lo)};
}

/* So many exponentials of the maximum that sums are about. */
SMC_INLINE pair exps_of_peaks(const softmax_sums *s, pair peaks, const scaling *scale) {
  const pair e = exp_of_peak(s->m, &s->sh, scale);
  const vec product = v_mul(e.hi, peaks.hi);
  const vec rest = v_fma(e.hi, peaks.lo, v_mul_err(e.hi, peaks.hi, product));
  return (pair){product, v_fma(e.lo, peaks.hi, rest)};
}

/* A tail has left out every maximum, where it should one. */
SMC_INLINE void add_ties(softmax_sums *s, const scaling *scale) {
  const mask tied = v_lt(v_set1(1), s->peaks.hi);
  if (v_count(tied) == 0) return;
  const pair ties = exps_of_peaks(s, pair_add(s->peaks, pair_of(-1)), scale);
  const pair sum = normalized(pair_add(s->sum, ties));
  s->sum = (pair){v_select(tied, sum.hi, s->sum.hi), v_select(tied, sum.lo, s->sum.lo)};
}

#endif
