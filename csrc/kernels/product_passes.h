/* The three passes of a product with a Jacobian: where the largest s of the row is, its peak; a sum; and what
 * is made of it.  They read and write vectors as they are stored: a strand's, or a row's, whose 16-bit floats
 * are converted in registers.  Included once for each type stored (SMC_D); products.h calls those of the type
 * computed in.
 *
 * Any number may be taken from all g without changing s (g - sum s g), as s sums to one.  It is the g of the
 * peak: only the peak can be above 1/2, where rounding takes more from s than all other classes may have
 * together, and its weight in the sum is then multiplied by 0.  With h = g - g[peak], each result is within
 * 4 epsilon s (|h| + sum s |h|) (docs/accuracy.md).  Of several peaks it is the first.
 */

#define load_stored SMC_K(load_stored)
#define store_stored SMC_K(store_stored)
#define next_products SMC_K(next_products)
#define center_of_row SMC_K(center_of_row)
#define of_quarter SMC_K(of_quarter)
#define peak_of_row SMC_K(peak_of_row)
#define fetch_soon SMC_K(fetch_soon)
#define stored_dot_beside SMC_K(stored_dot_beside)
#define stored_row SMC_K(stored_row)
#define are_dense SMC_K(are_dense)
#define are_converted SMC_K(are_converted)
#define converted_rows SMC_K(converted_rows)
#define are_few_lines SMC_K(are_few_lines)
#define rows_in_turn SMC_K(rows_in_turn)
#define strands_of_row SMC_K(strands_of_row)
#define few_products SMC_K(few_products)
#define fetch_later SMC_K(fetch_later)
#define are_side_by_side SMC_K(are_side_by_side)
#define what_is_fetched SMC_K(what_is_fetched)
#define short_rows SMC_K(short_rows)
#define from_row SMC_K(from_row)
#define collected_rows SMC_K(collected_rows)
#define rows_collected SMC_K(rows_collected)
#define short_products SMC_K(short_products)
#define are_in_order SMC_K(are_in_order)
#define products_of_short_rows SMC_K(products_of_short_rows)
#define products_of_rows SMC_K(products_of_rows)

#ifndef SMC_PRODUCT_CONSTANTS
#define SMC_PRODUCT_CONSTANTS
typedef enum { SMC_SOFTMAX_VJP, SMC_LOG_SOFTMAX_VJP, SMC_LOG_SOFTMAX_JVP } smc_product;
/* Groups whose products an accumulator takes before it is flushed: of columns, those of a block. */
enum { SMC_DOT_STEPS = SMC_SUM_STEPS / SMC_GROUP };
enum { SMC_S, SMC_G, SMC_PRODUCT }; /* operands: s or log_s; g or v; the product */
enum { SMC_HELD_MAX = 3 };          /* vectors of each of a few rows that registers have room for */
/* Where packed rows do not pass through them, one instance of the passes over dense rows is enough. */
#if SMC_FAST_MASKS
#define SMC_ROW_PASS static SMC_OUTLINE
#else
#define SMC_ROW_PASS SMC_INLINE
#endif
enum { SMC_LATER_BYTES = 4096 }; /* between what short rows are computed with and what is fetched */
enum { SMC_SOON_BYTES = 1024 };  /* likewise of long ones */
typedef enum { SMC_NOTHING, SMC_INPUTS, SMC_ALL } smc_fetched;
enum { SMC_COLLECTED_BYTES = 1024 }; /* of the results of short rows, before they go to memory */
/* The longest rows whose products are computed beside the next dot product; from memory. */
enum { SMC_BESIDE_BYTES = 5120, SMC_BESIDE_FAR_BYTES = 2048 };
typedef struct {
  smc_view lse, g; /* one value for each row */
} smc_rowwise;
#endif

/* The first vector of a strand of elements. */
SMC_INLINE vec load_stored(const strand s, size_t lanes, vec fill) {
  return lanes >= W ? SMC_K(load)((const elem *)s.p)
                    : SMC_K(load_n)((const elem *)s.p, lanes, fill);
}

SMC_INLINE void store_stored(const strand s, vec a, size_t lanes) {
  if (lanes >= W) {
    SMC_K(store)((elem *)s.p, a);
  } else {
    SMC_K(store_n)((elem *)s.p, a, lanes);
  }
}

/* A sum that goes on with one class: of s*h (SMC_SOFTMAX_VJP), of exp(s)*h (SMC_LOG_SOFTMAX_JVP) with
 * h = g - center; or of g (SMC_LOG_SOFTMAX_VJP), the peak apart, whose class `number` it is. */
