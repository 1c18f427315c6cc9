/* The plan of a call: how its rows are cut and laid out, where results are stored and what is
 * prefetched.  Made by plan_of (kernels/plan.h) of a call's sizes and strides and of the machine's
 * caches; tests/plan_table.c prints it. */
#ifndef SMCORE_PLAN_H
#define SMCORE_PLAN_H

#include <stddef.h>

/* Bytes of one core's data caches of the first and second level, and of the last level, shared or
 * not. */
typedef struct {
  size_t l1, l2, l3;
} smc_caches;

/* How rows become panels.  Along: a panel is a row; across: W rows, one in each lane. */
typedef enum {
  SMC_SINGLE_ROW,     /* along, where it lies; in the order of packed rows */
  SMC_ROWS,           /* along, where they lie */
  SMC_LANE_BLOCKS,    /* the same, W of them through all passes at once */
  SMC_STAGED_ROWS,    /* along, converted or brought together in a buffer */
  SMC_PACKED_ROWS,    /* across, transposed into a buffer */
  SMC_COLUMNS,        /* across, where they lie */
  SMC_COPIED_COLUMNS, /* across, converted or copied to a buffer */
  SMC_LAYOUTS
} smc_layout;

typedef enum {
  SMC_CACHED,
  SMC_STORED_NONTEMPORAL, /* whole lines, from registers */
  SMC_COMBINED,           /* non-temporal, by way of a write combiner */
  SMC_STORE_KINDS
} smc_stores;

typedef enum {
  SMC_NO_PREFETCH,
  SMC_PREFETCH_TILE,  /* the next tile, and where this one's results go */
  SMC_PREFETCH_BLOCK, /* the next k-block of the inputs */
  SMC_TOUCH_TILE,     /* this tile, before it is read */
  SMC_PREFETCH_KINDS
} smc_prefetch;

typedef struct {
  smc_layout layout;
  smc_stores stores;
  smc_prefetch prefetch;
  int online; /* sums are about a maximum that may rise, as exponentials are not kept */
  /* Classes that go through a pass before the next ones; k, if a row does as a whole. */
  size_t k_block;
  size_t part;      /* classes of a row part; k, if the row is one */
  size_t parts;     /* row parts, which threads may share */
  size_t panels;    /* of a tile */
  size_t lead;      /* rows before the first tile, so that the others start at a line; or 0 */
  size_t lane_rows; /* rows whose values share a vector: W or 1 */
} smc_plan;

#endif
