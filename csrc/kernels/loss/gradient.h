/* The gradient of cross-entropy. */
#ifndef SMC_LOSS_GRADIENT_H
#define SMC_LOSS_GRADIENT_H

#include "../forward/results.h"
#include "target.h"

/* A target's mass, times the factor, whose quotient by a lifted sum is a normal number with digits
 * to spare. */
#define f32_SMALL_MASS 0x1p-32f

#define f64_SMALL_MASS 0x1p-256

/* The largest tail of a peak that is taken for the only one: below 1/2, which rounding could make
 * of two that are the same. */
#define SMC_TAIL_MAX ((real)0x1.ffffp-2)

/* What the gradient of the rows of a lane block is made of.  The factor is held in two,
 * unit*factor, as it may be beyond the range of floats where its product with a mass is not; both
 * have half of its exponent, so that no product with the first is either. */
typedef struct {
  vec unit, factor;
  vec lowered;  /* a power of two, by which exponentials are multiplied before: 1 or, where A is so
                * small that per_exp would be no normal number, 2^-LIFT, for those that lose digits
                * make no results */
  pair per_exp; /* factor A/(S lowered): the gradient's part for each unit of an exponential */
  vec tail;     /* S'/S, which is 1 - s_k at the peak */
  vec peak;     /* e_k, if by far the largest: no other exponential is the same; else infinity */
  vec at_peak;  /* factor (A - a_k) s_k */
} slope;

/* a times the factor of the gradient. */
SMC_INLINE vec times_factor(vec a, const slope *g) { return v_mul(v_mul(a, g->unit), g->factor); }

/* The two halves of the factor; all else is left for later. */
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

SMC_INLINE slope slope_of_panel(const tile *t, size_t u, const slope *g) {
  return (slope){of_panel(t, u, &g->unit),    of_panel(t, u, &g->factor),
                 of_panel(t, u, &g->lowered), pair_of_panel(t, u, &g->per_exp),
                 of_panel(t, u, &g->tail),    of_panel(t, u, &g->peak),
                 of_panel(t, u, &g->at_peak)};
}

/* factor (A s - a), by its tail at a peak of more than half of the probability, as A s - a would
 * double its error */
SMC_INLINE vec gradient_of(vec e, vec a, const slope *g) {
  vec part = times_factor(a, g), low = v_mul(e, g->lowered);
  vec plain = v_fma(low, g->per_exp.hi, v_sub(v_mul(low, g->per_exp.lo), part));
  vec exact = v_fnma(part, g->tail, g->at_peak);
  return v_select(v_eq(e, g->peak), exact, plain);
}

/* The gradient of a dense target; kept: exponentials are in it already, or else computed once
 * more. */
static void dense_gradient(const tile *t, size_t u, const softmax_sums *s,
                           const slope *of_lane_block, int kept) {
  const shift sh = shift_of_panel(t, u, &s->sh);
  const slope g = slope_of_panel(t, u, of_lane_block);
  const panel y = panel_of(t, SMC_GRAD, u), from = kept ? y : panel_of(t, SMC_X, u);
  const panel soft = soft_panel(t, u);
  const extent n = extent_of(t, u);
  const scaling scale = scaling_by(1, is_across(t));
  for (size_t i = 0; i < steps_of(n); ++i) {
    const size_t lanes = lanes_at(n, i);
    vec a = load_lanes(ahead(from, i), lanes, kept ? v_set1(0) : scale.vacant), e = a;
    if (!kept) exp_unrolled(&a, &e, &sh, &scale, 1, 1);
    store_lanes(ahead(y, i), gradient_of(e, distribution(t, soft, i, lanes), &g), lanes);
  }
}

/* End the gradient of a panel, where something is left to do, as is rare: a row that is ignored
 * has none; and products with exponentials that should have been lowered before, are now.  (They
 * are less than one, and so no more than results are large.) */
SMC_INLINE void end_gradient(const tile *t, size_t u, const targets *a, vec lowered) {
  const panel y = panel_of(t, SMC_GRAD, u);
  const extent n = extent_of(t, u);
  const mask ignored = v_eq(of_panel(t, u, &a->present), v_set1(0));
  if (v_count(v_or(ignored, v_lt(lowered, v_set1(1)))) == 0) return;
  for (size_t i = 0; i < steps_of(n); ++i) {
    const panel at = ahead(y, i);
    const size_t lanes = lanes_at(n, i);
    const vec product = v_mul(load_lanes(at, lanes, v_set1(0)), lowered);
    store_lanes(at, v_select(ignored, v_set1(0), product), lanes);
  }
}

