/* A dense target: the mass of a distribution at the peak and beside it, and its distance. */
#ifndef SMC_LOSS_TARGET_H
#define SMC_LOSS_TARGET_H

#include "labels.h"
#include "../run.h"

/* Compute the dense part of a in vector i: w_c off or, without labels (with soft), w_c (on soft_c +
 * off); 0 in lanes beyond the end of a row. */
SMC_INLINE vec distribution(const tile *t, const panel soft, size_t i, size_t lanes) {
  static real ones[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  real *w = (real *)t->call->targets->weight;
  vec a = v_set1((real)t->call->targets->off);
  if (soft.p)
    a = v_fma(v_set1((real)t->call->targets->on), load_lanes(ahead(soft, i), lanes, v_set1(0)), a);
  if (is_across(t)) return w ? v_mul(a, v_set1(w[t->begin + i])) : a;
  if (w) w += t->before + t->begin + i * W;
  return v_mul(a, load_lanes((panel){w ? w : ones, 0}, lanes, v_set1(0)));
}

/* The distribution that is the target of panel u; nowhere, with labels. */
SMC_INLINE panel soft_panel(const tile *t, size_t u) {
  return has_labels(t) ? (panel){NULL, 0} : panel_of(t, SMC_SOFT, u);
}

/* Sum the dense part of the k-block at hand, lane by lane; two vectors join a sum at a time.  (Few
 * hold a peak.) */
static void sum_distribution(const tile *t, size_t u, vec m, targets *a) {
  const panel x = panel_of(t, SMC_X, u), soft = soft_panel(t, u);
  const extent n = extent_of(t, u);
  const vec zero = v_set1(0);
  pair others = a->others, distance = a->distance;
  vec mass = zero, way = zero;
  for (size_t i = 0; i < steps_of(n); ++i) {
    const size_t lanes = lanes_at(n, i);
    const vec logit = load_lanes(ahead(x, i), lanes, m), d = distribution(t, soft, i, lanes);
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

/* What dense targets are compared with, and where their masses go. */
typedef struct {
  const softmax_sums *sums;
  targets *targets;
} dense_masses;

/* Sum the masses at the peak and beside it, and the distance, of the dense part of whole rows;
 * before the exponentials may take the place of the logits. */
static void sum_distributions(tile *t, size_t part, const void *args) {
  const dense_masses *of = args;
  (void)part;
  for (size_t begin = 0; begin < t->call->k; begin += t->plan.k_block) {
    enter_k_block(t, begin);
    for (size_t u = 0; u < t->panels; ++u) {
      const vec m = of_panel(t, u, &of->sums[lane_block_of(t, u)].m);
      sum_distribution(t, u, m, &of->targets[u]);
    }
  }
}

/* The masses and the distance of each row. */
static void masses_of_rows(tile *t, const softmax_sums *s, targets *a) {
  for_whole_rows(t, sum_distributions, &(dense_masses){s, a});
  sum_by_row(t, &a->others, sizeof *a);
  sum_by_row(t, &a->peak, sizeof *a);
  sum_by_row(t, &a->distance, sizeof *a);
}

/* Add the mass at the label to that of the dense part. */
SMC_INLINE void add_label(targets *a, vec m) {
  const vec zero = v_set1(0);
  mask peak = v_eq(a->x_label, m);
  a->others = pair_add(a->others, (pair){v_select(peak, zero, a->at_label), zero});
  a->peak = pair_add(a->peak, (pair){v_select(peak, a->at_label, zero), zero});
}

#endif
