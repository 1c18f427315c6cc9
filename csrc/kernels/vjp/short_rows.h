/* Products with softmax's Jacobian of short, dense rows, as they lie in memory. */
#ifndef SMC_VJP_SHORT_ROWS_H
#define SMC_VJP_SHORT_ROWS_H

#include "../plan.h"
#include "../prefetch.h"
#include "pass.h"

enum { SMC_HELD_MAX = 3 }; /* vectors of each of SMC_UNROLL rows that registers have room for */

SMC_INLINE elem *stored_row(const smc_view v, size_t row) {
  return (elem *)((char *)v.data + (ptrdiff_t)row * v.row);
}

/* Whether the classes of each row are neighbours. */
SMC_INLINE int are_dense(const smc_call *c) {
  const ptrdiff_t size = sizeof(elem);
  return c->operands[SMC_S].col == size && c->operands[SMC_G].col == size &&
         c->operands[SMC_PRODUCT].col == size;
}

/* Whether, moreover, nothing lies between rows. */
SMC_INLINE int are_side_by_side(const smc_call *c) {
  const ptrdiff_t row = (ptrdiff_t)(c->k * sizeof(elem));
  return are_dense(c) && c->operands[SMC_S].row == row && c->operands[SMC_G].row == row &&
         c->operands[SMC_PRODUCT].row == row;
}

/* Whether each row's product may reach into the next row, which follows and is no operand. */
SMC_INLINE int can_overstore(const smc_call *c) {
  const smc_view *y = &c->operands[SMC_PRODUCT];
  return y->row == (ptrdiff_t)(c->k * sizeof(elem)) && c->operands[SMC_S].data != y->data &&
         c->operands[SMC_G].data != y->data;
}

/* Whether rows are asked for ahead: of at most two lines, and from memory. */
SMC_INLINE int are_prefetched_later(const smc_call *c) {
  const size_t row = c->k * sizeof(elem);
  return are_side_by_side(c) && row <= 2 * SMC_LINE &&
         SMC_MAX_PANEL_OPERANDS * c->n * row > far_bytes(smc_get_caches());
}

/* ---- rows that have vectors of their own ----------------------------------------------------- */

/* The vectors of a row: `before` lanes that passes load again; then `held` ones that stay in
 * registers, of which the last has `rest` lanes.  (`held` is a constant.) */
typedef struct {
  size_t before;
  int held;
  size_t rest;
} row_vectors;

typedef struct {
  vec a[SMC_HELD_MAX], b[SMC_HELD_MAX]; /* what is held of both */
  vec most, place;                      /* by lane, the largest s, and the number of its vector */
  vec center;
} short_row;

SMC_INLINE size_t classes_of(const row_vectors of) {
  return of.before + (size_t)(of.held - 1) * W + of.rest;
}

SMC_INLINE size_t held_lanes(const row_vectors of, int i) { return i + 1 < of.held ? W : of.rest; }

/* Loads what is held, and finds the peak by lane. */
SMC_INLINE void read_short_row(short_row *r, const elem *s, const elem *g, const row_vectors of) {
  vec most = v_set1((real)-INFINITY), place = v_set1(0);
  for (size_t i = 0; i < of.before; i += W) {
    const vec a = e_load(s + i);
    place = v_select(v_lt(most, a), v_set1((real)(i / W)), place);
    most = v_max(most, a);
  }
  SMC_EACH(i, of.held) {
    const size_t at = of.before + (size_t)i * W, lanes = held_lanes(of, i);
    r->a[i] = e_load_n(s + at, lanes, v_set1(0));
    r->b[i] = e_load_n(g + at, lanes, v_set1(0));
    place = v_select(v_lt(most, r->a[i]), v_set1((real)(at / W)), place);
    most = v_max(most, r->a[i]);
  }
  r->most = most, r->place = place;
}

