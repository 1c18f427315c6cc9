/* Products with the Jacobians of softmax, log_softmax and logsumexp: for the first two the place of each row's
 * peak, a sum about it, then one elementwise pass (product_passes.h); for the last the pass alone.  Included once
 * for each type computed in (SMC_T).
 */

#define peaks_of_tile SMC_V(peaks_of_tile)
#define find_peak SMC_V(find_peak)
#define peaks_across SMC_V(peaks_across)
#define peaks_of_block SMC_V(peaks_of_block)
#define note_peaks SMC_V(note_peaks)
#define peaks_of_part SMC_V(peaks_of_part)
#define read_centers SMC_V(read_centers)
#define peak_of_strand SMC_V(peak_of_strand)
#define element_of_strand SMC_V(element_of_strand)
#define make_good_peaks SMC_V(make_good_peaks)
#define put_peaks SMC_V(put_peaks)
#define dots_abreast SMC_V(dots_abreast)
#define products_abreast SMC_V(products_abreast)
#define class_of_dots SMC_V(class_of_dots)
#define class_of_products SMC_V(class_of_products)
#define whole_columns SMC_V(whole_columns)
#define dot_sum SMC_V(stored_dot)
#define dot_of_strand SMC_V(dot_of_strand)
#define product_of SMC_V(one_product)
#define plus_product_of SMC_V(plus_product)
#define product_pass SMC_V(stored_products)
#define product_strand SMC_V(product_strand)
#define row_products SMC_V(row_products)
#define dots_of_part SMC_V(dots_of_part)
#define dot_by_lanes SMC_V(dot_by_lanes)
#define dots_of_short_rows SMC_V(dots_of_short_rows)
#define products_of_block SMC_V(products_of_block)
#define product_tile SMC_V(product_tile)
#define lse_products SMC_V(lse_products)
#define lse_products_of_block SMC_V(lse_products_of_block)
#define lse_product_tile SMC_V(lse_product_tile)

/* The peaks of a tile's rows, or of the parts of its one row: in each the class of the largest s, the first of
 * several; the s (or log_s) and the g there; and what log_softmax's vjp gives there. */
typedef struct {
  size_t place[SMC_MAX_STRANDS * SMC_V(lanes)];
  real largest[SMC_MAX_STRANDS * SMC_V(lanes)];
  real center[SMC_MAX_STRANDS * SMC_V(lanes)];
  real result[SMC_MAX_STRANDS * SMC_V(lanes)];
} peaks_of_tile;

typedef struct {
  smc_product which;
  peaks_of_tile *peaks;
  pair *dot; /* of each strand of the tile, or of each part of its row */
} row_products;

/* The element of a class of the block at hand, in the lane of that row of strand u. */
SMC_INLINE real *element_of_strand(const tile *t, const strand s, size_t class, size_t lane) {
  return is_across(t) ? vector_at(s, class) + lane : vector_at(s, class / W) + class % W;
}

/* ---- pass 1: where each row has its peak ---------------------------------------------------------- */

/* What is the largest so far in a row, at least of the blocks before the one at hand. */
SMC_INLINE void find_peak(peaks_of_tile *p, size_t row, real largest, size_t place, int first) {
  if (!first && !(p->largest[row] < largest)) return;
  p->largest[row] = largest, p->place[row] = place;
}

/* Those of the rows of strand u across, where the largest of the block and their numbers are. */
SMC_INLINE void note_peaks(const tile *t, size_t u, vec most, vec number, peaks_of_tile *p) {
  real largest[SMC_V(lanes)], numbers[SMC_V(lanes)];
  v_store(largest, most), v_store(numbers, number);
  for (size_t l = 0; l < W; ++l) {
    find_peak(p, u * W + l, largest[l], t->begin + (size_t)numbers[l], t->begin == 0);
  }
}

/* Some strands across, class after class; `abreast` is a constant, the lanes that are in use in each too. */
SMC_INLINE void peaks_across(const tile *t, size_t u, const int abreast, size_t lanes,
                             peaks_of_tile *p) {
  const size_t classes = block_classes(t);
  strand s = strand_of(t, SMC_S, u);
  vec most[SMC_GROUP], place[SMC_GROUP], number = v_set1(0);
  SMC_EACH(j, abreast) most[j] = v_set1((real)-INFINITY), place[j] = number;
  for (size_t i = 0; i < classes; ++i, s = ahead(s, 1), number = v_add(number, v_set1(1))) {
    SMC_EACH(j, abreast) {
      const vec a = load_lanes(beside(s, (size_t)j), lanes, v_set1(0));
      place[j] = v_select(v_lt(most[j], a), number, place[j]);
      most[j] = v_max(most[j], a);
    }
  }
  SMC_EACH(j, abreast) note_peaks(t, u + (size_t)j, most[j], place[j], p);
}

