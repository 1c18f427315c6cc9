/* Rows in vector registers: how rows lie over lanes, so that an algorithm is written once.
 *
 *   ALONG   one row; the lanes run along it, and a reduction ends across the lanes.
 *   ABREAST SMC_WIDE rows, each as in ALONG and with the same bits: while the reduction of one waits
 *           for its latency, the others go on.
 *   ACROSS  SMC_WIDE*W rows, one to a lane; steps go down the class axis.  For an axis whose rows
 *           lie side by side in memory: nothing is transposed, and each step reads whole cache lines.
 *   NARROW  up to W rows, as ACROSS: the columns that are left over, and short rows, which are packed
 *           (transposed) into a buffer first (rows.h): no lane is then idle and no reduction across
 *           lanes needed, which is what short rows would spend their time on.
 *
 * The layout is a constant of each instance.  Which one serves depends on a row's length and strides
 * alone, never on its place in the batch; and a row's bits are the same in ACROSS and NARROW.
 * Included once for each type stored (SMC_D).
 */

#define tile_steps SMC_K(tile_steps)
#define tile_full_steps SMC_K(tile_full_steps)
#define tile_count SMC_K(tile_count)
#define load_strided SMC_K(load_strided)
#define store_strided SMC_K(store_strided)
#define tile_load SMC_K(tile_load)
#define tile_store SMC_K(tile_store)
#define tile_load_row SMC_K(tile_load_row)
#define tile_store_row SMC_K(tile_store_row)
#define tile_element SMC_K(tile_element)
#define tile_address SMC_K(tile_address)
#define tile_row SMC_K(tile_row)
#define tile_rows SMC_K(tile_rows)
#define reduce_max SMC_K(reduce_max)
#define reduce_sum SMC_K(reduce_sum)

#ifndef SMC_TILE_CONSTANTS
#define SMC_TILE_CONSTANTS
enum { SMC_WIDE = 4 };          /* vectors of rows in ABREAST and ACROSS */
enum { SMC_CHAINS = 4 };        /* accumulators that hide the latency of a pass with little to do */
enum { SMC_PACKED_MAX = 64 };   /* the longest row worth packing */
enum { SMC_ABREAST_MAX = 1024 }; /* the longest row that ABREAST takes: four of them stay near */
enum { SMC_SUM_STEPS = 32 };    /* additions to an accumulator before it joins the running sum */
enum { SMC_ALONG, SMC_ABREAST, SMC_ACROSS, SMC_NARROW, SMC_LAYOUT_COUNT };
#define SMC_IS_ALONG(layout) ((layout) == SMC_ALONG || (layout) == SMC_ABREAST)
#define SMC_IS_WIDE(layout) ((layout) == SMC_ABREAST || (layout) == SMC_ACROSS)
#define SMC_WIDTH(layout) (SMC_IS_WIDE(layout) ? SMC_WIDE : 1) /* vectors of rows */

typedef struct {
  size_t k;     /* classes */
  size_t lanes; /* rows in the tile */
  size_t row;   /* the first of them */
  int strided;  /* ALONG: some operand's elements do not lie side by side */
} tile;

/* One array's part of a tile. */
typedef struct {
  char *p;
  ptrdiff_t step; /* bytes from one class to the next */
  ptrdiff_t row;  /* bytes from one row to the next */
} operand;

typedef void tile_function(tile t, const operand *o, const void *extra);
typedef tile_function *layouts[SMC_LAYOUT_COUNT];
#endif

SMC_INLINE size_t tile_steps(const tile t, const int layout) {
  return SMC_IS_ALONG(layout) ? (t.k + W - 1) / W : t.k;
}

/* The steps that need no look at counts and strides. */
SMC_INLINE size_t tile_full_steps(const tile t, const int layout) {
  if (SMC_IS_ALONG(layout)) return t.strided ? 0 : t.k / W;
  return layout == SMC_ACROSS ? t.k : 0;
}

/* Lanes that hold data in step i. */
SMC_INLINE size_t tile_count(const tile t, size_t i, const int layout, const int full) {
  if (full) return W;
  if (layout == SMC_NARROW) return t.lanes;
  size_t left = t.k - i * W;
  return left < W ? left : W;
}

