/* The first pass of a product that takes a center from g: the peak of each row of a tile. */
#ifndef SMC_VJP_PEAKS_H
#define SMC_VJP_PEAKS_H

#include "../run.h"
#include "../row_values.h"
#include "pass.h"
#include "search.h"

/* The largest s (or log_s) of each row so far, and the g there: by lane, or along in all lanes. */
typedef struct {
  vec most, center;
} panel_peak;

typedef struct {
  smc_product which;
  panel_peak *peak;   /* of each panel of the tile, or of each part of its row; */
  panel_sums *sums;   /* likewise; */
  product_sums *rows; /* and of each lane block */
} row_products;

/* How many panels of a tile go through the passes jammed, class after class across all of them:
 * fewer than SMC_UNROLL are summed in registers, one by one. */
SMC_INLINE size_t whole_columns(const tile *t) {
  return W > 1 && is_columns(t) && t->rows >= SMC_UNROLL * W ? t->rows / W : 0;
}

SMC_INLINE void raise_peak(panel_peak *p, vec most, vec center) {
  const mask higher = v_lt(p->most, most);
  p->center = v_select(higher, center, p->center);
  p->most = v_select(higher, most, p->most);
}

/* Raises the peaks of `jam` panels across, class after class.  (`jam` is a constant.) */
SMC_INLINE void peaks_across(const tile *t, size_t u, const int jam, size_t lanes,
                             panel_peak *peak) {
  const size_t classes = k_block_classes(t);
  panel s = panel_of(t, SMC_S, u), g = panel_of(t, SMC_G, u);
  panel_peak p[SMC_UNROLL];
  SMC_EACH(j, jam) p[j] = peak[u + (size_t)j];
  for (size_t i = 0; i < classes; ++i, s = ahead(s, 1), g = ahead(g, 1)) {
    SMC_EACH(j, jam) {
      const vec a = load_lanes(beside(s, (size_t)j), lanes, v_set1(0));
      raise_peak(&p[j], a, load_lanes(beside(g, (size_t)j), lanes, v_set1(0)));
    }
  }
  SMC_EACH(j, jam) peak[u + (size_t)j] = p[j];
}

/* Looks up the g of the lanes of a panel whose peak rose, to `most` in class `place`. */
SMC_INLINE void look_up_center(panel_peak *peak, const panel g, vec most, vec place) {
  real center[W], class[W];
  uint32_t higher = v_lane_bits(v_lt(peak->most, most));
  if (!higher) return;
  v_store(center, peak->center), v_store(class, place);
  for (; higher; higher &= higher - 1) {
    const size_t l = smc_lowest_bit(higher);
    center[l] = vector_at(g, (size_t)class[l])[l];
  }
  raise_peak(peak, most, v_load(center));
}

/* Raises the peaks of so many whole panels of long columns, class after class across all of them:
 * so they are read as they lie in memory.  g is looked up afterwards, as few k-blocks raise a
 * peak. */
static SMC_OUTLINE void peaks_jammed(tile *t, size_t panels, panel_peak *peak) {
  const size_t classes = k_block_classes(t);
  panel s = panel_of(t, SMC_S, 0);
  char *const free = t->free;
  vec *most = reserve(t, panels * sizeof *most), *place = reserve(t, panels * sizeof *place);
  vec number = v_set1(0);
  for (size_t u = 0; u < panels; ++u) most[u] = peak[u].most, place[u] = v_set1(-1);
  for (size_t i = 0; i < classes; ++i, s = ahead(s, 1), number = v_add(number, v_set1(1))) {
    for (size_t u = 0; u < panels; ++u) {
      const vec a = v_load(beside(s, u).p);
      place[u] = v_select(v_lt(most[u], a), number, place[u]);
      most[u] = v_max(most[u], a);
    }
  }
  for (size_t u = 0; u < panels; ++u) {
    look_up_center(&peak[u], panel_of(t, SMC_G, u), most[u], place[u]);
  }
  t->free = free;
}

/* Raises the peak of a panel along. */
SMC_INLINE void peak_along(const tile *t, size_t u, panel_peak *peak) {
  const panel s = panel_of(t, SMC_S, u), g = panel_of(t, SMC_G, u);
  const size_t class = place_of_peak(s, extent_of(t, u), SMC_COMPUTED);
  const real *at = vector_at(s, class / W) + class % W, *from = vector_at(g, class / W) + class % W;
  raise_peak(peak, v_set1(*at), v_set1(*from));
}

static void peaks_of_part(tile *t, size_t part, const void *args) {
  panel_peak *peak = ((const row_products *)args)->peak + part;
  /* Where the next pass finds in the second-level cache what this one reads, g included, SMC_UNROLL
   * panels at a time are enough. */
  const int are_near = 2 * t->call->k * t->rows * sizeof(real) <= 2 * SMC_KEEP_BYTES;
  for (size_t u = 0; u < t->panels; ++u) {
    peak[u] = (panel_peak){v_set1((real)-INFINITY), v_set1(0)};
  }
  for (size_t begin = 0; begin < t->call->k; begin += t->plan.k_block) {
    enter_k_block(t, begin);
    size_t u = are_near ? 0 : whole_columns(t);
    if (u > 0) peaks_jammed(t, u, peak);
    for (; is_columns(t) && is_across(t) && (u + SMC_UNROLL) * W <= t->rows; u += SMC_UNROLL) {
      peaks_across(t, u, SMC_UNROLL, W, peak);
    }
    for (; u < t->panels; ++u) {
      if (is_across(t)) {
        peaks_across(t, u, 1, extent_of(t, u).lanes, peak);
      } else {
        peak_along(t, u, &peak[u]);
      }
    }
  }
}

#endif