/* Of the block at hand. */
static SMC_OUTLINE void peaks_of_block(const tile *t, peaks_of_tile *p) {
  size_t u = 0;
  if (is_across(t)) {
    const size_t whole_strands = t->staged ? t->strands : t->rows / W;
    for (; is_columns(t) && u + SMC_GROUP <= whole_strands; u += SMC_GROUP) {
      peaks_across(t, u, SMC_GROUP, W, p);
    }
    for (; u < t->strands; ++u) peaks_across(t, u, 1, extent_of(t, u).lanes, p);
    return;
  }
  for (; u < t->strands; ++u) {
    const strand s = strand_of(t, SMC_S, u);
    const size_t class = SMC_V(place_of_peak)(s, extent_of(t, u));
    const real largest = *element_of_strand(t, s, class, 0);
    find_peak(p, u, largest, t->begin + class, t->begin == 0);
  }
}

/* The g of each row at its peak: in its strand, if that holds the whole row, else in memory. */
static void read_centers(const tile *t, peaks_of_tile *p) {
  const smc_view *g = &t->of->operands[SMC_G];
  const size_t lanes = is_across(t) ? W : 1;
  for (size_t r = 0; r < t->rows; ++r) {
    if (is_single_block(t)) {
      p->center[r] = *element_of_strand(t, strand_of(t, SMC_G, r / lanes), p->place[r], r % lanes);
    } else {
      const char *row = (const char *)g->data + (ptrdiff_t)(t->row + r) * g->row;
      t->of->as->get(row + (ptrdiff_t)p->place[r] * g->col, 0, 1, &p->center[r]);
    }
  }
}

static void peaks_of_part(tile *t, size_t part, const void *how) {
  const row_products *of = how;
  peaks_of_tile *p = of->peaks;
  if (t->parts == 1) {
    for (size_t begin = 0; begin < t->of->k; begin += t->block) {
      enter_block(t, begin);
      peaks_of_block(t, p);
    }
    return;
  }
  peaks_of_tile own; /* of one row */
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    peaks_of_block(t, &own);
  }
  p->largest[part] = own.largest[0], p->place[part] = t->before + own.place[0];
}

/* Of strand u in the block at hand. */
SMC_INLINE row_peak peak_of_strand(const tile *t, size_t u, const peaks_of_tile *p) {
  const size_t rows = is_across(t) ? W : 1, before = t->before + t->begin;
  real number[SMC_V(lanes)];
  row_peak peak = {.step = is_across(t) ? 1 : W};
  for (size_t l = 0; l < rows; ++l) {
    number[l] = (real)((ptrdiff_t)p->place[u * rows + l] - (ptrdiff_t)before);
  }
  peak.first = is_across(t) ? v_set1(0) : lane_numbers();
  peak.number = is_across(t) ? v_load(number) : v_set1(number[0]);
  peak.center = is_across(t) ? v_load(&p->center[u * W]) : v_set1(p->center[u]);
  return peak;
}

/* ---- pass 2: sums ---------------------------------------------------------------------------------- */

SMC_INLINE pair dot_of_strand(const strand s, const strand g, const extent n, const row_peak *peak,
                              smc_product which) {
  switch (which) {
  case SMC_SOFTMAX_VJP:
    if (has_row_instance() && is_dense(s, n) && is_dense(g, n)) {
      return dot_sum(dense(s), dense(g), whole(n), peak, SMC_SOFTMAX_VJP);
    }
    return dot_sum(s, g, n, peak, SMC_SOFTMAX_VJP);
  case SMC_LOG_SOFTMAX_VJP: return dot_sum(s, g, n, peak, SMC_LOG_SOFTMAX_VJP);
  default: return dot_sum(s, g, n, peak, SMC_LOG_SOFTMAX_JVP);
  }
}

SMC_INLINE void product_strand(const tile *t, product_strands of, extent n, vec center, vec dot,
                               smc_product which) {
  const int rows = is_dense(of.s, n) && is_dense(of.g, n) && is_dense(of.y, n);
  switch (which) {
  case SMC_SOFTMAX_VJP:
    for (size_t head; rows && (head = lanes_to_line(t, of.y, n)) > 0; n = without(n, head)) {
      const vec s = v_load(of.s.p), g = v_load(of.g.p);
      v_store_n(of.y.p, product_of(s, g, center, dot, SMC_SOFTMAX_VJP), head);
      of.s.p += head, of.g.p += head, of.y.p += head;
    }
    if (rows) {
      SMC_V(dense_products)(of, n, &center, &dot, goes_past(t, of.y, n));
    } else {
      product_pass(of, n, center, dot, goes_past(t, of.y, n), SMC_SOFTMAX_VJP);
    }
    break;
  case SMC_LOG_SOFTMAX_VJP: product_pass(of, n, center, dot, 0, SMC_LOG_SOFTMAX_VJP); break;
  default: product_pass(of, n, center, dot, 0, SMC_LOG_SOFTMAX_JVP);
  }
}

