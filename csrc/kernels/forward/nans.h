/* NaN in rows whose maximum is infinite. */
#ifndef SMC_FORWARD_NANS_H
#define SMC_FORWARD_NANS_H

#include "../row_values.h"
#include "../run.h"
#include "expsum.h"

/* What counts as NaN, and where it is noted: in a vector for each panel, `apart` bytes from each
 * other. */
typedef struct {
  int infinite; /* infinity less itself counts as one, too */
  char *first;
  size_t apart;
} nans_wanted;

/* Note NaN, lane by lane. */
static void nans_of_panels(tile *t, size_t part, const void *args) {
  const nans_wanted *of = args;
  (void)part;
  for (size_t u = 0; u < t->panels; ++u) *(vec *)(of->first + u * of->apart) = v_set1(0);
  for (size_t begin = 0; begin < t->call->k; begin += t->plan.k_block) {
    enter_k_block(t, begin);
    for (size_t u = 0; u < t->panels; ++u) {
      vec *nan = (vec *)(of->first + u * of->apart);
      panel x = panel_of(t, SMC_X, u);
      const extent n = extent_of(t, u);
      for (size_t i = 0; i < steps_of(n); ++i, x = ahead(x, 1)) {
        vec a = load_lanes(x, lanes_at(n, i), v_set1(0));
        if (of->infinite) a = v_sub(a, a);
        *nan = v_select(v_eq(a, a), *nan, a);
      }
    }
  }
}

/* A vector for each lane block: NaN for a row that holds one, else 0.  (There are as many as
 * panels, until they are reduced.) */
static void nans_of_rows(tile *t, int infinite, vec *first, size_t apart) {
  for_whole_rows(t, nans_of_panels, &(nans_wanted){infinite, (char *)first, apart});
  count_by_row(t, first, apart);
}

/* Find what is to be added to an infinite maximum.  It is rare: rows are looked at only then. */
static void find_nans(tile *t, softmax_sums *s) {
  int infinite = 0;
  for (size_t g = 0; g < lane_blocks_of(t); ++g) {
    s[g].nan = v_set1(0);
    infinite |= v_count(v_lt(v_abs(s[g].m), v_set1((real)INFINITY))) != W;
  }
  if (infinite) nans_of_rows(t, 0, &s->nan, sizeof *s);
}

#endif
