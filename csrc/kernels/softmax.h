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
#ifndef SMC_SOFTMAX_H
#define SMC_SOFTMAX_H

#include "log1p.h"
#include "tile.h"

typedef enum { SMC_TOTAL, SMC_TAIL } smc_sum; /* all exponentials; all but that of one maximum */
enum { SMC_X, SMC_Y };                        /* operands */

/* ---- pass 1: the maximum of unit*x, lane by lane ------------------------------------------------- */

SMC_INLINE vec max_of(strand x, const extent n, const scaling *scale) {
  const vec unit = scale->unit;
  vec m[SMC_GROUP], a[SMC_GROUP];
  size_t i = 0;
  SMC_EACH(j, SMC_GROUP) m[j] = v_set1((real)-INFINITY);
  for (; i + SMC_GROUP <= n.count; i += SMC_GROUP, x = ahead(x, SMC_GROUP)) {
    load_group(x, a, n.lanes, scale->vacant);
    SMC_EACH(j, SMC_GROUP) m[j] = v_max(m[j], v_mul(a[j], unit));
  }
  for (; i < steps_of(n); ++i, x = ahead(x, 1)) {
    m[0] = v_max(m[0], v_mul(load_lanes(x, lanes_at(n, i), scale->vacant), unit));
  }
  return max_of_four(m);
}

SMC_INLINE vec max_of_strand(const strand x, const extent n, const scaling *scale) {
  if (is_dense(x, n)) return max_of(dense(x), whole(n), scale);
  return max_of(x, n, scale);
}

/* The same of a row along, and in which vector, or group of vectors from that one on, it was first found. */
SMC_INLINE vec max_and_place(strand x, const extent n, const scaling *scale, vec *place) {
  vec m = v_set1((real)-INFINITY), a[SMC_GROUP];
  *place = v_set1(0);
  for (size_t i = 0, next; i < steps_of(n); i += next, x = ahead(x, next)) {
    next = i + SMC_GROUP <= n.count ? SMC_GROUP : 1;
    if (next == 1) {
      a[0] = v_mul(load_lanes(x, lanes_at(n, i), scale->vacant), scale->unit);
    } else {
      load_group(x, a, W, scale->vacant);
      SMC_EACH(j, SMC_GROUP) a[j] = v_mul(a[j], scale->unit);
      a[0] = max_of_four(a);
    }
    *place = v_select(v_lt(m, a[0]), v_set1((real)i), *place);
    m = v_max(m, a[0]);
  }
  return m;
}

/* Whether what a tail leaves out of a strand is worth finding before: of a row along that is not short. */
SMC_INLINE int is_place_sought(const tile *t, const extent n, const smc_sum which) {
  return which == SMC_TAIL && !is_across(t) && n.count >= SMC_SOUGHT_MIN;
}

/* Of so many strands of columns, abreast, in the block at hand: of each class SMC_GROUP vectors, which are dense. */
static SMC_OUTLINE void max_abreast(const tile *t, size_t strands, const scaling *scale, vec *m) {
  const size_t classes = block_classes(t);
  for (size_t u = 0; u < strands; u += SMC_GROUP) {
    strand x = strand_of(t, SMC_X, u);
    vec most[SMC_GROUP], a[SMC_GROUP];
    SMC_EACH(j, SMC_GROUP) most[j] = m[u + (size_t)j];
    for (size_t i = 0; i < classes; ++i, x = ahead(x, 1)) {
      load_group(dense(x), a, W, scale->vacant);
      SMC_EACH(j, SMC_GROUP) most[j] = v_max(most[j], v_mul(a[j], scale->unit));
    }
    SMC_EACH(j, SMC_GROUP) m[u + (size_t)j] = most[j];
  }
}

/* ---- pass 2: sums of exponentials ------------------------------------------------------------------ */

