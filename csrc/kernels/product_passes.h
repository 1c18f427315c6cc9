/* The passes of a product with a Jacobian: where the largest s of the row is, its peak; a sum; and what is made
 * of it.  They read and write vectors as they are stored: a strand's, or a row's, whose 16-bit floats are
 * converted in registers.
 *
 * Any number may be taken from all g without changing s (g - sum s g), as s sums to one.  It is the g of the
 * peak, the center: only the peak can be above 1/2, where rounding takes more from s than all other classes may
 * have together, and its weight in the sum is then multiplied by 0.  With h = g - center, each result is within
 * 4 epsilon s (|h| + sum s |h|) (docs/accuracy.md).  Of several peaks it is the first.
 *
 * log_softmax's vjp, g - s sum g, has no such freedom.  It cancels at a class that has nearly all, where it is
 * written (1 - s) g - s (sum of the other g).
 */
#ifndef SMC_PRODUCT_PASSES_H
#define SMC_PRODUCT_PASSES_H

#include "exp.h"
#include "tile.h"

typedef enum { SMC_SOFTMAX_VJP, SMC_LOG_SOFTMAX_VJP, SMC_LOG_SOFTMAX_JVP } smc_product;
/* Groups whose products an accumulator takes before it is flushed: of columns, those of a block. */
enum { SMC_DOT_STEPS = SMC_SUM_STEPS / SMC_GROUP };
enum { SMC_S, SMC_G, SMC_PRODUCT }; /* operands: s or log_s; g or v; the product */
enum { SMC_HELD_MAX = 3 };          /* vectors of each of a few rows that registers have room for */
/* A log_s above which a class has nearly all: s > 0.548, which rounding can make of one class alone. */
#define SMC_SURE ((real) - 0.6)
typedef enum { SMC_NOTHING, SMC_INPUTS, SMC_ALL } smc_fetched;
typedef struct {
  smc_view lse, g; /* one value for each row */
} smc_rowwise;

/* What a strand is made of: numbers of the type computed in, or elements as they are stored, which are converted in
 * registers.  (Where one type is both, the two are the same.) */
typedef enum { SMC_COMPUTED, SMC_STORED } smc_format;

/* The first vector of a strand.  (`of` is a constant.) */
SMC_INLINE vec load_from(const strand s, size_t lanes, vec fill, const smc_format of) {
  if (of == SMC_COMPUTED) return load_lanes(s, lanes, fill);
  return lanes >= W ? e_load(s.p) : e_load_n(s.p, lanes, fill);
}

SMC_INLINE void store_to(const strand s, vec a, size_t lanes, const smc_format of) {
  if (of == SMC_COMPUTED) {
    store_lanes(s, a, lanes);
  } else if (lanes >= W) {
    e_store(s.p, a);
  } else {
    e_store_n(s.p, a, lanes);
  }
}

SMC_INLINE real number_at(const strand s, size_t i, const smc_format of) {
  if (of == SMC_COMPUTED) return s.p[i];
  return e_get((const elem *)s.p + i);
}

/* A sum that goes on with one class: of s*h (SMC_SOFTMAX_VJP), of exp(s)*h (SMC_LOG_SOFTMAX_JVP), with
 * h = g - center; or of g (SMC_LOG_SOFTMAX_VJP), a class that has nearly all apart. */
SMC_INLINE void plus_product(vec *sum, vec *sure, vec s, vec g, vec center,
                             const smc_product which) {
  if (which == SMC_LOG_SOFTMAX_VJP) {
    const mask is_sure = v_lt(v_set1(SMC_SURE), s);
    *sum = v_add(*sum, v_select(is_sure, v_set1(0), g));
    *sure = v_add_if(is_sure, *sure, g);
  } else {
    const vec weight = which == SMC_LOG_SOFTMAX_JVP ? exp_of_negative(s, v_set1(0)) : s;
    *sum = v_fma(weight, v_sub(g, center), *sum);
  }
}

