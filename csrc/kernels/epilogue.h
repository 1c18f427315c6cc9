/* What is done to packed results when they leave the buffer, as they are in registers then: it
 * saves a pass over the buffer. */
#ifndef SMC_EPILOGUE_H
#define SMC_EPILOGUE_H

#include "exact.h"

typedef enum { SMC_NOTHING_LEFT, SMC_TIMES, SMC_LESS } smc_ending;

/* An epilogue: what is left to do when results leave the buffer, where they are loaded once more
 * anyway. */
typedef struct {
  smc_ending how;
  const pair *of; /* each panel: y*of, or y - of.hi - of.lo */
} epilogue;

SMC_INLINE epilogue epilogue_of_panel(const epilogue by, size_t u) {
  return (epilogue){by.how, by.of ? by.of + u : NULL};
}

/* Apply it to n vectors. */
SMC_INLINE void apply_epilogue(vec *y, const int n, const epilogue *by) {
  if (by->how == SMC_TIMES) {
    SMC_EACH(j, n) y[j] = times_inverse(y[j], *by->of);
  } else if (by->how == SMC_LESS) {
    SMC_EACH(j, n) y[j] = v_sub(v_sub(y[j], by->of->hi), by->of->lo);
  }
}

static SMC_OUTLINE void apply_epilogue_to_panel(real *y, size_t classes, const epilogue *by) {
  for (size_t c = 0; c < classes && by->how != SMC_NOTHING_LEFT; ++c, y += W) {
    vec a = v_load(y);
    apply_epilogue(&a, 1, by);
    v_store(y, a);
  }
}

#endif
