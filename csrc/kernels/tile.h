/* From an operation on n rows to passes over dense arrays of the type computed in.
 *
 * A *strand* is such an array: either one row, ALONG which the lanes run, so that a reduction ends
 * across the lanes; or W rows, one to a lane (ACROSS), where it does not.  Short rows are packed
 * ACROSS, for no lane is idle then and no reduction across lanes needed, on which they would spend
 * their time; so are rows that lie side by side in memory (an axis other than the last).
 *
 * A *tile* is as many strands as stay near between passes.  Its passes take one strand after the
 * other, so that the processor goes on with the next while a reduction waits for its latency.
 *
 * Rows of the type computed in, dense and not short, are strands where they lie.  All else is *staged*:
 * copied to a buffer on the stack, converted and in order, and back.  A long row is taken a *block* of
 * classes at a time.
 *
 * Whether lanes run along a row or across rows, and where blocks end, depends on the length and the
 * strides of a row alone, never on its place in the batch; so the bits of its result do not.
 * Included once for each type computed in (SMC_T).
 */

#define storage SMC_V(storage)
#define batch SMC_V(batch)
#define tile SMC_V(tile)
#define tile_function SMC_V(tile_function)
#define strand SMC_V(strand)
#define strand_rows SMC_V(strand_rows)
#define enter_block SMC_V(enter_block)
#define leave_block SMC_V(leave_block)
#define is_single_block SMC_V(is_single_block)
#define reduce_max SMC_V(reduce_max)
#define reduce_sum SMC_V(reduce_sum)
#define store_by_row SMC_V(store_by_row)
#define plan_tiles SMC_V(plan_tiles)
#define for_tiles SMC_V(for_tiles)

#ifndef SMC_TILE_CONSTANTS
#define SMC_TILE_CONSTANTS
enum { SMC_MAX_OPERANDS = 3 };    /* with an element for each class */
enum { SMC_MAX_STRANDS = 16 };    /* in a tile */
enum { SMC_PACKED_MAX = 128 };    /* the longest row worth packing */
enum { SMC_NEAR_BYTES = 24576 };  /* that stay in the first-level cache from pass to pass */
enum { SMC_KEEP_BYTES = 1 << 19 }; /* that stay in the second-level cache */
enum { SMC_STAGE_BYTES = 16384 }; /* of the buffer of one operand */
enum { SMC_STREAM_BYTES = 1 << 25 }; /* of output that go past the caches */

/* n rows of k classes, in memory: the first `inputs` operands are read, the others written; one without
 * data takes no part.  An output may be the very memory of an input, and is staged in the buffer of
 * operand 0. */
#define SMC_BATCH(storage_)                                                                        \
  const storage_ *as;                                                                              \
  smc_view operands[SMC_MAX_OPERANDS];                                                             \
  int count, inputs;                                                                               \
  size_t n, k
#endif

/* How elements of a stored type get into a strand, and back (storage.h).  Rows `row` to `row + rows`,
 * classes `begin` to `begin + classes`; strands lie `apart` numbers from each other. */
typedef struct {
  size_t size; /* of an element, in bytes */
  void (*fill_along)(smc_view from, size_t row, size_t rows, size_t begin, size_t classes, real *to,
                     size_t apart);
  void (*fill_across)(smc_view from, size_t row, size_t rows, size_t begin, size_t classes, real *to,
                      size_t apart);
  void (*spill_along)(smc_view to, size_t row, size_t rows, size_t begin, size_t classes,
                      const real *from, size_t apart, int stream);
  void (*spill_across)(smc_view to, size_t row, size_t rows, size_t begin, size_t classes,
                       const real *from, size_t apart, int stream);
  /* n elements, `step` bytes apart */
  void (*get)(const char *p, ptrdiff_t step, size_t n, real *to);
  void (*put)(char *p, ptrdiff_t step, size_t n, const real *from);
} storage;

typedef struct {
  SMC_BATCH(storage);
} batch;

typedef struct {
  const batch *of;
  int across, staged, stream;
  size_t block;            /* classes in all blocks but the last */
  size_t row, rows;        /* of this tile */
  size_t strands;          /* rows, or vectors of W rows */
  size_t begin, classes;   /* of the block at hand */
  size_t length;           /* of its strands: classes, times W across */
  real *at[SMC_MAX_OPERANDS];
  ptrdiff_t apart[SMC_MAX_OPERANDS]; /* bytes from one strand to the next */
  real *buffer[SMC_MAX_OPERANDS];
} tile;

typedef void tile_function(tile *t, const void *how);

SMC_INLINE real *strand(const tile *t, int operand, size_t u) {
  return (real *)((char *)t->at[operand] + (ptrdiff_t)u * t->apart[operand]);
}

/* Rows in strand u, and the first of them. */
SMC_INLINE size_t strand_rows(const tile *t, size_t u, size_t *first) {
  *first = t->row + (t->across ? u * W : u);
  size_t left = t->row + t->rows - *first;
  return !t->across ? 1 : left < W ? left : W;
}

SMC_INLINE int is_single_block(const tile *t) { return t->block == t->of->k; }

