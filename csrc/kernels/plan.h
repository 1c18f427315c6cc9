/* The plan of a call (smcore_plan.h): a pure function of its sizes, strides and addresses, of what
 * its operation is like, and of the machine's caches.
 *
 * What decides a bit of a result (the layout, the k-block, the row part, whether sums are online)
 * follows from the length and the strides of a row and from the constants of tuning.h; the caches
 * decide the rest. */
#ifndef SMC_PLAN_H
#define SMC_PLAN_H

#include "layout.h"
#include "stores.h"

/* ---- columns
 * -------------------------------------------------------------------------------------------- */

/* Classes of columns that a pass takes at a time, so that it finds the rest of a line again; or,
 * where lines are whole pages apart, all that the next pass finds.  (Online it looks for none in
 * the first-level cache.) */
SMC_INLINE size_t column_block(const shape *s, int online) {
  const ptrdiff_t apart = s->call->operands[0].col;
  const size_t sets = apart % SMC_PAGE ? 2 : 1;
  if (s->call->k <= SMC_SUM_STEPS) return s->call->k;
  const size_t lines = are_pages_apart(apart) && !online ? sets * SMC_SET_LINES : SMC_COLUMN_LINES;
  return lines / s->operands / SMC_UNROLL * SMC_UNROLL;
}

/* A tile has as many columns as stay in the second-level cache, but is a strip no narrower than the
 * processor reads well.  If not even a few lines of each class would stay, and they come from
 * memory, it is as wide as can be; and worked on online, where to compute exponentials once more
 * takes less time than to fetch them: sooner where no cache holds the whole, or lines are pages
 * apart.  (Of the whole array, by what lies between two classes: a result does not depend on how
 * many of the columns come together.)  While one strip is computed with, the next is prefetched, or
 * if it is wide, the next k-block; but not lines whole pages apart, which drive out each other
 * before their time. */
static void plan_columns(smc_plan *p, const shape *s) {
  const ptrdiff_t apart = s->call->operands[0].col;
  const size_t stream = s->operands * s->call->k; /* elements side by side of one class */
  const size_t all = stream * (size_t)(apart < 0 ? -apart : apart);
  const int pages_apart = are_pages_apart(apart);
  const size_t stays = SMC_KEEP_BYTES / stream; /* bytes of each class */
  const size_t few = pages_apart                 ? 8 * SMC_FEW_LINES_BYTES
                     : all > 4 * SMC_CACHE_BYTES ? 2 * SMC_FEW_LINES_BYTES
                                                 : SMC_FEW_LINES_BYTES;
  const int is_wide = all > SMC_CACHE_BYTES / 2 && stays < few;
  p->online =
      is_wide && sizeof(vec) >= SMC_LINE / 2 && all > SMC_CACHE_BYTES * (SMC_LINE / sizeof(vec));
  p->k_block = column_block(s, p->online);
  const size_t near = pages_apart ? kept_bytes(s->caches) : near_l2_bytes(s->caches);
  const size_t strip = near / stream > SMC_STRIP_BYTES ? near / stream : SMC_STRIP_BYTES;
  p->panels = is_wide ? SMC_MAX_PANELS : strip / sizeof(vec);
  if (p->panels > SMC_MAX_PANELS) p->panels = SMC_MAX_PANELS;
  /* Half of what is far elsewhere, as the planes of an array come one by one. */
  const int is_far = stream * s->call->n * sizeof(real) > far_bytes(s->caches) / 2;
  if (W == 1 || !is_far || apart < 0) return;
  if (p->online) {
    p->prefetch = SMC_PREFETCH_BLOCK;
  } else if (!is_wide && !pages_apart) {
    p->prefetch = SMC_PREFETCH_TILE;
  }
}

/* Products go jammed through a class of all columns before the next; or of few columns, some steps
 * of the sums at a time. */
static void plan_product_columns(smc_plan *p, const shape *s) {
  const size_t block = SMC_SUM_STEPS * (s->call->n < SMC_UNROLL * W ? SMC_UNROLL : 1);
  if (s->call->k > block) p->k_block = block;
  p->panels = SMC_MAX_PANELS;
}

/* ---- rows
 * -----------------------------------------------------------------------------------------------
 */