SMC_INLINE vec load_strided(const char *p, ptrdiff_t step, size_t n, vec fill) {
  real lane[SMC_V(lanes)];
  SMC_V(store)(lane, fill);
  for (size_t i = 0; i < n; ++i) lane[i] = SMC_K(get)(p + (ptrdiff_t)i * step);
  return SMC_V(load)(lane);
}

SMC_INLINE void store_strided(char *p, ptrdiff_t step, vec a, size_t n) {
  real lane[SMC_V(lanes)];
  SMC_V(store)(lane, a);
  for (size_t i = 0; i < n; ++i) SMC_K(put)(p + (ptrdiff_t)i * step, lane[i]);
}

SMC_INLINE char *tile_address(const operand o, size_t i, size_t u, const int layout) {
  if (layout == SMC_ALONG) return o.p + (ptrdiff_t)((i + u) * W) * o.step;
  if (layout == SMC_ABREAST) return o.p + (ptrdiff_t)u * o.row + (ptrdiff_t)(i * W) * o.step;
  return o.p + (ptrdiff_t)i * o.step + u * W * sizeof(elem);
}

/* Vector u of step i: that of row u in ABREAST, the u-th of those side by side in ACROSS; in ALONG
 * vector i + u. */
SMC_INLINE vec tile_load(const operand o, size_t i, size_t u, size_t n, vec fill, const int layout,
                         const int full) {
  const char *p = tile_address(o, i, u, layout);
  if (full) return SMC_K(load)(p);
  if (SMC_IS_ALONG(layout) && o.step != sizeof(elem)) return load_strided(p, o.step, n, fill);
  return n == W ? SMC_K(load)(p) : SMC_K(load_n)(p, n, fill);
}

SMC_INLINE void tile_store(const operand o, size_t i, size_t u, size_t n, vec a, const int layout,
                           const int full) {
  char *p = tile_address(o, i, u, layout);
  if (full) {
    SMC_K(store)(p, a);
  } else if (SMC_IS_ALONG(layout) && o.step != sizeof(elem)) {
    store_strided(p, o.step, a, n);
  } else {
    SMC_K(store_n)(p, a, n);
  }
}

/* An operand with one value for each row. */
SMC_INLINE vec tile_load_row(const tile t, const operand o, size_t u, const int layout) {
  if (SMC_IS_ALONG(layout)) return v_set1(SMC_K(get)(o.p + (ptrdiff_t)u * o.row));
  return tile_load(o, 0, u, t.lanes, v_set1(0), layout, layout == SMC_ACROSS);
}

SMC_INLINE void tile_store_row(const tile t, const operand o, size_t u, vec a, const int layout) {
  if (SMC_IS_ALONG(layout)) {
    SMC_K(store_n)(o.p + (ptrdiff_t)u * o.row, a, 1);
  } else {
    tile_store(o, 0, u, t.lanes, a, layout, layout == SMC_ACROSS);
  }
}

/* Rows in vector u. */
SMC_INLINE size_t tile_rows(const tile t, const int layout) {
  return SMC_IS_ALONG(layout) ? 1 : layout == SMC_ACROSS ? W : t.lanes;
}

/* The place in the tile of the row in lane l of vector u. */
SMC_INLINE size_t tile_row(size_t u, size_t l, const int layout) {
  return SMC_IS_ALONG(layout) ? u : u * W + l;
}

/* Where class c of the tile's row r is. */
SMC_INLINE char *tile_element(const operand o, size_t c, size_t r, const int layout) {
  ptrdiff_t row = SMC_IS_ALONG(layout) ? o.row : (ptrdiff_t)sizeof(elem);
  return o.p + (ptrdiff_t)c * o.step + (ptrdiff_t)r * row;
}

/* From lanes along a row to the row's value, in every lane. */
SMC_INLINE vec reduce_max(vec m, const int layout) {
  if (!SMC_IS_ALONG(layout)) return m;
  SMC_UNROLL for (size_t d = W / 2; d; d /= 2) m = v_max(m, v_xor_lanes(m, (int)d));
  return m;
}

SMC_INLINE pair reduce_sum(pair s, const int layout) {
  if (SMC_IS_ALONG(layout)) {
    SMC_UNROLL for (size_t d = W / 2; d; d /= 2) {
      pair other = {v_xor_lanes(s.hi, (int)d), v_xor_lanes(s.lo, (int)d)};
      s = pair_add(s, other);
    }
  }
  return normalized(s);
}
