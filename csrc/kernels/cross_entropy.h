/* Cross-entropy and its gradient in one pass over a tile: sum_c a_c (logsumexp(x) - x_c), where the
 * target a is one-hot with smoothing or a whole distribution (smc_targets).
 *
 * With the tail S' of softmax.h, logsumexp(x) - x_c = log1p(S'/e_k) + (max - x_c): two terms that are
 * never negative.  The gradient A s - a, A = sum a, cancels where the target is at the peak; there it
 * is (A - a_k) s_k - a_k S'/S, with A - a_k summed without k (PyTorch issue 195684 and JAX issue 40386
 * show what A s_k - a_k gives).  A z-loss z lse^2 (Chowdhery et al., "PaLM", 2022) has the gradient
 * 2 z lse s: in both forms it joins A, as mass that lies away from the peak.
 */
#ifndef SMC_CROSS_ENTROPY_H
#define SMC_CROSS_ENTROPY_H

#include "softmax.h"

enum { SMC_SOFT = 1, SMC_GRAD = 2 }; /* operands, beside SMC_X */
/* A target's mass, times the factor, whose quotient by a lifted sum is a normal number with digits to spare. */
#define f32_SMALL_MASS 0x1p-32f
#define f64_SMALL_MASS 0x1p-256
/* Of a peak by its own: below 1/2, which rounding could make of two that are the same. */
#define SMC_TAIL_MAX ((real)0x1.ffffp-2)

/* What a group of rows has of the target: a = a spread part + `at_label` at the row's label, whose logit is
 * x_label.  But of the pairs entry u has, until they are reduced, those of strand u, lane by lane. */
typedef struct {
  vec at_label, base_at_label, x_label;
  vec present;       /* 0 if the row is ignored, else 1 */
  pair others, peak; /* the mass of a away from the maximum, and at it */
  pair distance;     /* sum of the spread part times (max - x) */
  size_t label[W];   /* of each row; 0 if it is ignored */
  real class[W];     /* the same, rounded; negative if it is ignored */
} targets;

/* What the gradient of a group of rows is made of.  The factor is held in two, unit*factor, as it may be beyond the
 * range of floats where its product with a mass is not; both have half of its exponent, so that no product with the
 * first is either. */
typedef struct {
  vec unit, factor;
  vec lowered; /* a power of two, by which exponentials are multiplied before: 1, or where A is so small that per_exp
                 * would be no normal number, 2^-LIFT, for those that lose digits make no results */
  pair per_exp; /* factor A/(S lowered): the gradient's part for each unit of an exponential */
  vec tail;     /* S'/S, which is 1 - s_k at the peak */
  vec peak;     /* e_k, if by far the largest: no other exponential is the same; else infinity */
  vec at_peak;  /* factor (A - a_k) s_k */
} slope;

/* The rows of group g: in their strands, if these hold whole rows, else in memory. */
SMC_INLINE smc_view rows_of_group(const tile *t, int operand, size_t g) {
  const smc_view *o = &t->of->operands[operand];
  if (!is_single_block(t)) {
    return (smc_view){(char *)o->data + (ptrdiff_t)group_row(t, g) * o->row, o->row, o->col};
  }
  const strand s = strand_of(t, operand, is_across(t) ? g : g * t->group);
  if (is_across(t)) return (smc_view){s.p, sizeof(real), s.step};
  /* (The step of one lane may be that of columns.) */
  return (smc_view){s.p, t->apart[operand], W > 1 ? (ptrdiff_t)sizeof(real) : s.step};
}

/* Whether labels are compared with each class: what is stored or loaded by lane, and as a vector soon after, is
 * waited for. */
SMC_INLINE int are_compared(const tile *t) { return is_packed(t) && t->of->k <= SMC_SUM_STEPS; }

