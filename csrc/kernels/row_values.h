/* What there is one of for each row: from what each lane of a panel holds to one value for each
 * row, and from arrays of such values to lanes and back. */
#ifndef SMC_ROW_VALUES_H
#define SMC_ROW_VALUES_H

#include "tile.h"

/* Reduce vectors of each panel, `apart` bytes from each other, to those of each lane block; a pair
 * is two of them. */
SMC_INLINE void reduce_panels(const tile *t, vec *values, size_t apart, const smc_reduction by) {
  const int last = by == SMC_BY_PAIR_ADD;
  for (size_t g = 0; !is_across(t) && g < lane_blocks_of(t); ++g) {
    vec *to = (vec *)((char *)values + g * apart);
    const vec *from = (const vec *)((char *)values + g * t->plan.lane_rows * apart);
    pair a = {from[0], from[last]};
    if (t->plan.lane_rows == 1) {
      a = reduce_lanes(a, by);
    } else {
      reduce_lane_block((char *)from, lane_block_rows(t, g), apart, by);
      a = (pair){from[0], from[last]};
    }
    to[0] = a.hi;
    if (last) to[1] = a.lo;
  }
}

static void max_by_row(const tile *t, vec *m) { reduce_panels(t, m, sizeof *m, SMC_BY_MAX); }

static void count_by_row(const tile *t, vec *count, size_t apart) {
  reduce_panels(t, count, apart, SMC_BY_ADD);
}

static void sum_by_row(const tile *t, pair *sum, size_t apart) {
  reduce_panels(t, &sum->hi, apart, SMC_BY_PAIR_ADD);
  for (size_t g = 0; g < lane_blocks_of(t); ++g) {
    pair *s = (pair *)((char *)sum + g * apart);
    *s = normalized(*s);
  }
}

/* Load a number for each row of a lane block. */
SMC_INLINE vec by_lane(const tile *t, const real *lane) {
  return t->plan.lane_rows == 1 ? v_set1(lane[0]) : v_load(lane);
}

/* Load n <= W values, one for each row, from row i on; beyond them, zeros. */
SMC_INLINE vec load_values(const smc_view *from, size_t i, size_t n) {
  const char *p = (const char *)from->data + (ptrdiff_t)i * from->row;
  if (n == W && sizeof(elem) == sizeof(real) && from->row == sizeof(real)) return v_load(p);
  real lane[W];
  v_store(lane, v_set1(0));
  get_elements(p, from->row, n, lane);
  return v_load(lane);
}

SMC_INLINE void store_values(vec a, const smc_view *to, size_t i, size_t n) {
  char *p = (char *)to->data + (ptrdiff_t)i * to->row;
  if (n == W && sizeof(elem) == sizeof(real) && to->row == sizeof(real)) {
    v_store(p, a);
    return;
  }
  real lane[W];
  v_store(lane, a);
  put_elements(p, to->row, n, lane);
}

/* Load values of the type computed in, those of lane block g; ones if there are none. */
static vec load_weights(const tile *t, size_t g, const smc_view *from) {
  if (!from->data) return v_set1(1);
  const size_t rows = lane_block_rows(t, g);
  const char *p = (const char *)from->data + (ptrdiff_t)lane_block_row(t, g) * from->row;
  real lane[W];
  v_store(lane, v_set1(1));
  for (size_t l = 0; l < rows; ++l, p += from->row) memcpy(&lane[l], p, sizeof(real));
  return by_lane(t, lane);
}

/* Load the values of lane block g. */
SMC_INLINE vec load_by_row(const tile *t, size_t g, const smc_view *from) {
  const vec a = load_values(from, lane_block_row(t, g), lane_block_rows(t, g));
  return by_lane(t, (const real *)&a);
}

SMC_INLINE void store_by_row(const tile *t, size_t g, vec a, const smc_view *to) {
  store_values(a, to, lane_block_row(t, g), lane_block_rows(t, g));
}

/* Store values of the type computed in, those of lane block g. */
SMC_INLINE void store_results(const tile *t, size_t g, vec value, void *to, ptrdiff_t step) {
  real lane[W];
  const size_t first = lane_block_row(t, g), rows = lane_block_rows(t, g);
  if (rows == W && step == sizeof(real)) {
    v_store((real *)to + first, value);
    return;
  }
  v_store(lane, value);
  for (size_t l = 0; l < rows; ++l) {
    memcpy((char *)to + (ptrdiff_t)(first + l) * step, &lane[l], sizeof(real));
  }
}

#endif