/* 2^LIFT exp(x - max) of n vectors; a becomes unit*x. */
SMC_INLINE void exp_group(vec *a, vec *e, const shift *sh, const scaling *scale, const int n,
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

/* The vectors that may hold what a tail leaves out. */
typedef struct {
  size_t first, count;
} peak_range;

/* Of a strand whose maximum's place was found: so that not every vector has to be compared with what is absent.
 * Where there is none of it, an empty range. */
SMC_INLINE peak_range range_of_peak(const tile *t, size_t u, vec absent) {
  if (is_across(t) || u >= t->known) return (peak_range){0, (size_t)-1};
  const vec place = v_select(v_eq(t->maxima[u], absent), t->places[u], v_set1(-SMC_GROUP));
  const vec last = reduce_lanes((pair){place, place}, SMC_BY_MAX).hi;
  return (peak_range){(size_t)(ptrdiff_t)real_at(&last), SMC_GROUP};
}

/* What the terms of a strand are, and what is fetched while they are summed. */
typedef struct {
  const shift *sh;
  const scaling *scale;
  vec absent;       /* from a tail, */
  peak_range range; /* in those vectors */
  lines_ahead lines;
} strand_terms;

/* The sum of 2^LIFT exp(x - max), which go to y unless that is nowhere.  How many terms a tail leaves out, is
 * added to `peaks`. */
SMC_INLINE pair sum_of_terms(strand x, strand y, const extent n, const strand_terms *of,
                             pair *peaks, const smc_sum which, int paired, const int general) {
  const scaling *scale = of->scale;
  const shift *sh = of->sh;
  const peak_range range = of->range;
  const vec m = of->absent;
  const vec zero = v_set1(0);
  const vec offset = v_set1(which == SMC_TOTAL ? 4 * SMC_C(LIFTED) : 0);
  const int keep = y.p != NULL, together = general ? 2 : SMC_GROUP; /* rare: so it is short */
  pair total = pair_of(0);
  vec count = zero, a[SMC_GROUP], e[SMC_GROUP];
  for (size_t i = 0, from; i < steps_of(n);) {
    const size_t end = steps_of(n) - i < SMC_SUM_STEPS ? steps_of(n) : i + SMC_SUM_STEPS;
    const size_t grouped = end < n.count ? end : n.count;
    pair sum = {offset, zero};
    from = i;
    for (; i + SMC_GROUP <= grouped; i += SMC_GROUP) {
      for (int h = 0; h < SMC_GROUP; h += together) {
        SMC_EACH(j, together) a[j] = load_lanes(ahead(x, (size_t)j), n.lanes, scale->vacant);
        exp_group(a, e, sh, scale, together, general);
        if (keep) {
          SMC_EACH(j, together) store_lanes(ahead(y, (size_t)j), e[j], n.lanes);
        }
        if (which == SMC_TAIL && i - range.first < range.count)
          leave_out_peaks(a, e, m, &count, together);
        add_two_terms(&sum, e[0], e[1], which, paired);
        if (!general) add_two_terms(&sum, e[2], e[3], which, paired);
        x = ahead(x, (size_t)together), y = ahead(y, (size_t)together);
      }
      if (!general) fetch_lines(&of->lines, i, SMC_GROUP);
    }
    if (!general) fetch_lines(&of->lines, i, end - i);
    for (; i < end; ++i, x = ahead(x, 1), y = ahead(y, 1)) {
      const size_t lanes = lanes_at(n, i);
      a[0] = load_lanes(x, lanes, scale->vacant);
      exp_group(a, e, sh, scale, 1, general);
      if (keep) store_lanes(y, e[0], lanes);
      if (which == SMC_TAIL && i - range.first < range.count) leave_out_peaks(a, e, m, &count, 1);
      add_term(&sum, e[0], which);
    }
    total = running_sum(total, (pair){v_sub(sum.hi, offset), sum.lo}, from == 0);
  }
  *peaks = counted(*peaks, count);
  return total;
}

SMC_INLINE pair sum_of_strand(const tile *t, size_t u, const strand x, const strand y,
                              const extent n, strand_terms of, pair *peaks, const smc_sum which,
                              int paired) {
  of.lines = lines_of(t, u);
  if (is_dense(x, n) && is_dense(y, n)) {
    return sum_of_terms(dense(x), dense(y), whole(n), &of, peaks, which, paired, 0);
  }
  return sum_of_terms(x, y, n, &of, peaks, which, paired, 0);
}

/* What is known of a group of rows; but until finish_sums, entry u has of `sum` and `peaks` those of strand
 * u, lane by lane. */
typedef struct {
  vec m;      /* the maximum of unit*x */
  vec absent; /* what terms are left out of a tail: m */
  shift sh;   /* what sums are about */
  pair sum;   /* of SMC_TOTAL or SMC_TAIL */
  pair peaks; /* how many terms were left out: of a long row, more than a float can count */
  vec nan;    /* of a tail, where m is infinite: NaN if the row holds one, else 0 */
} softmax_sums;

/* The maxima, in the block at hand, of each lane; and their places, if a tail will leave them out. */
static void find_maxima(tile *t, const scaling *scale, vec *m, smc_sum which) {
  const size_t known = is_packed(t) && !scale->active ? t->known : 0;
  size_t u = strands_abreast(t);
  if (u > 0) max_abreast(t, u, scale, m);
  for (; u < known; ++u) m[u] = v_max(m[u], t->maxima[u]);
  for (; u < t->strands; ++u) {
    const strand x = strand_of(t, SMC_X, u);
    const extent n = extent_of(t, u);
    vec most;
    if (is_place_sought(t, n, which)) {
      most = t->maxima[u] = max_and_place(W > 1 ? dense(x) : x, n, scale, &t->places[u]);
      t->known = u + 1;
    } else {
      most = max_of_strand(x, n, scale);
    }
    m[u] = v_max(m[u], most);
  }
}

SMC_INLINE pair pair_of_strand(const tile *t, size_t u, const pair *a) {
  return (pair){of_strand(t, u, &a->hi), of_strand(t, u, &a->lo)};
}

SMC_INLINE shift shift_of_strand(const tile *t, size_t u, const shift *s) {
  return (shift){of_strand(t, u, &s->center), of_strand(t, u, &s->peak), of_strand(t, u, &s->floor),
                 of_strand(t, u, &s->origin)};
}

/* Whether no argument, in so many groups, is more than x itself. */
SMC_INLINE int are_plain(const softmax_sums *s, size_t groups, const scaling *scale) {
  int general = 0;
  for (size_t g = 0; g < groups; ++g) general |= is_general(scale, &s[g].sh);
  return !general;
}

/* The terms of so many classes of columns abreast, which go to y if they are to be kept. */
SMC_INLINE void terms_abreast(const strand x, const strand y, const softmax_sums *s,
                              const scaling *scale, vec *e, vec *peaks, int keep, const int classes,
                              const int abreast, const smc_sum which) {
  const int n = classes * abreast;
  vec a[SMC_GROUP];
  shift sh[SMC_GROUP];
  load_abreast(x, a, n, abreast);
  SMC_EACH(j, n) e[j] = a[j], sh[j] = s[j % abreast].sh;
  exp_shifted(e, sh, 1, scale, n, 0);
  if (keep) store_abreast(y, e, n, abreast);
  if (which == SMC_TOTAL) return;
  SMC_EACH(j, n) { leave_out_peaks(&a[j], &e[j], s[j % abreast].absent, &peaks[j % abreast], 1); }
}

/* Four columns abreast, so that lines are read in the order in which they lie in memory, and no group is left
 * over whatever the number of classes; or two and two classes, as a tail takes two terms to a sum at a time.  The
 * order is that of sum_of_terms, as beside these strands there may be one that is not whole. */
SMC_INLINE void sums_abreast(const tile *t, size_t u, const scaling *scale, int keep,
                             softmax_sums *s, const smc_sum which) {
  const int abreast = which == SMC_TOTAL ? SMC_GROUP : SMC_GROUP / 2;
  const vec offset = v_set1(which == SMC_TOTAL ? 4 * SMC_C(LIFTED) : 0);
  const size_t k = block_classes(t);
  const lines_ahead lines = lines_of(t, u);
  strand x = strand_of(t, SMC_X, u), y = keep ? strand_of(t, t->of->inputs, u) : x;
  vec peaks[SMC_GROUP], e[SMC_GROUP];
  pair total[SMC_GROUP];
  SMC_EACH(j, abreast) peaks[j] = v_set1(0), total[j] = pair_of(0);
  for (size_t i = 0, from; i < k;) {
    const size_t end = k - i < SMC_SUM_STEPS ? k : i + SMC_SUM_STEPS;
    const size_t paired = which == SMC_TAIL ? i + (end - i) / SMC_GROUP * SMC_GROUP : i;
    pair sum[SMC_GROUP];
    SMC_EACH(j, abreast) sum[j] = (pair){offset, v_set1(0)};
    for (from = i; i < paired; i += 2, x = ahead(x, 2), y = ahead(y, 2)) {
      terms_abreast(x, y, s, scale, e, peaks, keep, 2, abreast, which);
      SMC_EACH(j, abreast) add_two_terms(&sum[j], e[j], e[j + abreast], which, 1);
      SMC_EACH(c, 2) fetch_abreast(&lines, i + (size_t)c, abreast);
    }
    for (; i < end; ++i, x = ahead(x, 1), y = ahead(y, 1)) {
      terms_abreast(x, y, s, scale, e, peaks, keep, 1, abreast, which);
      SMC_EACH(j, abreast) add_term(&sum[j], e[j], which);
      fetch_abreast(&lines, i, abreast);
    }
    SMC_EACH(j, abreast) {
      total[j] = running_sum(total[j], (pair){v_sub(sum[j].hi, offset), sum[j].lo}, from == 0);
    }
  }
  SMC_EACH(j, abreast) {
    s[j].sum = running_sum(s[j].sum, total[j], t->begin == 0);
    if (which == SMC_TAIL) s[j].peaks = counted(s[j].peaks, peaks[j]);
  }
}

static SMC_OUTLINE void totals_abreast(const tile *t, size_t strands, const scaling *scale,
                                       int keep, softmax_sums *s) {
  for (size_t u = 0; u < strands; u += SMC_GROUP) sums_abreast(t, u, scale, keep, s + u, SMC_TOTAL);
}

static SMC_OUTLINE void tails_abreast(const tile *t, size_t strands, const scaling *scale, int keep,
                                      softmax_sums *s) {
  for (size_t u = 0; u < strands; u += SMC_GROUP / 2) {
    sums_abreast(t, u, scale, keep, s + u, SMC_TAIL);
  }
}

/* The terms of the block at hand, lane by lane; before the first, there are none. */
static void add_sums(const tile *t, const scaling *scale, smc_sum which, int keep,
                     softmax_sums *s) {
  const int precise = SMC_C(OCTAVE) > 1;
  const int paired = which == SMC_TAIL || (precise && !is_across(t) && t->of->k > SMC_UNPAIRED_MAX);
  size_t u = strands_abreast(t);
  if (!are_plain(s, u, scale)) u = 0;
  if (u > 0) (which == SMC_TOTAL ? totals_abreast : tails_abreast)(t, u, scale, keep, s);
  for (; u < t->strands; ++u) {
    const strand x = strand_of(t, SMC_X, u), nowhere = {NULL, sizeof(vec)};
    const strand y = keep ? strand_of(t, t->of->inputs, u) : nowhere;
    const extent n = extent_of(t, u);
    const softmax_sums *row = &s[group_of(t, u)];
    const shift sh = shift_of_strand(t, u, &row->sh);
    strand_terms of = {&sh, scale, of_strand(t, u, &row->absent), {0, (size_t)-1}, {{NULL}, 0, 0}};
    pair *peaks = &s[u].peaks;
    pair part;
    if (is_general(scale, &sh)) {
      part = sum_of_terms(x, y, n, &of, peaks, which, paired, 1);
    } else if (which == SMC_TOTAL) {
      part = sum_of_strand(t, u, x, y, n, of, peaks, SMC_TOTAL, paired);
    } else {
      of.range = range_of_peak(t, u, of.absent);
      part = sum_of_strand(t, u, x, y, n, of, peaks, SMC_TAIL, 1);
    }
    s[u].sum = running_sum(s[u].sum, part, t->begin == 0);
  }
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

/* Of all lanes. */
static void finish_sums(const tile *t, const scaling *scale, smc_sum which, softmax_sums *s) {
  sum_by_row(t, &s->sum, sizeof *s);
  if (which == SMC_TOTAL) return;
  sum_by_row(t, &s->peaks, sizeof *s);
  for (size_t g = 0; g < groups_of(t); ++g) add_ties(&s[g], scale);
}

/* The sum of k exponentials that are there, in the order of a row that is packed: in every lane. */
SMC_INLINE pair sum_in_order(const real *x, const real *e, size_t k, vec m, const scaling *scale,
                             pair *peaks, const smc_sum which) {
  const vec offset = v_set1(which == SMC_TOTAL ? 4 * SMC_C(LIFTED) : 0);
  pair total = pair_of(0);
  vec count = v_set1(0), a[2], b[2];
  for (size_t i = 0, from; i < k;) {
    const size_t end = k - i < SMC_SUM_STEPS ? k : i + SMC_SUM_STEPS;
    pair sum = {offset, v_set1(0)};
    const size_t grouped = i + (end - i) / SMC_GROUP * SMC_GROUP;
    for (from = i; i < grouped; i += 2) {
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

/* a, which is about one shift, about another one that is not lower.  What is less than the share of the
 * least term is as good as nothing: so the power of two has a bound, and is applied in halves. */
SMC_INLINE pair moved(pair a, const shift *from, const shift *to) {
  vec n = v_mul(v_sub(to->origin, from->origin), v_set1((real)1 / SMC_C(OCTAVE)));
  n = v_max(v_set1(-3 * SMC_C(LIFT)), n);
  vec half = v_round(v_mul(n, v_set1((real)0.5)));
  a = pair_times_power(a, v_ldexp(v_set1(1), half));
  return pair_times_power(a, v_ldexp(v_set1(1), v_sub(n, half)));
}

/* Where sums will be made once more, when the maximum is known. */
SMC_INLINE mask are_in_vain(vec m, const scaling *scale) {
  return v_lt(v_set1(SMC_C(SHIFT_LIMIT)), scaled_maximum(m, scale));
}

/* For a maximum that may still rise: no center, unless in vain, and no shift below one that has none.  Where it is
 * so low, nothing is left out; nor in a block all of which is lower. */
SMC_INLINE softmax_sums sums_so_far(vec m, const scaling *scale) {
  const vec zero = v_set1(0), limit = v_set1(SMC_C(SHIFT_LIMIT));
  const mask in_vain = are_in_vain(m, scale);
  const vec least = v_max(v_sub(zero, limit), scaled_maximum(m, scale));
  const vec peak = v_select(in_vain, limit, least); /* not lower than one that was not in vain */
  softmax_sums s = {m, zero, shift_about(peak), pair_of(0), pair_of(0), zero};
  s.sh.center = v_select(in_vain, m, zero);
  return s;
}

SMC_INLINE vec absent_in_block(const softmax_sums *s, vec m, const scaling *scale) {
  mask low = v_lt(scaled_maximum(s->m, scale), v_set1(-SMC_C(SHIFT_LIMIT)));
  return v_select(v_or(low, v_lt(m, s->m)), v_set1((real)INFINITY), s->m);
}

/* The maximum is at least m: sums move to it, and terms that were left out join them. */
static void raise_maximum(softmax_sums *s, vec m, const scaling *scale) {
  const vec zero = v_set1(0);
  mask higher = v_lt(s->m, m);
  if (v_count(higher) == 0) return;
  softmax_sums top = sums_so_far(v_select(higher, m, s->m), scale);
  const pair back = {v_select(higher, s->peaks.hi, zero), v_select(higher, s->peaks.lo, zero)};
  pair rest = exps_of_peaks(s, back, scale);
  mask none = v_eq(back.hi, zero); /* whatever e is */
  rest = (pair){v_select(none, zero, rest.hi), v_select(none, zero, rest.lo)};
  top.sum = moved(pair_add(s->sum, rest), &s->sh, &top.sh);
  top.peaks = (pair){v_select(higher, zero, s->peaks.hi), v_select(higher, zero, s->peaks.lo)};
  *s = top;
}

/* Of each group 0, or NaN in a row that holds one, or infinity less itself if `infinite`.  (There are as many of them
 * as strands, until they are reduced.) */
static void nans_of_rows(tile *t, int infinite, vec *nan) {
  for (size_t u = 0; u < t->strands; ++u) nan[u] = v_set1(0);
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    for (size_t u = 0; u < t->strands; ++u) {
      strand x = strand_of(t, SMC_X, u);
      const extent n = extent_of(t, u);
      for (size_t i = 0; i < steps_of(n); ++i, x = ahead(x, 1)) {
        vec a = load_lanes(x, lanes_at(n, i), v_set1(0));
        if (infinite) a = v_sub(a, a);
        nan[u] = v_select(v_eq(a, a), nan[u], a);
      }
    }
  }
  count_by_row(t, nan, sizeof *nan);
}

/* What is to be added to an infinite maximum; it is rare, so rows are looked at only then. */
static void find_nans(tile *t, softmax_sums *s) {
  vec nan[SMC_MAX_STRANDS];
  int infinite = 0;
  for (size_t g = 0; g < groups_of(t); ++g) {
    s[g].nan = v_set1(0);
    infinite |= v_count(v_lt(v_abs(s[g].m), v_set1((real)INFINITY))) != W;
  }
  if (!infinite) return;
  nans_of_rows(t, 0, nan);
  for (size_t g = 0; g < groups_of(t); ++g) s[g].nan = nan[g];
}

typedef struct {
  const scaling *scale;
  smc_sum which;
  int keep;           /* the exponentials, in the output */
  softmax_sums *sums; /* of each strand of the tile, or of each part of its row */
} wanted_sums;

/* Sums, lane by lane, about a maximum that is known. */
static void sums_about_maximum(tile *t, size_t part, const void *how) {
  const wanted_sums *wanted = how;
  softmax_sums *s = wanted->sums + part;
  for (size_t g = 0; g < groups_of(t); ++g) {
    s[g].absent = s[g].m;
    s[g].sh = make_shift(s[g].m, wanted->scale);
  }
  for (size_t u = 0; u < t->strands; ++u) s[u].peaks = pair_of(0);
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    add_sums(t, wanted->scale, wanted->which, wanted->keep, s);
  }
}

/* The same about the largest maximum so far.  Along, a tile has one row, whose values are in all lanes:
 * strands are groups. */
static void sums_about_rising(tile *t, size_t part, const void *how) {
  const wanted_sums *wanted = how;
  softmax_sums *s = wanted->sums + part;
  for (size_t u = 0; u < t->strands; ++u) {
    s[u] = sums_so_far(v_set1((real)-INFINITY), wanted->scale);
  }
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    vec m[SMC_MAX_STRANDS];
    enter_block(t, begin);
    for (size_t u = 0; u < t->strands; ++u) m[u] = v_set1((real)-INFINITY);
    find_maxima(t, wanted->scale, m, wanted->which);
    max_by_row(t, m);
    size_t in_vain = 0;
    for (size_t u = 0; u < t->strands; ++u) {
      raise_maximum(&s[u], m[u], wanted->scale);
      s[u].absent = absent_in_block(&s[u], m[u], wanted->scale);
      in_vain += v_count(are_in_vain(s[u].m, wanted->scale));
    }
    if (in_vain < t->strands * W) add_sums(t, wanted->scale, wanted->which, 0, s);
  }
}

/* Of a row in several parts; each may be about a maximum of its own. */
static SMC_OUTLINE void sums_of_parts(tile *t, part_pass *pass, const wanted_sums *wanted) {
  softmax_sums part[SMC_MAX_PARTS], *s = wanted->sums;
  wanted_sums by_part = *wanted;
  by_part.sums = part;
  for (size_t p = 0; p < t->parts; ++p) part[p].m = s->m;
  for_parts(t, pass, &by_part);
  *s = part[0];
  for (size_t p = 1; p < t->parts; ++p) {
    raise_maximum(s, part[p].m, wanted->scale);
    raise_maximum(&part[p], s->m, wanted->scale);
    s->sum = pair_add(s->sum, part[p].sum);
    s->peaks = pair_add(s->peaks, part[p].peaks);
  }
}

SMC_INLINE void whole_sums(tile *t, part_pass *pass, const wanted_sums *wanted) {
  if (t->parts == 1) {
    pass(t, 0, wanted);
  } else {
    sums_of_parts(t, pass, wanted);
  }
  finish_sums(t, wanted->scale, wanted->which, wanted->sums);
}

/* Pass 2, about maxima that are known. */
static void sums_of_rows(tile *t, const wanted_sums *wanted) {
  whole_sums(t, sums_about_maximum, wanted);
}

/* Sums about a maximum that is not known before.  Only where that of the row is so large that it has to be
 * subtracted, all are about it, and the row is read once more. */
static void sums_online(tile *t, const wanted_sums *wanted) {
  softmax_sums exact[SMC_MAX_STRANDS], *s = wanted->sums;
  int far = 0;
  whole_sums(t, sums_about_rising, wanted);
  for (size_t u = 0; u < t->strands; ++u) {
    exact[u].m = s[u].m;
    mask near = v_lt(v_abs(scaled_maximum(s[u].m, wanted->scale)), v_set1(SMC_C(SHIFT_LIMIT)));
    far |= v_count(near) != W;
  }
  if (!far) return;
  sums_of_rows(t, &(wanted_sums){wanted->scale, wanted->which, 0, exact});
  for (size_t u = 0; u < t->strands; ++u) {
    mask near = v_eq(exact[u].sh.center, v_set1(0));
    s[u].sum.hi = v_select(near, s[u].sum.hi, exact[u].sum.hi);
    s[u].sum.lo = v_select(near, s[u].sum.lo, exact[u].sum.lo);
    s[u].sh = exact[u].sh;
  }
}

/* The exponentials of a lone row: aligned, for what is stored is soon loaded. */
SMC_INLINE strand kept_of_lone(const tile *t) { return (strand){t->buffer[0], sizeof(vec)}; }

/* Of a short row that comes alone: all that there is to know of it. */
static void lone_sums(tile *t, const wanted_sums *wanted) {
  const scaling *scale = wanted->scale;
  enter_block(t, 0);
  const strand x = strand_of(t, SMC_X, 0), kept = kept_of_lone(t);
  const extent n = extent_of(t, 0);
  const vec m = reduce_lanes((pair){max_of(dense(x), whole(n), scale), v_set1(0)}, SMC_BY_MAX).hi;
  const shift sh = make_shift(m, scale);
  pair peaks = pair_of(0);
  const int general = is_general(scale, &sh);
  for (size_t i = 0; i < steps_of(n); ++i) {
    const size_t lanes = lanes_at(n, i);
    vec a = load_lanes(ahead(x, i), lanes, scale->vacant), e;
    if (general) {
      exp_group(&a, &e, &sh, scale, 1, 1);
    } else {
      exp_group(&a, &e, &sh, scale, 1, 0);
    }
    v_store(vector_at(kept, i), e);
  }
  const pair sum = wanted->which == SMC_TOTAL
                       ? sum_in_order(x.p, kept.p, t->of->k, m, scale, &peaks, SMC_TOTAL)
                       : sum_in_order(x.p, kept.p, t->of->k, m, scale, &peaks, SMC_TAIL);
  softmax_sums *s = wanted->sums; /* field by field, for a whole one is filled with zeros first */
  s->m = m, s->sh = sh, s->sum = normalized(sum), s->peaks = peaks;
  if (wanted->which == SMC_TAIL) add_ties(s, scale);
}

/* Pass 1, where it is not made together with pass 2. */
static void maxima_of_rows(tile *t, const wanted_sums *wanted) {
  vec m[SMC_MAX_STRANDS];
  for (size_t u = 0; u < t->strands; ++u) m[u] = v_set1((real)-INFINITY);
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    find_maxima(t, wanted->scale, m, wanted->which);
  }
  max_by_row(t, m);
  for (size_t g = 0; g < groups_of(t); ++g) wanted->sums[g].m = m[g];
}

/* Passes 1 and 2.  The exponentials go to the output, if they are to be kept, which needs a maximum that
 * is known. */
static void sums_of_exp(tile *t, const scaling *scale, smc_sum which, int keep, softmax_sums *s) {
  const wanted_sums wanted = {scale, which, keep, s};
  if (is_lone(t)) {
    lone_sums(t, &wanted);
  } else if (t->online) {
    sums_online(t, &wanted);
  } else {
    maxima_of_rows(t, &wanted);
  }
  if (which == SMC_TAIL) find_nans(t, s);
  if (!is_lone(t) && !t->online) sums_of_rows(t, &wanted);
}

/* ---- pass 3: the results ------------------------------------------------------------------------ */

/* y = e/S, where e is in y already */
SMC_INLINE void scale_values(strand y, const extent n, const pair inverse) {
  vec e[SMC_GROUP];
  size_t i = 0;
  for (; i + SMC_GROUP <= n.count; i += SMC_GROUP, y = ahead(y, SMC_GROUP)) {
    load_group(y, e, n.lanes, v_set1(0));
    SMC_EACH(j, SMC_GROUP) e[j] = times_inverse(e[j], inverse);
    store_group(y, e, n.lanes, 0);
  }
  for (; i < steps_of(n); ++i, y = ahead(y, 1)) {
    const size_t lanes = lanes_at(n, i);
    store_lanes(y, times_inverse(load_lanes(y, lanes, v_set1(0)), inverse), lanes);
  }
}

static void scale_columns(const strand y, const extent n, const pair inverse) {
  scale_values(y, n, inverse);
}

/* Of so many strands of columns, abreast, in the block at hand. */
static SMC_OUTLINE void scale_abreast(const tile *t, int out, size_t strands, const pair *inverse) {
  const size_t classes = block_classes(t);
  for (size_t u = 0; u < strands; u += SMC_GROUP) {
    strand y = strand_of(t, out, u);
    for (size_t i = 0; i < classes; ++i, y = ahead(y, 1)) {
      vec e[SMC_GROUP];
      load_group(dense(y), e, W, v_set1(0));
      SMC_EACH(j, SMC_GROUP) e[j] = times_inverse(e[j], inverse[u + (size_t)j]);
      store_group(dense(y), e, W, 0);
    }
  }
}

/* The same where e is computed once more: class after class, as they lie in memory. */
static SMC_OUTLINE void quotients_abreast(const tile *t, int out, size_t strands,
                                          const softmax_sums *s, const scaling *scale,
                                          const pair *inverse) {
  const size_t classes = block_classes(t);
  const int past = goes_past(t, strand_of(t, out, 0), extent_of(t, 0));
  for (size_t i = 0; i < classes; ++i) {
    for (size_t u = 0; u < strands; u += SMC_GROUP) {
      const strand x = ahead(strand_of(t, SMC_X, u), i), y = ahead(strand_of(t, out, u), i);
      vec e[SMC_GROUP];
      fetch_later_class(t, x);
      terms_abreast(x, y, s + u, scale, e, NULL, 0, 1, SMC_GROUP, SMC_TOTAL);
      SMC_EACH(j, SMC_GROUP) e[j] = times_inverse(e[j], inverse[u + (size_t)j]);
      store_group(dense(y), e, W, past);
    }
  }
}

/* How many strands' quotients were taken abreast. */
static size_t divide_abreast(const tile *t, int out, const softmax_sums *s, const scaling *scale,
                             const pair *inverse, int kept) {
  const size_t u = strands_abreast(t);
  if (u == 0 || !(kept || are_plain(s, u, scale))) return 0;
  if (kept) {
    scale_abreast(t, out, u, inverse);
  } else {
    quotients_abreast(t, out, u, s, scale, inverse);
  }
  return u;
}

SMC_INLINE void scale_strand(const tile *t, strand y, extent n, const pair inverse) {
  if (is_dense(y, n)) {
    const size_t head = lanes_to_line(t, y, n);
    if (head > 0) {
      v_store_n(y.p, times_inverse(v_load(y.p), inverse), head);
      y.p += head, n = without(n, head);
    }
    scale_values(dense(y), whole(n), inverse);
  } else {
    scale_columns(y, n, inverse);
  }
}

/* y = e/S, e computed once more: online.  One vector after the other, whatever its arguments are. */
static SMC_OUTLINE void general_quotients(strand x, strand y, const extent n, const shift *sh,
                                          const scaling *scale, const pair *inverse) {
  for (size_t i = 0; i < steps_of(n); ++i, x = ahead(x, 1), y = ahead(y, 1)) {
    const size_t lanes = lanes_at(n, i);
    vec a = load_lanes(x, lanes, scale->vacant), e = a;
    exp_group(&a, &e, sh, scale, 1, 1);
    store_lanes(y, times_inverse(e, *inverse), lanes);
  }
}

static void quotient_strand(const tile *t, size_t u, strand x, strand y, extent n, const shift *sh,
                            const scaling *scale, const pair inverse) {
  const lines_ahead lines = lines_of(t, u);
  const int general = is_general(scale, sh);
  for (size_t head; !general && (head = lanes_to_line(t, y, n)) > 0; n = without(n, head)) {
    general_quotients(x, y, (extent){0, W, (uint32_t)head}, sh, scale, &inverse);
    x.p += head, y.p += head;
  }
  const int past = goes_past(t, y, n);
  for (size_t i = 0; !general && n.count >= SMC_GROUP; i += SMC_GROUP, n.count -= SMC_GROUP) {
    vec a[SMC_GROUP], e[SMC_GROUP];
    load_group(x, a, n.lanes, scale->vacant);
    exp_group(a, e, sh, scale, SMC_GROUP, 0);
    SMC_EACH(j, SMC_GROUP) e[j] = times_inverse(e[j], inverse);
    store_group(y, e, n.lanes, past);
    fetch_lines(&lines, i, SMC_GROUP);
    x = ahead(x, SMC_GROUP), y = ahead(y, SMC_GROUP);
  }
  general_quotients(x, y, n, sh, scale, &inverse);
}

/* scale*(x - max) - log1p(S'/e_k): two terms of one sign.  The first may be infinite, and then has no rest. */
SMC_INLINE vec log_of(vec a, const pair by, const scaling *scale, const int scaled) {
  const vec m = by.hi, log = by.lo;
  if (!scaled) return v_sub(v_sub(a, m), log);
  const vec distance = grown(v_sub(v_mul(a, scale->unit), m), scale);
  const vec product = v_mul(distance, scale->magnitude);
  const mask finite = v_lt(v_abs(product), v_set1((real)INFINITY));
  const vec d = v_select(finite, distance, v_set1(0));
  const vec rest = v_fma(d, scale->rest, v_sub(v_set1(0), log));
  return v_select(finite, v_fma(d, scale->magnitude, rest), v_sub(product, log));
}

SMC_INLINE void logarithms(strand x, strand y, const extent n, const pair by, const scaling *scale,
                           int past, const int scaled) {
  vec a[SMC_GROUP];
  size_t i = 0;
  for (; !scaled && i + SMC_GROUP <= n.count; i += SMC_GROUP) { /* scaled is rare: so it is short */
    load_group(x, a, n.lanes, scale->vacant);
    SMC_EACH(j, SMC_GROUP) a[j] = log_of(a[j], by, scale, scaled);
    store_group(y, a, n.lanes, past);
    x = ahead(x, SMC_GROUP), y = ahead(y, SMC_GROUP);
  }
  for (; i < steps_of(n); ++i, x = ahead(x, 1), y = ahead(y, 1)) {
    const size_t lanes = lanes_at(n, i);
    store_lanes(y, log_of(load_lanes(x, lanes, scale->vacant), by, scale, scaled), lanes);
  }
}

SMC_INLINE void log_strand(const tile *t, strand x, strand y, extent n, const pair by,
                           const scaling *scale) {
  const int rows = is_dense(x, n) && is_dense(y, n);
  if (scale->active) {
    logarithms(x, y, n, by, scale, 0, 1);
    return;
  }
  for (size_t head; rows && (head = lanes_to_line(t, y, n)) > 0; n = without(n, head)) {
    v_store_n(y.p, log_of(v_load(x.p), by, scale, 0), head);
    x.p += head, y.p += head;
  }
  const int past = goes_past(t, y, n);
  if (rows) {
    logarithms(dense(x), dense(y), whole(n), by, scale, past, 0);
  } else {
    logarithms(x, y, n, by, scale, past, 0);
  }
}

/* Of so many strands of columns, abreast, in the block at hand: class after class, as they lie in memory. */
static SMC_OUTLINE void logs_abreast(const tile *t, size_t strands, const pair *by,
                                     const scaling *scale) {
  const size_t classes = block_classes(t);
  const int past = goes_past(t, strand_of(t, SMC_Y, 0), extent_of(t, 0));
  for (size_t i = 0; i < classes; ++i) {
    for (size_t u = 0; u < strands; u += SMC_GROUP) {
      const strand x = ahead(strand_of(t, SMC_X, u), i), y = ahead(strand_of(t, SMC_Y, u), i);
      vec a[SMC_GROUP];
      fetch_later_class(t, x);
      load_group(dense(x), a, W, scale->vacant);
      fetch_later_results(y, past);
      SMC_EACH(j, SMC_GROUP) a[j] = log_of(a[j], by[u + (size_t)j], scale, 0);
      store_group(dense(y), a, W, past);
    }
  }
}

/* log1p(S'/e_k) */
SMC_INLINE pair log_of_sum(const softmax_sums *s, const scaling *scale) {
  pair e = exp_of_peak(s->m, &s->sh, scale);
  return log1p_of_pair(pair_quotient(s->sum, e, v_div(v_set1(1), e.hi)));
}

typedef struct {
  double scale;
  smc_view lse; /* of logsumexp: one value for each row */
  smc_view
      rest; /* what rounding took from it, if it has data: both are of the type computed in then */
} forward_how;

/* What results are made of. */
typedef struct {
  const scaling *scale;
  const softmax_sums *sums;
  const pair *by; /* the inverse of each sum, or the maximum and log1p(S'/e_k) */
  int kept;       /* the exponentials, in the output */
} results_of;

static void softmax_results(tile *t, const void *how) {
  const results_of *of = how;
  if (is_packed(t) && of->kept) {
    t->results = (last_touch){SMC_TIMES, of->by};
    return;
  }
  size_t u = divide_abreast(t, SMC_Y, of->sums, of->scale, of->by, of->kept);
  for (; u < t->strands; ++u) {
    const strand x = strand_of(t, SMC_X, u), y = strand_of(t, SMC_Y, u);
    const extent n = extent_of(t, u);
    const size_t g = group_of(t, u);
    const pair factor = pair_of_strand(t, u, &of->by[g]);
    if (of->kept) {
      scale_strand(t, y, n, factor);
    } else {
      const shift sh = shift_of_strand(t, u, &of->sums[g].sh);
      quotient_strand(t, u, x, y, n, &sh, of->scale, factor);
    }
  }
}

static void log_softmax_results(tile *t, const void *how) {
  const results_of *of = how;
  if (is_packed(t) && !of->scale->active) {
    t->results = (last_touch){SMC_LESS, of->by};
    return;
  }
  size_t u = of->scale->active ? 0 : strands_abreast(t);
  if (u > 0) logs_abreast(t, u, of->by, of->scale);
  for (; u < t->strands; ++u) {
    const pair by = pair_of_strand(t, u, &of->by[group_of(t, u)]);
    if (t->online) fetch_strand(t, u, steps_of(extent_of(t, u)));
    log_strand(t, strand_of(t, SMC_X, u), strand_of(t, SMC_Y, u), extent_of(t, u), by, of->scale);
  }
}

/* ---- W rows of a few vectors each: all passes in one ------------------------------------------------- */

/* Four rows go side by side, so that none has the processor wait for its ends, and are merged into a vector
 * while the next four are computed.  Rows W/4 apart, so that each ends in the lane of its number. */
enum { SMC_QUARTERS = (W + SMC_GROUP - 1) / SMC_GROUP };

SMC_INLINE pair whole_group(pair *quarters, const smc_reduction by) {
  SMC_UNROLL for (size_t d = W / 8; d; d /= 2) {
    const mask upper = upper_lanes(d);
    SMC_EACH(r, (int)d) quarters[r] = merged(quarters[r], quarters[r + (int)d], upper, (int)d, by);
  }
  return quarters[0];
}

/* The last vectors of rows that do not fill them are kept first, to be loaded whole from there. */
SMC_INLINE vec max_of_group(const tile *t, const extent n, const scaling *scale,
                            const strand kept) {
  pair quarters[SMC_QUARTERS];
  for (size_t u = 0; n.rest && u < W; ++u) {
    const strand last = ahead(strand_of(t, SMC_X, u), n.count);
    v_store(vector_at(kept, u * steps_of(n) + n.count), load_lanes(last, n.rest, scale->vacant));
  }
  for (size_t q = 0; q < SMC_QUARTERS; ++q) {
    strand x[SMC_GROUP];
    pair m[SMC_GROUP];
    SMC_EACH(j, SMC_GROUP) {
      const size_t u = q + (size_t)j * SMC_QUARTERS;
      x[j] = dense(strand_of(t, SMC_X, u));
      m[j].hi = v_load(n.rest ? vector_at(kept, u * steps_of(n) + n.count) : x[j].p);
      m[j].lo = v_set1(0);
    }
    for (size_t i = 0; i < n.count; ++i) {
      SMC_EACH(j, SMC_GROUP) m[j].hi = v_max(m[j].hi, v_load(vector_at(x[j], i)));
    }
    quarters[q] = merged_quarters(m, SMC_BY_MAX);
  }
  return whole_group(quarters, SMC_BY_MAX).hi;
}

/* Added up as in sum_of_terms.  The exponentials are kept beside the output: a load waits for a store before
 * it to an address whole pages away.  Where all comes from memory, a group to come is fetched, and what this
 * one will write. */
SMC_INLINE pair sum_of_group(const tile *t, const extent n, const shift *sh, const scaling *scale,
                             const strand kept) {
  const vec offset = v_set1(4 * SMC_C(LIFTED));
  const ptrdiff_t later = 2 * (ptrdiff_t)W * t->apart[SMC_X];
  pair quarters[SMC_QUARTERS];
  for (size_t q = 0; q < SMC_QUARTERS; ++q) {
    strand x[SMC_GROUP], y[SMC_GROUP], to[SMC_GROUP];
    shift s[SMC_GROUP];
    pair sum[SMC_GROUP];
    SMC_EACH(j, SMC_GROUP) {
      const size_t u = q + (size_t)j * SMC_QUARTERS;
      x[j] = dense(strand_of(t, SMC_X, u)), y[j] = dense(strand_of(t, SMC_Y, u));
      to[j] = ahead(kept, u * steps_of(n));
      s[j] = shift_of_strand(t, u, sh);
      sum[j] = (pair){offset, v_set1(0)};
    }
    for (size_t i = 0; i < steps_of(n); ++i) {
      vec e[SMC_GROUP];
      SMC_EACH(j, SMC_GROUP) e[j] = v_load(vector_at(i < n.count ? x[j] : to[j], i));
      exp_shifted(e, s, 1, scale, SMC_GROUP, 0);
      SMC_EACH(j, SMC_GROUP) v_store(vector_at(to[j], i), e[j]);
      SMC_EACH(j, SMC_GROUP) add_term(&sum[j], e[j], SMC_TOTAL);
      if (!t->far) continue;
      SMC_EACH(j, SMC_GROUP) SMC_PREFETCH((const char *)vector_at(x[j], i) + later);
      if (is_collected(t)) continue;
      SMC_EACH(j, SMC_GROUP) SMC_PREFETCH(vector_at(y[j], i));
    }
    SMC_EACH(j, SMC_GROUP) sum[j].hi = v_sub(sum[j].hi, offset);
    quarters[q] = merged_quarters(sum, SMC_BY_PAIR_ADD);
  }
  return normalized(whole_group(quarters, SMC_BY_PAIR_ADD));
}

/* Of a tile that is a group; 0, and nothing is written, if arguments are more than x itself.  Where a whole store
 * is faster than one of a part, the next row, stored after it, writes over what goes beyond a row's end. */
static int softmax_of_group(tile *t, const scaling *scale) {
  enter_block(t, 0);
  const extent n = extent_of(t, 0);
  strand kept = {t->buffer[0], sizeof(vec)};
  const shift sh = make_shift(max_of_group(t, n, scale, kept), scale);
  if (is_general(scale, &sh)) return 0;
  const pair inverse = inverse_of(sum_of_group(t, n, &sh, scale, kept));
  const int loose = !SMC_FAST_MASKS && t->apart[SMC_Y] == (ptrdiff_t)(t->of->k * sizeof(real));
  for (size_t u = 0; u < W; ++u, kept = ahead(kept, steps_of(n))) {
    const strand y = dense(strand_of(t, SMC_Y, u));
    const pair factor = pair_of_strand(t, u, &inverse);
    size_t i = 0;
    for (; i < n.count; ++i) {
      v_store(vector_at(y, i), times_inverse(v_load(vector_at(kept, i)), factor));
    }
    if (n.rest == 0) continue;
    const vec last = times_inverse(v_load(vector_at(kept, i)), factor);
    if (loose && u + 1 < W) {
      v_store(vector_at(y, i), last);
    } else {
      v_store_n(vector_at(y, i), last, n.rest);
    }
  }
  return 1;
}

/* Of a lone row. */
SMC_INLINE void lone_quotients(const tile *t, const pair inverse) {
  const strand y = strand_of(t, SMC_Y, 0), kept = kept_of_lone(t);
  const extent n = extent_of(t, 0);
  for (size_t i = 0; i < steps_of(n); ++i) {
    store_lanes(ahead(y, i), times_inverse(v_load(vector_at(kept, i)), inverse), lanes_at(n, i));
  }
}

/* A scale of 0 makes all of a row alike, but 0 times infinity is NaN. */
static void uniform_results(tile *t, const void *how) {
  const vec *value = how;
  for (size_t u = 0; u < t->strands; ++u) {
    const vec a = of_strand(t, u, &value[group_of(t, u)]);
    const extent n = extent_of(t, u);
    strand y = strand_of(t, SMC_Y, u);
    for (size_t i = 0; i < steps_of(n); ++i, y = ahead(y, 1)) store_lanes(y, a, lanes_at(n, i));
  }
}

static void uniform_tile(tile *t, vec of_finite) {
  vec value[SMC_MAX_STRANDS];
  nans_of_rows(t, 1, value);
  for (size_t g = 0; g < groups_of(t); ++g) value[g] = v_add(value[g], of_finite);
  for_results(t, uniform_results, value);
}

/* A number of classes, which may have more digits than a float. */
SMC_INLINE pair count_of(size_t k) {
  const real hi = (real)k;
  return (pair){v_set1(hi), v_set1((real)((double)k - (double)hi))};
}

/* operands: x; y, of x's shape, unless only the logsumexp is wanted */
static void softmax_tile(tile *t, const void *extra) {
  if (((const forward_how *)extra)->scale == 0) {
    uniform_tile(t, pair_value(inverse_of(count_of(t->of->k))));
    return;
  }
  const scaling scale = scaling_by(((const forward_how *)extra)->scale, is_across(t));
  const int keep = !t->online;
  if (is_group(t) && softmax_of_group(t, &scale)) return;
  softmax_sums s[SMC_MAX_STRANDS];
  pair inverse[SMC_MAX_STRANDS];
  sums_of_exp(t, &scale, SMC_TOTAL, keep, s);
  if (is_lone(t)) {
    lone_quotients(t, inverse_of(s[0].sum));
    return;
  }
  for (size_t g = 0; g < groups_of(t); ++g) inverse[g] = inverse_of(s[g].sum);
  for_results(t, softmax_results, &(results_of){&scale, s, .by = inverse, .kept = keep});
}

static void log_softmax_tile(tile *t, const void *extra) {
  if (((const forward_how *)extra)->scale == 0) {
    const vec log = log1p_of_pair(count_of(t->of->k - 1)).hi;
    uniform_tile(t, v_sub(v_set1(0), log));
    return;
  }
  const scaling scale = scaling_by(((const forward_how *)extra)->scale, is_across(t));
  softmax_sums s[SMC_MAX_STRANDS];
  pair by[SMC_MAX_STRANDS];
  sums_of_exp(t, &scale, SMC_TAIL, 0, s);
  for (size_t g = 0; g < groups_of(t); ++g) {
    /* NaN where the maximum is infinite: no element of such a row has a logarithm. */
    by[g] = (pair){s[g].m, v_add(log_of_sum(&s[g], &scale).hi, v_sub(s[g].m, s[g].m))};
  }
  for_results(t, log_softmax_results, &(results_of){&scale, s, .by = by});
}

static void logsumexp_tile(tile *t, const void *extra) {
  const smc_view *lse = &((const forward_how *)extra)->lse;
  const smc_view *rest = &((const forward_how *)extra)->rest;
  const scaling scale = scaling_by(1, is_across(t));
  softmax_sums s[SMC_MAX_STRANDS];
  sums_of_exp(t, &scale, SMC_TAIL, 0, s);
  for (size_t g = 0; g < groups_of(t); ++g) {
    mask finite = v_lt(v_abs(s[g].m), v_set1((real)INFINITY));
    const pair log = log_of_sum(&s[g], &scale);
    const vec more = v_select(finite, log.hi, s[g].nan);
    if (!rest->data) {
      store_by_row(t, g, v_add(s[g].m, more), lse);
      continue;
    }
    const pair sum = two_sum(s[g].m, more);
    const pair both = fast_two_sum(sum.hi, v_add(sum.lo, log.lo));
    store_results(t, g, v_select(finite, both.hi, sum.hi), lse->data, lse->row);
    store_results(t, g, v_select(finite, both.lo, s[g].nan), rest->data, rest->row);
  }
}

#endif