/* The logit of each row's label, if they are. */
SMC_INLINE vec compared_logits(strand x, size_t k, vec class) {
  vec logit = v_set1(0), number = v_set1(0);
  for (size_t c = 0; c < k; ++c, x = ahead(x, 1), number = v_add(number, v_set1(1))) {
    logit = v_select(v_eq(class, number), v_load(x.p), logit);
  }
  return logit;
}

/* The label of each row.  They have been judged, but another thread may have written over them since: none may lead
 * outside of the row. */
static void read_labels(const tile *t, size_t g, const smc_targets *how, targets *a) {
  const size_t rows = group_rows(t, g), k = t->of->k;
  const char *from = (const char *)how->labels + (ptrdiff_t)group_row(t, g) * how->labels_row;
  v_store(a->class, v_set1(-1));
  for (size_t l = 0; l < rows; ++l, from += how->labels_row) {
    uint64_t label; /* a negative one is beyond the row, too */
    memcpy(&label, from, sizeof label);
    a->label[l] = label < k ? (size_t)label : 0;
    a->class[l] = label < k ? (real)(int64_t)label : -1;
  }
}

/* The logit of each row's label, one after the other. */
static vec gathered_logits(const tile *t, size_t g, const targets *a) {
  const smc_view x = rows_of_group(t, SMC_X, g);
  const size_t rows = group_rows(t, g);
  const char *row = x.data;
  real logit[W] = {0};
  if (is_single_block(t)) {
    for (size_t l = 0; l < rows; ++l, row += x.row) {
      logit[l] = *(const real *)(row + (ptrdiff_t)a->label[l] * x.col);
    }
  } else {
    for (size_t l = 0; l < rows; ++l, row += x.row) {
      get_elements(row + (ptrdiff_t)a->label[l] * x.col, 0, 1, &logit[l]);
    }
  }
  return by_lane(t, logit);
}

/* The logit and the mass of each row's label. */
static void look_up_labels(const tile *t, size_t g, const smc_targets *how, targets *a) {
  const real *weight = how->weight;
  const size_t rows = group_rows(t, g);
  const vec class = by_lane(t, a->class), zero = v_set1(0);
  const mask ignored = v_lt(class, zero);
  real mass[W] = {0};
  for (size_t l = 0; weight && l < rows; ++l) mass[l] = weight[a->label[l]];
  a->present = v_select(ignored, zero, v_set1(1));
  const vec m = weight ? v_select(ignored, zero, by_lane(t, mass)) : a->present;
  const vec logit = are_compared(t) ? compared_logits(strand_of(t, SMC_X, g), t->of->k, class)
                                    : gathered_logits(t, g, a);
  a->at_label = v_mul(m, v_set1((real)how->on));
  a->base_at_label = v_mul(m, v_set1((real)how->off));
  a->x_label = v_select(ignored, zero, logit);
}

/* The spread part of a in vector i: w_c off or, without labels (with soft), w_c (on soft_c + off); 0 in
 * lanes beyond the end of a row. */