static size_t at_most(size_t a, size_t most) { return a < most ? a : most; }

/* Panels in buffers, across.  Packed rows from memory look like no stream if a panel is read a
 * quarter of a line at a time from many lines. */
static void plan_packed(smc_plan *p, const shape *s) {
  const smc_call *c = s->call;
  const size_t bytes = c->n * c->k * sizeof(elem), panel_bytes = c->k * W * sizeof(elem);
  const int columns = p->layout == SMC_COPIED_COLUMNS;
  const size_t whole = SMC_STAGE_NUMBERS / ((columns ? SMC_COPIED_PANELS : 1) * W);
  if (c->k > whole) p->k_block = SMC_STAGE_NUMBERS / (SMC_MAX_ROWS * W);
  p->online = p->k_block < c->k;
  p->panels = SMC_STAGE_NUMBERS / (p->k_block * W);
  const int gapless = s->are_dense && c->operands[0].row == (ptrdiff_t)(c->k * sizeof(elem));
  if (columns) {
    if (bytes > far_bytes(s->caches) * 2) p->prefetch = SMC_TOUCH_TILE;
    return;
  }
  if (s->is_far && s->op->prefetches && gapless) {
    p->prefetch = SMC_PREFETCH_TILE;
  } else if (s->is_far && panel_bytes * sizeof(real) > SMC_LINE * SMC_LINE) {
    p->prefetch = SMC_TOUCH_TILE;
  }
  if (bytes <= kept_bytes(s->caches)) return;
  const size_t most = p->prefetch == SMC_PREFETCH_TILE ? SMC_FAR_BYTES / panel_bytes
                      : p->prefetch == SMC_TOUCH_TILE  ? SMC_TOUCHED_BYTES / panel_bytes
                                                       : SMC_FAR_PANELS;
  p->panels = at_most(p->panels, most);
}

/* Panels in buffers, along. */
static void plan_staged(smc_plan *p, const shape *s) {
  p->k_block = at_most(s->call->k, SMC_STAGE_NUMBERS);
  p->panels = SMC_STAGE_NUMBERS / p->k_block;
}

/* Panels where they lie, along. */
static void plan_rows(smc_plan *p, const shape *s) {
  const int many = sizeof(vec) == SMC_LINE && s->op->once && s->row <= SMC_MANY_BYTES;
  const size_t far = !s->op->prefetches ? SMC_FAR_BYTES
                     : many             ? near_l2_bytes(s->caches)
                                        : SMC_AHEAD_BYTES;
  const size_t near = s->op->light ? near_l1_bytes(s->caches) : near_l2_bytes(s->caches);
  if (s->call->k * sizeof(real) > SMC_KEEP_BYTES) p->k_block = SMC_BLOCK_BYTES / sizeof(real);
  p->panels = p->layout == SMC_LANE_BLOCKS ? W : (s->is_far ? far : near) / s->row;
}

/* Online, or where rows come from memory; or where passes that compute little, as results are
 * stored once or there are none, would wait for a cache beyond the second: of long rows, where the
 * stream is worth looking up. */
static void plan_prefetch_along(smc_plan *p, const shape *s) {
  const int waits =
      s->op->once && s->row >= SMC_LONG_BYTES && s->call->n * s->row > 2 * kept_bytes(s->caches);
  p->online = p->k_block < s->call->k;
  if (W > 1 && (s->is_far || waits) && s->op->prefetches && s->are_dense) {
    p->prefetch = p->online ? SMC_PREFETCH_BLOCK : SMC_PREFETCH_TILE;
  }
}

/* A long row is cut into parts for threads. */
static void plan_parts(smc_plan *p, size_t k) {
  const size_t parts = k / SMC_PART;
  p->panels = 1;
  if (parts < 2) return;
  const size_t least = parts < SMC_MAX_PARTS ? SMC_PART : k / SMC_MAX_PARTS + 1;
  p->part = (least + p->k_block - 1) / p->k_block * p->k_block;
  p->parts = (k + p->part - 1) / p->part;
}

/* ---- stores
 * --------------------------------------------------------------------------------------------- */

/* Results that no cache will hold, and that replace no input, whose lines would be there when they
 * are stored: those stored once go to memory as they come, where they fill lines; those that passes
 * read again, by way of a write combiner, if they lie along and are longer than a few lines. */