SMC_INLINE vec SMC_K(plus_product)(vec sum, vec s, vec g, const row_peak *peak, vec number,
                                   const smc_product which) {
  if (which == SMC_LOG_SOFTMAX_VJP) {
    return v_add(sum, v_select(v_eq(number, peak->number), v_set1(0), g));
  }
  const vec weight = which == SMC_LOG_SOFTMAX_JVP ? exp_of_negative(s, v_set1(0)) : s;
  return v_fma(weight, v_sub(g, peak->center), sum);
}

/* s (h - dot), g - exp(s) dot, h - dot; of the peak of the second, products.h makes good. */
SMC_INLINE vec SMC_K(one_product)(vec s, vec g, vec center, vec dot, const smc_product which) {
  switch (which) {
  case SMC_SOFTMAX_VJP: return v_mul(s, v_sub(v_sub(g, center), dot));
  case SMC_LOG_SOFTMAX_VJP: return v_fnma(exp_of_negative(s, v_set1(0)), dot, g);
  default: return v_sub(v_sub(g, center), dot);
  }
}

/* The place of the first largest number of a row along.  Where it was found is noted for each lane, by groups
 * of vectors; then the first of these groups is looked through.  (Any place, if there is a NaN.) */
SMC_INLINE size_t SMC_K(place_of_peak)(const strand s, const extent n) {
  const vec none = v_set1((real)-INFINITY);
  vec most = none, place = v_set1(0), a[SMC_GROUP];
  strand at = s;
  for (size_t i = 0, next; i < steps_of(n); i += next, at = ahead(at, next)) {
    next = i + SMC_GROUP <= n.count ? SMC_GROUP : 1;
    if (next == 1) {
      a[0] = load_stored(at, lanes_at(n, i), none);
    } else {
      SMC_EACH(j, SMC_GROUP) a[j] = load_stored(ahead(at, (size_t)j), W, none);
      a[0] = max_of_four(a);
    }
    place = v_select(v_lt(most, a[0]), v_set1((real)i), place);
    most = v_max(most, a[0]);
  }
  real groups[SMC_V(lanes)];
  const vec peak = reduce_lanes((pair){most, most}, SMC_BY_MAX).hi;
  size_t i = steps_of(n);
  v_store(groups, place);
  for (uint32_t bits = v_lane_bits(v_eq(most, peak)); bits; bits &= bits - 1) {
    const size_t group = (size_t)groups[smc_lowest_bit(bits)];
    if (group < i) i = group;
  }
  for (; i < steps_of(n); ++i) {
    const uint32_t bits = v_lane_bits(v_eq(load_stored(ahead(s, i), lanes_at(n, i), none), peak));
    if (bits) return i * W + smc_lowest_bit(bits);
  }
  return 0;
}

