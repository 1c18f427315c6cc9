/* The passes of a product with a Jacobian: a search for the largest s of the row, its peak; a sum;
 * and what is made of it.  They read and write vectors as they are stored: a panel's, or a row's,
 * whose 16-bit floats are converted in registers.
 *
 * Any number may be taken from all g without changing s (g - sum s g), as s sums to one.  It is the
 * g of the peak, the center: only the peak can be above 1/2, where rounding takes more from s than
 * all other classes may have together, and its weight in the sum is then multiplied by 0.  With h =
 * g - center, each result is within 4 epsilon s (|h| + sum s |h|) (docs/accuracy.md).  Of several
 * peaks it is the first.
 *
 * log_softmax's vjp, g - s sum g, has no such freedom.  It cancels at a class that has nearly all,
 * where it is written (1 - s) g - s (sum of the other g).
 */
#ifndef SMC_VJP_PASS_H
#define SMC_VJP_PASS_H

#include "../exp.h"
#include "../tile.h"

typedef enum { SMC_SOFTMAX_VJP, SMC_LOG_SOFTMAX_VJP, SMC_LOG_SOFTMAX_JVP } smc_product;

enum { SMC_S, SMC_G, SMC_PRODUCT }; /* operands: s or log_s; g or v; the product */

/* A log_s above which a class has nearly all: s > 0.548, which rounding can make of one class
 * alone. */
#define SMC_SURE ((real) - 0.6)

/* The operands of a product with a Jacobian, and the product itself. */
typedef struct {
  panel s, g, y;
} product_panels;

/* The sum of a panel, lane by lane; and for log_softmax's vjp the sum of the g of classes that have
 * nearly all, of which a result of log_softmax has one at most. */
typedef struct {
  pair sum;
  vec sure;
} panel_sums;

/* What the products of a row are made of: what is taken from each g; the sum; and for log_softmax's
 * vjp the g of a class that has nearly all, the sum without it, whether any lane has such a class,
 * and whether the lanes are classes of one row. */
typedef struct {
  vec center, sum, sure, others;
  int are_sure, along;
} product_sums;

/* Adds the term of one class: s*h (SMC_SOFTMAX_VJP) or exp(s)*h (SMC_LOG_SOFTMAX_JVP), with
 * h = g - center; or g (SMC_LOG_SOFTMAX_VJP), to `sure` if the class has nearly all. */
SMC_INLINE void plus_product(vec *sum, vec *sure, vec s, vec g, vec center,
                             const smc_product which) {
  if (which == SMC_LOG_SOFTMAX_VJP) {
    const mask is_sure = v_lt(v_set1(SMC_SURE), s);
    *sum = v_add(*sum, v_select(is_sure, v_set1(0), g));
    *sure = v_add_if(is_sure, *sure, g);
  } else {
    const vec weight = which == SMC_LOG_SOFTMAX_JVP ? exp_of_negative(s, v_set1(0)) : s;
    *sum = v_fma(weight, v_sub(g, center), *sum);
  }
}

/* g - s sum g, with s = 2^n (1 + p); where s is nearly 1, by 1 - s = (1 - 2^n) - 2^n p, whose terms
 * are exact. */
SMC_INLINE vec log_softmax_vjp(vec log_s, vec g, const product_sums *of) {
  const pair e = split_exp(v_max(v_set1(-SMC_C(EXP_VANISH)), log_s), v_set1(0));
  const vec s = v_ldexp(v_add(v_set1(1), e.lo), e.hi), plain = v_fnma(s, of->sum, g);
  const mask is_sure = v_lt(v_set1(SMC_SURE), log_s);
  if (!of->are_sure || (of->along && !v_lane_bits(is_sure))) return plain;
  const vec power = v_ldexp(v_set1(1), e.hi);
  const vec missing = v_fnma(power, e.lo, v_sub(v_set1(1), power));
  const vec others = v_add(of->others, v_sub(of->sure, g));
  return v_select(is_sure, v_fnma(s, others, v_mul(g, missing)), plain);
}

SMC_INLINE vec one_product(vec s, vec g, const product_sums *of, const smc_product which) {
  switch (which) {
  case SMC_SOFTMAX_VJP: return v_mul(s, v_sub(v_sub(g, of->center), of->sum));
  case SMC_LOG_SOFTMAX_VJP: return log_softmax_vjp(s, g, of);
  default: return v_sub(v_sub(g, of->center), of->sum);
  }
}

/* Computes and stores the next vectors of a product; `past` the caches if they fill lines.
 * (`vectors` is a constant.) */
SMC_INLINE void next_products(product_panels *of, const int vectors, size_t lanes,
                              const product_sums *sums, int past, const smc_product which,
                              const smc_format format) {
  vec a[SMC_UNROLL];
  SMC_EACH(j, vectors) {
    const vec s = load_from(ahead(of->s, (size_t)j), lanes, v_set1(0), format);
    const vec g = load_from(ahead(of->g, (size_t)j), lanes, v_set1(0), format);
    a[j] = one_product(s, g, sums, which);
  }
  if (SMC_NONTEMPORAL && past) {
    SMC_EACH(j, vectors) store_nontemporal(ahead(of->y, (size_t)j), a[j]);
  } else {
    SMC_EACH(j, vectors) store_to(ahead(of->y, (size_t)j), a[j], lanes, format);
  }
  const size_t next = (size_t)vectors;
  *of = (product_panels){ahead(of->s, next), ahead(of->g, next), ahead(of->y, next)};
}

#endif
