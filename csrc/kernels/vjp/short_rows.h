/* Products with softmax's Jacobian of short, dense rows, as they lie in memory. */
#ifndef SMC_VJP_SHORT_ROWS_H
#define SMC_VJP_SHORT_ROWS_H

#include "../plan.h"
#include "pass.h"

enum { SMC_HELD_MAX = 3 }; /* vectors of each of a few rows that registers have room for */

typedef enum { SMC_NOTHING, SMC_INPUTS, SMC_ALL } smc_prefetched;

SMC_INLINE elem *stored_row(const smc_view v, size_t row) {
  return (elem *)((char *)v.data + (ptrdiff_t)row * v.row);
}

SMC_INLINE int are_dense(smc_view s, smc_view g, smc_view y) {
  const ptrdiff_t size = sizeof(elem);
  return s.col == size && g.col == size && y.col == size;
}

/* Lane by lane, of a row of so many whole vectors and `rest` lanes, of which there are some. */
SMC_INLINE vec short_dot(const real *s, const real *g, const size_t whole_vectors, size_t rest,
                         vec center) {
  vec sum = v_set1(0);
  for (size_t i = 0; i < whole_vectors; ++i, s += W, g += W) {
    sum = v_fma(v_load(s), v_sub(v_load(g), center), sum);
  }
  const vec last = v_load_n(g, rest, v_set1(0));
  return v_fma(v_load_n(s, rest, v_set1(0)), v_sub(last, center), sum);
}

SMC_INLINE vec short_product(vec s, vec g, vec center, vec dot) {
  return one_product(s, g, &(product_sums){.center = center, .sum = dot}, SMC_SOFTMAX_VJP);
}

/* The value of some row u, as reduced together, in all lanes. */
SMC_INLINE vec of_quarter(const vec *values, size_t u) {
  return v_set1(real_at((const char *)values + u * sizeof(vec) / SMC_UNROLL));
}

/* The g of a row of k classes at its peak, where `most` is the largest s of each lane, found in vector `places`, and
 * `peak` that of all; in all lanes.  (Lanes beyond the end hold 0, which no s is less than; where all are, or one is a
 * NaN, any g will do.) */
SMC_INLINE vec center_of_row(const elem *g, size_t k, vec most, vec peak, const vec *places) {
  uint32_t bits = v_lane_bits(v_eq(most, peak));
  if (!bits) return v_set1(e_get(g));
  size_t place = smc_lowest_bit(bits);
  if (places) {
    real at[W];
    v_store(at, *places);
    place += (size_t)at[place] * W;
    while (bits &= bits - 1) { /* a tie */
      const size_t lane = smc_lowest_bit(bits), other = (size_t)at[lane] * W + lane;
      if (other < place) place = other;
    }
  }
  return v_set1(e_get(g + (place < k ? place : 0)));
}

/* `rows` at a time, so that their peaks are found, and their dot products added up, across the lanes together; of
 * each the last `held` vectors, of which the very last has `rest` lanes, stay in registers, after `before` lanes.
 * (`rows` and `held` are constants.)  Of several rows that one is stored whole where part of it would take longer:
 * the next row writes over what is too much. */
SMC_INLINE void few_products(smc_view s, smc_view g, smc_view y, size_t row, const int rows,
                             const size_t before, const int held, size_t rest) {
  const int overstore = !SMC_FAST_MASKS && rows > 1;
  const size_t k = before + (size_t)(held - 1) * W + rest;
  const vec none = v_set1((real)-INFINITY);
  vec dot[SMC_UNROLL], most[SMC_UNROLL], places[SMC_UNROLL], center[SMC_UNROLL];
  vec a[SMC_UNROLL][SMC_HELD_MAX], b[SMC_UNROLL][SMC_HELD_MAX];
  SMC_EACH(u, SMC_UNROLL) dot[u] = places[u] = v_set1(0), most[u] = none;
  SMC_EACH(u, rows) {
    const elem *p = stored_row(s, row + (size_t)u), *q = stored_row(g, row + (size_t)u);
    for (size_t i = 0; i < before; i += W) {
      const vec x = e_load(p + i);
      places[u] = v_select(v_lt(most[u], x), v_set1((real)(i / W)), places[u]);
      most[u] = v_max(most[u], x);
    }
    p += before, q += before;
    SMC_EACH(i, held) {
      const size_t lanes = i + 1 < held ? W : rest;
      a[u][i] = e_load_n(p + (size_t)i * W, lanes, v_set1(0));
      b[u][i] = e_load_n(q + (size_t)i * W, lanes, v_set1(0));
      const mask higher = v_lt(most[u], a[u][i]);
      places[u] = v_select(higher, v_set1((real)(before / W + (size_t)i)), places[u]);
      most[u] = v_max(most[u], a[u][i]);
    }
  }
  const vec peaks = max_of_rows(most);
  SMC_EACH(u, rows) {
    const elem *p = stored_row(s, row + (size_t)u), *q = stored_row(g, row + (size_t)u);
    const vec *several = before > 0 || held > 1 ? &places[u] : NULL;
    center[u] = center_of_row(q, k, most[u], of_quarter(&peaks, (size_t)u), several);
    for (size_t i = 0; i < before; i += W) {
      dot[u] = v_fma(e_load(p + i), v_sub(e_load(q + i), center[u]), dot[u]);
    }
    SMC_EACH(i, held) dot[u] = v_fma(a[u][i], v_sub(b[u][i], center[u]), dot[u]);
  }
  const vec dots = add_up_rows(dot);
  SMC_EACH(u, rows) {
    const elem *p = stored_row(s, row + (size_t)u), *q = stored_row(g, row + (size_t)u);
    elem *to = stored_row(y, row + (size_t)u);
    const vec c = center[u], d = of_quarter(&dots, (size_t)u);
    for (size_t i = 0; i < before; i += W) {
      e_store(to + i, short_product(e_load(p + i), e_load(q + i), c, d));
    }
    to += before;
    SMC_EACH(i, held) {
      const size_t lanes = i + 1 < held ? W : rest;
      const vec product = short_product(a[u][i], b[u][i], c, d);
      if (overstore) {
        e_store(to + (size_t)i * W, product);
      } else {
        e_store_n(to + (size_t)i * W, product, lanes);
      }
    }
  }
}