/* The block that begins with that class: its inputs are in the strands. */
static void enter_block(tile *t, size_t begin) {
  const batch *b = t->of;
  if (t->begin == begin) return;
  t->begin = begin;
  t->classes = b->k - begin < t->block ? b->k - begin : t->block;
  t->length = t->across ? t->classes * W : t->classes;
  for (int i = 0; i < b->count; ++i) {
    const smc_view *o = &b->operands[i];
    if (!o->data) continue;
    if (!t->staged) {
      t->at[i] = (real *)((char *)o->data + (ptrdiff_t)t->row * o->row) + begin;
      t->apart[i] = o->row;
      continue;
    }
    const size_t apart = t->block * (t->across ? W : 1);
    t->at[i] = t->buffer[i];
    t->apart[i] = (ptrdiff_t)(apart * sizeof(real));
    if (i < b->inputs) {
      (t->across ? b->as->fill_across : b->as->fill_along)(*o, t->row, t->rows, begin, t->classes,
                                                           t->at[i], apart);
    }
  }
}

/* Its outputs are in memory. */
static void leave_block(tile *t) {
  const batch *b = t->of;
  for (int i = b->inputs; t->staged && i < b->count; ++i) {
    if (!b->operands[i].data) continue;
    (t->across ? b->as->spill_across : b->as->spill_along)(
        b->operands[i], t->row, t->rows, t->begin, t->classes, t->at[i],
        (size_t)t->apart[i] / sizeof(real), t->stream);
  }
}

/* From lanes along a row to the row's value, in every lane. */
SMC_INLINE vec reduce_max(const tile *t, vec m) {
  if (t->across) return m;
  SMC_UNROLL for (size_t d = W / 2; d; d /= 2) m = v_max(m, v_xor_lanes(m, (int)d));
  return m;
}

SMC_INLINE pair reduce_sum(const tile *t, pair s) {
  if (!t->across) {
    SMC_UNROLL for (size_t d = W / 2; d; d /= 2) {
      pair other = {v_xor_lanes(s.hi, (int)d), v_xor_lanes(s.lo, (int)d)};
      s = pair_add(s, other);
    }
  }
  return normalized(s);
}

/* One value for each row of strand u, which hold it in their lanes (in all of them, along). */
SMC_INLINE void store_by_row(const tile *t, size_t u, vec value,
                             void (*put)(char *, ptrdiff_t, size_t, const real *), void *to,
                             ptrdiff_t step) {
  real lane[SMC_V(lanes)];
  size_t first, rows = strand_rows(t, u, &first);
  v_store(lane, value);
  put((char *)to + (ptrdiff_t)first * step, step, rows, lane);
}

/* How the rows are cut into tiles and blocks; the strands of a whole tile. */
static size_t plan_tiles(tile *t, const batch *b) {
  const ptrdiff_t size = (ptrdiff_t)b->as->size;
  const size_t room = SMC_STAGE_BYTES / sizeof(real);
  int side_by_side = 1, dense = 1, operands = 0;
  for (int i = 0; i < b->count; ++i) {
    if (!b->operands[i].data) continue;
    ++operands;
    side_by_side &= b->operands[i].row == size;
    dense &= b->operands[i].col == size;
  }
  t->across = W > 1 && ((side_by_side && !dense) || b->k <= SMC_PACKED_MAX);
  t->staged = t->across || !dense || size != sizeof(real);
  t->stream = b->count > b->inputs && b->n * b->k * b->as->size >= SMC_STREAM_BYTES;
  t->block = b->k;
  size_t strands;
  if (t->across) {
    if (b->k > SMC_PACKED_MAX) t->block = room / (SMC_MAX_STRANDS * W);
    strands = room / (t->block * W);
  } else if (t->staged) {
    if (b->k > room) t->block = room;
    strands = room / t->block;
  } else {
    const size_t bytes = b->k * sizeof(real);
    if (bytes > SMC_KEEP_BYTES) t->block = room;
    strands = SMC_NEAR_BYTES / ((size_t)operands * bytes);
  }
  if (t->block < b->k && !t->across) strands = 1;
  return strands < 1 ? 1 : strands > SMC_MAX_STRANDS ? SMC_MAX_STRANDS : strands;
}

/* The operation, tile by tile. */
static void for_tiles(tile_function *operation, const batch *b, const void *how) {
  enum { ROOM = SMC_STAGE_BYTES / sizeof(real) + 4 * SMC_V(lanes) };
  SMC_ALIGN(64) real buffers[2][ROOM];
  tile t = {.of = b};
  const size_t strands = plan_tiles(&t, b), rows = strands * (t.across ? W : 1);
  for (int i = 0; i < b->count; ++i) t.buffer[i] = buffers[i == 1 && i < b->inputs];
  for (t.row = 0; t.row < b->n; t.row += t.rows) {
    t.rows = b->n - t.row < rows ? b->n - t.row : rows;
    t.strands = t.across ? (t.rows + W - 1) / W : t.rows;
    t.begin = (size_t)-1; /* none yet */
    operation(&t, how);
  }
#ifdef SMC_STREAMS
  if (t.stream) SMC_STREAMS;
#endif
}
