/* Passes 1 and 2 over a tile: about maxima that are known, or online; of whole rows, or of row
 * parts */
#ifndef SMC_FORWARD_SUMS_H
#define SMC_FORWARD_SUMS_H

#include "../run.h"
#include "columns.h"
#include "maxima.h"
#include "nans.h"
#include "rising.h"
#include "rows.h"

/* Whether two terms are added to each other before they join a sum. */
SMC_INLINE int are_terms_paired(const tile *t, smc_sum which) {
  const int precise = SMC_C(OCTAVE) > 1;
  return which == SMC_TAIL || (precise && !is_across(t) && t->call->k > SMC_UNPAIRED_MAX);
}

/* The terms of panel u in the k-block at hand, which join its sums. */
SMC_INLINE void add_sum_of_panel(const tile *t, size_t u, const scaling *scale, smc_sum which,
                                 int keep, softmax_sums *s) {
  const panel x = panel_of(t, SMC_X, u), y = keep ? panel_of(t, t->op->inputs, u) : dense(x);
  const extent n = extent_of(t, u);
  const softmax_sums *row = &s[lane_block_of(t, u)];
  const shift sh = shift_of_panel(t, u, &row->sh);
  const int paired = are_terms_paired(t, which);
  panel_terms of = {.sums = &s[u],
                    .first = t->begin == 0,
                    .sh = sh,
                    .scale = scale,
                    .keep = keep,
                    .absent = of_panel(t, u, &row->absent),
                    .range = {0, (size_t)-1}};
  if (is_general(scale, &sh)) {
    sum_along(x, y, n, &of, which, paired, 1);
  } else if (which == SMC_TOTAL) {
    of.lines = prefetcher_of(t, u);
    sum_of_panel(x, y, n, &of, SMC_TOTAL, paired);
  } else {
    of.lines = prefetcher_of(t, u);
    of.range = range_of_peak(t, u, of.absent);
    sum_of_panel(x, y, n, &of, SMC_TAIL, 1);
  }
}

/* The terms of the k-block at hand, lane by lane. */
static void add_sums(const tile *t, const scaling *scale, smc_sum which, int keep,
                     softmax_sums *s) {
  size_t u = panels_jammed(t);
  if (!are_plain(s, u, scale)) u = 0;
  if (u > 0) (which == SMC_TOTAL ? totals_jammed : tails_jammed)(t, u, scale, keep, s);
  for (; u < t->panels; ++u) add_sum_of_panel(t, u, scale, which, keep, s);
}

/* The sums of each row, from those of its lanes; and to tails the ties of their maxima. */
static void finish_sums(const tile *t, const scaling *scale, smc_sum which, softmax_sums *s) {
  sum_by_row(t, &s->sum, sizeof *s);
  if (which == SMC_TOTAL) return;
  sum_by_row(t, &s->peaks, sizeof *s);
  for (size_t g = 0; g < lane_blocks_of(t); ++g) add_ties(&s[g], scale);
}

/* What sums are wanted. */
typedef struct {
  const scaling *scale;
  smc_sum which;
  int keep;           /* the exponentials, in the output */
  softmax_sums *sums; /* of each panel of the tile, or of each part of its row */
} wanted_sums;

/* Sums, lane by lane, about a maximum that is known: of a tile, or of one part of its row. */
static void sums_about_maximum(tile *t, size_t part, const void *args) {
  const wanted_sums *wanted = args;
  softmax_sums *s = wanted->sums + part;
  for (size_t g = 0; g < lane_blocks_of(t); ++g) {
    s[g].absent = s[g].m;
    s[g].sh = make_shift(s[g].m, wanted->scale);
  }
  for (size_t u = 0; u < t->panels; ++u) s[u].peaks = pair_of(0);
  for (size_t begin = 0; begin < t->call->k; begin += t->plan.k_block) {
    enter_k_block(t, begin);
    add_sums(t, wanted->scale, wanted->which, wanted->keep, s);
  }
}

/* Sums, lane by lane, about the largest maximum so far: of a tile, or of one part of its row.
 * (Along, a tile has one row, whose values are in all lanes: each panel is a lane block.) */
static void sums_about_rising(tile *t, size_t part, const void *args) {
  const wanted_sums *wanted = args;
  softmax_sums *s = wanted->sums + part;
  for (size_t u = 0; u < t->panels; ++u) {
    s[u] = sums_so_far(v_set1((real)-INFINITY), wanted->scale);
  }
  for (size_t begin = 0; begin < t->call->k; begin += t->plan.k_block) {
    char *const free = t->free;
    vec *m = reserve(t, t->panels * sizeof *m);
    enter_k_block(t, begin);
    for (size_t u = 0; u < t->panels; ++u) m[u] = v_set1((real)-INFINITY);
    find_maxima(t, wanted->scale, m, wanted->which);
    max_by_row(t, m);
    size_t in_vain = 0;
    for (size_t u = 0; u < t->panels; ++u) {
      raise_maximum(&s[u], m[u], wanted->scale);
      s[u].absent = absent_in_block(&s[u], m[u], wanted->scale);
      in_vain += v_count(are_in_vain(s[u].m, wanted->scale));
    }
    t->free = free;
    if (in_vain < t->panels * W) add_sums(t, wanted->scale, wanted->which, 0, s);
  }
}