/* Asks for what is so many bytes further on: the processor sees no stream in parts of lines. */
SMC_INLINE void prefetch_later(const elem *s, const elem *g, const elem *y, size_t bytes,
                               smc_prefetched fetched) {
  const elem *third = fetched == SMC_ALL ? y : g; /* once more, which costs less than to ask */
  if (fetched == SMC_NOTHING) return;
  for (size_t at = SMC_LATER_BYTES; at < SMC_LATER_BYTES + bytes; at += SMC_LINE) {
    SMC_PREFETCH((const char *)s + at);
    SMC_PREFETCH((const char *)g + at);
    SMC_PREFETCH((const char *)third + at);
  }
}

/* Whether nothing lies between dense rows. */
SMC_INLINE int are_side_by_side(smc_view s, smc_view g, smc_view y, size_t k) {
  const ptrdiff_t row = (ptrdiff_t)(k * sizeof(elem));
  return s.row == row && g.row == row && y.row == row;
}

/* Of such rows, if they are of at most two lines, and come from memory. */
SMC_INLINE smc_prefetched what_is_prefetched(smc_view s, smc_view g, smc_view y, size_t n,
                                             size_t k) {
  const size_t row = k * sizeof(elem);
  const int fetched = are_side_by_side(s, g, y, k) && row <= 2 * SMC_LINE &&
                      SMC_MAX_PANEL_OPERANDS * n * row > far_bytes(smc_get_caches());
  return fetched ? SMC_ALL : SMC_NOTHING;
}

/* All but the last few rows; how many. */
SMC_INLINE size_t short_products(smc_view s, smc_view g, smc_view y, size_t n, const size_t before,
                                 const int held, size_t rest, smc_prefetched fetched) {
  const size_t k = before + (size_t)(held - 1) * W + rest;
  const size_t after =
      SMC_FAST_MASKS ? 0 : (W - rest + k - 1) / k; /* that a whole vector reaches into */
  size_t row = 0;
  for (; row + SMC_UNROLL + after <= n; row += SMC_UNROLL) {
    if (held < SMC_HELD_MAX) {
      prefetch_later(stored_row(s, row), stored_row(g, row), stored_row(y, row),
                     SMC_UNROLL * k * sizeof(elem), fetched);
    }
    few_products(s, g, y, row, SMC_UNROLL, before, held, rest);
  }
  return row;
}

#if SMC_FAST_MASKS
/* Of rows that share vectors, side by side in memory: of each class s sum s' (g - g'), over the other classes of its
 * row, one lane further on each time.  (No center: each difference is exact but for its own rounding.) */
SMC_INLINE void share_vectors(smc_view from_s, smc_view from_g, smc_view to, size_t n, size_t k,
                              smc_prefetched fetched) {
  const elem *s = from_s.data, *g = from_g.data;
  elem *y = to.data;
  const size_t most = W / k * k;
  const vec next = next_lanes(k);
  for (size_t i = 0, lanes; i < n * k; i += lanes) {
    lanes = n * k - i < most ? n * k - i : most;
    prefetch_later(s + i, g + i, y + i, SMC_LINE, fetched);
    const vec a = e_load_n(s + i, lanes, v_set1(0)), b = e_load_n(g + i, lanes, v_set1(0));
    vec sum = v_set1(0), other_s = a, other_g = b;
    for (size_t c = 1; c < k; ++c) {
      other_s = v_permute(other_s, next), other_g = v_permute(other_g, next);
      sum = v_fma(other_s, v_sub(b, other_g), sum);
    }
    e_store_n(y + i, v_mul(a, sum), lanes);
  }
}
#endif