static smc_stores stores_of(const smc_plan *p, const shape *s) {
  const smc_call *c = s->call;
  const smc_view *out = &c->operands[s->op->panels - 1];
  const int across = are_across(p->layout);
  int apart = s->op->panels > s->op->inputs && out->data != NULL;
  for (int i = 0; i < s->op->inputs; ++i) apart &= c->operands[i].data != out->data;
  if (!SMC_NONTEMPORAL || !apart || are_in_buffers(p->layout)) return SMC_CACHED;
  const size_t row = c->k * sizeof(real);
  const int fills = across ? sizeof(vec) == SMC_LINE : row >= SMC_MANY * sizeof(vec);
  if (s->op->once || p->online) {
    const int beyond = c->n * row > uncached_bytes(s->caches);
    return fills && beyond ? SMC_STORED_NONTEMPORAL : SMC_CACHED;
  }
  const int combines = s->op->prefetches && !across && row > SMC_FEW_LINES_BYTES + SMC_LINE &&
                       are_combined(*out, c->n, c->k, p->panels, s->caches);
  return combines ? SMC_COMBINED : SMC_CACHED;
}

/* Rows before the first whose results of each class start a line: where lines are as far apart as
 * columns, panels that start there, too, are read and written a line at a time. */
static size_t lead_of(const smc_plan *p, const shape *s) {
  size_t beyond = 0;
  if (W == 1 || p->layout != SMC_COLUMNS) return 0;
  for (int i = 0; i < s->op->panels; ++i) {
    const smc_view *o = &s->call->operands[i];
    if (!o->data) continue;
    if (o->col % SMC_LINE != 0) return 0;
    beyond = (uintptr_t)o->data % SMC_LINE; /* of the last, which is written */
  }
  return (SMC_LINE - beyond) % SMC_LINE / sizeof(real) % W;
}

static size_t within(size_t least, size_t a, size_t most) {
  return a < least ? least : at_most(a, most);
}

/* Panels whose values have room in the workspace: of columns a multiple of those that are jammed.
 */
static size_t most_panels(const smc_plan *p, const shape *s) {
  const int inputs = s->op->inputs > 1 && s->call->operands[1].data ? 2 : 1;
  const size_t buffers = (size_t)inputs * SMC_BUFFER_BYTES + 2 * SMC_MAX_ROWS * sizeof(vec);
  const size_t room = are_in_buffers(p->layout) ? SMC_BUFFERED_BYTES - buffers : SMC_IN_PLACE_BYTES;
  const size_t most = room / s->op->panel_bytes;
  return most < SMC_UNROLL ? most : most / SMC_UNROLL * SMC_UNROLL;
}

static smc_plan plan_of(const smc_call *call, const traits *op, const smc_caches *caches) {
  const shape s = shape_of(call, op, caches);
  smc_plan p = {.layout = layout_of(&s), .k_block = call->k, .part = call->k, .parts = 1};
  switch (p.layout) {
  case SMC_SINGLE_ROW: p.panels = p.lane_rows = 1; return p;
  case SMC_COLUMNS:
    if (W > 1 && op->light) {
      plan_product_columns(&p, &s);
    } else {
      plan_columns(&p, &s);
    }
    break;
  case SMC_COPIED_COLUMNS:
  case SMC_PACKED_ROWS:
    plan_packed(&p, &s);
    p.panels = within(1, p.panels, SMC_MAX_ROWS);
    break;
  default:
    if (p.layout == SMC_STAGED_ROWS) {
      plan_staged(&p, &s);
    } else {
      plan_rows(&p, &s);
    }
    p.panels = within(1, p.panels, SMC_MAX_ROWS);
    plan_prefetch_along(&p, &s);
    if (p.online) plan_parts(&p, call->k);
  }
  p.panels = at_most(p.panels, most_panels(&p, &s));
  p.stores = stores_of(&p, &s);
  p.lead = lead_of(&p, &s);
  const int are_few = p.panels <= SMC_FEW_ROWS || call->n <= SMC_FEW_ROWS;
  p.lane_rows = are_across(p.layout) || !are_few ? W : 1;
  return p;
}

#endif