/* Of so many strands of columns that are whole, class after class: so they are read and written as they lie in memory.
 * The next class is fetched where it will be written, or while exponentials are computed.  (`which` and `past` are
 * constants.) */
SMC_INLINE void class_of_dots(strand s, strand g, size_t strands, const row_peak *peak, vec number,
                              const smc_product which, vec *sum) {
  for (size_t u = 0; u < strands; ++u, s = beside(s, 1), g = beside(g, 1)) {
    if (which == SMC_LOG_SOFTMAX_JVP) {
      SMC_PREFETCH((const char *)vector_at(s, 1));
      SMC_PREFETCH((const char *)vector_at(g, 1));
    }
    sum[u] = plus_product_of(sum[u], v_load(s.p), v_load(g.p), &peak[u], number, which);
  }
}

SMC_INLINE void class_of_products(product_strands of, size_t strands, const smc_product which,
                                  const peaks_of_tile *p, const pair *dot, const int past) {
  for (size_t u = 0; u < strands; ++u) {
    const strand s = beside(of.s, u), g = beside(of.g, u), y = beside(of.y, u);
    const vec center = v_load(&p->center[u * W]);
    const vec product = product_of(v_load(s.p), v_load(g.p), center, dot[u].hi, which);
    if (which == SMC_LOG_SOFTMAX_VJP) SMC_PREFETCH((const char *)vector_at(s, 1));
    if (past) {
      store_past(y, product);
    } else {
      SMC_PREFETCH_TO_WRITE((const char *)vector_at(y, 1));
      v_store(y.p, product);
    }
  }
}

/* Of a block, added up as dot_sum does. */
static SMC_OUTLINE void dots_abreast(const tile *t, size_t strands, const row_products *of,
                                     pair *dot) {
  const size_t k = block_classes(t), grouped = k / SMC_GROUP * SMC_GROUP;
  strand s = strand_of(t, SMC_S, 0), g = strand_of(t, SMC_G, 0);
  vec sum[SMC_GROUP][SMC_MAX_STRANDS], number = v_set1(0);
  row_peak peak[SMC_MAX_STRANDS];
  for (size_t u = 0; u < strands; ++u) peak[u] = peak_of_strand(t, u, of->peaks);
  SMC_EACH(j, SMC_GROUP) {
    for (size_t u = 0; u < strands; ++u) sum[j][u] = v_set1(0);
  }
  for (size_t i = 0; i < k; ++i, s = ahead(s, 1), g = ahead(g, 1)) {
    vec *to = sum[i < grouped ? i % SMC_GROUP : 0];
    switch (of->which) {
    case SMC_SOFTMAX_VJP: class_of_dots(s, g, strands, peak, number, SMC_SOFTMAX_VJP, to); break;
    case SMC_LOG_SOFTMAX_VJP:
      class_of_dots(s, g, strands, peak, number, SMC_LOG_SOFTMAX_VJP, to);
      break;
    default: class_of_dots(s, g, strands, peak, number, SMC_LOG_SOFTMAX_JVP, to);
    }
    number = v_add(number, v_set1(1));
  }
  for (size_t u = 0; u < strands; ++u) {
    const pair part = pair_add(two_sum(sum[0][u], sum[1][u]), two_sum(sum[2][u], sum[3][u]));
    dot[u] = pair_add_to(dot[u], part, t->begin == 0);
  }
}

static SMC_OUTLINE void products_abreast(const tile *t, size_t strands, const row_products *how) {
  const size_t k = block_classes(t);
  const strand s = strand_of(t, SMC_S, 0), g = strand_of(t, SMC_G, 0);
  const strand y = strand_of(t, SMC_PRODUCT, 0);
  const int past = goes_past(t, y, extent_of(t, 0));
  const peaks_of_tile *p = how->peaks;
  const pair *dot = how->dot;
  for (size_t i = 0; i < k; ++i) {
    const product_strands of = {ahead(s, i), ahead(g, i), ahead(y, i)};
    switch (how->which) {
    case SMC_SOFTMAX_VJP:
      if (past) {
        class_of_products(of, strands, SMC_SOFTMAX_VJP, p, dot, 1);
      } else {
        class_of_products(of, strands, SMC_SOFTMAX_VJP, p, dot, 0);
      }
      break;
    case SMC_LOG_SOFTMAX_VJP:
      class_of_products(of, strands, SMC_LOG_SOFTMAX_VJP, p, dot, 0);
      break;
    default: class_of_products(of, strands, SMC_LOG_SOFTMAX_JVP, p, dot, 0);
    }
  }
}