/* The sums of one part of a row, and the maximum they are about: the row's, or the part's own. */
typedef struct {
  pair sum, peaks;
  vec m;
} part_sums;

typedef struct {
  const wanted_sums *row;
  part_pass *pass;
  part_sums *parts;
} wanted_parts;

static void sums_of_part(tile *t, size_t part, const void *args) {
  const wanted_parts *wanted = args;
  softmax_sums s = {.m = wanted->row->sums->m};
  wanted_sums own = *wanted->row;
  own.sums = &s;
  wanted->pass(t, 0, &own);
  wanted->parts[part] = (part_sums){s.sum, s.peaks, s.m};
}

/* What is known of a part, whose sums are about the row's maximum, or about one that rose. */
SMC_INLINE softmax_sums known_of_part(const part_sums *part, const scaling *scale, int rising) {
  softmax_sums s = sums_so_far(part->m, scale);
  if (!rising) s.sh = make_shift(part->m, scale);
  s.sum = part->sum, s.peaks = part->peaks;
  return s;
}

/* The sums of a row from those of its parts, which are merged in order. */
static SMC_OUTLINE void sums_of_parts(tile *t, part_pass *pass, const wanted_sums *wanted) {
  const int rising = pass == sums_about_rising;
  softmax_sums *s = wanted->sums;
  char *const free = t->free;
  part_sums *parts = reserve(t, t->plan.parts * sizeof *parts);
  for_parts(t, sums_of_part, &(wanted_parts){wanted, pass, parts});
  *s = known_of_part(&parts[0], wanted->scale, rising);
  for (size_t p = 1; p < t->plan.parts; ++p) {
    softmax_sums part = known_of_part(&parts[p], wanted->scale, rising);
    raise_maximum(s, part.m, wanted->scale);
    raise_maximum(&part, s->m, wanted->scale);
    s->sum = pair_add(s->sum, part.sum);
    s->peaks = pair_add(s->peaks, part.peaks);
  }
  t->free = free;
}

/* The sums of each row of a tile by that pass, whether rows have parts or not. */
SMC_INLINE void whole_sums(tile *t, part_pass *pass, const wanted_sums *wanted) {
  if (t->plan.parts == 1) {
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

/* Passes 1 and 2 in one, about a maximum that may rise.  Only where that of a row is so large that
 * it has to be subtracted, its sums are made once more, about it. */
static void sums_online(tile *t, const wanted_sums *wanted) {
  softmax_sums *s = wanted->sums;
  int far = 0;
  whole_sums(t, sums_about_rising, wanted);
  for (size_t u = 0; u < t->panels; ++u) {
    mask near = v_lt(v_abs(scaled_maximum(s[u].m, wanted->scale)), v_set1(SMC_C(SHIFT_LIMIT)));
    far |= v_count(near) != W;
  }
  if (!far) return;
  char *const free = t->free;
  pair *online = reserve(t, t->panels * sizeof *online);
  for (size_t u = 0; u < t->panels; ++u) online[u] = s[u].sum;
  sums_of_rows(t, &(wanted_sums){wanted->scale, wanted->which, 0, s});
  for (size_t u = 0; u < t->panels; ++u) {
    mask near = v_eq(s[u].sh.center, v_set1(0));
    s[u].sum.hi = v_select(near, online[u].hi, s[u].sum.hi);
    s[u].sum.lo = v_select(near, online[u].lo, s[u].sum.lo);
  }
  t->free = free;
}

/* Pass 1, where it is not made together with pass 2. */
static void maxima_of_rows(tile *t, const wanted_sums *wanted) {
  char *const free = t->free;
  vec *m = reserve(t, t->panels * sizeof *m);
  for (size_t u = 0; u < t->panels; ++u) m[u] = v_set1((real)-INFINITY);
  for (size_t begin = 0; begin < t->call->k; begin += t->plan.k_block) {
    enter_k_block(t, begin);
    find_maxima(t, wanted->scale, m, wanted->which);
  }
  max_by_row(t, m);
  for (size_t g = 0; g < lane_blocks_of(t); ++g) wanted->sums[g].m = m[g];
  t->free = free;
}

#endif
