/* Prints the plans of calls of many shapes, for each target and dtype: what a change of a threshold
 * changes is seen in review.  Nothing is computed; operands have addresses alone. */
#include "../smcore_kernels.h"

#include <stdio.h>
#include <string.h>

static const struct {
  const char *name;
  size_t size;
  smc_dtype dtype;
} dtypes[] = {{"f32", 4, SMC_F32}, {"f64", 8, SMC_F64}, {"f16", 2, SMC_F16}};

static const struct {
  const char *name;
  smc_op op;
  int count; /* operands with an element for each class */
} ops[] = {
    {"softmax", SMC_OP_softmax, 2},
    {"log_softmax", SMC_OP_log_softmax, 2},
    {"logsumexp", SMC_OP_logsumexp, 1},
    {"softmax_vjp", SMC_OP_softmax_vjp, 3},
    {"log_softmax_vjp", SMC_OP_log_softmax_vjp, 3},
    {"log_softmax_jvp", SMC_OP_log_softmax_jvp, 3},
    {"logsumexp_vjp", SMC_OP_logsumexp_vjp, 2},
    {"cross_entropy", SMC_OP_cross_entropy, 3},
};

/* How rows lie: dense; every other element; as columns; as columns that are whole pages apart. */
typedef enum { ROWS, GAPS, COLUMNS, PAGES } place;
static const char *const places[] = {"rows", "gaps", "columns", "pages"};

static const struct {
  place at;
  size_t n, k;
} shapes[] = {
    {ROWS, 1, 1},
    {ROWS, 1, 10},
    {ROWS, 1, 100},
    {ROWS, 2, 10},
    {ROWS, 1, 1000},
    {ROWS, 4, 20},
    {ROWS, 4096, 2},
    {ROWS, 4096, 3},
    {ROWS, 4096, 10},
    {ROWS, 1048576, 10},
    {ROWS, 1048576, 40},
    {ROWS, 1024, 47},
    {ROWS, 1024, 60},
    {ROWS, 1024, 100},
    {ROWS, 524288, 100},
    {ROWS, 1024, 127},
    {ROWS, 1024, 128},
    {ROWS, 100000, 128},
    {ROWS, 1024, 200},
    {ROWS, 60000, 200},
    {ROWS, 300, 300},
    {ROWS, 128, 1000},
    {ROWS, 3, 1000},
    {ROWS, 16384, 1000},
    {ROWS, 20000, 1500},
    {ROWS, 60, 4097},
    {ROWS, 4000, 4097},
    {ROWS, 4, 50257},
    {ROWS, 400, 50257},
    {ROWS, 1, 65537},
    {ROWS, 1, 131073},
    {ROWS, 1, 1048576},
    {ROWS, 3, 1048576},
    {ROWS, 1, 16777216},
    {ROWS, 1, 100000000},
    {GAPS, 100, 10},
    {GAPS, 100, 100},
    {GAPS, 100, 1000},
    {GAPS, 10, 10000},
    {GAPS, 1, 1000000},
    {COLUMNS, 64, 10},
    {COLUMNS, 10, 3},
    {COLUMNS, 64, 1000},
    {COLUMNS, 300, 2000},
    {COLUMNS, 1000, 100},
    {COLUMNS, 7, 50},
    {COLUMNS, 30000, 300},
    {COLUMNS, 1000000, 20},
    {COLUMNS, 1000000, 200},
    {COLUMNS, 4096, 4096},
    {COLUMNS, 10, 4096},
    {COLUMNS, 1024, 16},
    {COLUMNS, 1024, 6},
    {COLUMNS, 2048, 100000},
    {PAGES, 1000, 20},
    {PAGES, 1000, 100},
    {PAGES, 100000, 500},
};

static const char *const layouts[SMC_LAYOUTS] = {
    "single row", "rows", "lane blocks", "staged rows", "packed rows", "columns", "copied columns"};
static const char *const stores[SMC_STORE_KINDS] = {"cached", "non-temporal", "combined"};
static const char *const prefetches[SMC_PREFETCH_KINDS] = {"none", "tile", "block", "touch"};

static smc_view view_of(place at, char *data, size_t n, size_t k, size_t size) {
  const size_t page = 4096, line = n * size;
  switch (at) {
  case ROWS: return (smc_view){data, (ptrdiff_t)(k * size), (ptrdiff_t)size};
  case GAPS: return (smc_view){data, (ptrdiff_t)(2 * k * size), (ptrdiff_t)(2 * size)};
  case COLUMNS: return (smc_view){data, (ptrdiff_t)size, (ptrdiff_t)line};
  default: return (smc_view){data, (ptrdiff_t)size, (ptrdiff_t)((line + page - 1) / page * page)};
  }
}

/* Operands far from each other; the result in the place of the first, or in its own.  Columns do
 * not start at a line. */
static void print_plan(const smc_target *target, size_t d, size_t o, size_t s, int in_place) {
  static const smc_caches caches = {32 << 10, 1 << 20, 32 << 20};
  smc_call call = {.n = shapes[s].n, .k = shapes[s].k};
  smc_plan p = {.panels = 0};
  for (int i = 0; i < ops[o].count; ++i) {
    const int apart = in_place && i + 1 == ops[o].count ? 0 : i;
    const uintptr_t at = (uintptr_t)(1 + apart) << 40 | (shapes[s].at == COLUMNS ? 3 * 64 + 16 : 0);
    if (ops[o].op == SMC_OP_cross_entropy && i == 1) continue; /* labels */
    call.operands[i] = view_of(shapes[s].at, (char *)at, call.n, call.k, dtypes[d].size);
  }
  target->kernels[dtypes[d].dtype]->plan(ops[o].op, &call, &caches, &p);
  printf("%s %s %s %s %zux%zu%s: %s%s tile %zu, block %zu, parts %zux%zu, values %zu, lead %zu, "
         "%s, %s\n",
         target->name, dtypes[d].name, ops[o].name, places[shapes[s].at], call.n, call.k,
         in_place ? " in place" : "", layouts[p.layout], p.online ? " online" : "", p.panels,
         p.k_block, p.parts, p.part, p.lane_rows, p.lead, stores[p.stores], prefetches[p.prefetch]);
}

/* Of the target named, if it is available; of all, without a name. */
int main(int argc, char **argv) {
  const smc_target *target;
  for (size_t t = 0; (target = smc_available(t)) != NULL; ++t) {
    if (argc > 1 && strcmp(argv[1], target->name) != 0) continue;
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; ++d) {
      for (size_t o = 0; o < sizeof ops / sizeof *ops; ++o) {
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; ++s) {
          print_plan(target, d, o, s, 0);
          print_plan(target, d, o, s, 1);
        }
      }
    }
  }
  return 0;
}
