/* Reductions across the lanes of a vector, of one row or of several rows at once, and the numbers
 * of lanes. */
#ifndef SMC_LANES_H
#define SMC_LANES_H

#include "exact.h"

/* 0, 1, 2, ... */
SMC_INLINE vec lane_numbers(void) {
  static const real numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return v_load(numbers);
}

SMC_INLINE vec first_lane(const vec a) { return v_set1(real_at(&a)); }

/* Whether some lane is not 0. */
SMC_INLINE int is_some(vec a) { return v_count(v_eq(a, v_set1(0))) < W; }

/* Lane by lane. */
SMC_INLINE vec max_of_four(const vec *a) { return v_max(v_max(a[0], a[1]), v_max(a[2], a[3])); }

typedef enum { SMC_BY_MAX, SMC_BY_ADD, SMC_BY_PAIR_ADD } smc_reduction;

SMC_INLINE pair joined(pair a, pair b, const smc_reduction by) {
  switch (by) {
  case SMC_BY_MAX: return (pair){v_max(a.hi, b.hi), a.lo};
  case SMC_BY_ADD: return (pair){v_add(a.hi, b.hi), a.lo};
  default: return pair_add(a, b);
  }
}

/* Reduce the lanes of a vector: the value is in every lane. */
SMC_INLINE pair reduce_lanes(pair a, const smc_reduction by) {
  SMC_UNROLLED for (size_t d = W / 2; d; d /= 2) {
    a = joined(a, (pair){v_xor_lanes(a.hi, (int)d), v_xor_lanes(a.lo, (int)d)}, by);
  }
  return a;
}

/* Two rows come to share a vector, `upper` being the lanes of the second: each lane joins what it
 * would, were its row alone. */
SMC_INLINE pair merged(pair a, pair b, mask upper, const int d, const smc_reduction by) {
  pair own = {v_select(upper, b.hi, a.hi), v_select(upper, b.lo, a.lo)};
  pair other = {v_xor_lanes(v_select(upper, a.hi, b.hi), d),
                v_xor_lanes(v_select(upper, a.lo, b.lo), d)};
  return joined(own, other, by);
}

/* The lanes whose number has that bit: 1, 2, 4 or 8. */
SMC_INLINE mask upper_lanes(const size_t bit) {
  static const real has[][16] = {
      {0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1},
      {0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1},
      {0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1},
      {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1},
  };
  return v_lt(v_set1(0), v_load(has[bit == 8 ? 3 : bit / 2]));
}

/* Reduce vectors of some rows, `apart` bytes from each other, to one vector with the value of row r
 * in lane r. */
SMC_INLINE void reduce_lane_block(char *first, size_t rows, size_t apart, const smc_reduction by) {
  const int last = by == SMC_BY_PAIR_ADD; /* vector of an entry */
  SMC_UNROLLED for (size_t d = W / 2; d; d /= 2) {
    const mask upper = upper_lanes(d);
    const size_t left = rows < d ? rows : d;
    for (size_t r = 0; r < left; ++r) {
      vec *p = (vec *)(first + r * apart);
      const vec *q = r + d < rows ? (const vec *)(first + (r + d) * apart) : p;
      const pair a = merged((pair){p[0], p[last]}, (pair){q[0], q[last]}, upper, (int)d, by);
      p[0] = a.hi;
      if (last) p[1] = a.lo;
    }
    rows = left;
  }
}

/* Merge the lanes of SMC_UNROLL rows in registers: those of row u into quarter u of a vector. */
SMC_INLINE pair merged_quarters(const pair *rows, const smc_reduction by) {
  const mask half = upper_lanes(W / 2), quarter = upper_lanes(W / 4);
  const pair a = merged(rows[0], rows[2], half, W / 2, by);
  const pair b = merged(rows[1], rows[3], half, W / 2, by);
  return merged(a, b, quarter, W / 4, by);
}

/* Reduce the lanes of SMC_UNROLL vectors: the value of vector u is in quarter u. */
SMC_INLINE vec reduced_quarters(const vec v[SMC_UNROLL], const smc_reduction by) {
  pair rows[SMC_UNROLL];
  SMC_EACH(u, SMC_UNROLL) rows[u] = (pair){v[u], v[u]};
  pair all = merged_quarters(rows, by);
  SMC_UNROLLED for (size_t d = W / 8; d; d /= 2) {
    all = joined(all, (pair){v_xor_lanes(all.hi, (int)d), all.lo}, by);
  }
  return all.hi;
}

SMC_INLINE vec add_up_rows(const vec v[SMC_UNROLL]) { return reduced_quarters(v, SMC_BY_ADD); }

SMC_INLINE vec max_of_rows(const vec v[SMC_UNROLL]) { return reduced_quarters(v, SMC_BY_MAX); }

/* Four rows go side by side, so that none has the processor wait for its ends, and are merged into
 * a vector while the next four are computed.  Rows W/4 apart, so that each ends in the lane of its
 * number. */
enum { SMC_QUARTERS = (W + SMC_UNROLL - 1) / SMC_UNROLL };

SMC_INLINE pair merged_lane_block(pair *quarters, const smc_reduction by) {
  SMC_UNROLLED for (size_t d = W / 8; d; d /= 2) {
    const mask upper = upper_lanes(d);
    SMC_EACH(r, (int)d) quarters[r] = merged(quarters[r], quarters[r + (int)d], upper, (int)d, by);
  }
  return quarters[0];
}

/* Sum the lanes of one row as soon as it is complete, while the next row is read: where a tile has
 * few rows. */
SMC_INLINE pair sum_of_lanes(pair sum) { return normalized(reduce_lanes(sum, SMC_BY_PAIR_ADD)); }

#if SMC_FAST_MASKS
/* For rows of k classes that share a vector, side by side, number the lane of the next class of
 * each; for the last class, that of the first. */
SMC_INLINE vec next_lanes(size_t k) {
  const vec lane = lane_numbers(), last = v_set1((real)(k - 1)), length = v_set1((real)k);
  const vec middle = v_sub(lane, v_set1((real)(k - 1) / 2));
  const vec row = v_round(v_mul(middle, v_set1(1 / (real)k)));
  const mask is_last = v_eq(v_fma(row, length, last), lane);
  const vec next = v_select(is_last, v_sub(lane, last), v_add(lane, v_set1(1)));
  return v_add(next, v_set1(SMC_C(ROUNDER)));
}
#endif

#endif
