/* How n rows of k classes are cut into tiles, k-blocks and row parts, by their size and strides alone. */
#ifndef SMC_PLAN_H
#define SMC_PLAN_H

#include "tile.h"

/* Whether numbers so many bytes apart lie at nearly the same place of their pages, or half pages: in a few
 * sets of the first-level cache, where they drive out each other; and what is loaded then looks like what
 * was just stored somewhere else, for which the processor waits. */
SMC_INLINE int smc_is_pages_apart(ptrdiff_t bytes) {
  const size_t beyond = (size_t)bytes % (SMC_PAGE / 2);
  return beyond < SMC_LINE || beyond > SMC_PAGE / 2 - SMC_LINE;
}

/* Where part of a vector is loaded as fast as all of it, light passes do not pack rows; these are so short that they
 * need no compensated sums either.  (Where it is not stored as fast, for the types computed in alone.) */
SMC_INLINE int is_short(size_t k, size_t size) {
  const int in_parts = SMC_FAST_MASKS || (SMC_FAST_MASKED_LOADS && size == sizeof(real));
  return in_parts && k <= SMC_SHORT_VECTORS * W;
}

/* Rows of a few vectors, too long to be packed, are worked on W at a time for softmax, if vectors are long: so few
 * vectors, that their sums are of one accumulator, and not of pairs. */
SMC_INLINE int are_few_vectors(size_t k) {
  return W >= SMC_MANY_LANES && k > SMC_PACKED_MAX && k <= SMC_UNPAIRED_MAX &&
         k <= SMC_SUM_STEPS * W;
}

/* Whether rows are so short that their products are sums over all pairs of classes, wherever they lie: a rotation and
 * its term for each class but one, of as many rows as a vector holds, take less than to find a peak. */
SMC_INLINE int are_paired(size_t k) {
  return SMC_FAST_MASKS && k >= 2 && k <= W && k - 1 <= SMC_PAIRED_TERMS * (W / k);
}

/* Whether the rows of a packed panel are read a quarter of a line at a time from so many lines that it
 * looks like no stream. */
SMC_INLINE int are_scattered(const batch *b) {
  return b->k * sizeof(elem) * sizeof(vec) > SMC_LINE * SMC_LINE;
}

/* Whether columns whole pages apart are better copied: unless all passes go through them jammed, and they fit the
 * first-level cache or are taken a block at a time; or products do, of more than a few classes. */
SMC_INLINE int are_copied(const batch *b) {
  if (b->light) return b->k <= SMC_SUM_STEPS;
  const int jam = b->prefetches && b->count < SMC_MAX_OPERANDS;
  return !jam || (b->k > SMC_SET_LINES && b->k <= SMC_SUM_STEPS);
}

/* Whether passes that compute little, as results are stored once or there are none, would wait for a cache beyond the
 * second: of long rows, where the stream is worth looking up. */
SMC_INLINE int waits_for_lines(const batch *b, size_t operands) {
  const size_t row = operands * b->k * sizeof(elem);
  return b->once && row >= SMC_LONG_BYTES && b->n * row > 2 * SMC_KEEP_BYTES;
}

/* Classes of columns in memory that a pass takes at a time, so that it finds the rest of a line again; or, where
 * lines are whole pages apart, all that the next pass finds.  (Online it looks for none in the first-level cache.) */
SMC_INLINE size_t column_block(const tile *t, size_t operands) {
  const batch *b = t->call;
  const ptrdiff_t apart = b->operands[0].col;
  const int in_few_sets = smc_is_pages_apart(apart) && !t->online;
  const size_t sets = apart % SMC_PAGE ? 2 : 1;
  if (b->k <= SMC_SUM_STEPS) return b->k;
  const size_t lines = in_few_sets ? sets * SMC_SET_LINES : SMC_COLUMN_LINES;
  return lines / operands / SMC_UNROLL * SMC_UNROLL;
}

/* Of a tile of columns in memory: as many as stay in the second-level cache, but a strip no narrower than the
 * processor reads well.  If not even a few lines of each class do, and they come from memory, it is as wide as can
 * be; and worked on online, where to compute exponentials once more takes less time than to fetch them: sooner where
 * no cache holds the whole, or lines are pages apart.  (Of the whole array, by what lies between two classes: a result
 * does not depend on how many of the columns come together.)  While one strip is computed with, the next is fetched,
 * or if it is wide, the next block; but not lines whole pages apart, which drive out each other before their time. */
