/* The logsumexp of two parts of a row from theirs, each a pair m + s: a + log1p(exp(b - a)), a
 * being the larger.  b - a and the sum with a are taken with their rounding errors, so that what is
 * left is an ulp or two of log1p, which is at most log 2. */
#ifndef SMC_MERGE_H
#define SMC_MERGE_H

#include "log1p.h"
#include "row_values.h"

/* Merge p and q.  Where they are infinitely far from each other it is the larger of them, as it is;
 * beside an infinite result there is no rest; NaN is NaN. */
SMC_INLINE pair merged_pair(pair p, pair q) {
  const vec zero = v_set1(0), infinity = v_set1((real)INFINITY);
  pair d = two_sum(q.hi, v_sub(zero, p.hi)); /* q - p */
  const mask near = v_lt(v_abs(d.hi), infinity);
  d = two_sum(d.hi, v_add(d.lo, v_sub(q.lo, p.lo)));
  const mask second = v_or(v_lt(zero, d.hi), v_and(v_eq(d.hi, zero), v_lt(p.hi, q.hi)));
  const pair a = {v_select(second, q.hi, p.hi), v_select(second, q.lo, p.lo)};
  d.hi = v_sub(zero, v_abs(d.hi));
  d.lo = v_select(second, v_sub(zero, d.lo), d.lo);
  const vec growth = log1p_of_pair((pair){exp_of_negative(d.hi, d.lo), zero}).hi;
  const pair sum = two_sum(a.hi, growth);
  pair m = two_sum(sum.hi, v_add(sum.lo, a.lo));

  const mask first = v_lt(q.hi, p.hi);
  m.hi = v_select(near, m.hi, v_select(first, p.hi, q.hi));
  m.lo = v_select(near, m.lo, v_select(first, p.lo, q.lo));
  const vec both = v_add(p.hi, q.hi);
  m.hi = v_select(v_and(v_eq(p.hi, p.hi), v_eq(q.hi, q.hi)), m.hi, both);
  m.lo = v_select(v_lt(v_abs(m.hi), infinity), m.lo, v_select(v_eq(m.hi, m.hi), zero, m.hi));
  return m;
}

/* Merge n pairs.  Operands: m and s of p, of q, and of the result. */
static void merge_pairs(const smc_view *pairs, size_t n) {
  for (size_t i = 0; i < n; i += W) {
    const size_t some = n - i < W ? n - i : W;
    const pair p = {load_values(&pairs[0], i, some), load_values(&pairs[1], i, some)};
    const pair q = {load_values(&pairs[2], i, some), load_values(&pairs[3], i, some)};
    const pair m = merged_pair(p, q);
    store_values(m.hi, &pairs[4], i, some);
    store_values(m.lo, &pairs[5], i, some);
  }
}

#endif