SMC_INLINE vec distribution(const tile *t, const strand soft, size_t i, size_t lanes,
                            const smc_targets *how) {
  static real ones[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  real *w = (real *)how->weight;
  vec a = v_set1((real)how->off);
  if (soft.p) a = v_fma(v_set1((real)how->on), load_lanes(ahead(soft, i), lanes, v_set1(0)), a);
  if (is_across(t)) return w ? v_mul(a, v_set1(w[t->begin + i])) : a;
  if (w) w += t->before + t->begin + i * W;
  return v_mul(a, load_lanes((strand){w ? w : ones, 0}, lanes, v_set1(0)));
}

SMC_INLINE strand soft_strand(const tile *t, size_t u, const smc_targets *how) {
  return how->labels ? (strand){NULL, 0} : strand_of(t, SMC_SOFT, u);
}

/* Of the block at hand, lane by lane; two vectors join a sum at a time.  (Few hold a peak.) */
static void sum_distribution(const tile *t, size_t u, vec m, const smc_targets *how, targets *a) {
  const strand x = strand_of(t, SMC_X, u), soft = soft_strand(t, u, how);
  const extent n = extent_of(t, u);
  const vec zero = v_set1(0);
  pair others = a->others, distance = a->distance;
  vec mass = zero, way = zero;
  for (size_t i = 0; i < steps_of(n); ++i) {
    const size_t lanes = lanes_at(n, i);
    const vec logit = load_lanes(ahead(x, i), lanes, m), d = distribution(t, soft, i, lanes, how);
    const mask peak = v_eq(logit, m);
    const vec far = v_mul(d, v_sub(m, logit));
    mass = v_add(mass, v_select(peak, zero, d));
    way = v_add(way, v_select(v_eq(d, zero), zero, far));
    if (v_count(peak) > 0) add_term(&a->peak, v_select(peak, d, zero), SMC_TAIL);
    if (i % 2 == 0 && i + 1 < steps_of(n)) continue;
    add_term(&others, mass, SMC_TAIL);
    add_term(&distance, way, SMC_TAIL);
    mass = way = zero;
    if (i % SMC_SUM_STEPS < SMC_SUM_STEPS - 1 && i + 1 < steps_of(n)) continue;
    others = normalized(others), distance = normalized(distance), a->peak = normalized(a->peak);
  }
  a->others = others, a->distance = distance;
}

/* The mass at the label, added to that of the spread part. */
SMC_INLINE void add_label(targets *a, vec m) {
  const vec zero = v_set1(0);
  mask peak = v_eq(a->x_label, m);
  a->others = pair_add(a->others, (pair){v_select(peak, zero, a->at_label), zero});
  a->peak = pair_add(a->peak, (pair){v_select(peak, a->at_label, zero), zero});
}

SMC_INLINE vec times_factor(vec a, const slope *g) { return v_mul(v_mul(a, g->unit), g->factor); }

static slope slope_by(double factor) {
  enum { LARGEST = SMC_C(BIAS) - 1 };
  int exponent = 0;
  if (fabs(factor) < (double)INFINITY) (void)frexp(factor, &exponent);
  const int half = exponent / 2 < -LARGEST  ? -LARGEST
                   : exponent / 2 > LARGEST ? LARGEST
                                            : exponent / 2;
  return (slope){.unit = v_set1((real)ldexp(1, half)),
                 .factor = v_set1((real)ldexp(factor, -half))};
}

/* The loss of the rows in group g, and what their gradient will need; of that, the factor is known. */
static void loss_and_slope(const tile *t, size_t g, const softmax_sums *s, const targets *a,
                           const smc_targets *how, slope *d) {
  const scaling scale = scaling_by(1, is_across(t));
  const vec zero = v_set1(0), one = v_set1(1), infinity = v_set1((real)INFINITY);
  pair e = exp_of_peak(s->m, &s->sh, &scale), total = pair_add(s->sum, e);
  vec excess = log1p_of_pair(pair_quotient(s->sum, e, v_div(one, e.hi))).hi;
  vec lse = v_add(s->m, v_select(v_lt(v_abs(s->m), infinity), excess, s->nan));
  pair others = a->others;
  vec mass = pair_value(pair_add(others, a->peak));
  /* NaN if the maximum is infinite, or the mass */
  const vec undefined = v_add(v_sub(s->m, s->m), v_sub(mass, mass));
  vec log = v_add(excess, undefined);
  vec far = v_mul(a->at_label, v_sub(s->m, a->x_label));
  far = v_select(v_eq(a->at_label, zero), zero, far);
  vec loss = v_fma(mass, log, v_add(pair_value(a->distance), far));
  if (how->z_loss != 0) { /* as 0 times an infinite square is NaN */
    vec z = v_mul(v_set1((real)how->z_loss), lse);
    loss = v_fma(z, lse, loss);
    others = pair_add(others, (pair){v_add(z, z), zero});
    mass = pair_value(pair_add(others, a->peak));
  }
  loss = v_select(v_eq(a->present, zero), zero, loss);
  store_results(t, g, loss, how->loss, how->loss_row);
  if (how->lse) store_results(t, g, lse, how->lse, how->lse_row);

  total = fast_two_sum(v_add(total.hi, undefined), total.lo);
  vec inverse = v_div(one, total.hi);
  const pair all = {times_factor(mass, d), zero};
  const mask small = v_lt(v_abs(all.hi), v_set1(SMC_C(SMALL_MASS)));
  d->lowered = v_select(small, v_set1(1 / SMC_C(LIFTED)), one);
  const vec raised = v_select(small, v_set1(SMC_C(LIFTED)), one);
  d->per_exp = pair_quotient(all, pair_times_power(total, d->lowered), v_mul(inverse, raised));
  d->tail = pair_value(pair_quotient(s->sum, total, inverse));
  d->peak = v_select(v_lt(d->tail, v_set1(SMC_TAIL_MAX)), e.hi, infinity);
  d->at_peak = v_mul(times_factor(pair_value(others), d), v_sub(one, d->tail));
}

SMC_INLINE slope slope_of_strand(const tile *t, size_t u, const slope *g) {
  return (slope){of_strand(t, u, &g->unit),    of_strand(t, u, &g->factor),
                 of_strand(t, u, &g->lowered), pair_of_strand(t, u, &g->per_exp),
                 of_strand(t, u, &g->tail),    of_strand(t, u, &g->peak),
                 of_strand(t, u, &g->at_peak)};
}

/* factor (A s - a), by its tail at a peak of more than half of the probability, as A s - a would double its error */
SMC_INLINE vec gradient_of(vec e, vec a, const slope *g) {
  vec part = times_factor(a, g), low = v_mul(e, g->lowered);
  vec plain = v_fma(low, g->per_exp.hi, v_sub(v_mul(low, g->per_exp.lo), part));
  vec exact = v_fnma(part, g->tail, g->at_peak);
  return v_select(v_eq(e, g->peak), exact, plain);
}

/* Where the target is spread.  The exponentials are in y, or computed once more. */
static void spread_gradient(const tile *t, size_t u, const shift *sh, const slope *g,
                            const smc_targets *how, int kept) {
  const strand y = strand_of(t, SMC_GRAD, u), from = kept ? y : strand_of(t, SMC_X, u);
  const strand soft = soft_strand(t, u, how);
  const extent n = extent_of(t, u);
  const scaling scale = scaling_by(1, is_across(t));
  for (size_t i = 0; i < steps_of(n); ++i) {
    const size_t lanes = lanes_at(n, i);
    vec a = load_lanes(ahead(from, i), lanes, kept ? v_set1(0) : scale.vacant), e = a;
    if (!kept) exp_group(&a, &e, sh, &scale, 1, 1);
    store_lanes(ahead(y, i), gradient_of(e, distribution(t, soft, i, lanes, how), g), lanes);
  }
}

/* What is left to do, as is rare: a row that is ignored has no gradient; and products with exponentials that should
 * have been lowered before, are now.  (They are less than one, and so no more than results are large.) */
SMC_INLINE void end_gradient(const tile *t, size_t u, const targets *a, vec lowered) {
  const strand y = strand_of(t, SMC_GRAD, u);
  const extent n = extent_of(t, u);
  const mask ignored = v_eq(of_strand(t, u, &a->present), v_set1(0));
  if (v_count(v_or(ignored, v_lt(lowered, v_set1(1)))) == 0) return;
  for (size_t i = 0; i < steps_of(n); ++i) {
    const strand at = ahead(y, i);
    const size_t lanes = lanes_at(n, i);
    const vec product = v_mul(load_lanes(at, lanes, v_set1(0)), lowered);
    store_lanes(at, v_select(ignored, v_set1(0), product), lanes);
  }
}

/* Of the block at hand, as if no class were a label: factor A s, less what the spread part takes. */
static void gradient_strand(const tile *t, size_t u, const softmax_sums *s, const slope *of_group,
                            const smc_targets *how, int spread, int keep) {
  const scaling scale = scaling_by(1, is_across(t));
  const shift sh = shift_of_strand(t, u, &s->sh);
  const slope g = slope_of_strand(t, u, of_group);
  const strand x = strand_of(t, SMC_X, u), y = strand_of(t, SMC_GRAD, u);
  const extent n = extent_of(t, u);
  if (spread) {
    spread_gradient(t, u, &sh, &g, how, keep);
  } else if (keep) {
    scale_strand(t, y, n, g.per_exp);
  } else {
    quotient_strand(t, u, x, y, n, &sh, &scale, g.per_exp);
  }
}

/* What a label makes of its class. */
static SMC_OUTLINE vec gradient_of_labels(const tile *t, const softmax_sums *s, const slope *d,
                                          const targets *a) {
  const scaling scale = scaling_by(1, is_across(t));
  const mask ignored = v_eq(a->present, v_set1(0));
  vec x = v_select(ignored, s->m, a->x_label), e = x; /* no logit is above the maximum */
  exp_group(&x, &e, &s->sh, &scale, 1, 1);
  const vec at_label = gradient_of(e, v_add(a->at_label, a->base_at_label), d);
  return v_select(ignored, v_set1(0), at_label);
}

/* The one class of each row that a label makes different; in a strand of the whole row, else in memory. */
static void gradient_at_labels(const tile *t, size_t g, const softmax_sums *s, const slope *d,
                               const targets *a) {
  real lane[W];
  v_store(lane, gradient_of_labels(t, s, d, a));
  const smc_view y = rows_of_group(t, SMC_GRAD, g);
  const size_t rows = group_rows(t, g);
  const int whole_row = is_single_block(t);
  char *row = y.data;
  for (size_t l = 0; l < rows; ++l, row += y.row) {
    char *p = row + (ptrdiff_t)a->label[l] * y.col;
    if (whole_row) {
      *(real *)p = lane[l];
    } else {
      put_elements(p, 0, 1, &lane[l]);
    }
  }
}

/* The same where labels are compared; and of the others what is left to do, if it is. */
static void gradient_beside_labels(const tile *t, size_t u, const softmax_sums *s, const slope *d,
                                   const targets *a, int spread) {
  const vec at_label = gradient_of_labels(t, s, d, a), class = v_load(a->class);
  const pair per_exp = d->per_exp;
  strand y = strand_of(t, SMC_GRAD, u);
  vec number = v_set1(0);
  for (size_t c = t->of->k; c > 0; --c, y = ahead(y, 1), number = v_add(number, v_set1(1))) {
    const vec e = v_load(y.p);
    const vec other = spread ? e : times_inverse(v_mul(e, d->lowered), per_exp);
    v_store(y.p, v_select(v_eq(class, number), at_label, other));
  }
}

typedef struct {
  const softmax_sums *sums;
  const slope *slope;
  const targets *targets;
  const smc_targets *how;
  int spread;   /* the target, over the classes */
  int kept;     /* the exponentials, in the gradient */
  int at_label; /* whether a block is the whole row, that of its label included */
} gradient_from;

static void gradient_of_packed(tile *t, const gradient_from *of) {
  for (size_t u = 0; u < t->strands; ++u) {
    if (of->spread) {
      gradient_strand(t, u, &of->sums[u], &of->slope[u], of->how, of->spread, of->kept);
    }
    gradient_beside_labels(t, u, &of->sums[u], &of->slope[u], &of->targets[u], of->spread);
    end_gradient(t, u, &of->targets[u], v_set1(1));
  }
}

static void gradient_of_block(tile *t, const void *extra) {
  const gradient_from *of = extra;
  const scaling scale = scaling_by(1, is_across(t));
  pair per_exp[SMC_MAX_STRANDS];
  if (of->at_label && are_compared(t)) {
    gradient_of_packed(t, of);
    return;
  }
  size_t u = of->spread ? 0 : strands_abreast(t);
  for (size_t g = 0; g < u; ++g) per_exp[g] = of->slope[g].per_exp;
  if (u > 0) u = divide_abreast(t, SMC_GRAD, of->sums, &scale, per_exp, of->kept);
  for (; u < t->strands; ++u) {
    const size_t g = group_of(t, u);
    gradient_strand(t, u, &of->sums[g], &of->slope[g], of->how, of->spread, of->kept);
  }
  for (u = 0; u < t->strands; ++u) {
    const size_t g = group_of(t, u);
    const vec lowered = of->spread ? v_set1(1) : of_strand(t, u, &of->slope[g].lowered);
    end_gradient(t, u, &of->targets[g], lowered);
  }
  for (size_t g = 0; of->at_label && g < groups_of(t); ++g) {
    gradient_at_labels(t, g, &of->sums[g], &of->slope[g], &of->targets[g]);
  }
}

/* The masses at the peak and beside it, and the distance, of the spread part; before the exponentials may take
 * the place of the logits. */
static void sum_distributions(tile *t, const softmax_sums *s, const smc_targets *how, targets *a) {
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    for (size_t u = 0; u < t->strands; ++u) {
      sum_distribution(t, u, of_strand(t, u, &s[group_of(t, u)].m), how, &a[u]);
    }
  }
  sum_by_row(t, &a->others, sizeof *a);
  sum_by_row(t, &a->peak, sizeof *a);
  sum_by_row(t, &a->distance, sizeof *a);
}