/* The g of a row of k classes at its peak, in all lanes; `peak` is the largest s, and each lane's
 * own lies in vector `place` unless there is but one.  (Lanes beyond the end hold 0, which no s is
 * less than; where all are 0, or one is a NaN, any g will do.) */
SMC_INLINE vec center_of_row(const short_row *r, const elem *g, size_t k, vec peak,
                             const int has_several) {
  uint32_t bits = v_lane_bits(v_eq(r->most, peak));
  if (!bits) return v_set1(e_get(g));
  size_t place = smc_lowest_bit(bits);
  if (has_several) {
    real at[W];
    v_store(at, r->place);
    place += (size_t)at[place] * W;
    while (bits &= bits - 1) { /* a tie */
      const size_t lane = smc_lowest_bit(bits), other = (size_t)at[lane] * W + lane;
      if (other < place) place = other;
    }
  }
  return v_set1(e_get(g + (place < k ? place : 0)));
}

/* Lane by lane. */
SMC_INLINE vec dot_of_short_row(const short_row *r, const elem *s, const elem *g,
                                const row_vectors of) {
  vec dot = v_set1(0);
  for (size_t i = 0; i < of.before; i += W) {
    dot = v_fma(e_load(s + i), v_sub(e_load(g + i), r->center), dot);
  }
  SMC_EACH(i, of.held) dot = v_fma(r->a[i], v_sub(r->b[i], r->center), dot);
  return dot;
}

SMC_INLINE void store_short_row(const short_row *r, vec dot, const elem *s, const elem *g, elem *y,
                                const row_vectors of, const int overstore) {
  const product_sums sums = {.center = r->center, .sum = dot};
  for (size_t i = 0; i < of.before; i += W) {
    e_store(y + i, one_product(e_load(s + i), e_load(g + i), &sums, SMC_SOFTMAX_VJP));
  }
  SMC_EACH(i, of.held) {
    elem *to = y + of.before + (size_t)i * W;
    const vec product = one_product(r->a[i], r->b[i], &sums, SMC_SOFTMAX_VJP);
    if (overstore) {
      e_store(to, product);
    } else {
      e_store_n(to, product, held_lanes(of, i));
    }
  }
}

/* The value of row u of SMC_UNROLL, which were reduced together, in all lanes. */
SMC_INLINE vec of_quarter(const vec *values, size_t u) {
  return v_set1(real_at((const char *)values + u * sizeof(vec) / SMC_UNROLL));
}

/* The products of so many rows, up to SMC_UNROLL: together, so that their peaks are found, and
 * their dot products added up, across the lanes at once.  Where part of a vector takes longer to
 * store than all of it, several rows overstore.  (`rows` is a constant; views come by value, so
 * that no store of a product can have changed them.) */
SMC_INLINE void few_products(const smc_view s, const smc_view g, const smc_view y, size_t row,
                             const int rows, const row_vectors of) {
  const int has_several = of.before > 0 || of.held > 1;
  short_row r[SMC_UNROLL];
  vec most[SMC_UNROLL], dot[SMC_UNROLL];
  SMC_EACH(u, SMC_UNROLL) most[u] = dot[u] = v_set1(0);
  SMC_EACH(u, rows) {
    const size_t i = row + (size_t)u;
    read_short_row(&r[u], stored_row(s, i), stored_row(g, i), of);
    most[u] = r[u].most;
  }
  const vec peaks = max_of_rows(most);
  SMC_EACH(u, rows) {
    const elem *a = stored_row(s, row + (size_t)u), *b = stored_row(g, row + (size_t)u);
    const vec peak = of_quarter(&peaks, (size_t)u);
    r[u].center = center_of_row(&r[u], b, classes_of(of), peak, has_several);
    dot[u] = dot_of_short_row(&r[u], a, b, of);
  }
  const vec dots = add_up_rows(dot);
  SMC_EACH(u, rows) {
    const size_t i = row + (size_t)u;
    store_short_row(&r[u], of_quarter(&dots, (size_t)u), stored_row(s, i), stored_row(g, i),
                    stored_row(y, i), of, !SMC_FAST_MASKS && rows > 1);
  }
}

