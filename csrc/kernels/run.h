/* An operation, tile by tile, and its passes over the k-blocks and row parts of a tile. */
#ifndef SMC_RUN_H
#define SMC_RUN_H

#include "plan.h"
#include "prefetch.h"

/* A pass over a tile, or over one of the parts of a row, which is a tile then. */
typedef void part_pass(tile *t, size_t part, const void *args);

typedef struct {
  const tile *row;
  part_pass *pass;
  const void *args;
} parts_of_row;

static void do_parts(void *work, size_t begin, size_t end) {
  const parts_of_row *all = work;
  const batch *b = all->row->call;
  SMC_ALIGN(64) real buffers[2][SMC_STAGE];
  vec maximum, place;
  for (size_t p = begin; p < end; ++p) {
    tile t = *all->row;
    batch part = *b;
    t.call = &part;
    t.before = p * t.part_classes;
    t.begin = (size_t)-1;
    t.maxima = &maximum, t.places = &place;
    part.k = b->k - t.before < t.part_classes ? b->k - t.before : t.part_classes;
    for (int i = 0; i < b->count; ++i) {
      smc_view *o = &part.operands[i];
      if (o->data) o->data = (char *)o->data + (ptrdiff_t)t.before * o->col;
      t.buffer[i] = buffers[i == 1 && i < b->inputs];
    }
    all->pass(&t, p, all->args);
  }
  fence_results(all->row);
}

static SMC_OUTLINE void spread_parts(const tile *t, part_pass *pass, const void *args) {
  const smc_spread *spread = t->call->spread;
  parts_of_row all = {t, pass, args};
  if (spread) {
    spread->over(spread->context, t->parts, do_parts, &all);
  } else {
    do_parts(&all, 0, t->parts);
  }
}

/* All parts of the tile's rows, in any order. */
SMC_INLINE void for_parts(tile *t, part_pass *pass, const void *args) {
  if (t->parts == 1) {
    pass(t, 0, args);
  } else {
    spread_parts(t, pass, args);
  }
}

/* The last pass: the outputs of the block at hand. */
typedef void block_pass(tile *t, const void *args);

typedef struct {
  block_pass *pass;
  const void *args;
} results_of_blocks;

static void results_of_part(tile *t, size_t part, const void *all) {
  const results_of_blocks *of = all;
  (void)part;
  for (size_t begin = 0; begin < t->call->k; begin += t->k_block) {
    enter_k_block(t, begin);
    of->pass(t, of->args);
    leave_k_block(t);
  }
}

static void for_results(tile *t, block_pass *pass, const void *args) {
  for_parts(t, results_of_part, &(results_of_blocks){pass, args});
}

/* The operation, tile by tile. */
static void for_tiles(tile_function *operation, const batch *b, const void *args) {
  SMC_ALIGN(64) real buffers[2][SMC_STAGE];
  vec maxima[SMC_MAX_PANELS], places[SMC_MAX_PANELS];
  tile t = {.call = b, .maxima = maxima, .places = places};
  const size_t panels = plan_tiles(&t, b), rows = panels * (is_across(&t) ? W : 1);
  plan_parts(&t, b->k);
  t.past = are_nontemporal(&t, b);
  t.lane_rows = is_across(&t) || (panels > SMC_FEW_ROWS && b->n > SMC_FEW_ROWS) ? W : 1;
  for (int i = 0; i < b->count; ++i) t.buffer[i] = buffers[i == 1 && i < b->inputs];
  const size_t lead = rows_to_line(&t);
  const smc_view y = b->operands[b->count - 1];
  batch with_buffer = *b;
  combiner c;
  t.combines = combines(&t, b, rows);
  if (is_combined(&t)) {
    combiner_start(&c, y);
    t.call = &with_buffer;
  }
  for (t.row = 0; t.row < b->n; t.row += t.rows) {
    const size_t most = t.row == 0 && lead > 0 ? lead : rows;
    t.rows = b->n - t.row < most ? b->n - t.row : most;
    t.panels = is_across(&t) ? (t.rows + W - 1) / W : t.rows;
    t.begin = (size_t)-1; /* none yet */
    if (t.touches) touch_tile(&t);
    if (is_combined(&t)) with_buffer.operands[b->count - 1] = combiner_place(&c, y, t.row);
    operation(&t, args);
    if (is_combined(&t)) combiner_flush(&c, t.rows * (size_t)y.row, t.row + t.rows == b->n);
  }
  fence_results(&t);
}

#endif