/* g - s sum g, with s = 2^n (1 + p); where that is nearly 1, by 1 - s = (1 - 2^n) - 2^n p, whose terms are exact. */
SMC_INLINE vec log_softmax_vjp(vec log_s, vec g, const product_sums *of) {
  const pair e = split_exp(v_max(v_set1(-SMC_C(EXP_VANISH)), log_s), v_set1(0));
  const vec s = v_ldexp(v_add(v_set1(1), e.lo), e.hi), plain = v_fnma(s, of->sum, g);
  const mask is_sure = v_lt(v_set1(SMC_SURE), log_s);
  if (!of->are_sure || (of->along && !v_lane_bits(is_sure))) return plain;
  const vec power = v_ldexp(v_set1(1), e.hi);
  const vec missing = v_fnma(power, e.lo, v_sub(v_set1(1), power));
  const vec others = v_add(of->others, v_sub(of->sure, g));
  return v_select(is_sure, v_fnma(s, others, v_mul(g, missing)), plain);
}

SMC_INLINE vec one_product(vec s, vec g, const product_sums *of, const smc_product which) {
  switch (which) {
  case SMC_SOFTMAX_VJP: return v_mul(s, v_sub(v_sub(g, of->center), of->sum));
  case SMC_LOG_SOFTMAX_VJP: return log_softmax_vjp(s, g, of);
  default: return v_sub(v_sub(g, of->center), of->sum);
  }
}

/* A search for the first largest number of a row along: the largest so far of each lane, and the vector, or the first
 * of a group, where it was found. */
typedef struct {
  strand at;
  vec most, place;
} peak_search;

SMC_INLINE peak_search search_of(const strand s) {
  return (peak_search){s, v_set1((real)-INFINITY), v_set1(0)};
}

/* Vector i, or a group of SMC_GROUP from there on.  (`vectors` is a constant.) */
SMC_INLINE void search_on(peak_search *p, size_t i, const int vectors, size_t lanes,
                          const smc_format of) {
  vec a[SMC_GROUP];
  SMC_EACH(j, vectors) {
    a[j] = load_from(ahead(p->at, (size_t)j), lanes, v_set1((real)-INFINITY), of);
  }
  if (vectors == SMC_GROUP) a[0] = max_of_four(a);
  p->place = v_select(v_lt(p->most, a[0]), v_set1((real)i), p->place);
  p->most = v_max(p->most, a[0]);
  p->at = ahead(p->at, (size_t)vectors);
}

/* The class; any, if there is a NaN.  Whole vectors were searched so many `together`, a constant: then the first group
 * in which the largest is, is looked through. */
SMC_INLINE size_t found_class(const peak_search *p, const strand s, const extent n,
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
  SMC_EACH(j, SMC_GROUP) {
    const size_t i = class / W + (size_t)j;
    if (i >= steps_of(n)) break;
    const vec x = load_from(ahead(s, i), lanes_at(n, i), v_set1((real)-INFINITY), of);
    found |= (uint64_t)v_lane_bits(v_eq(x, peak)) << (size_t)j * W;
  }
  return found ? class + smc_lowest_bit(found) : 0;
}

/* Whether a row is so long that its vectors are searched a group at a time. */
SMC_INLINE int are_grouped(const extent n) { return n.count >= SMC_GROUP * SMC_GROUP; }

SMC_INLINE size_t place_of_peak(const strand s, const extent n, const smc_format of) {
  peak_search p = search_of(s);
  size_t i = 0;
  if (are_grouped(n)) {
    for (; i + SMC_GROUP <= n.count; i += SMC_GROUP) search_on(&p, i, SMC_GROUP, W, of);
    for (; i < steps_of(n); ++i) search_on(&p, i, 1, lanes_at(n, i), of);
    return found_class(&p, s, n, SMC_GROUP, of);
  }
  for (; i < steps_of(n); ++i) search_on(&p, i, 1, lanes_at(n, i), of);
  return found_class(&p, s, n, 1, of);
}