/* The products of all rows but the last few, which are fewer than SMC_UNROLL, or may be reached by
 * an overstore; how many were done. */
SMC_INLINE size_t short_products(const smc_call *c, const row_vectors of, int prefetches) {
  const size_t k = classes_of(of), after = SMC_FAST_MASKS ? 0 : (W - of.rest + k - 1) / k;
  const smc_view s = c->operands[SMC_S], g = c->operands[SMC_G], y = c->operands[SMC_PRODUCT];
  const size_t n = c->n;
  size_t row = 0;
  for (; row + SMC_UNROLL + after <= n; row += SMC_UNROLL) {
    if (prefetches && of.held < SMC_HELD_MAX) {
      SMC_EACH(i, SMC_MAX_PANEL_OPERANDS) {
        prefetch_later(stored_row(c->operands[i], row), SMC_UNROLL * k * sizeof(elem));
      }
    }
    few_products(s, g, y, row, SMC_UNROLL, of);
  }
  return row;
}

/* As many vectors are held as registers have room for: without masks, one. */
static SMC_OUTLINE void products_of_own_vectors(const smc_call *c, int prefetches) {
  const size_t whole_vectors = (c->k - 1) / W, rest = c->k - whole_vectors * W;
  size_t row;
  if (whole_vectors == 0) {
    row = short_products(c, (row_vectors){0, 1, rest}, prefetches);
  } else if (!SMC_FAST_MASKS || whole_vectors > SMC_HELD_MAX) {
    row = short_products(c, (row_vectors){whole_vectors * W, 1, rest}, prefetches);
  } else if (whole_vectors == 1) {
    row = short_products(c, (row_vectors){0, 2, rest}, prefetches);
  } else {
    const size_t before = (whole_vectors + 1 - SMC_HELD_MAX) * W;
    row = short_products(c, (row_vectors){before, SMC_HELD_MAX, rest}, prefetches);
  }
  for (; row < c->n; ++row)
    few_products(c->operands[SMC_S], c->operands[SMC_G], c->operands[SMC_PRODUCT], row, 1,
                 (row_vectors){whole_vectors * W, 1, rest});
}

/* ---- rows that share vectors ----------------------------------------------------------------- */

#if SMC_FAST_MASKS
/* The products of rows side by side, as many as fit into a vector at a time: of each class
 * s sum s' (g - g'), over the other classes of its row, one lane further on each time.  (Without a
 * center, as each difference is exact but for its own rounding.) */
static SMC_OUTLINE void products_of_shared_vectors(const smc_call *call, int prefetches) {
  const elem *s = call->operands[SMC_S].data, *g = call->operands[SMC_G].data;
  elem *y = call->operands[SMC_PRODUCT].data;
  const size_t k = call->k, all = call->n * k, most = W / k * k;
  const vec next = next_lanes(k);
  for (size_t i = 0, lanes; i < all; i += lanes) {
    lanes = all - i < most ? all - i : most;
    if (prefetches) {
      prefetch_later(s + i, SMC_LINE), prefetch_later(g + i, SMC_LINE);
      prefetch_later(y + i, SMC_LINE);
    }
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

/* All products with softmax's Jacobian, if rows are short and dense; whether they are. */
SMC_INLINE int products_of_short_rows(const smc_call *c) {
  if (!is_short(c->k) || !are_dense(c)) return 0;
  const int prefetches = are_prefetched_later(c);
#if SMC_FAST_MASKS
  if (are_paired(c->k)) {
    if (c->n > 1 && !are_side_by_side(c)) return 0;
    products_of_shared_vectors(c, prefetches);
    return 1;
  }
#endif
  if (!SMC_FAST_MASKS && !can_overstore(c)) return 0;
  products_of_own_vectors(c, prefetches);
  return 1;
}

#endif
