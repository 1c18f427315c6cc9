/* Products with softmax's Jacobian of dense rows, one by one, as they lie in memory. */
#ifndef SMC_VJP_ROWS_H
#define SMC_VJP_ROWS_H

#include "dot.h"
#include "short_rows.h"

SMC_INLINE product_panels panels_of_row(smc_view s, smc_view g, smc_view y, size_t row) {
  const ptrdiff_t step = W * sizeof(elem);
  return (product_panels){{(real *)stored_row(s, row), step},
                          {(real *)stored_row(g, row), step},
                          {(real *)stored_row(y, row), step}};
}

/* Rows of a 16-bit type too long to be packed: through the buffers of panels each number would be stored
 * twice more, but converted once, not twice. */
SMC_INLINE int are_converted(size_t k) {
  return SMC_FAST_HALVES && sizeof(elem) < sizeof(real) &&
         k * sizeof(real) > SMC_PACKED_LIGHT_BYTES;
}

SMC_INLINE vec peak_of_row(const product_panels of, const extent n) {
  return v_set1(number_at(of.g, place_of_peak(of.s, n, SMC_STORED), SMC_STORED));
}

SMC_INLINE product_sums sums_of_row(vec center, panel_sums sums) {
  return (product_sums){.center = center, .sum = pair_value(sum_of_lanes(sums.sum))};
}

SMC_INLINE void converted_rows(smc_view s, smc_view g, smc_view y, size_t n, const extent row) {
  for (size_t i = 0; i < n; ++i) {
    const product_panels of = panels_of_row(s, g, y, i);
    const vec center = peak_of_row(of, row);
    const product_sums sums = sums_of_row(
        center, stored_dot(of.s, of.g, row, center, v_set1(0), SMC_SOFTMAX_VJP, SMC_STORED));
    stored_products(of, row, &sums, 0, SMC_SOFTMAX_VJP, SMC_STORED);
  }
}

/* Rows of which two stay in the first-level cache, but longer than those that are packed. */
SMC_INLINE int are_few_lines(size_t n, size_t k) {
  const size_t bytes = k * sizeof(elem);
  const int is_far = SMC_MAX_PANEL_OPERANDS * n * bytes > 2 * far_bytes(smc_get_caches());
  return W >= SMC_MANY_LANES && sizeof(elem) == sizeof(real) && n > 1 &&
         bytes > SMC_PACKED_LIGHT_BYTES &&
         bytes <= (is_far ? SMC_BESIDE_FAR_BYTES : SMC_BESIDE_BYTES);
}

/* The product of each row while the next one is summed and the peak of the one after is found: so that nothing waits
 * for a reduction, and for memory as little as may be. */
SMC_INLINE void rows_in_turn(smc_view s, smc_view g, smc_view y, size_t n, const extent row) {
  product_panels of = panels_of_row(s, g, y, 0), next = panels_of_row(s, g, y, n > 1);
  vec center = peak_of_row(of, row), next_center = peak_of_row(next, row);
  panel_sums sums = stored_dot(of.s, of.g, row, center, v_set1(0), SMC_SOFTMAX_VJP, SMC_STORED);
  for (size_t i = 1; i < n; ++i) {
    const product_panels later = panels_of_row(s, g, y, i + (i + 1 < n));
    other_rows beside = {of, sums_of_row(center, sums), search_of(later.s), are_unrolled(row)};
    center = next_center;
    if (!are_unrolled(row)) next_center = peak_of_row(later, row);
    sums = stored_dot_beside(next.s, next.g, row, center, v_set1(0), SMC_SOFTMAX_VJP, SMC_COMPUTED,
                             &beside);
    if (are_unrolled(row)) {
      const size_t class = found_class(&beside.search, later.s, row, SMC_UNROLL, SMC_COMPUTED);
      next_center = v_set1(e_get((const elem *)later.g.p + class));
    }
    of = next, next = later;
  }
  const product_sums known = sums_of_row(center, sums);
  dense_products(of, row, &known, 0);
}

/* All products with softmax's Jacobian, if rows are dense and better taken one by one. */
SMC_INLINE int products_of_rows(const smc_call *call) {
  const smc_view s = call->operands[0], g = call->operands[1], y = call->operands[2];
  const size_t n = call->n, k = call->k;
  const extent row = {k / W, W, (uint32_t)(k % W)};
  if (!are_dense(s, g, y) || is_short(k)) return 0; /* whose sums are others */
  if (are_converted(k)) {
    converted_rows(s, g, y, n, row);
  } else if (are_few_lines(n, k)) {
    rows_in_turn(s, g, y, n, row);
  } else {
    return 0;
  }
  return 1;
}

#endif