/* The next so many vectors of a product, `past` the caches if they fill lines.  (`vectors` is a constant.) */
SMC_INLINE void next_products(product_strands *of, const int vectors, size_t lanes,
                              const product_sums *sums, int past, const smc_product which,
                              const smc_format format) {
  vec a[SMC_GROUP];
  SMC_EACH(j, vectors) {
    const vec s = load_from(ahead(of->s, (size_t)j), lanes, v_set1(0), format);
    const vec g = load_from(ahead(of->g, (size_t)j), lanes, v_set1(0), format);
    a[j] = one_product(s, g, sums, which);
  }
  if (SMC_STREAMS && past) {
    SMC_EACH(j, vectors) store_past(ahead(of->y, (size_t)j), a[j]);
  } else {
    SMC_EACH(j, vectors) store_to(ahead(of->y, (size_t)j), a[j], lanes, format);
  }
  const size_t next = (size_t)vectors;
  *of = (product_strands){ahead(of->s, next), ahead(of->g, next), ahead(of->y, next)};
}

/* Of rows of some pages, asks for what is so many bytes further on in each: vectors of a line touch it but once, and
 * the processor fetches too little ahead. */
SMC_INLINE void fetch_soon(const strand s, const strand g, const strand y, const extent n) {
  if (sizeof(vec) < SMC_LINE || n.count < SMC_MANY) return;
  SMC_EACH(j, SMC_GROUP) {
    const size_t at = SMC_SOON_BYTES + (size_t)j * SMC_LINE;
    SMC_PREFETCH_NEAR((const char *)s.p + at);
    SMC_PREFETCH_NEAR((const char *)g.p + at);
    SMC_PREFETCH_TO_WRITE((const char *)y.p + at);
  }
}

/* A row of which the product is computed, as its sums are known, and one of which the peak is sought. */
typedef struct {
  product_strands product;
  product_sums sums;
  peak_search search;
  int is_searched;
} other_rows;

/* Lane by lane, a few products to each accumulator before all join the running sum; the order is that of
 * the strand's length alone.  The sum of what is sure goes on from `sure`, class after class, whatever the blocks: a row
 * that is no result of log_softmax may have many such classes.  Meanwhile, unless `beside` is NULL, what there is to do
 * for other rows as long. */
SMC_INLINE strand_sums stored_dot_beside(strand s, strand g, const extent n, vec center, vec sure,
                                         const smc_product which, const smc_format of,
                                         other_rows *beside) {
  const vec zero = v_set1(0);
  /* Lanes beyond the end of a row, and whose sum is not changed by them: an s of 0; a log_s that is not sure, with a g
   * of 0; an h of 0. */
  const vec no_s = which == SMC_LOG_SOFTMAX_VJP ? v_set1((real)-INFINITY) : zero;
  const vec no_g = which == SMC_LOG_SOFTMAX_JVP ? center : zero;
  vec a[SMC_GROUP], b[SMC_GROUP], sum[SMC_GROUP];
  strand_sums total = {pair_of(0), sure};
  size_t i = 0, from;
  do {
    from = i;
    SMC_EACH(j, SMC_GROUP) sum[j] = zero;
    int q = 0;
    for (; q < SMC_DOT_STEPS && i + SMC_GROUP <= n.count; ++q, i += SMC_GROUP) {
      SMC_EACH(j, SMC_GROUP) a[j] = load_from(ahead(s, (size_t)j), n.lanes, no_s, of);
      SMC_EACH(j, SMC_GROUP) b[j] = load_from(ahead(g, (size_t)j), n.lanes, no_g, of);
      SMC_EACH(j, SMC_GROUP) { plus_product(&sum[j], &total.sure, a[j], b[j], center, which); }
      s = ahead(s, SMC_GROUP), g = ahead(g, SMC_GROUP);
      if (beside) {
        next_products(&beside->product, SMC_GROUP, n.lanes, &beside->sums, 0, which, of);
        if (beside->is_searched) search_on(&beside->search, i, SMC_GROUP, W, of);
        fetch_soon(s, g, beside->product.y, n);
      }
    }
    for (; q < SMC_DOT_STEPS && i + SMC_GROUP > n.count && i < steps_of(n); ++i) {
      const size_t lanes = lanes_at(n, i);
      a[0] = load_from(s, lanes, no_s, of), b[0] = load_from(g, lanes, no_g, of);
      plus_product(&sum[0], &total.sure, a[0], b[0], center, which);
      s = ahead(s, 1), g = ahead(g, 1);
      if (beside) {
        next_products(&beside->product, 1, lanes, &beside->sums, 0, which, of);
        if (beside->is_searched) search_on(&beside->search, i, 1, lanes, of);
      }
    }
    pair part = pair_add(two_sum(sum[0], sum[1]), two_sum(sum[2], sum[3]));
    total.sum = running_sum(total.sum, part, from == 0);
  } while (i < steps_of(n));
  return total;
}

