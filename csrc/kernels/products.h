/* Products with the Jacobians of softmax, log_softmax and logsumexp: a dot product, then one element-
 * wise pass.  Included once for each type computed in (SMC_T).
 */

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

SMC_INLINE pair dot_of_strand(const strand s, const strand g, const extent n, smc_product which) {
  switch (which) {
  case SMC_SOFTMAX_VJP:
    if (has_row_instance() && is_dense(s, n) && is_dense(g, n)) {
      return dot_sum(dense(s), dense(g), whole(n), SMC_SOFTMAX_VJP);
    }
    return dot_sum(s, g, n, SMC_SOFTMAX_VJP);
  case SMC_LOG_SOFTMAX_VJP: return dot_sum(s, g, n, SMC_LOG_SOFTMAX_VJP);
  default: return dot_sum(s, g, n, SMC_LOG_SOFTMAX_JVP);
  }
}

SMC_INLINE void product_strand(const tile *t, product_strands of, extent n, vec dot,
                               smc_product which) {
  const int rows = is_dense(of.s, n) && is_dense(of.g, n) && is_dense(of.y, n);
  switch (which) {
  case SMC_SOFTMAX_VJP:
    for (size_t head; rows && (head = lanes_to_line(t, of.y, n)) > 0; n = without(n, head)) {
      v_store_n(of.y.p, product_of(v_load(of.s.p), v_load(of.g.p), dot, SMC_SOFTMAX_VJP), head);
      of.s.p += head, of.g.p += head, of.y.p += head;
    }
    if (rows) {
      SMC_V(dense_products)(of, n, &dot, goes_past(t, of.y, n));
    } else {
      product_pass(of, n, dot, goes_past(t, of.y, n), SMC_SOFTMAX_VJP);
    }
    break;
  case SMC_LOG_SOFTMAX_VJP: product_pass(of, n, dot, 0, SMC_LOG_SOFTMAX_VJP); break;
  default: product_pass(of, n, dot, 0, SMC_LOG_SOFTMAX_JVP);
  }
}

/* Of so many strands of columns that are whole, class after class: so they are read and written as they lie in memory.
 * The next class is fetched where it will be written, or while exponentials are computed.  (`which` and `past` are
 * constants.) */
SMC_INLINE void class_of_dots(strand s, strand g, size_t strands, const smc_product which,
                              vec *sum) {
  for (size_t u = 0; u < strands; ++u, s = beside(s, 1), g = beside(g, 1)) {
    if (which == SMC_LOG_SOFTMAX_JVP) {
      SMC_PREFETCH((const char *)vector_at(s, 1));
      SMC_PREFETCH((const char *)vector_at(g, 1));
    }
    sum[u] = plus_product_of(sum[u], v_load(s.p), v_load(g.p), which);
  }
}