/* How many strands of a tile go through the passes so: fewer are summed in registers. */
SMC_INLINE size_t whole_columns(const tile *t) {
  return W > 1 && is_columns(t) && t->rows >= SMC_GROUP * W ? t->rows / W : 0;
}

static void dots_of_part(tile *t, size_t part, const void *how) {
  const row_products *of = how;
  pair *dot = of->dot + part;
  for (size_t u = 0; u < t->strands; ++u) dot[u] = pair_of(0);
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    size_t u = whole_columns(t);
    if (u > 0) dots_abreast(t, u, of, dot);
    for (; u < t->strands; ++u) {
      strand a = strand_of(t, SMC_S, u), b = strand_of(t, SMC_G, u);
      extent n = extent_of(t, u);
      const row_peak peak = peak_of_strand(t, u, of->peaks);
      if (is_lone(t)) { /* in the order of a row that is packed: one lane, class after class */
        a.step = b.step = sizeof(real);
        n = (extent){t->of->k, 1, 0};
      }
      dot[u] = pair_add_to(dot[u], dot_of_strand(a, b, n, &peak, of->which), begin == 0);
      if (is_lone(t)) {
        dot[u] = normalized((pair){first_lane(dot[u].hi), first_lane(dot[u].lo)});
      } else if (t->group == 1 && is_last_block(t)) {
        dot[u] = sum_of_lanes(dot[u]);
      }
    }
  }
}

/* Of columns: added up as the lanes of a row are. */
SMC_INLINE vec dot_by_lanes(strand s, strand g, const extent n, vec center) {
  vec sum[SMC_V(lanes)];
  size_t left = n.count < W ? n.count : W;
  for (size_t i = 0; i < n.count; ++i, s = ahead(s, 1), g = ahead(g, 1)) {
    const vec a = load_lanes(s, n.lanes, v_set1(0)), b = load_lanes(g, n.lanes, v_set1(0));
    sum[i % W] = v_fma(a, v_sub(b, center), i < W ? v_set1(0) : sum[i % W]);
  }
  for (size_t d = W / 2; d; d /= 2) {
    for (size_t j = 0; j + d < left; ++j) sum[j] = v_add(sum[j], sum[j + d]);
    left = left < d ? left : d;
  }
  return sum[0];
}

/* The dot products of short rows that are not dense. */
static void dots_of_short_rows(tile *t, const peaks_of_tile *p, pair *dot) {
  enter_block(t, 0);
  for (size_t u = 0; u < t->strands; ++u) {
    const strand s = strand_of(t, SMC_S, u), g = strand_of(t, SMC_G, u);
    const size_t whole_vectors = (t->of->k - 1) / W, rest = t->of->k - whole_vectors * W;
    const vec center = peak_of_strand(t, u, p).center;
    dot[u] = pair_of(0);
    dot[u].hi = t->across ? dot_by_lanes(s, g, extent_of(t, u), center)
                          : SMC_V(short_dot)(s.p, g.p, whole_vectors, rest, center);
  }
  count_by_row(t, &dot->hi, sizeof *dot);
}

/* ---- pass 3: products ------------------------------------------------------------------------------- */

/* The products of a peak that are not as those of other classes, where the block at hand holds it. */
static void put_peaks(const tile *t, const peaks_of_tile *p) {
  const size_t lanes = is_across(t) ? W : 1, before = t->before + t->begin;
  const size_t classes = block_classes(t);
  for (size_t r = 0; r < t->rows; ++r) {
    const size_t class = p->place[r] - before; /* beyond the block, if it was before */
    if (class >= classes) continue;
    *element_of_strand(t, strand_of(t, SMC_PRODUCT, r / lanes), class, r % lanes) = p->result[r];
  }
}