SMC_INLINE strand_sums stored_dot(strand s, strand g, const extent n, vec center, vec sure,
                                  const smc_product which, const smc_format of) {
  return stored_dot_beside(s, g, n, center, sure, which, of, NULL);
}

SMC_INLINE void stored_products(product_strands of, const extent n, const product_sums *sums,
                                int past, const smc_product which, const smc_format format) {
  const int grouped = which != SMC_LOG_SOFTMAX_VJP; /* whose exp fills the processor by itself */
  size_t i = 0;
  for (; grouped && i + SMC_GROUP <= n.count; i += SMC_GROUP) {
    next_products(&of, SMC_GROUP, n.lanes, sums, past, which, format);
  }
  for (; i < steps_of(n); ++i) next_products(&of, 1, lanes_at(n, i), sums, 0, which, format);
}

/* Of rows of the type computed in whose elements lie side by side. */
SMC_INLINE void dense_products(product_strands of, const extent n, const product_sums *sums,
                               int past) {
  const product_strands row = {dense(of.s), dense(of.g), dense(of.y)};
  const product_sums own = *sums;
  stored_products(row, whole(n), &own, past, SMC_SOFTMAX_VJP, SMC_COMPUTED);
}

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
  return v_set1(real_at((const char *)values + u * sizeof(vec) / SMC_GROUP));
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
  const int loose = !SMC_FAST_MASKS && rows > 1;
  const size_t k = before + (size_t)(held - 1) * W + rest;
  const vec none = v_set1((real)-INFINITY);
  vec dot[SMC_GROUP], most[SMC_GROUP], places[SMC_GROUP], center[SMC_GROUP];
  vec a[SMC_GROUP][SMC_HELD_MAX], b[SMC_GROUP][SMC_HELD_MAX];
  SMC_EACH(u, SMC_GROUP) dot[u] = places[u] = v_set1(0), most[u] = none;
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
  const vec dots = add_up_group(dot);
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
      if (loose) {
        e_store(to + (size_t)i * W, product);
      } else {
        e_store_n(to + (size_t)i * W, product, lanes);
      }
    }
  }
}

