/* Sums of exponentials: their terms, the order in which these are added, and what is known of a row
 * beside its sum. */
#ifndef SMC_FORWARD_EXPSUM_H
#define SMC_FORWARD_EXPSUM_H

#include "../exp.h"
#include "../tile.h"

/* The sum of all exponentials of a row, or of all but that of one maximum. */
typedef enum { SMC_TOTAL, SMC_TAIL } smc_sum;

enum { SMC_X, SMC_Y }; /* operands of softmax, log_softmax, logsumexp */

/* What is known of the rows of a lane block.  Until finish_sums, `sum` and `peaks` of entry u are
 * those of panel u, lane by lane. */
typedef struct {
  vec m;      /* the maximum of unit*x */
  vec absent; /* the value of x whose terms are left out of a tail: m */
  shift sh;   /* about which exponentials are computed */
  pair sum;   /* of SMC_TOTAL or SMC_TAIL */
  pair peaks; /* how many terms were left out: more than a float can count, if a row is long */
  vec nan;    /* with a tail, where m is infinite: NaN if the row holds one, else 0 */
} softmax_sums;

/* The pair, or the shift, that a pass over panel u needs, from those of its lane block. */
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

/* The accumulator of a sum of exponentials.  Its order of additions is that of every way to go
 * through a row (along, in columns, packed, alone, in lane blocks), so that a row's bits are the
 * same in all:
 *
 *   - a block of SMC_SUM_STEPS vectors of terms is added up by itself, with the rounding errors of
 *     all additions in a second sum; block after block joins the total by running_sum;
 *   - a block of the whole sum starts from an offset above any term, which is at most two terms of
 *     sqrt(2) 2^LIFT each, and C of the table: the rounding error of each addition is then exact
 *     in three operations (fast_two_sum) instead of six;
 *   - where terms are paired, two neighbours of each group of SMC_UNROLL vectors are added to each
 *     other first, for one more rounding and less work; what is left of a block goes one by one;
 *   - a tail leaves out the terms of the maximum, and counts them. */
typedef struct {
  pair block; /* terms of the block at hand, and the offset */
  pair total; /* of the blocks before */
  vec count;  /* of terms left out in the k-block at hand, which a float can count */
} exp_sum;

/* Start n sums: one, or those of n panels jammed.  (n is a constant.) */
SMC_INLINE void start_sums(exp_sum *sums, const int n) {
  SMC_EACH(j, n) sums[j].total.hi = sums[j].total.lo = sums[j].count = v_set1(0);
}

/* Where a block of a sum starts from. */
SMC_INLINE vec offset_of(const smc_sum which) {
  return v_set1(which == SMC_TOTAL ? 4 * SMC_C(LIFTED) : 0);
}

/* Where the block that begins with vector i of n ends; and where its last group of SMC_UNROLL
 * vectors does. */
SMC_INLINE size_t sum_block_end(size_t i, size_t n) {
  return n - i < SMC_SUM_STEPS ? n : i + SMC_SUM_STEPS;
}

SMC_INLINE size_t last_group_end(size_t i, size_t end) {
  return i + (end - i) / SMC_UNROLL * SMC_UNROLL;
}

/* Begin a block of n sums. */
SMC_INLINE void begin_sum_blocks(exp_sum *sums, const int n, const smc_sum which) {
  SMC_EACH(j, n) sums[j].block.hi = offset_of(which), sums[j].block.lo = v_set1(0);
}

/* Add a term to a sum, and the rounding error of that addition to the sum of such errors. */
SMC_INLINE void add_term(pair *sum, vec e, const smc_sum which) {
  const pair s = which == SMC_TOTAL ? fast_two_sum(sum->hi, e) : two_sum(sum->hi, e);
  *sum = (pair){s.hi, v_add(sum->lo, s.lo)};
}

/* Add two terms to a sum: their sum, if they are paired, or one after the other. */
SMC_INLINE void add_two_terms(pair *sum, vec a, vec b, const smc_sum which, int paired) {
  if (paired) {
    add_term(sum, v_add(a, b), which);
  } else {
    add_term(sum, a, which);
    add_term(sum, b, which);
  }
}

/* Add n terms to the block at hand: e[0], e[apart], ...  (n, which is 1, 2 or 4, and apart are
 * constants.) */
SMC_INLINE void add_terms(exp_sum *sum, const vec *e, const int n, const int apart,
                          const smc_sum which, int paired) {
  if (n == 1) add_term(&sum->block, e[0], which);
  if (n >= 2) add_two_terms(&sum->block, e[0], e[apart], which, paired);
  if (n == 4) add_two_terms(&sum->block, e[2 * apart], e[3 * apart], which, paired);
}

/* Leave n terms e out of a tail, where their arguments a equal `absent`: they become 0, and are
 * counted. */
SMC_INLINE void leave_out_peaks(exp_sum *sum, const vec *a, vec *e, vec absent, const int n) {
  SMC_EACH(j, n) {
    const mask peak = v_eq(a[j], absent);
    e[j] = v_select(peak, v_set1(0), e[j]);
    sum->count = v_add_if(peak, sum->count, v_set1(1));
  }
}

/* End a block of n sums: it joins the totals, or is them, if it is the first.  (That is asked once
 * for all: GCC keeps the sums in memory if the loop over them has a branch.) */
SMC_INLINE void end_sum_blocks(exp_sum *sums, const int n, const smc_sum which, int first) {
  SMC_EACH(j, n) sums[j].block.hi = v_sub(sums[j].block.hi, offset_of(which));
  if (first) {
    SMC_EACH(j, n) sums[j].total = sums[j].block;
  } else {
    SMC_EACH(j, n) sums[j].total = running_sum(sums[j].total, sums[j].block, 0);
  }
}

/* What a k-block adds to the sums of a panel: its terms, and how many peaks it left out.  A float
 * counts those of a k-block, but not those of all before, which are more where they are inexact.
 * first: the k-block is the row's first. */
SMC_INLINE void join_k_block(softmax_sums *s, const exp_sum *sum, int first) {
  const pair peaks = fast_two_sum(s->peaks.hi, sum->count);
  s->peaks = (pair){peaks.hi, v_add(s->peaks.lo, peaks.lo)};
  s->sum = running_sum(s->sum, sum->total, first);
}

/* The sum of so many exponentials of the maximum. */
SMC_INLINE pair exps_of_peaks(const softmax_sums *s, pair peaks, const scaling *scale) {
  const pair e = exp_of_peak(s->m, &s->sh, scale);
  const vec product = v_mul(e.hi, peaks.hi);
  const vec rest = v_fma(e.hi, peaks.lo, v_mul_err(e.hi, peaks.hi, product));
  return (pair){product, v_fma(e.lo, peaks.hi, rest)};
}

/* Add to a tail all but one of the terms that it left out, for it should leave out one. */
SMC_INLINE void add_ties(softmax_sums *s, const scaling *scale) {
  const mask tied = v_lt(v_set1(1), s->peaks.hi);
  if (v_count(tied) == 0) return;
  const pair ties = exps_of_peaks(s, pair_add(s->peaks, pair_of(-1)), scale);
  const pair sum = normalized(pair_add(s->sum, ties));
  s->sum = (pair){v_select(tied, sum.hi, s->sum.hi), v_select(tied, sum.lo, s->sum.lo)};
}

#endif
