/* Products with softmax's Jacobian of dense rows, one after the other as they lie in memory. */
#ifndef SMC_VJP_ROWS_H
#define SMC_VJP_ROWS_H

#include "dot.h"
#include "search.h"
#include "short_rows.h"

SMC_INLINE product_panels panels_of_row(const smc_call *c, size_t row) {
  const ptrdiff_t step = W * sizeof(elem);
  return (product_panels){{(real *)stored_row(c->operands[SMC_S], row), step},
                          {(real *)stored_row(c->operands[SMC_G], row), step},
                          {(real *)stored_row(c->operands[SMC_PRODUCT], row), step}};
}

/* Whether rows are taken so: longer than those that are packed.  Those of a 16-bit type always: by
 * way of the buffers of panels each number would be stored twice more, though converted once, not
 * twice.  Others as long as s and g of a row stay in the first-level cache from pass to pass, and
 * results need not go past the caches. */
SMC_INLINE int are_taken_singly(size_t n, size_t k) {
  const size_t bytes = k * sizeof(elem);
  if (k * sizeof(real) <= SMC_PACKED_LIGHT_BYTES) return 0;
  if (sizeof(elem) < sizeof(real)) return SMC_FAST_HALVES;
  const int past = SMC_NONTEMPORAL && bytes >= SMC_MANY * sizeof(vec) &&
                   n * bytes > uncached_bytes(smc_get_caches());
  return W > 1 && bytes <= SMC_SINGLY_BYTES && !past;
}

SMC_INLINE vec peak_of_row(const product_panels of, const extent n) {
  return v_set1(number_at(of.g, place_of_peak(of.s, n, SMC_STORED), SMC_STORED));
}

/* The peak of each row is found between the dot product and the products of the row before: so
 * that the processor need not wait for either row's reduction across lanes. */
static SMC_OUTLINE void products_singly(const smc_call *c, const extent row) {
  product_panels of = panels_of_row(c, 0);
  vec center = peak_of_row(of, row);
  for (size_t i = 0; i < c->n; ++i) {
    const panel_sums dot =
        stored_dot(of.s, of.g, row, center, v_set1(0), SMC_SOFTMAX_VJP, SMC_STORED);
    const product_sums sums = {.center = center, .sum = pair_value(sum_of_lanes(dot.sum))};
    const product_panels next = panels_of_row(c, i + (i + 1 < c->n));
    if (i + 1 < c->n) center = peak_of_row(next, row);
    stored_products(of, row, &sums, 0, SMC_SOFTMAX_VJP, SMC_STORED);
    of = next;
  }
}

/* All products with softmax's Jacobian, if rows are dense and better taken one by one; whether they
 * are.  (The sums of short rows have another order.) */
SMC_INLINE int products_of_rows(const smc_call *c) {
  const size_t k = c->k;
  if (c->n == 0 || !are_dense(c) || is_short(k) || !are_taken_singly(c->n, k)) return 0;
  products_singly(c, (extent){k / W, W, (uint32_t)(k % W)});
  return 1;
}

#endif
