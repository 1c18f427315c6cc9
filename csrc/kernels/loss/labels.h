/* The label of each row, its logit and its mass. */
#ifndef SMC_LOSS_LABELS_H
#define SMC_LOSS_LABELS_H

#include "../forward/expsum.h"
#include "../row_values.h"

/* Operands, beside SMC_X. */
enum { SMC_SOFT = 1, SMC_GRAD, SMC_LABELS, SMC_LOSS, SMC_LSE, SMC_SAMPLE };

/* Whether the target is given by labels; else it is dense, a distribution. */
SMC_INLINE int has_labels(const tile *t) { return t->call->operands[SMC_LABELS].data != NULL; }

/* What a lane block has of the target: a = a dense part + `at_label` at the row's label, whose
 * logit is x_label.  Until the pairs are reduced, entry u has those of panel u, lane by lane. */
typedef struct {
  vec at_label, base_at_label, x_label;
  vec present;       /* 0 if the row is ignored, else 1 */
  pair others, peak; /* the mass of a away from the maximum, and at it */
  pair distance;     /* sum of the dense part times (max - x) */
  size_t label[W];   /* of each row; 0 if it is ignored */
  real class[W];     /* the same, rounded; negative if it is ignored */
} targets;

/* The rows of lane block g: in their panels, if these hold whole rows, else in memory. */
SMC_INLINE smc_view rows_of_lane_block(const tile *t, int operand, size_t g) {
  const smc_view *o = &t->call->operands[operand];
  if (!has_single_k_block(t)) {
    return (smc_view){(char *)o->data + (ptrdiff_t)lane_block_row(t, g) * o->row, o->row, o->col};
  }
  const panel s = panel_of(t, operand, is_across(t) ? g : g * t->plan.lane_rows);
  if (is_across(t)) return (smc_view){s.p, sizeof(real), s.step};
  /* (The step of one lane may be that of columns.) */
  return (smc_view){s.p, t->apart[operand], W > 1 ? (ptrdiff_t)sizeof(real) : s.step};
}

/* Whether labels are compared with each class, as in packed rows: what is stored or loaded by lane,
 * and as a vector soon after, is waited for. */
SMC_INLINE int are_compared(const tile *t) { return is_packed(t) && t->call->k <= SMC_SUM_STEPS; }

/* Find the logit of each row's label by comparing it with each class. */
SMC_INLINE vec compared_logits(panel x, size_t k, vec class) {
  vec logit = v_set1(0), number = v_set1(0);
  for (size_t c = 0; c < k; ++c, x = ahead(x, 1), number = v_add(number, v_set1(1))) {
    logit = v_select(v_eq(class, number), v_load(x.p), logit);
  }
  return logit;
}

/* Read the label of each row.  Whoever calls has judged them, but another thread may have written
 * over them since: none may lead outside of the row. */
static void read_labels(const tile *t, size_t g, targets *a) {
  const smc_view *labels = &t->call->operands[SMC_LABELS];
  const size_t rows = lane_block_rows(t, g), k = t->call->k;
  const char *from = (const char *)labels->data + (ptrdiff_t)lane_block_row(t, g) * labels->row;
  v_store(a->class, v_set1(-1));
  for (size_t l = 0; l < rows; ++l, from += labels->row) {
    uint64_t label; /* a negative one is beyond the row, too */
    memcpy(&label, from, sizeof label);
    a->label[l] = label < k ? (size_t)label : 0;
    a->class[l] = label < k ? (real)(int64_t)label : -1;
  }
}

/* Load the logit of each row's label, one after the other. */
static vec gathered_logits(const tile *t, size_t g, const targets *a) {
  const smc_view x = rows_of_lane_block(t, SMC_X, g);
  const size_t rows = lane_block_rows(t, g);
  const char *row = x.data;
  real logit[W] = {0};
  if (has_single_k_block(t)) {
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

/* Look up the logit and the mass of each row's label. */
static void look_up_labels(const tile *t, size_t g, targets *a) {
  const real *weight = t->call->targets->weight;
  const size_t rows = lane_block_rows(t, g);
  const vec class = by_lane(t, a->class), zero = v_set1(0);
  const mask ignored = v_lt(class, zero);
  real mass[W] = {0};
  for (size_t l = 0; weight && l < rows; ++l) mass[l] = weight[a->label[l]];
  a->present = v_select(ignored, zero, v_set1(1));
  const vec m = weight ? v_select(ignored, zero, by_lane(t, mass)) : a->present;
  const vec logit = are_compared(t) ? compared_logits(panel_of(t, SMC_X, g), t->call->k, class)
                                    : gathered_logits(t, g, a);
  a->at_label = v_mul(m, v_set1((real)t->call->targets->on));
  a->base_at_label = v_mul(m, v_set1((real)t->call->targets->off));
  a->x_label = v_select(ignored, zero, logit);
}

#endif
