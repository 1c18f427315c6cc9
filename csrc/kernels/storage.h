/* How elements of a stored type get into strands (tile.h), and back.  Included once for each type
 * stored (SMC_D).
 */

#define SMC_STORAGE SMC_K(storage_of)
#define element_at SMC_K(element_at)
#define get_elements SMC_K(get_elements)
#define put_elements SMC_K(put_elements)
#define load_elements SMC_K(load_elements)
#define store_elements SMC_K(store_elements)
#define fill_along SMC_K(fill_along)
#define spill_along SMC_K(spill_along)
#define fill_columns SMC_K(fill_columns)
#define spill_columns SMC_K(spill_columns)
#define fill_transposed SMC_K(fill_transposed)
#define spill_transposed SMC_K(spill_transposed)
#define fill_across SMC_K(fill_across)
#define spill_across SMC_K(spill_across)
#define stream_rows SMC_K(stream_rows)

#ifndef SMC_STORAGE_CONSTANTS
#define SMC_STORAGE_CONSTANTS
enum { SMC_LINE = 64 };     /* bytes of a cache line */
enum { SMC_SQUARE_MAX = 64 }; /* columns of a strand that are transposed by way of a buffer together */
#endif

SMC_INLINE char *element_at(const smc_view v, size_t row, size_t c) {
  return (char *)v.data + (ptrdiff_t)row * v.row + (ptrdiff_t)c * v.col;
}

static void get_elements(const char *p, ptrdiff_t step, size_t n, real *to) {
  for (size_t i = 0; i < n; ++i, p += step) to[i] = SMC_K(get)(p);
}

static void put_elements(char *p, ptrdiff_t step, size_t n, const real *from) {
  for (size_t i = 0; i < n; ++i, p += step) SMC_K(put)(p, from[i]);
}

/* n elements of a row, side by side or not. */
SMC_INLINE void load_elements(const char *p, ptrdiff_t step, size_t n, real *to) {
  size_t i = 0;
  if (step != sizeof(elem)) {
    get_elements(p, step, n, to);
    return;
  }
  for (; i + W <= n; i += W) v_store(to + i, SMC_K(load)(p + i * sizeof(elem)));
  for (; i < n; ++i) to[i] = SMC_K(get)(p + i * sizeof(elem));
}

SMC_INLINE void store_elements(char *p, ptrdiff_t step, size_t n, const real *from) {
  size_t i = 0;
  if (step != sizeof(elem)) {
    put_elements(p, step, n, from);
    return;
  }
  for (; i + W <= n; i += W) SMC_K(store)(p + i * sizeof(elem), v_load(from + i));
  for (; i < n; ++i) SMC_K(put)(p + i * sizeof(elem), from[i]);
}


/* ---- along ------------------------------------------------------------------------------------------ */

static void fill_along(smc_view from, size_t row, size_t rows, size_t begin, size_t classes,
                       real *to, size_t apart) {
  for (size_t r = row; r < row + rows; ++r, to += apart) {
    load_elements(element_at(from, r, begin), from.col, classes, to);
  }
}

static void spill_along(smc_view to, size_t row, size_t rows, size_t begin, size_t classes,
                        const real *from, size_t apart, int stream) {
  (void)stream;
  for (size_t r = row; r < row + rows; ++r, from += apart) {
    store_elements(element_at(to, r, begin), to.col, classes, from);
  }
}

/* ---- across: rows side by side in memory -------------------------------------------------------------- */

/* Line after line, whatever the distance from class to class. */
static void fill_columns(smc_view from, size_t row, size_t rows, size_t begin, size_t classes,
                         real *to, size_t apart) {
  for (size_t c = 0; c < classes; ++c, to += W) {
    const char *p = element_at(from, row, begin + c);
    size_t r = 0;
    for (; r + W <= rows; r += W) v_store(to + r / W * apart, SMC_K(load)(p + r * sizeof(elem)));
    if (r < rows) {
      v_store(to + r / W * apart, SMC_K(load_n)(p + r * sizeof(elem), rows - r, v_set1(0)));
    }
  }
}

static void spill_columns(smc_view to, size_t row, size_t rows, size_t begin, size_t classes,
                          const real *from, size_t apart, int stream) {
  (void)stream;
  for (size_t c = 0; c < classes; ++c, from += W) {
    char *p = element_at(to, row, begin + c);
    size_t r = 0;
    for (; r + W <= rows; r += W) SMC_K(store)(p + r * sizeof(elem), v_load(from + r / W * apart));
    if (r < rows) SMC_K(store_n)(p + r * sizeof(elem), v_load(from + r / W * apart), rows - r);
  }
}

/* ---- across: rows transposed ---------------------------------------------------------------------------- */