/* The next so many vectors of a product, `past` the caches if they fill lines.  (`vectors` is a constant.) */
SMC_INLINE void next_products(product_strands *of, const int vectors, size_t lanes, vec center,
                              vec dot, int past, const smc_product which) {
  vec a[SMC_GROUP];
  SMC_EACH(j, vectors) {
    const vec s = load_stored(ahead(of->s, (size_t)j), lanes, v_set1(0));
    const vec g = load_stored(ahead(of->g, (size_t)j), lanes, v_set1(0));
    a[j] = SMC_K(one_product)(s, g, center, dot, which);
  }
  if (SMC_STREAMS && past) {
    SMC_EACH(j, vectors) store_past(ahead(of->y, (size_t)j), a[j]);
  } else {
    SMC_EACH(j, vectors) store_stored(ahead(of->y, (size_t)j), a[j], lanes);
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

/* Lane by lane, a few products to each accumulator before all join the running sum; the order is that of
 * the strand's length alone.  Meanwhile, if `beside` is not NULL, the product of another row as long, of which
 * center and dot product are known. */
SMC_INLINE pair stored_dot_beside(strand s, strand g, const extent n, const row_peak *peak,
                                  const smc_product which, product_strands *beside, vec center,
                                  vec dot) {
  const vec zero = v_set1(0);
  /* An s of 0, in lanes beyond the end of a row. */
  const vec none = which == SMC_LOG_SOFTMAX_JVP ? v_set1((real)-INFINITY) : zero;
  vec a[SMC_GROUP], b[SMC_GROUP], sum[SMC_GROUP], number[SMC_GROUP];
  pair total = pair_of(0);
  size_t i = 0, from;
  SMC_EACH(j, SMC_GROUP) number[j] = v_add(peak->first, v_set1((real)j * peak->step));
  do {
    from = i;
    SMC_EACH(j, SMC_GROUP) sum[j] = zero;
    for (int q = 0; q < SMC_DOT_STEPS && i + SMC_GROUP <= n.count; ++q, i += SMC_GROUP) {
      SMC_EACH(j, SMC_GROUP) a[j] = load_stored(ahead(s, (size_t)j), n.lanes, zero);
      SMC_EACH(j, SMC_GROUP) b[j] = load_stored(ahead(g, (size_t)j), n.lanes, zero);
      SMC_EACH(j, SMC_GROUP) {
        sum[j] = SMC_K(plus_product)(sum[j], a[j], b[j], peak, number[j], which);
        number[j] = v_add(number[j], v_set1(SMC_GROUP * peak->step));
      }
      s = ahead(s, SMC_GROUP), g = ahead(g, SMC_GROUP);
      if (beside) {
        next_products(beside, SMC_GROUP, n.lanes, center, dot, 0, which);
        fetch_soon(s, g, beside->y, n);
      }
    }
    for (; i + SMC_GROUP > n.count && i < steps_of(n); ++i) {
      const size_t lanes = lanes_at(n, i);
      a[0] = load_stored(s, lanes, none), b[0] = load_stored(g, lanes, zero);
      sum[0] = SMC_K(plus_product)(sum[0], a[0], b[0], peak, number[0], which);
      number[0] = v_add(number[0], v_set1(peak->step));
      s = ahead(s, 1), g = ahead(g, 1);
      if (beside) next_products(beside, 1, lanes, center, dot, 0, which);
    }
    pair part = pair_add(two_sum(sum[0], sum[1]), two_sum(sum[2], sum[3]));
    total = pair_add_to(total, part, from == 0);
  } while (i < steps_of(n));
  return total;
}

SMC_INLINE pair SMC_K(stored_dot)(strand s, strand g, const extent n, const row_peak *peak,
                                  const smc_product which) {
  return stored_dot_beside(s, g, n, peak, which, NULL, v_set1(0), v_set1(0));
}

SMC_INLINE void SMC_K(stored_products)(product_strands of, const extent n, vec center, vec dot,
                                       int past, const smc_product which) {
  const int grouped = which != SMC_LOG_SOFTMAX_VJP; /* whose exp fills the processor by itself */
  size_t i = 0;
  for (; grouped && i + SMC_GROUP <= n.count; i += SMC_GROUP) {
    next_products(&of, SMC_GROUP, n.lanes, center, dot, past, which);
  }
  for (; i < steps_of(n); ++i) next_products(&of, 1, lanes_at(n, i), center, dot, 0, which);
}

/* Of rows of the type computed in whose elements lie side by side. */
SMC_ROW_PASS void SMC_K(dense_products)(product_strands of, const extent n, const vec *center,
                                        const vec *dot, int past) {
  const product_strands row = {dense(of.s), dense(of.g), dense(of.y)};
  SMC_K(stored_products)(row, whole(n), *center, *dot, past, SMC_SOFTMAX_VJP);
}

SMC_INLINE elem *stored_row(const smc_view v, size_t row) {
  return (elem *)((char *)v.data + (ptrdiff_t)row * v.row);
}

SMC_INLINE int are_dense(smc_view s, smc_view g, smc_view y) {
  const ptrdiff_t size = sizeof(elem);
  return s.col == size && g.col == size && y.col == size;
}

/* Lane by lane, of a row of so many whole vectors and `rest` lanes, of which there are some. */
SMC_INLINE vec SMC_K(short_dot)(const elem *s, const elem *g, const size_t whole_vectors,
                                size_t rest, vec center) {
  vec sum = v_set1(0);
  for (size_t i = 0; i < whole_vectors; ++i, s += W, g += W) {
    sum = v_fma(SMC_K(load)(s), v_sub(SMC_K(load)(g), center), sum);
  }
  const vec last = SMC_K(load_n)(g, rest, v_set1(0));
  return v_fma(SMC_K(load_n)(s, rest, v_set1(0)), v_sub(last, center), sum);
}

SMC_INLINE vec SMC_K(short_product)(vec s, vec g, vec center, vec dot) {
  return SMC_K(one_product)(s, g, center, dot, SMC_SOFTMAX_VJP);
}

/* The value of some row u, as reduced together, in all lanes. */
SMC_INLINE vec of_quarter(const vec *values, size_t u) {
  return v_set1(SMC_V(get)((const char *)values + u * sizeof(vec) / SMC_GROUP));
}

/* The g of a row at its peak, where `most` is the largest s of each lane, found in vector `places`, and `peak`
 * that of all; in all lanes. */
SMC_INLINE vec center_of_row(const elem *g, vec most, vec peak, const vec *places) {
  uint32_t bits = v_lane_bits(v_eq(most, peak));
  if (!bits) return v_set1(SMC_K(get)(g)); /* NaN */
  size_t place = smc_lowest_bit(bits);
  if (places) {
    real at[SMC_V(lanes)];
    v_store(at, *places);
    place += (size_t)at[place] * W;
    while (bits &= bits - 1) { /* a tie */
      const size_t lane = smc_lowest_bit(bits), other = (size_t)at[lane] * W + lane;
      if (other < place) place = other;
    }
  }
  return v_set1(SMC_K(get)(g + place));
}

/* `rows` at a time, so that their peaks are found, and their dot products added up, across the lanes together; of
 * each the last `held` vectors, of which the very last has `rest` lanes, stay in registers, after `before` lanes.
 * (`rows` and `held` are constants.)  Of several rows that one is stored whole where part of it would take longer:
 * the next row writes over what is too much. */
SMC_INLINE void few_products(smc_view s, smc_view g, smc_view y, size_t row, const int rows,
                             const size_t before, const int held, size_t rest) {
  const int loose = !SMC_FAST_MASKS && rows > 1;
  const vec none = v_set1((real)-INFINITY);
  vec dot[SMC_GROUP], most[SMC_GROUP], places[SMC_GROUP], center[SMC_GROUP];
  vec a[SMC_GROUP][SMC_HELD_MAX], b[SMC_GROUP][SMC_HELD_MAX];
  SMC_EACH(u, SMC_GROUP) dot[u] = places[u] = v_set1(0), most[u] = none;
  SMC_EACH(u, rows) {
    const elem *p = stored_row(s, row + (size_t)u), *q = stored_row(g, row + (size_t)u);
    for (size_t i = 0; i < before; i += W) {
      const vec x = SMC_K(load)(p + i);
      places[u] = v_select(v_lt(most[u], x), v_set1((real)(i / W)), places[u]);
      most[u] = v_max(most[u], x);
    }
    p += before, q += before;
    SMC_EACH(i, held) {
      const size_t lanes = i + 1 < held ? W : rest;
      a[u][i] = SMC_K(load_n)(p + (size_t)i * W, lanes, v_set1(0));
      b[u][i] = SMC_K(load_n)(q + (size_t)i * W, lanes, v_set1(0));
      const mask higher = v_lt(most[u], a[u][i]);
      places[u] = v_select(higher, v_set1((real)(before / W + (size_t)i)), places[u]);
      most[u] = v_max(most[u], a[u][i]);
    }
  }
  const vec peaks = max_of_rows(most);
  SMC_EACH(u, rows) {
    const elem *p = stored_row(s, row + (size_t)u), *q = stored_row(g, row + (size_t)u);
    const vec *several = before > 0 || held > 1 ? &places[u] : NULL;
    center[u] = center_of_row(q, most[u], of_quarter(&peaks, (size_t)u), several);
    for (size_t i = 0; i < before; i += W) {
      dot[u] = v_fma(SMC_K(load)(p + i), v_sub(SMC_K(load)(q + i), center[u]), dot[u]);
    }
    SMC_EACH(i, held) dot[u] = v_fma(a[u][i], v_sub(b[u][i], center[u]), dot[u]);
  }
  const vec dots = add_up_group(dot);
  SMC_EACH(u, rows) {
    const elem *p = stored_row(s, row + (size_t)u), *q = stored_row(g, row + (size_t)u);
    elem *to = stored_row(y, row + (size_t)u);
    const vec c = center[u], d = of_quarter(&dots, (size_t)u);
    for (size_t i = 0; i < before; i += W) {
      SMC_K(store)(to + i, SMC_K(short_product)(SMC_K(load)(p + i), SMC_K(load)(q + i), c, d));
    }
    to += before;
    SMC_EACH(i, held) {
      const size_t lanes = i + 1 < held ? W : rest;
      const vec product = SMC_K(short_product)(a[u][i], b[u][i], c, d);
      if (loose) {
        SMC_K(store)(to + (size_t)i * W, product);
      } else {
        SMC_K(store_n)(to + (size_t)i * W, product, lanes);
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
/* Of rows that share vectors, side by side in memory. */
SMC_INLINE void SMC_K(shared_products)(const elem *s, const elem *g, elem *y, size_t count,
                                       const shared_vector *v, smc_fetched fetched,
                                       const size_t steps) {
  for (size_t i = 0, lanes; i < count; i += lanes) {
    lanes = count - i < v->lanes ? count - i : v->lanes;
    fetch_later(s + i, g + i, y + i, SMC_LINE, fetched);
    const vec a = SMC_K(load_n)(s + i, lanes, v_set1(0)),
              b = SMC_K(load_n)(g + i, lanes, v_set1(0));
    const vec center = centers_in_lanes(a, b, v, steps);
    const vec dot = sums_in_lanes(v_mul(a, v_sub(b, center)), v, steps);
    SMC_K(store_n)(y + i, SMC_K(short_product)(a, b, center, dot), lanes);
  }
}

static int SMC_K(share_vectors)(smc_view s, smc_view g, smc_view y, size_t n, size_t k,
                                smc_fetched fetched) {
  if (n < W || k < 2 || 2 * k > W || !are_side_by_side(s, g, y, k)) return 0;
  const shared_vector v = share_vector(k);
  switch (v.steps) {
  case 1: SMC_K(shared_products)(s.data, g.data, y.data, n * k, &v, fetched, 1); break;
  case 2: SMC_K(shared_products)(s.data, g.data, y.data, n * k, &v, fetched, 2); break;
  default: SMC_K(shared_products)(s.data, g.data, y.data, n * k, &v, fetched, SMC_MAX_STEPS);
  }
  return 1;
}
#endif

/* All products with softmax's Jacobian of short and dense rows. */
static SMC_OUTLINE void short_rows(const smc_view *from_s, const smc_view *from_g,
                                   const smc_view *to, size_t n, size_t k, smc_fetched fetched) {
  const smc_view s = *from_s, g = *from_g, y = *to;
#if SMC_FAST_MASKS
  if (SMC_K(share_vectors)(s, g, y, n, k, fetched)) return;
#endif
  const size_t whole_vectors = (k - 1) / W, rest = k - whole_vectors * W;
  size_t row;
  /* (An instance for 16 bits is large; and without masks there are too few registers.) */
  const int few_instances = sizeof(elem) < sizeof(real) || !SMC_FAST_MASKS;
  if (sizeof(elem) == sizeof(real) && whole_vectors == 0) {
    row = short_products(s, g, y, n, 0, 1, rest, fetched);
  } else if (few_instances || whole_vectors > SMC_HELD_MAX) {
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

SMC_INLINE row_peak peak_of_row(const product_strands of, const extent n) {
  const elem *at = (const elem *)of.g.p + SMC_K(place_of_peak)(of.s, n);
  return (row_peak){.center = v_set1(SMC_K(get)(at))};
}

SMC_INLINE void converted_rows(smc_view s, smc_view g, smc_view y, size_t n, const extent row) {
  for (size_t i = 0; i < n; ++i) {
    const product_strands of = strands_of_row(s, g, y, i);
    const row_peak peak = peak_of_row(of, row);
    const pair dot = sum_of_lanes(SMC_K(stored_dot)(of.s, of.g, row, &peak, SMC_SOFTMAX_VJP));
    SMC_K(stored_products)(of, row, peak.center, pair_value(dot), 0, SMC_SOFTMAX_VJP);
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

/* The product of each row while the next one is fetched. */
SMC_INLINE void rows_in_turn(smc_view s, smc_view g, smc_view y, size_t n, const extent row) {
  product_strands of = strands_of_row(s, g, y, 0);
  row_peak peak = peak_of_row(of, row);
  pair sum = SMC_K(stored_dot)(of.s, of.g, row, &peak, SMC_SOFTMAX_VJP);
  for (size_t i = 1;; ++i) {
    const vec center = peak.center, dot = pair_value(sum_of_lanes(sum));
    if (i == n) {
      SMC_K(dense_products)(of, row, &center, &dot, 0);
      return;
    }
    const product_strands next = strands_of_row(s, g, y, i);
    peak = peak_of_row(next, row);
    sum = stored_dot_beside(next.s, next.g, row, &peak, SMC_SOFTMAX_VJP, &of, center, dot);
    of = next;
  }
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