/* Whether the gradient takes the place of the soft target, which is read to the last. */
SMC_INLINE int is_over_target(const tile *t) {
  const smc_view *operands = t->of->operands;
  return !is_staged(t) && operands[SMC_SOFT].data == operands[SMC_GRAD].data;
}

static void cross_entropy_tile(tile *t, const void *extra) {
  const smc_targets *how = extra;
  const scaling scale = scaling_by(1, is_across(t));
  const int spread = !how->labels || how->off != 0;
  const int grad = t->of->operands[SMC_GRAD].data != NULL;
  softmax_sums s[SMC_MAX_STRANDS];
  const int keep = grad && !t->online && !is_over_target(t); /* the exponentials, in the gradient */
  const wanted_sums wanted = {&scale, SMC_TAIL, keep, s};
  targets a[SMC_MAX_STRANDS];
  slope d[SMC_MAX_STRANDS];
  const slope with_factor = slope_by(how->factor);

  if (is_single_block(t)) enter_block(t, 0);
  for (size_t g = 0; g < groups_of(t); ++g) {
    a[g].present = v_set1(1);
    a[g].at_label = a[g].base_at_label = v_set1(0);
    if (how->labels) read_labels(t, g, how, &a[g]);
  }
  for (size_t g = 0; how->labels && g < groups_of(t); ++g) look_up_labels(t, g, how, &a[g]);
  for (size_t u = 0; u < t->strands; ++u) a[u].others = a[u].peak = a[u].distance = pair_of(0);
  if (t->online) {
    sums_online(t, &wanted);
  } else {
    maxima_of_rows(t, &wanted);
  }
  find_nans(t, s);
  if (spread) sum_distributions(t, s, how, a);
  if (!t->online) sums_of_rows(t, &wanted);
  for (size_t g = 0; g < groups_of(t); ++g) {
    if (!how->labels) a[g].x_label = s[g].m;
    add_label(&a[g], s[g].m);
    d[g].unit = with_factor.unit, d[g].factor = with_factor.factor;
    loss_and_slope(t, g, &s[g], &a[g], how, &d[g]);
  }
  if (!grad) return;
  const int at_label = how->labels && is_single_block(t);
  for_results(t, gradient_of_block, &(gradient_from){s, d, a, how, spread, keep, at_label});
  for (size_t g = 0; how->labels && !at_label && g < groups_of(t); ++g) {
    gradient_at_labels(t, g, &s[g], &d[g], &a[g]);
  }
}

#endif
