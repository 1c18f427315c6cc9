/* An operation, tile by tile, and its passes over the k-blocks and row parts of a tile. */
#ifndef SMC_RUN_H
#define SMC_RUN_H

#include "plan.h"
#include "prefetch.h"

/* Reserve the buffers of operands: each input has its own, outputs have that of operand 0.  (A
 * single row and lane blocks keep their exponentials in it.) */
SMC_INLINE void reserve_buffers(tile *t) {
  real *second = NULL;
  real *first = reserve(t, SMC_BUFFER_BYTES);
  if (is_staged(t) && t->op->inputs > 1 && t->call->operands[1].data)
    second = reserve(t, SMC_BUFFER_BYTES);
  for (int i = 0; i < t->op->panels; ++i) {
    t->buffer[i] = i == 1 && i < t->op->inputs ? second : first;
  }
}

/* A pass over a tile, or over one of the parts of a row, which is a tile then. */
typedef void part_pass(tile *t, size_t part, const void *args);

typedef struct {
  const tile *row;
  part_pass *pass;
  const void *args;
} parts_of_row;

static void do_parts(void *work, size_t begin, size_t end) {
  const parts_of_row *all = work;
  const smc_call *row = all->row->call;
  SMC_ALIGN(64) char workspace[SMC_PART_BYTES];
  vec maximum, place;
  for (size_t p = begin; p < end; ++p) {
    tile t = *all->row;
    smc_call part = *row;
    t.call = &part;
    t.before = p * t.plan.part;
    t.begin = (size_t)-1;
    t.maxima = &maximum, t.places = &place;
    t.free = workspace, t.end = workspace + sizeof workspace;
    reserve_buffers(&t);
    part.k = at_most(row->k - t.before, t.plan.part);
    for (int i = 0; i < t.op->panels; ++i) {
      smc_view *o = &part.operands[i];
      if (o->data) o->data = (char *)o->data + (ptrdiff_t)t.before * o->col;
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

/* Run a pass over all parts of the tile's rows, in any order. */
SMC_INLINE void for_parts(tile *t, part_pass *pass, const void *args) {
  if (t->plan.parts == 1) {
    pass(t, 0, args);
  } else {
    run_parts_in_parallel(t, pass, args);
  }
}

static SMC_OUTLINE void whole_rows_in_buffers(tile *t, part_pass *pass, const void *args) {
  SMC_ALIGN(64) char workspace[SMC_PART_BYTES];
  tile own = *t;
  own.free = workspace, own.end = workspace + sizeof workspace;
  own.begin = (size_t)-1;
  reserve_buffers(&own);
  pass(&own, 0, args);
}

/* Run a pass over rows in the order of their classes, whether they have parts or not.  (A tile of
 * parts has no buffers.) */
SMC_INLINE void for_whole_rows(tile *t, part_pass *pass, const void *args) {
  if (t->plan.parts > 1 && is_staged(t)) {
    whole_rows_in_buffers(t, pass, args);
  } else {
    pass(t, 0, args);
  }
}

/* A last pass: it writes the outputs of the k-block at hand. */
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

/* Run an operation tile by tile in a workspace. */
static void do_tiles(tile *t, tile_function *operation, char *workspace, size_t bytes) {
  const size_t n = t->call->n, rows = t->plan.panels * (is_across(t) ? W : 1);
  smc_call with_combiner = *t->call;
  smc_view *out = &with_combiner.operands[t->op->panels - 1];
  const smc_view y = *out;
  combiner *c = NULL;
  t->free = workspace, t->end = workspace + bytes;
  const int is_kept = is_single_row(t) || t->plan.layout == SMC_LANE_BLOCKS;
  if ((is_staged(t) && t->plan.parts == 1) || is_kept) reserve_buffers(t);
  if (!(is_columns(t) && is_across(t))) {
    t->maxima = reserve(t, t->plan.panels * sizeof(vec));
    t->places = reserve(t, t->plan.panels * sizeof(vec));
  }
  if (is_combined(t)) {
    c = reserve(t, sizeof *c);
    combiner_start(c, y.data);
    t->call = &with_combiner;
  }
  char *const free = t->free;
  for (t->row = 0; t->row < n && !t->stopped; t->row += t->rows) {
    const size_t most = t->row == 0 && t->plan.lead > 0 ? t->plan.lead : rows;
    t->rows = at_most(n - t->row, most);
    t->panels = is_across(t) ? (t->rows + W - 1) / W : t->rows;
    t->begin = (size_t)-1; /* none yet */
    t->free = free;
    if (t->plan.prefetch == SMC_TOUCH_TILE) touch_tile(t);
    if (is_combined(t)) *out = combiner_place(c, y, t->row);
    operation(t);
    if (is_combined(t)) combiner_flush(c, t->rows * (size_t)y.row, t->row + t->rows == n);
  }
  fence_results(t);
}

/* Each kind of tile has a workspace of its size: in buffers; where rows lie; in parts, whose
 * buffers are on the stack of whoever runs a part. */
static SMC_OUTLINE void tiles_in_buffers(tile *t, tile_function *operation) {
  SMC_ALIGN(64) char workspace[SMC_BUFFERED_BYTES];
  do_tiles(t, operation, workspace, sizeof workspace);
}

static SMC_OUTLINE void tiles_in_place(tile *t, tile_function *operation) {
  SMC_ALIGN(64) char workspace[SMC_IN_PLACE_BYTES];
  do_tiles(t, operation, workspace, sizeof workspace);
}

static SMC_OUTLINE void tiles_in_parts(tile *t, tile_function *operation) {
  SMC_ALIGN(64) char workspace[SMC_IN_PARTS_BYTES];
#ifdef SMC_TINY
  if (t->plan.parts > SMC_MAX_PARTS) abort();
#endif
  do_tiles(t, operation, workspace, sizeof workspace);
}

static void for_tiles(const smc_call *call, const traits *op, tile_function *operation) {
  tile t = {.call = call, .op = op, .plan = plan_of(call, op, smc_get_caches())};
  if (t.plan.parts > 1) {
    tiles_in_parts(&t, operation);
  } else if (is_staged(&t)) {
    tiles_in_buffers(&t, operation);
  } else {
    tiles_in_place(&t, operation);
  }
}

#endif