static void products_of_block(tile *t, const void *how) {
  const row_products *of = how;
  size_t u = whole_columns(t);
  if (u > 0) products_abreast(t, u, of);
  for (; u < t->strands; ++u) {
    const product_strands strands = {strand_of(t, SMC_S, u), strand_of(t, SMC_G, u),
                                     strand_of(t, SMC_PRODUCT, u)};
    const vec dot = of_strand(t, u, &of->dot[group_of(t, u)].hi);
    const vec center = peak_of_strand(t, u, of->peaks).center;
    product_strand(t, strands, extent_of(t, u), center, dot, of->which);
  }
  if (of->which == SMC_LOG_SOFTMAX_VJP) put_peaks(t, of->peaks);
}

/* What log_softmax's vjp gives at the peaks of group g: as g - s sum g would lose it, where s is nearly 1, from the
 * sum of the others, which becomes that of all. */
static void make_good_peaks(const tile *t, size_t g, peaks_of_tile *p, pair *sum) {
  const size_t rows = group_rows(t, g), first = g * t->group;
  real lane[SMC_V(lanes)] = {0}, largest[SMC_V(lanes)] = {0};
  for (size_t l = 0; l < rows; ++l) {
    lane[l] = p->center[first + l], largest[l] = p->largest[first + l];
  }
  const vec center = by_lane(t, lane), log_s = by_lane(t, largest), zero = v_set1(0);
  const vec rest = v_mul(center, v_sub(zero, expm1_of_negative(log_s)));
  v_store(lane, v_fnma(exp_of_negative(log_s, zero), pair_value(*sum), rest));
  for (size_t l = 0; l < rows; ++l) p->result[first + l] = lane[l];
  *sum = pair_add(*sum, (pair){center, zero});
}

/* The product, with h = g - g[peak]
 *   SMC_SOFTMAX_VJP      s (h - sum s h)
 *   SMC_LOG_SOFTMAX_VJP  g - s sum g, but at the peak (1 - s) g - s sum of the other g
 *   SMC_LOG_SOFTMAX_JVP  h - sum s h */
static void product_tile(tile *t, const void *extra) {
  pair dot[SMC_MAX_PARTS]; /* there are fewer strands */
  peaks_of_tile peaks;
  const row_products of = {*(const smc_product *)extra, &peaks, dot};
  const size_t k = t->of->k;
  const int by_lanes = is_short(k, t->of->as->size) && !(is_columns(t) && k > SMC_SUM_STEPS);
  for_parts(t, peaks_of_part, &of);
  for (size_t p = 1; p < t->parts; ++p) find_peak(&peaks, 0, peaks.largest[p], peaks.place[p], 0);
  read_centers(t, &peaks);
  if (of.which == SMC_SOFTMAX_VJP && by_lanes && is_single_block(t)) {
    dots_of_short_rows(t, &peaks, dot);
  } else {
    for_parts(t, dots_of_part, &of);
    for (size_t p = 1; p < t->parts; ++p) dot[0] = normalized(pair_add(dot[0], dot[p]));
    if (t->group > 1) sum_by_row(t, dot, sizeof *dot);
  }
  for (size_t g = 0; g < groups_of(t); ++g) {
    if (of.which == SMC_LOG_SOFTMAX_VJP) make_good_peaks(t, g, &peaks, &dot[g]);
    dot[g].hi = pair_value(dot[g]);
  }
  for_results(t, products_of_block, &of);
}

typedef struct {
  const vec *lse, *g; /* of each group */
} lse_products;

static void lse_products_of_block(tile *t, const void *how) {
  const lse_products *of = how;
  for (size_t u = 0; u < t->strands; ++u) {
    const vec lse = of_strand(t, u, &of->lse[group_of(t, u)]);
    const vec g = of_strand(t, u, &of->g[group_of(t, u)]);
    strand x = strand_of(t, SMC_X, u), y = strand_of(t, SMC_Y, u);
    const extent n = extent_of(t, u);
    fetch_strand(t, u, steps_of(n));
    for (size_t i = 0; i < steps_of(n); ++i, x = ahead(x, 1), y = ahead(y, 1)) {
      const size_t lanes = lanes_at(n, i);
      vec a = load_lanes(x, lanes, v_set1(0));
      pair d = two_sum(a, v_sub(v_set1(0), lse));
      store_lanes(y, v_mul(exp_full(d.hi, d.lo), g), lanes);
    }
  }
}

/* operands: x, the product exp(x - lse) g; the rounding error of x - lse is carried into exp */
static void lse_product_tile(tile *t, const void *extra) {
  const smc_rowwise *how = extra;
  vec lse[SMC_MAX_STRANDS], g[SMC_MAX_STRANDS];
  for (size_t i = 0; i < groups_of(t); ++i) {
    lse[i] = load_by_row(t, i, &how->lse);
    g[i] = load_by_row(t, i, &how->g);
  }
  for_results(t, lse_products_of_block, &(lse_products){lse, g});
}
