/* The place of the first largest number of a row. */
#ifndef SMC_VJP_SEARCH_H
#define SMC_VJP_SEARCH_H

#include "../panel.h"
#include "../lanes.h"

/* A search along a row: for each lane the largest number so far, and the index of the vector, or of
 * the first of the SMC_UNROLL vectors, where it was found. */
typedef struct {
  panel at;
  vec most, place;
} peak_search;

/* Searches the next `vectors` vectors, 1 or SMC_UNROLL, of which the first is vector i of the row.
 * (`vectors` is a constant.) */
SMC_INLINE void search_on(peak_search *p, size_t i, const int vectors, size_t lanes,
                          const smc_format of) {
  vec a[SMC_UNROLL];
  SMC_EACH(j, vectors) {
    a[j] = load_from(ahead(p->at, (size_t)j), lanes, v_set1((real)-INFINITY), of);
  }
  if (vectors == SMC_UNROLL) a[0] = max_of_four(a);
  p->place = v_select(v_lt(p->most, a[0]), v_set1((real)i), p->place);
  p->most = v_max(p->most, a[0]);
  p->at = ahead(p->at, (size_t)vectors);
}

/* The class of the peak; any class of the row, if it has a NaN.  `together` is a constant: 1, or
 * SMC_UNROLL where so many whole vectors were searched at a time; then the first of these groups
 * that holds the peak is looked through, as its lanes tell nothing of the order within it. */
SMC_INLINE size_t found_class(const peak_search *p, const panel s, const extent n,
                              const int together, const smc_format of) {
  real first[W];
  const vec peak = reduce_lanes((pair){p->most, p->most}, SMC_BY_MAX).hi;
  const size_t none = n.count * W + n.rest;
  size_t class = none;
  v_store(first, p->place);
  for (uint32_t bits = v_lane_bits(v_eq(p->most, peak)); bits; bits &= bits - 1) {
    const size_t lane = smc_lowest_bit(bits);
    const size_t other = (size_t)first[lane] * W + (together == 1 ? lane : 0);
    if (other < class) class = other;
  }
  if (together == 1) return class < none ? class : 0;
  uint64_t found = 0;
  SMC_EACH(j, SMC_UNROLL) {
    const size_t i = class / W + (size_t)j;
    if (i >= steps_of(n)) break;
    const vec x = load_from(ahead(s, i), lanes_at(n, i), v_set1((real)-INFINITY), of);
    found |= (uint64_t)v_lane_bits(v_eq(x, peak)) << (size_t)j * W;
  }
  return found ? class + smc_lowest_bit(found) : 0;
}

/* Searches SMC_UNROLL vectors at a time where a row is so long that it pays to look through the
 * last of them once more. */
SMC_INLINE size_t place_of_peak(const panel s, const extent n, const smc_format of) {
  const int unrolled = n.count >= SMC_UNROLL * SMC_UNROLL;
  peak_search p = {s, v_set1((real)-INFINITY), v_set1(0)};
  size_t i = 0;
  for (; unrolled && i + SMC_UNROLL <= n.count; i += SMC_UNROLL) {
    search_on(&p, i, SMC_UNROLL, W, of);
  }
  for (; i < steps_of(n); ++i) search_on(&p, i, 1, lanes_at(n, i), of);
  return unrolled ? found_class(&p, s, n, SMC_UNROLL, of) : found_class(&p, s, n, 1, of);
}

#endif