/* The gradient at the label of each row. */
static SMC_OUTLINE vec gradient_of_labels(const tile *t, const softmax_sums *s, const slope *d,
                                          const targets *a) {
  const scaling scale = scaling_by(1, is_across(t));
  const mask ignored = v_eq(a->present, v_set1(0));
  vec x = v_select(ignored, s->m, a->x_label), e = x; /* no logit is above the maximum */
  exp_unrolled(&x, &e, &s->sh, &scale, 1, 1);
  const vec at_label = gradient_of(e, v_add(a->at_label, a->base_at_label), d);
  return v_select(ignored, v_set1(0), at_label);
}

/* Store the gradient at the label of each row: in its panel, if that holds the whole row, else in
 * memory. */
static void gradient_at_labels(const tile *t, size_t g, const softmax_sums *s, const slope *d,
                               const targets *a) {
  real lane[W];
  v_store(lane, gradient_of_labels(t, s, d, a));
  const smc_view y = rows_of_lane_block(t, SMC_GRAD, g);
  const size_t rows = lane_block_rows(t, g);
  const int whole_row = has_single_k_block(t);
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

/* The gradient of a packed panel whose labels are compared with each class: at the label and,
 * unless the target is dense, beside it. */
static void gradient_beside_labels(const tile *t, size_t u, const softmax_sums *s, const slope *d,
                                   const targets *a, int dense_target) {
  const vec at_label = gradient_of_labels(t, s, d, a), class = v_load(a->class);
  const pair per_exp = d->per_exp;
  panel y = panel_of(t, SMC_GRAD, u);
  vec number = v_set1(0);
  for (size_t c = t->call->k; c > 0; --c, y = ahead(y, 1), number = v_add(number, v_set1(1))) {
    const vec e = v_load(y.p);
    const vec other = dense_target ? e : times_inverse(v_mul(e, d->lowered), per_exp);
    v_store(y.p, v_select(v_eq(class, number), at_label, other));
  }
}

/* What the gradient of a tile is made of. */
typedef struct {
  const softmax_sums *sums;
  const slope *slope;
  const targets *targets;
  int dense_target; /* the target, over the classes */
  int kept;         /* the exponentials, in the gradient */
  int at_label;     /* whether a block is the whole row, that of its label included */
} gradient_from;

/* The gradient of packed rows whose labels are compared. */
static void gradient_of_packed(tile *t, const gradient_from *of) {
  for (size_t u = 0; u < t->panels; ++u) {
    if (of->dense_target) {
      dense_gradient(t, u, &of->sums[u], &of->slope[u], of->kept);
    }
    gradient_beside_labels(t, u, &of->sums[u], &of->slope[u], &of->targets[u], of->dense_target);
    end_gradient(t, u, &of->targets[u], v_set1(1));
  }
}

/* The gradient as if no class were a label: factor A s, less what the dense part takes. */
static void gradient_without_labels(tile *t, const gradient_from *of) {
  const scaling scale = scaling_by(1, is_across(t));
  for (size_t u = 0; of->dense_target && u < t->panels; ++u) {
    const size_t g = lane_block_of(t, u);
    dense_gradient(t, u, &of->sums[g], &of->slope[g], of->kept);
  }
  if (of->dense_target) return;
  char *const free = t->free;
  pair *per_exp = reserve(t, t->panels * sizeof *per_exp);
  for (size_t g = 0; g < lane_blocks_of(t); ++g) per_exp[g] = of->slope[g].per_exp;
  results_of_tile(t, SMC_GRAD, &(wanted_results){&scale, of->sums, per_exp},
                  of->kept ? SMC_SCALED : SMC_QUOTIENT);
  t->free = free;
}

/* The gradient of the k-block at hand. */
static void gradient_of_block(tile *t, const void *extra) {
  const gradient_from *of = extra;
  if (of->at_label && are_compared(t)) {
    gradient_of_packed(t, of);
    return;
  }
  gradient_without_labels(t, of);
  for (size_t u = 0; u < t->panels; ++u) {
    const size_t g = lane_block_of(t, u);
    const vec lowered = of->dense_target ? v_set1(1) : of_panel(t, u, &of->slope[g].lowered);
    end_gradient(t, u, &of->targets[g], lowered);
  }
  for (size_t g = 0; of->at_label && g < lane_blocks_of(t); ++g) {
    gradient_at_labels(t, g, &of->sums[g], &of->slope[g], &of->targets[g]);
  }
}

/* Whether the gradient takes the place of the soft target, which is read to the last. */
SMC_INLINE int is_over_target(const tile *t) {
  const smc_view *operands = t->call->operands;
  return !is_staged(t) && operands[SMC_SOFT].data == operands[SMC_GRAD].data;
}

#endif