/* Up to W rows of k <= SMC_SQUARE_MAX classes to one strand, by way of a buffer in which they are whole
 * and of the type computed in; missing ones are 0. */
static void fill_transposed(const char *p, ptrdiff_t row, ptrdiff_t col, size_t rows, size_t k,
                            real *to) {
  enum { WIDE = SMC_SQUARE_MAX + 4 };
  real square[SMC_V(lanes)][WIDE];
  const size_t quads = (k + 3) / 4;
  for (size_t r = 0; r < W; ++r, p += row) {
    SMC_UNROLL for (int j = 0; j < 4; ++j) square[r][4 * quads - 4 + (size_t)j] = 0;
    if (r < rows) {
      load_elements(p, col, k, square[r]);
    } else {
      memset(square[r], 0, 4 * quads * sizeof(real));
    }
  }
  for (size_t q = 0; q < quads; ++q) {
    vec c[4];
    v_load_quad((const char *)&square[0][4 * q], sizeof square[0], c);
    SMC_UNROLL for (int j = 0; j < 4; ++j) v_store(to + (4 * q + (size_t)j) * W, c[j]);
  }
}

static void spill_transposed(char *p, ptrdiff_t row, ptrdiff_t col, size_t rows, size_t k,
                             const real *from) {
  enum { WIDE = SMC_SQUARE_MAX + 4 };
  real square[SMC_V(lanes)][WIDE];
  const size_t quads = (k + 3) / 4;
  for (size_t q = 0; q < quads; ++q) {
    vec c[4];
    SMC_UNROLL for (int j = 0; j < 4; ++j) c[j] = v_load(from + (4 * q + (size_t)j) * W);
    v_store_quad((char *)&square[0][4 * q], sizeof square[0], c);
  }
  for (size_t r = 0; r < rows; ++r, p += row) store_elements(p, col, k, square[r]);
}

/* Whole vectors of rows that need no conversion go four classes at a time, the last four perhaps once
 * more. */
static void fill_across(smc_view from, size_t row, size_t rows, size_t begin, size_t classes,
                        real *to, size_t apart) {
  if (from.row == sizeof(elem)) {
    fill_columns(from, row, rows, begin, classes, to, apart);
    return;
  }
  for (size_t r = 0; r < rows; r += W, to += apart) {
    const char *p = element_at(from, row + r, begin);
    size_t left = rows - r < W ? rows - r : W;
    if (sizeof(elem) == sizeof(real) && from.col == sizeof(elem) && left == W && classes >= 4) {
      for (size_t c = 0; c < classes; c = c + 8 > classes && c + 4 < classes ? classes - 4 : c + 4) {
        vec v[4];
        v_load_quad(p + c * sizeof(elem), from.row, v);
        SMC_UNROLL for (int j = 0; j < 4; ++j) v_store(to + (c + (size_t)j) * W, v[j]);
      }
      continue;
    }
    for (size_t c = 0; c < classes; c += SMC_SQUARE_MAX) {
      size_t k = classes - c < SMC_SQUARE_MAX ? classes - c : SMC_SQUARE_MAX;
      fill_transposed(p + (ptrdiff_t)c * from.col, from.row, from.col, left, k, to + c * W);
    }
  }
}

static void spill_across(smc_view to, size_t row, size_t rows, size_t begin, size_t classes,
                         const real *from, size_t apart, int stream) {
  if (to.row == sizeof(elem)) {
    spill_columns(to, row, rows, begin, classes, from, apart, stream);
    return;
  }
  for (size_t r = 0; r < rows; r += W, from += apart) {
    char *p = element_at(to, row + r, begin);
    size_t left = rows - r < W ? rows - r : W;
    if (sizeof(elem) == sizeof(real) && to.col == sizeof(elem) && left == W && classes >= 4) {
      for (size_t c = 0; c < classes; c = c + 8 > classes && c + 4 < classes ? classes - 4 : c + 4) {
        vec v[4];
        SMC_UNROLL for (int j = 0; j < 4; ++j) v[j] = v_load(from + (c + (size_t)j) * W);
        v_store_quad(p + c * sizeof(elem), to.row, v);
      }
      continue;
    }
    for (size_t c = 0; c < classes; c += SMC_SQUARE_MAX) {
      size_t k = classes - c < SMC_SQUARE_MAX ? classes - c : SMC_SQUARE_MAX;
      spill_transposed(p + (ptrdiff_t)c * to.col, to.row, to.col, left, k, from + c * W);
    }
  }
}

static const storage SMC_STORAGE = {sizeof(elem), fill_along,   fill_across, spill_along,
                                           spill_across, get_elements, put_elements};
