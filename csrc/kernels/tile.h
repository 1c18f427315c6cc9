/* Rows in vector registers: how rows lie over lanes, so that an algorithm is written once.
 *
 *   ALONG   one row; the lanes run along it, and a reduction ends across the lanes.
 *   ABREAST SMC_GROUP rows, each as in ALONG and with the same bits: while the reduction of one waits
 *           for its latency, the others go on.
 *   ACROSS  SMC_GROUP*W rows, one to a lane; steps go down the class axis.  For an axis whose rows
 *           lie side by side in memory: nothing is transposed, and each step reads whole cache lines.
 *           And for short rows, which are packed (transposed) into buffers first (rows.h): no lane is
 *           then idle and no reduction across lanes needed, on which they would spend their time.
 *   NARROW  up to W rows, as ACROSS and with the same bits: what is left over.
 *
 * The layout is a constant of each instance.  Whether lanes run along a row or across rows depends on
 * its length and strides alone, never on its place in the batch; so the bits of its result do not.
 * Included once for each type stored (SMC_D).
 */

#define tile_steps SMC_K(tile_steps)
#define tile_full_steps SMC_K(tile_full_steps)
#define tile_count SMC_K(tile_count)
#define load_strided SMC_K(load_strided)
#define store_strided SMC_K(store_strided)
#define tile_load SMC_K(tile_load)
#define tile_store SMC_K(tile_store)
#define load_group SMC_K(load_group)
#define store_group SMC_K(store_group)
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
enum { SMC_PACKED_MAX = 64 };    /* the longest row worth packing */
enum { SMC_ABREAST_MAX = 1024 }; /* the longest row that ABREAST takes: four of them stay near */
enum { SMC_SUM_STEPS = 32 };     /* additions to an accumulator before it joins the running sum */
enum { SMC_ALONG, SMC_ABREAST, SMC_ACROSS, SMC_NARROW, SMC_LAYOUT_COUNT };
#define SMC_IS_ALONG(layout) ((layout) == SMC_ALONG || (layout) == SMC_ABREAST)
#define SMC_IS_WIDE(layout) ((layout) == SMC_ABREAST || (layout) == SMC_ACROSS)
#define SMC_WIDTH(layout) (SMC_IS_WIDE(layout) ? SMC_GROUP : 1) /* vectors of rows */
#define SMC_STRIDE(layout)                                                                         \
  (SMC_IS_WIDE(layout) ? (size_t)1 : (size_t)SMC_GROUP) /* steps in a group */

typedef struct {
  size_t k;    /* classes */
  size_t rows; /* rows in the tile */
  size_t row;  /* the first of them */
  int strided; /* ALONG: some operand's elements do not lie side by side */
  int padded;  /* NARROW: lanes without a row may be read and written all the same */
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

/* The steps whose vectors are all full: they are taken a group at a time, and the rest one by one. */
SMC_INLINE size_t tile_full_steps(const tile t, const int layout) {
  if (SMC_IS_ALONG(layout)) return t.strided ? 0 : t.k / W;
  return layout == SMC_ACROSS || t.padded ? t.k : 0;
}

/* Lanes that hold data in step i. */
SMC_INLINE size_t tile_count(const tile t, size_t i, const int layout, const int full) {
  if (full || layout == SMC_ACROSS) return W;
  if (layout == SMC_NARROW) return t.rows;
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

/* Vector j of the group at step i: in a wide layout that of the j-th row (vector of rows), else that of
 * step i + j. */
SMC_INLINE char *tile_address(const operand o, size_t i, size_t j, const int layout) {
  switch (layout) {
  case SMC_ALONG: return o.p + (ptrdiff_t)((i + j) * W) * o.step;
  case SMC_ABREAST: return o.p + (ptrdiff_t)j * o.row + (ptrdiff_t)(i * W) * o.step;
  case SMC_ACROSS: return o.p + (ptrdiff_t)i * o.step + j * W * sizeof(elem);
  default: return o.p + (ptrdiff_t)(i + j) * o.step;
  }
}

SMC_INLINE vec tile_load(const tile t, const operand o, size_t i, size_t j, vec fill,
                         const int layout, const int full) {
  const char *p = tile_address(o, i, j, layout);
  if (full) return SMC_K(load)(p);
  size_t n = tile_count(t, i, layout, full);
  if (SMC_IS_ALONG(layout) && o.step != sizeof(elem)) return load_strided(p, o.step, n, fill);
  return SMC_K(load_n)(p, n, fill);
}

SMC_INLINE void tile_store(const tile t, const operand o, size_t i, size_t j, vec a,
                           const int layout, const int full) {
  char *p = tile_address(o, i, j, layout);
  size_t n = tile_count(t, i, layout, full);
  if (full) {
    SMC_K(store)(p, a);
  } else if (SMC_IS_ALONG(layout) && o.step != sizeof(elem)) {
    store_strided(p, o.step, a, n);
  } else {
    SMC_K(store_n)(p, a, n);
  }
}

/* The n vectors of a group (SMC_GROUP of them if full, else those of one step). */
SMC_INLINE void load_group(const tile t, const operand o, size_t i, vec *a, vec fill, const int n,
                           const int layout, const int full) {
  SMC_EACH(j, n) a[j] = tile_load(t, o, i, (size_t)j, fill, layout, full);
}

SMC_INLINE void store_group(const tile t, const operand o, size_t i, const vec *a, const int n,
                            const int layout, const int full) {
  SMC_EACH(j, n) tile_store(t, o, i, (size_t)j, a[j], layout, full);
}

/* An operand with one value for each row. */
SMC_INLINE vec tile_load_row(const tile t, const operand o, size_t u, const int layout) {
  if (SMC_IS_ALONG(layout)) return v_set1(SMC_K(get)(o.p + (ptrdiff_t)u * o.row));
  return tile_load(t, o, 0, u, v_set1(0), layout, layout == SMC_ACROSS);
}

SMC_INLINE void tile_store_row(const tile t, const operand o, size_t u, vec a, const int layout) {
  if (SMC_IS_ALONG(layout)) {
    SMC_K(store_n)(o.p + (ptrdiff_t)u * o.row, a, 1);
  } else {
    tile_store(t, o, 0, u, a, layout, layout == SMC_ACROSS);
  }
}

/* Rows in vector u. */
SMC_INLINE size_t tile_rows(const tile t, const int layout) {
  return SMC_IS_ALONG(layout) ? 1 : layout == SMC_ACROSS ? W : t.rows;
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
