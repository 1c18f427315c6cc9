/* softmax of a lane block of W rows of a few vectors each, all passes in one.
 *
 * Four rows are jammed, so that the processor waits for no end of a row, and are merged into a
 * vector while the next four are computed.  They are W/4 rows apart, so that each ends in the lane
 * of its number.  Rows of 128 to 256 floats in a cache take some 15 % less time so
 * than one after the other, and 8 % less than packed.
 */
#ifndef SMC_FORWARD_LANE_BLOCKS_H
#define SMC_FORWARD_LANE_BLOCKS_H

#include "maxima.h"
#include "rows.h"

/* The maximum of each row.  Where rows do not fill their last vectors, these are first copied to
 * `kept`, to be loaded whole from there. */
SMC_INLINE vec max_of_lane_block(const tile *t, const extent n, const scaling *scale,
                                 const panel kept) {
  pair quarters[SMC_QUARTERS];
  for (size_t u = 0; n.rest && u < W; ++u) {
    const panel last = ahead(panel_of(t, SMC_X, u), n.count);
    v_store(vector_at(kept, u * steps_of(n) + n.count), load_lanes(last, n.rest, scale->vacant));
  }
  for (size_t q = 0; q < SMC_QUARTERS; ++q) {
    panel x[SMC_UNROLL];
    vec first[SMC_UNROLL];
    pair m[SMC_UNROLL];
    SMC_EACH(j, SMC_UNROLL) {
      const size_t u = q + (size_t)j * SMC_QUARTERS;
      x[j] = dense(panel_of(t, SMC_X, u));
      first[j] = v_load(n.rest ? vector_at(kept, u * steps_of(n) + n.count) : x[j].p);
    }
    max_jammed(x, n.count, v_set1(1), first);
    SMC_EACH(j, SMC_UNROLL) m[j] = (pair){first[j], v_set1(0)};
    quarters[q] = merged_quarters(m, SMC_BY_MAX);
  }
  return merged_lane_block(quarters, SMC_BY_MAX).hi;
}

/* The sum of the exponentials of each row.  They are kept in a buffer, not in the output: a load
 * waits for a store before it to an address whole pages away.  Where rows come from memory, the
 * lane block after the next is prefetched, and the lines that this one will write. */
SMC_INLINE pair sum_of_lane_block(const tile *t, const extent n, const shift *sh,
                                  const scaling *scale, const panel kept) {
  pair quarters[SMC_QUARTERS];
  for (size_t q = 0; q < SMC_QUARTERS; ++q) {
    panel x[SMC_UNROLL], y[SMC_UNROLL], to[SMC_UNROLL];
    shift s[SMC_UNROLL];
    exp_sum sum[SMC_UNROLL];
    pair total[SMC_UNROLL];
    SMC_EACH(j, SMC_UNROLL) {
      const size_t u = q + (size_t)j * SMC_QUARTERS;
      x[j] = dense(panel_of(t, SMC_X, u)), y[j] = dense(panel_of(t, SMC_Y, u));
      to[j] = ahead(kept, u * steps_of(n));
      s[j] = shift_of_panel(t, u, sh);
    }
    begin_sum_blocks(sum, SMC_UNROLL, SMC_TOTAL);
    for (size_t i = 0; i < steps_of(n); ++i) {
      vec e[SMC_UNROLL];
      SMC_EACH(j, SMC_UNROLL) e[j] = v_load(vector_at(i < n.count ? x[j] : to[j], i));
      exp_shifted(e, s, 1, scale, SMC_UNROLL, 0);
      SMC_EACH(j, SMC_UNROLL) v_store(vector_at(to[j], i), e[j]);
      SMC_EACH(j, SMC_UNROLL) add_terms(&sum[j], &e[j], 1, 1, SMC_TOTAL, 0);
      prefetch_lane_block(t, x, y, i);
    }
    end_sum_blocks(sum, SMC_UNROLL, SMC_TOTAL, 1);
    SMC_EACH(j, SMC_UNROLL) total[j] = sum[j].total;
    quarters[q] = merged_quarters(total, SMC_BY_PAIR_ADD);
  }
  return normalized(merged_lane_block(quarters, SMC_BY_PAIR_ADD));
}

/* softmax of a tile that is a lane block.  Returns 0, and has written nothing, if arguments are
 * scaled or centered.  Where a whole store is faster than one of a part, a row's last vector is
 * overstored: the next row is stored over what goes beyond its end. */
static int softmax_of_lane_block(tile *t, const scaling *scale) {
  enter_k_block(t, 0);
  const extent n = extent_of(t, 0);
  panel kept = {t->buffer[0], sizeof(vec)};
  const shift sh = make_shift(max_of_lane_block(t, n, scale, kept), scale);
  if (is_general(scale, &sh)) return 0;
  const pair inverse = inverse_of(sum_of_lane_block(t, n, &sh, scale, kept));
  const int overstore =
      !SMC_FAST_MASKS && t->apart[SMC_Y] == (ptrdiff_t)(t->call->k * sizeof(real));
  for (size_t u = 0; u < W; ++u, kept = ahead(kept, steps_of(n))) {
    const int over = overstore && n.rest > 0 && u + 1 < W;
    const panel_results of = {.scale = scale, .by = pair_of_panel(t, u, &inverse)};
    results_along(kept, dense(panel_of(t, SMC_Y, u)), over ? (extent){n.count + 1, W, 0} : n, &of,
                  0, SMC_SCALED, 0);
  }
  return 1;
}

#endif
