/* From an operation on one tile to an operation on n rows: choosing the layout, walking the tiles.
 * Included once for each type stored (SMC_D).
 */

#define view_operand SMC_K(view_operand)
#define pack SMC_K(pack)
#define unpack SMC_K(unpack)
#define packed_tiles SMC_K(packed_tiles)
#define prefetch_rows SMC_K(prefetch_rows)
#define for_tiles SMC_K(for_tiles)

#ifndef SMC_ROWS_CONSTANTS
#define SMC_ROWS_CONSTANTS
enum { SMC_MAX_OPERANDS = 4 };
enum {
  SMC_LINE = 64,
  SMC_PREFETCH_MAX = 2048
}; /* bytes: of a cache line, of a row worth fetching */

/* An operand of for_tiles: its elements in a row (k, or 1 for one value per row). */
typedef struct {
  smc_view view;
  size_t k;
} argument;

/* The instances of a tile function, whose last parameter is the layout. */
#define SMC_LAYOUTS(name, call)                                                                    \
  static void SMC_K(name##_along)(tile t, const operand *o, const void *extra) {                   \
    call(t, o, extra, SMC_ALONG);                                                                  \
  }                                                                                                \
  static void SMC_K(name##_abreast)(tile t, const operand *o, const void *extra) {                 \
    call(t, o, extra, SMC_ABREAST);                                                                \
  }                                                                                                \
  static void SMC_K(name##_across)(tile t, const operand *o, const void *extra) {                  \
    call(t, o, extra, SMC_ACROSS);                                                                 \
  }                                                                                                \
  static void SMC_K(name##_narrow)(tile t, const operand *o, const void *extra) {                  \
    call(t, o, extra, SMC_NARROW);                                                                 \
  }                                                                                                \
  static const layouts SMC_K(name) = {SMC_K(name##_along), SMC_K(name##_abreast),                  \
                                      SMC_K(name##_across), SMC_K(name##_narrow)}
#endif

SMC_INLINE operand view_operand(const smc_view v, size_t row) {
  return (operand){(char *)v.data + (ptrdiff_t)row * v.row, v.col, v.row};
}

/* Up to W rows to the lanes of buffer[0], buffer[strips], ...: W x W blocks by transposition in registers
 * or, if strided, one element after the other.  The last block may write W - 1 vectors too many. */
static void pack(const argument *o, size_t row, size_t rows, vec *buffer, size_t strips) {
  const char *p = (const char *)o->view.data + (ptrdiff_t)row * o->view.row;
  const ptrdiff_t step = o->view.row;
  if (o->view.col != sizeof(elem) || o->k == 1) {
    for (size_t c = 0; c < o->k; ++c, p += o->view.col) {
      buffer[c * strips] = load_strided(p, step, rows, v_set1(0));
    }
    return;
  }
  for (size_t c = 0; c < o->k; c += W, p += W * sizeof(elem)) {
    size_t n = o->k - c < W ? o->k - c : W;
    vec block[SMC_V(lanes)];
    if (rows == W && n == W) {
      SMC_UNROLL for (size_t l = 0; l < W; ++l) block[l] = SMC_K(load)(p + (ptrdiff_t)l * step);
    } else {
      SMC_UNROLL for (size_t l = 0; l < W; ++l) {
        block[l] = SMC_K(load_n)(p + (ptrdiff_t)l * step, l < rows ? n : 0, v_set1(0));
      }
    }
    v_transpose(block);
    SMC_UNROLL for (size_t j = 0; j < W; ++j) buffer[(c + j) * strips] = block[j];
  }
}

static void unpack(const argument *o, size_t row, size_t rows, const vec *buffer, size_t strips) {
  char *p = (char *)o->view.data + (ptrdiff_t)row * o->view.row;
  const ptrdiff_t step = o->view.row;
  if (o->view.col != sizeof(elem) || o->k == 1) {
    for (size_t c = 0; c < o->k; ++c, p += o->view.col) {
      store_strided(p, step, buffer[c * strips], rows);
    }
    return;
  }
  for (size_t c = 0; c < o->k; c += W, p += W * sizeof(elem)) {
    size_t n = o->k - c < W ? o->k - c : W;
    vec block[SMC_V(lanes)];
    SMC_UNROLL for (size_t j = 0; j < W; ++j) block[j] = buffer[(c + j) * strips];
    v_transpose(block);
    if (rows == W && n == W) {
      SMC_UNROLL for (size_t l = 0; l < W; ++l) SMC_K(store)(p + (ptrdiff_t)l * step, block[l]);
    } else {
      for (size_t l = 0; l < rows; ++l) SMC_K(store_n)(p + (ptrdiff_t)l * step, block[l], n);
    }
  }
}

/* Rows packed into buffers of the type computed in, whose tile functions serve, whatever the type
 * stored: a group of strips side by side, as in ACROSS, while there are rows and room for it, and then
 * strip by strip. */
static void packed_tiles(const layouts functions, const argument *o, int count, int inputs,
                         size_t n, size_t k, const void *extra) {
  enum { ROOM = SMC_GROUP * (SMC_PACKED_MAX / 2 + SMC_V(lanes) - 1) };
  vec buffer[SMC_MAX_OPERANDS][ROOM];
  operand packed[SMC_MAX_OPERANDS];
  for (size_t row = 0, rows; row < n; row += rows) {
    const int wide = n - row >= SMC_GROUP * W && k <= SMC_PACKED_MAX / 2;
    const size_t strips = wide ? SMC_GROUP : 1;
    rows = n - row < strips * W ? n - row : strips * W;
    for (int i = 0; i < count; ++i) {
      char *p = o[i].view.data ? (char *)buffer[i] : NULL;
      packed[i] = (operand){p, (ptrdiff_t)(strips * sizeof(vec)), sizeof(real)};
      for (size_t u = 0; p && i < inputs && u < strips; ++u) {
        pack(&o[i], row + u * W, wide ? W : rows, buffer[i] + u, strips);
      }
    }
    functions[wide ? SMC_ACROSS : SMC_NARROW]((tile){k, rows, row, 0, 1}, packed, extra);
    for (int i = inputs; i < count; ++i) {
      for (size_t u = 0; packed[i].p && u < strips; ++u) {
        unpack(&o[i], row + u * W, wide ? W : rows, buffer[i] + u, strips);
      }
    }
  }
}

/* Rows abreast are read in turns, a pattern in which processors see no stream to fetch ahead: (12288, 128)
 * of float32, half in the third-level cache, took twice as long without this. */
static void prefetch_rows(const argument *o, int count, size_t row, size_t rows) {
  for (int i = 0; i < count; ++i) {
    if (!o[i].view.data) continue;
    for (size_t r = row; r < row + rows; ++r) {
      const char *p = view_operand(o[i].view, r).p;
      for (size_t b = 0; b < o[i].k * sizeof(elem); b += SMC_LINE) SMC_PREFETCH(p + b);
    }
  }
}

/* The first `inputs` of the operands are read, the others written; one without data takes no part.
 * `packed` work on packed rows. */
static void for_tiles(const layouts functions, const layouts packed, const argument *o, int count,
                      int inputs, size_t n, size_t k, const void *extra) {
  int side_by_side = 1, dense = 1;
  for (int i = 0; i < count; ++i) {
    if (!o[i].view.data) continue;
    side_by_side &= o[i].view.row == sizeof(elem);
    dense &= o[i].view.col == sizeof(elem) || o[i].k == 1;
  }
  const int across = side_by_side && !dense;
  if (!across && k <= SMC_PACKED_MAX) {
    packed_tiles(packed, o, count, inputs, n, k, extra);
    return;
  }
  const int wide = across ? SMC_ACROSS : dense && k <= SMC_ABREAST_MAX ? SMC_ABREAST : SMC_ALONG;
  const size_t lanes = across ? W : 1, bytes = k * sizeof(elem);
  const int far = wide == SMC_ABREAST && bytes <= SMC_PREFETCH_MAX && n * bytes > SMC_KEEP_BYTES;
  operand part[SMC_MAX_OPERANDS];
  for (size_t row = 0, rows; row < n; row += rows) {
    size_t left = n - row;
    int layout = left >= SMC_GROUP * lanes ? wide : across ? SMC_NARROW : SMC_ALONG;
    rows = lanes * SMC_WIDTH(layout);
    if (rows > left) rows = left;
    for (int i = 0; i < count; ++i) {
      part[i] = o[i].view.data ? view_operand(o[i].view, row) : (operand){NULL, 0, 0};
    }
    if (far && left >= 2 * SMC_GROUP) prefetch_rows(o, count, row + SMC_GROUP, SMC_GROUP);
    functions[layout]((tile){k, rows, row, !dense, rows == lanes}, part, extra);
  }
}