static size_t column_panels(tile *t, size_t operands) {
  const batch *b = t->call;
  const ptrdiff_t apart = b->operands[0].col;
  const size_t all = operands * b->k * (size_t)(apart < 0 ? -apart : apart);
  const int pages_apart = smc_is_pages_apart(apart);
  const size_t near = SMC_KEEP_BYTES / (operands * b->k); /* bytes of each class that stay */
  const size_t strip = pages_apart ? near : SMC_L2_BYTES / (operands * b->k);
  const size_t panels = (strip > SMC_STRIP_BYTES ? strip : SMC_STRIP_BYTES) / sizeof(vec);
  const size_t few = pages_apart                 ? 8 * SMC_FEW_LINES_BYTES
                     : all > 4 * SMC_CACHE_BYTES ? 2 * SMC_FEW_LINES_BYTES
                                                 : SMC_FEW_LINES_BYTES;
  const int is_wide = all > SMC_CACHE_BYTES / 2 && near < few;
  /* Half of what is far elsewhere, as the planes of an array come one by one. */
  const int is_far = operands * b->n * b->k * sizeof(real) > SMC_CACHE_BYTES / 4;
  t->online =
      is_wide && sizeof(vec) >= SMC_LINE / 2 && all > SMC_CACHE_BYTES * (SMC_LINE / sizeof(vec));
  t->streams = is_far && apart > 0 && (t->online || !(is_wide || pages_apart));
  return is_wide || panels > SMC_MAX_PANELS ? SMC_MAX_PANELS : panels;
}

/* Of a tile of packed rows that do not stay in the second-level cache. */
SMC_INLINE size_t far_panels(const tile *t, size_t panels) {
  const size_t panel_bytes = t->k_block * W * sizeof(elem);
  const size_t most = t->streams   ? SMC_FAR_BYTES / panel_bytes
                      : t->touches ? SMC_TOUCHED_BYTES / panel_bytes
                                   : SMC_FAR_PANELS;
  return panels < most ? panels : most;
}

/* How the rows are cut into tiles and blocks; the panels of a whole tile. */
static size_t plan_tiles(tile *t, const batch *b) {
  const ptrdiff_t size = (ptrdiff_t)sizeof(elem);
  const size_t room = SMC_STAGE_BYTES / sizeof(real), bytes = b->n * b->k * sizeof(elem);
  size_t operands = 0, packed = b->light ? SMC_PACKED_LIGHT_BYTES / sizeof(real) : SMC_PACKED_MAX;
  if (b->along) packed = 0;
  int side_by_side = 1, whole_rows = 1;
  for (int i = 0; i < b->count; ++i) {
    if (!b->operands[i].data) continue;
    ++operands;
    side_by_side &= b->operands[i].row == size;
    whole_rows &= b->operands[i].col == size;
  }
  t->k_block = b->k;
  const int is_far = operands * bytes > SMC_CACHE_BYTES / 2; /* others use it, too */
  /* A group, and what is kept of it. */
  const int is_near = !is_far || W * b->k * sizeof(real) < SMC_L1_BYTES / 2;
  t->lane_blocks = b->lane_blocks && whole_rows && size == sizeof(real) && is_near;
  t->single_row =
      W > 1 && b->single_row && b->n == 1 && b->k <= packed && whole_rows && size == sizeof(real);
  if (is_single_row(t)) return 1;
  const int columns = side_by_side && !whole_rows;
  if (columns) packed = room / (SMC_COPIED_PANELS * W);
  const int copied = W > 1 && columns && smc_is_pages_apart(b->operands[0].col) &&
                     b->k >= SMC_COPIED_MIN && b->k <= packed && are_copied(b);
  t->far = is_far;
  t->across = columns || (W > 1 && b->k <= packed);
  t->staged = size != sizeof(real) || copied || !(columns || (whole_rows && !is_across(t)));
  size_t panels;
  if (W > 1 && is_columns(t) && b->light) { /* products: jammed; or of few, some steps at a time */
    const size_t block = SMC_SUM_STEPS * (b->n < SMC_UNROLL * W ? SMC_UNROLL : 1);
    if (b->k > block) t->k_block = block;
    return SMC_MAX_PANELS;
  }
  if (is_columns(t)) {
    panels = column_panels(t, operands);
    t->k_block = column_block(t, operands);
    return panels;
  }
  if (is_across(t)) {
    if (b->k > packed) t->k_block = room / (SMC_MAX_ROWS * W);
    panels = room / (t->k_block * W);
    t->streams = is_far && b->prefetches && whole_rows && t->k_block == b->k &&
                 b->operands[0].row == (ptrdiff_t)b->k * size;
    t->touches = columns ? bytes > SMC_CACHE_BYTES : is_far && are_scattered(b) && !t->streams;
    if (!columns && bytes > SMC_KEEP_BYTES) panels = far_panels(t, panels);
  } else if (is_staged(t)) {
    if (b->k > room) t->k_block = room;
    panels = room / t->k_block;
  } else {
    const size_t row = b->k * sizeof(real);
    const int many = sizeof(vec) == SMC_LINE && b->once && operands * row <= SMC_MANY_BYTES;
    const size_t far = !b->prefetches ? SMC_FAR_BYTES : many ? SMC_L2_BYTES : SMC_AHEAD_BYTES;
    const size_t near = is_far ? far : b->light ? SMC_L1_BYTES : SMC_L2_BYTES;
    if (row > SMC_KEEP_BYTES) t->k_block = SMC_BLOCK_BYTES / sizeof(real);
    panels = t->lane_blocks ? W : near / (operands * row);
  }
  t->online = t->k_block < b->k;
  const int fetched = is_far || waits_for_lines(b, operands);
  if (!is_across(t)) t->streams = fetched && b->prefetches && whole_rows;
  if (t->online && !is_across(t)) return 1;
  return panels < 1 ? 1 : panels > SMC_MAX_ROWS ? SMC_MAX_ROWS : panels;
}