/* Asks for what is so many bytes further on: the processor sees no stream in parts of lines. */
SMC_INLINE void fetch_later(const elem *s, const elem *g, const elem *y, size_t bytes,
                            smc_fetched fetched) {
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
SMC_INLINE smc_fetched what_is_fetched(smc_view s, smc_view g, smc_view y, size_t n, size_t k) {
  const size_t row = k * sizeof(elem);
  const int fetched = are_side_by_side(s, g, y, k) && row <= 2 * SMC_LINE &&
                      SMC_MAX_OPERANDS * n * row > SMC_CACHE_BYTES / 2;
  return fetched ? SMC_ALL : SMC_NOTHING;
}

/* All but the last few rows; how many. */
SMC_INLINE size_t short_products(smc_view s, smc_view g, smc_view y, size_t n, const size_t before,
                                 const int held, size_t rest, smc_fetched fetched) {
  const size_t k = before + (size_t)(held - 1) * W + rest;
  const size_t after =
      SMC_FAST_MASKS ? 0 : (W - rest + k - 1) / k; /* that a whole vector reaches into */
  size_t row = 0;
  for (; row + SMC_GROUP + after <= n; row += SMC_GROUP) {
    if (held < SMC_HELD_MAX) {
      fetch_later(stored_row(s, row), stored_row(g, row), stored_row(y, row),
                  SMC_GROUP * k * sizeof(elem), fetched);
    }
    few_products(s, g, y, row, SMC_GROUP, before, held, rest);
  }
  return row;
}

#if SMC_FAST_MASKS
/* Of rows that share vectors, side by side in memory: of each class s sum s' (g - g'), over the other classes of its
 * row, one lane further on each time.  (No center: each difference is exact but for its own rounding.) */
SMC_INLINE void share_vectors(smc_view from_s, smc_view from_g, smc_view to, size_t n, size_t k,
                              smc_fetched fetched) {
  const elem *s = from_s.data, *g = from_g.data;
  elem *y = to.data;
  const size_t most = W / k * k;
  const vec next = next_lanes(k);
  for (size_t i = 0, lanes; i < n * k; i += lanes) {
    lanes = n * k - i < most ? n * k - i : most;
    fetch_later(s + i, g + i, y + i, SMC_LINE, fetched);
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
                                   const smc_view *to, size_t n, size_t k, smc_fetched fetched) {
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
static SMC_OUTLINE void collected_rows(smc_view s, smc_view g, smc_view y, size_t n, size_t k,
                                       size_t rows, smc_fetched fetched) {
  collected c;
  collect(&c, y);
  for (size_t i = 0; i < n; i += rows) {
    if (n - i < rows) rows = n - i;
    const smc_view a = from_row(s, i), b = from_row(g, i), to = place_of(&c, y, 0);
    if (k > W) fetch_later(a.data, b.data, NULL, rows * k * sizeof(elem), fetched);
    short_rows(&a, &b, &to, rows, k, k > W ? SMC_NOTHING : fetched);
    store_collected(&c, rows * k * sizeof(elem), i + rows == n);
  }
  end_past(1);
}

/* How many: of some lines, and more of rows of one vector. */
SMC_INLINE size_t rows_collected(size_t k) {
  const size_t four = SMC_GROUP * k * sizeof(elem);
  const size_t bytes = k > W ? SMC_COLLECTED_BYTES / 2 : SMC_COLLECTED_BYTES;
  return (bytes + four - 1) / four * SMC_GROUP;
}

/* Whether each row's product may write over the beginning of the next, which follows and is no operand. */
SMC_INLINE int are_in_order(smc_view s, smc_view g, smc_view y, size_t k) {
  return y.row == (ptrdiff_t)(k * sizeof(elem)) && s.data != y.data && g.data != y.data;
}

/* All products with softmax's Jacobian, if rows are short and dense. */
SMC_INLINE int products_of_short_rows(smc_view s, smc_view g, smc_view y, size_t n, size_t k) {
  if (!is_short(k, sizeof(elem)) || !are_dense(s, g, y)) return 0;
  if (are_paired(k) && n > 1 && !are_side_by_side(s, g, y, k)) return 0;
  if (!SMC_FAST_MASKS && !are_in_order(s, g, y, k)) return 0;
  const smc_fetched fetched = what_is_fetched(s, g, y, n, k);
  const size_t rows = rows_collected(k);
  /* (Those of 16 bits, or that share a vector, are none the faster for it.) */
  const int gains = sizeof(elem) == sizeof(real) && 2 * k > W;
  if (gains && s.data != y.data && g.data != y.data && are_collected(y, sizeof(elem), n, k, rows)) {
    const int few_lines = k * sizeof(elem) <= SMC_FEW_LINES_BYTES;
    collected_rows(s, g, y, n, k, rows, few_lines ? SMC_INPUTS : SMC_NOTHING);
  } else {
    short_rows(&s, &g, &y, n, k, fetched);
  }
  return 1;
}

SMC_INLINE product_strands strands_of_row(smc_view s, smc_view g, smc_view y, size_t row) {
  const ptrdiff_t step = W * sizeof(elem);
  return (product_strands){{(real *)stored_row(s, row), step},
                           {(real *)stored_row(g, row), step},
                           {(real *)stored_row(y, row), step}};
}

/* Rows of a 16-bit type too long to be packed: through the buffers of strands each number would be stored
 * twice more, but converted once, not twice. */
SMC_INLINE int are_converted(size_t k) {
  return SMC_FAST_HALVES && sizeof(elem) < sizeof(real) &&
         k * sizeof(real) > SMC_PACKED_LIGHT_BYTES;
}

SMC_INLINE vec peak_of_row(const product_strands of, const extent n) {
  return v_set1(number_at(of.g, place_of_peak(of.s, n, SMC_STORED), SMC_STORED));
}

SMC_INLINE product_sums sums_of_row(vec center, strand_sums sums) {
  return (product_sums){.center = center, .sum = pair_value(sum_of_lanes(sums.sum))};
}

SMC_INLINE void converted_rows(smc_view s, smc_view g, smc_view y, size_t n, const extent row) {
  for (size_t i = 0; i < n; ++i) {
    const product_strands of = strands_of_row(s, g, y, i);
    const vec center = peak_of_row(of, row);
    const product_sums sums = sums_of_row(
        center, stored_dot(of.s, of.g, row, center, v_set1(0), SMC_SOFTMAX_VJP, SMC_STORED));
    stored_products(of, row, &sums, 0, SMC_SOFTMAX_VJP, SMC_STORED);
  }
}

/* Rows of which two stay in the first-level cache, but longer than those that are packed. */
SMC_INLINE int are_few_lines(size_t n, size_t k) {
  const size_t bytes = k * sizeof(elem);
  const int is_far = SMC_MAX_OPERANDS * n * bytes > SMC_CACHE_BYTES;
  return W >= SMC_MANY_LANES && sizeof(elem) == sizeof(real) && n > 1 &&
         bytes > SMC_PACKED_LIGHT_BYTES &&
         bytes <= (is_far ? SMC_BESIDE_FAR_BYTES : SMC_BESIDE_BYTES);
}

/* The product of each row while the next one is summed and the peak of the one after is found: so that nothing waits
 * for a reduction, and for memory as little as may be. */
SMC_INLINE void rows_in_turn(smc_view s, smc_view g, smc_view y, size_t n, const extent row) {
  product_strands of = strands_of_row(s, g, y, 0), next = strands_of_row(s, g, y, n > 1);
  vec center = peak_of_row(of, row), next_center = peak_of_row(next, row);
  strand_sums sums = stored_dot(of.s, of.g, row, center, v_set1(0), SMC_SOFTMAX_VJP, SMC_STORED);
  for (size_t i = 1; i < n; ++i) {
    const product_strands later = strands_of_row(s, g, y, i + (i + 1 < n));
    other_rows beside = {of, sums_of_row(center, sums), search_of(later.s), are_grouped(row)};
    center = next_center;
    if (!are_grouped(row)) next_center = peak_of_row(later, row);
    sums = stored_dot_beside(next.s, next.g, row, center, v_set1(0), SMC_SOFTMAX_VJP, SMC_COMPUTED,
                             &beside);
    if (are_grouped(row)) {
      const size_t class = found_class(&beside.search, later.s, row, SMC_GROUP, SMC_COMPUTED);
      next_center = v_set1(e_get((const elem *)later.g.p + class));
    }
    of = next, next = later;
  }
  const product_sums known = sums_of_row(center, sums);
  dense_products(of, row, &known, 0);
}

/* All products with softmax's Jacobian, if rows are dense and better taken one by one. */
SMC_INLINE int products_of_rows(smc_view s, smc_view g, smc_view y, size_t n, size_t k) {
  const extent row = {k / W, W, (uint32_t)(k % W)};
  if (!are_dense(s, g, y) || is_short(k, sizeof(elem))) return 0; /* whose sums are others */
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
