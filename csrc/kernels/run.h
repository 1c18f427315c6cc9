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
  const smc_call *b = all->row->call;
  SMC_ALIGN(64) real buffers[2][SMC_STAGE];
  vec maximum, place;
  for (size_t p = begin; p < end; ++p) {
    tile t = *all->row;
    smc_call part = *b;
    t.call = &part;
    t.before = p * t.plan.part;
    t.begin = (size_t)-1;
    t.maxima = &maximum, t.places = &place;
    part.k = b->k - t.before < t.plan.part ? b->k - t.before : t.plan.part;
    for (int i = 0; i < t.op->panels; ++i) {
      smc_view *o = &part.operands[i];
      if (o->data) o->data = (char *)o->data + (ptrdiff_t)t.before * o->col;
      t.buffer[i] = buffers[i == 1 && i < t.op->inputs];
    }
    all->pass(&t, p, all->args);
  }
  fence_results(all->row);
}

static SMC_OUTLINE void run_parts_in_parallel(tile *t, part_pass *pass, const void *args) {
  const smc_parallel *parallel = t->call->parallel;
  parts_of_row all = {t, pass, args};
  if (parallel) {
    t->stopped |= parallel->over(parallel->context, t->plan.parts, do_parts, &all) != 0;
  } else {
    do_parts(&all, 0, t->plan.parts);
  }
}

/* All parts of the tile's rows, in any order. */
SMC_INLINE void for_parts(tile *t, part_pass *pass, const void *args) {
  if (t->plan.parts == 1) {
    pass(t, 0, args);
  } else {
    run_parts_in_parallel(t, pass, args);
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
  for (size_t begin = 0; begin < t->call->k; begin += t->plan.k_block) {
    enter_k_block(t, begin);
    of->pass(t, of->args);
    leave_k_block(t);
  }
}

static void for_results(tile *t, block_pass *pass, const void *args) {
  for_parts(t, results_of_part, &(results_of_blocks){pass, args});
}

/* The operation, tile by tile. */
static void for_tiles(const smc_call *call, const traits *op, tile_function *operation) {
  SMC_ALIGN(64) real buffers[2][SMC_STAGE];
  vec maxima[SMC_MAX_PANELS], places[SMC_MAX_PANELS];
  smc_call with_combiner = *call;
  tile t = {.call = &with_combiner,
            .op = op,
            .plan = plan_of(call, op, smc_get_caches()),
            .maxima = maxima,
            .places = places};
  const size_t rows = t.plan.panels * (is_across(&t) ? W : 1);
  smc_view *out = &with_combiner.operands[op->panels - 1];
  const smc_view y = *out;
  combiner c;
  for (int i = 0; i < op->panels; ++i) t.buffer[i] = buffers[i == 1 && i < op->inputs];
  if (is_combined(&t)) combiner_start(&c, y);
  for (t.row = 0; t.row < call->n && !t.stopped; t.row += t.rows) {
    const size_t most = t.row == 0 && t.plan.lead > 0 ? t.plan.lead : rows;
    t.rows = at_most(call->n - t.row, most);
    t.panels = is_across(&t) ? (t.rows + W - 1) / W : t.rows;
    t.begin = (size_t)-1; /* none yet */
    if (t.plan.prefetch == SMC_TOUCH_TILE) touch_tile(&t);
    if (is_combined(&t)) *out = combiner_place(&c, y, t.row);
    operation(&t);
    if (is_combined(&t)) combiner_flush(&c, t.rows * (size_t)y.row, t.row + t.rows == call->n);
  }
  fence_results(&t);
}

#endif