/* Whether results replace no input, as otherwise their lines are there when they are stored. */
static int are_apart(const batch *b) {
  const void *out = b->operands[b->count - 1].data;
  int apart = out != NULL;
  for (int i = 0; i < b->inputs; ++i) apart &= b->operands[i].data != out;
  return apart;
}

/* Whether results are stored non-temporally: a line that is stored whole need not be fetched before. */
static int are_nontemporal(const tile *t, const batch *b) {
  const size_t row = b->k * sizeof(real);
  const int filled = is_across(t) ? sizeof(vec) == SMC_LINE : row >= SMC_MANY * sizeof(vec);
  return SMC_NONTEMPORAL && (b->once || t->online) && !is_staged(t) && filled &&
         b->n * row > SMC_NONTEMPORAL_BYTES && are_apart(b);
}

/* Whether a tile's results are collected: those that passes read again, for others are stored non-temporally as they
 * come, where rows are long; and not of a few lines, which are none the faster for it. */
SMC_INLINE int combines(const tile *t, const batch *b, size_t rows) {
  const size_t size = sizeof(elem);
  return b->prefetches && !b->once && !t->online && !is_staged(t) && !is_across(t) &&
         b->k * size > SMC_FEW_LINES_BYTES + SMC_LINE && are_apart(b) &&
         are_combined(b->operands[b->count - 1], size, b->n, b->k, rows);
}

/* Into how many parts a row is cut. */
static void plan_parts(tile *t, size_t k) {
  const size_t parts = t->online && !is_across(t) ? k / SMC_PART : 1;
  t->part_classes = k, t->parts = 1;
  if (parts < 2) return;
  const size_t least = parts < SMC_MAX_PARTS ? SMC_PART : k / SMC_MAX_PARTS + 1;
  t->part_classes = (least + t->k_block - 1) / t->k_block * t->k_block;
  t->parts = (k + t->part_classes - 1) / t->part_classes;
}

/* Rows before the first whose numbers of each class start a cache line: where lines are as far apart as
 * columns, panels that start there, too, are read and written a line at a time. */
static size_t rows_to_line(const tile *t) {
  const batch *b = t->call;
  size_t beyond = 0;
  if (is_staged(t) || !is_across(t)) return 0;
  for (int i = 0; i < b->count; ++i) {
    if (!b->operands[i].data) continue;
    if (b->operands[i].col % SMC_LINE != 0) return 0;
    beyond = (uintptr_t)b->operands[i].data % SMC_LINE; /* of the last, which is written */
  }
  return (SMC_LINE - beyond) % SMC_LINE / sizeof(real) % W;
}

#endif