/* All products with softmax's Jacobian of short and dense rows. */
static SMC_OUTLINE void short_rows(const smc_view *from_s, const smc_view *from_g,
                                   const smc_view *to, size_t n, size_t k, smc_prefetched fetched) {
  const smc_view s = *from_s, g = *from_g, y = *to;
#if SMC_FAST_MASKS
  if (are_paired(k)) {
    share_vectors(s, g, y, n, k, fetched);
    return;
  }
#endif
  const size_t whole_vectors = (k - 1) / W, rest = k - whole_vectors * W;
  size_t row;
  /* (Without masks there are too few registers.) */
  if (whole_vectors == 0) {
    row = short_products(s, g, y, n, 0, 1, rest, fetched);
  } else if (!SMC_FAST_MASKS || whole_vectors > SMC_HELD_MAX) {
    row = short_products(s, g, y, n, whole_vectors * W, 1, rest, fetched);
  } else if (whole_vectors == 1) {
    row = short_products(s, g, y, n, 0, 2, rest, fetched);
  } else {
    const size_t before = (whole_vectors + 1 - SMC_HELD_MAX) * W;
    row = short_products(s, g, y, n, before, SMC_HELD_MAX, rest, fetched);
  }
  for (; row < n; ++row) few_products(s, g, y, row, 1, whole_vectors * W, 1, rest);
}

SMC_INLINE smc_view from_row(smc_view v, size_t row) {
  return (smc_view){stored_row(v, row), v.row, v.col};
}

/* The same of so many rows at a time, by way of a buffer; what comes later of those that fill vectors is asked for
 * before each time. */
static SMC_OUTLINE void combined_rows(smc_view s, smc_view g, smc_view y, size_t n, size_t k,
                                      size_t rows, smc_prefetched fetched) {
  combiner c;
  combiner_start(&c, y);
  for (size_t i = 0; i < n; i += rows) {
    if (n - i < rows) rows = n - i;
    const smc_view a = from_row(s, i), b = from_row(g, i), to = combiner_place(&c, y, 0);
    if (k > W) prefetch_later(a.data, b.data, NULL, rows * k * sizeof(elem), fetched);
    short_rows(&a, &b, &to, rows, k, k > W ? SMC_NOTHING : fetched);
    combiner_flush(&c, rows * k * sizeof(elem), i + rows == n);
  }
  fence_nontemporal(1);
}

/* How many: of some lines, and more of rows of one vector. */
SMC_INLINE size_t rows_combined(size_t k) {
  const size_t four = SMC_UNROLL * k * sizeof(elem);
  const size_t bytes = k > W ? SMC_COMBINED_BYTES / 2 : SMC_COMBINED_BYTES;
  return (bytes + four - 1) / four * SMC_UNROLL;
}

/* Whether each row's product may write over the beginning of the next, which follows and is no operand. */
SMC_INLINE int are_in_order(smc_view s, smc_view g, smc_view y, size_t k) {
  return y.row == (ptrdiff_t)(k * sizeof(elem)) && s.data != y.data && g.data != y.data;
}

/* All products with softmax's Jacobian, if rows are short and dense. */
SMC_INLINE int products_of_short_rows(const smc_call *call) {
  const smc_view s = call->operands[0], g = call->operands[1], y = call->operands[2];
  const size_t n = call->n, k = call->k;
  if (!is_short(k) || !are_dense(s, g, y)) return 0;
  if (are_paired(k) && n > 1 && !are_side_by_side(s, g, y, k)) return 0;
  if (!SMC_FAST_MASKS && !are_in_order(s, g, y, k)) return 0;
  const smc_prefetched fetched = what_is_prefetched(s, g, y, n, k);
  const size_t rows = rows_combined(k);
  /* (Those of 16 bits, or that share a vector, are none the faster for it.) */
  const int gains = sizeof(elem) == sizeof(real) && 2 * k > W;
  if (gains && s.data != y.data && g.data != y.data &&
      are_combined(y, n, k, rows, smc_get_caches())) {
    const int few_lines = k * sizeof(elem) <= SMC_FEW_LINES_BYTES;
    combined_rows(s, g, y, n, k, rows, few_lines ? SMC_INPUTS : SMC_NOTHING);
  } else {
    short_rows(&s, &g, &y, n, k, fetched);
  }
  return 1;
}

#endif