SMC_INLINE void class_of_products(product_strands of, size_t strands, const smc_product which,
                                  const pair *dot, const int past) {
  for (size_t u = 0; u < strands; ++u) {
    const strand s = beside(of.s, u), g = beside(of.g, u), y = beside(of.y, u);
    const vec product = product_of(v_load(s.p), v_load(g.p), dot[u].hi, which);
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
static SMC_OUTLINE void dots_abreast(const tile *t, size_t strands, smc_product which, pair *dot) {
  const size_t k = block_classes(t), grouped = k / SMC_GROUP * SMC_GROUP;
  strand s = strand_of(t, SMC_S, 0), g = strand_of(t, SMC_G, 0);
  vec sum[SMC_GROUP][SMC_MAX_STRANDS];
  SMC_EACH(j, SMC_GROUP) {
    for (size_t u = 0; u < strands; ++u) sum[j][u] = v_set1(0);
  }
  for (size_t i = 0; i < k; ++i, s = ahead(s, 1), g = ahead(g, 1)) {
    vec *to = sum[i < grouped ? i % SMC_GROUP : 0];
    switch (which) {
    case SMC_SOFTMAX_VJP: class_of_dots(s, g, strands, SMC_SOFTMAX_VJP, to); break;
    case SMC_LOG_SOFTMAX_VJP: class_of_dots(s, g, strands, SMC_LOG_SOFTMAX_VJP, to); break;
    default: class_of_dots(s, g, strands, SMC_LOG_SOFTMAX_JVP, to);
    }
  }
  for (size_t u = 0; u < strands; ++u) {
    const pair part = pair_add(two_sum(sum[0][u], sum[1][u]), two_sum(sum[2][u], sum[3][u]));
    dot[u] = pair_add_to(dot[u], part, t->begin == 0);
  }
}

static SMC_OUTLINE void products_abreast(const tile *t, size_t strands, smc_product which,
                                         const pair *dot) {
  const size_t k = block_classes(t);
  const strand s = strand_of(t, SMC_S, 0), g = strand_of(t, SMC_G, 0);
  const strand y = strand_of(t, SMC_PRODUCT, 0);
  const int past = goes_past(t, y, extent_of(t, 0));
  for (size_t i = 0; i < k; ++i) {
    const product_strands of = {ahead(s, i), ahead(g, i), ahead(y, i)};
    switch (which) {
    case SMC_SOFTMAX_VJP:
      if (past) {
        class_of_products(of, strands, SMC_SOFTMAX_VJP, dot, 1);
      } else {
        class_of_products(of, strands, SMC_SOFTMAX_VJP, dot, 0);
      }
      break;
    case SMC_LOG_SOFTMAX_VJP: class_of_products(of, strands, SMC_LOG_SOFTMAX_VJP, dot, 0); break;
    default: class_of_products(of, strands, SMC_LOG_SOFTMAX_JVP, dot, 0);
    }
  }
}

/* How many strands of a tile go through the passes so: fewer are summed in registers. */
SMC_INLINE size_t whole_columns(const tile *t) {
  return W > 1 && is_columns(t) && t->rows >= SMC_GROUP * W ? t->rows / W : 0;
}

typedef struct {
  smc_product which;
  pair *dot; /* of each strand of the tile, or of each part of its row */
} row_products;

static void dots_of_part(tile *t, size_t part, const void *how) {
  const row_products *of = how;
  pair *dot = of->dot + part;
  for (size_t u = 0; u < t->strands; ++u) dot[u] = pair_of(0);
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    size_t u = whole_columns(t);
    if (u > 0) dots_abreast(t, u, of->which, dot);
    for (; u < t->strands; ++u) {
      strand a = strand_of(t, SMC_S, u), b = strand_of(t, SMC_G, u);
      extent n = extent_of(t, u);
      if (is_lone(t)) { /* in the order of a row that is packed: one lane, class after class */
        a.step = b.step = sizeof(real);
        n = (extent){t->of->k, 1, 0};
      }
      dot[u] = pair_add_to(dot[u], dot_of_strand(a, b, n, of->which), begin == 0);
      if (is_lone(t)) {
        dot[u] = normalized((pair){first_lane(dot[u].hi), first_lane(dot[u].lo)});
      } else if (t->group == 1 && is_last_block(t)) {
        dot[u] = sum_of_lanes(dot[u]);
      }
    }
  }
}

/* Of columns: added up as the lanes of a row are. */
SMC_INLINE vec dot_by_lanes(strand s, strand g, const extent n) {
  vec sum[SMC_V(lanes)];
  size_t left = n.count < W ? n.count : W;
  for (size_t i = 0; i < n.count; ++i, s = ahead(s, 1), g = ahead(g, 1)) {
    const vec a = load_lanes(s, n.lanes, v_set1(0)), b = load_lanes(g, n.lanes, v_set1(0));
    sum[i % W] = v_fma(a, b, i < W ? v_set1(0) : sum[i % W]);
  }
  for (size_t d = W / 2; d; d /= 2) {
    for (size_t j = 0; j + d < left; ++j) sum[j] = v_add(sum[j], sum[j + d]);
    left = left < d ? left : d;
  }
  return sum[0];
}

/* The dot products of short rows that are not dense. */
static void dots_of_short_rows(tile *t, pair *dot) {
  enter_block(t, 0);
  for (size_t u = 0; u < t->strands; ++u) {
    const strand s = strand_of(t, SMC_S, u), g = strand_of(t, SMC_G, u);
    const size_t whole_vectors = (t->of->k - 1) / W, rest = t->of->k - whole_vectors * W;
    dot[u] = pair_of(0);
    dot[u].hi = t->across ? dot_by_lanes(s, g, extent_of(t, u))
                          : SMC_V(short_dot)(s.p, g.p, whole_vectors, rest);
  }
  count_by_row(t, &dot->hi, sizeof *dot);
}

static void products_of_block(tile *t, const void *how) {
  const row_products *of = how;
  size_t u = whole_columns(t);
  if (u > 0) products_abreast(t, u, of->which, of->dot);
  for (; u < t->strands; ++u) {
    const product_strands strands = {strand_of(t, SMC_S, u), strand_of(t, SMC_G, u),
                                     strand_of(t, SMC_PRODUCT, u)};
    product_strand(t, strands, extent_of(t, u), of_strand(t, u, &of->dot[group_of(t, u)].hi),
                   of->which);
  }
}

/* The product
 *   SMC_SOFTMAX_VJP      s (g - sum g s)
 *   SMC_LOG_SOFTMAX_VJP  g - s sum g
 *   SMC_LOG_SOFTMAX_JVP  v - sum s v */
static void product_tile(tile *t, const void *extra) {
  pair dot[SMC_MAX_PARTS]; /* there are fewer strands */
  const row_products of = {*(const smc_product *)extra, dot};
  const size_t k = t->of->k;
  const int by_lanes = is_short(k, t->of->as->size) && !(is_columns(t) && k > SMC_SUM_STEPS);
  if (of.which == SMC_SOFTMAX_VJP && by_lanes && is_single_block(t)) {
    dots_of_short_rows(t, dot);
  } else {
    for_parts(t, dots_of_part, &of);
    for (size_t p = 1; p < t->parts; ++p) dot[0] = normalized(pair_add(dot[0], dot[p]));
    if (t->group > 1) sum_by_row(t, dot, sizeof *dot);
  }
  for (size_t g = 0; g < groups_of(t); ++g) dot[g].hi = pair_value(dot[g]);
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
