/* Dense Jacobians: K exponentials or none, K^2 stores.
 *
 * The diagonal of softmax's is s_i (1 - s_i), and 1 - s_i is the sum of the others where s_i is
 * large: subtracting would lose what is left of it.
 */
#ifndef SMC_JACOBIAN_JACOBIAN_H
#define SMC_JACOBIAN_JACOBIAN_H

#include "../exp.h"
#include "../lanes.h"
#include "stores.h"

/* sum + s[from] + ... + s[to - 1] */
static pair sum_range(pair sum, const char *s, size_t from, size_t to) {
  for (size_t i = from; i < to; i += W) {
    size_t n = to - i < W ? to - i : W;
    pair t = two_sum(sum.hi, e_load_n(s + i * sizeof(elem), n, v_set1(0)));
    sum = (pair){t.hi, v_add(sum.lo, t.lo)};
  }
  return sum;
}

/* 1 - s_i, in every lane */
static vec one_minus(const char *s, size_t k, size_t i) {
  real s_i = e_get(s + i * sizeof(elem));
  if (!(s_i > (real)0.5)) return v_sub(v_set1(1), v_set1(s_i));
  pair others = sum_range(sum_range(pair_of(0), s, 0, i), s, i + 1, k);
  SMC_UNROLLED for (size_t d = W / 2; d; d /= 2) {
    pair other = {v_xor_lanes(others.hi, (int)d), v_xor_lanes(others.lo, (int)d)};
    others = pair_add(others, other);
  }
  return pair_value(others);
}

/* s_i (1 - s_i) */
SMC_INLINE real variance(const char *s, size_t k, size_t i) {
  const real s_i = e_get(s + i * sizeof(elem));
  if (!(s_i > (real)0.5)) return s_i * (1 - s_i);
  real lane[W];
  v_store(lane, one_minus(s, k, i));
  return s_i * lane[0];
}

/* Whether a row is one vector, of enough lanes that it matters.  (Vectors of two make a GCC 12 that
 * checks addresses fail.) */
SMC_INLINE int is_one_vector(size_t k) { return W > 2 && k <= W; }

/* A Jacobian whose rows are one vector each, factor*off, into which the diagonal is put.  Rows
 * overstore.  (Where they are not `scaled`, factors are 1.) */
SMC_INLINE void small_jacobian(const char *factors, char *out, size_t k, vec off, vec on,
                               const int scaled) {
  const vec lane = lane_numbers();
  size_t left = k * k;
  for (size_t i = 0; i < k; ++i, left -= k, out += k * sizeof(elem)) {
    vec row = scaled ? v_mul(off, v_set1(e_get(factors + i * sizeof(elem)))) : off;
    row = v_select(v_eq(lane, v_set1((real)(int)i)), on, row);
    if (left >= W) {
      e_store(out, row);
    } else {
      e_store_n(out, row, k);
    }
  }
}

static void small_softmax_jacobian(const char *s, char *out, size_t k) {
  const vec all = e_load_n(s, k, v_set1(0));
  const mask large = v_lt(v_set1((real)0.5), all);
  vec rest = v_sub(v_set1(1), all);
  if (v_count(large) == 1) {
    size_t i = 0;
    while (!(e_get(s + i * sizeof(elem)) > (real)0.5)) ++i;
    rest = v_select(large, one_minus(s, k, i), rest);
  }
  small_jacobian(s, out, k, v_sub(v_set1(0), all), v_mul(all, rest), 1);
}

/* Row i is -s_i s, but for the diagonal.  (`beyond` is a constant: where rows may go past the
 * caches, that is a call, across which little stays in registers.) */
SMC_INLINE void softmax_jacobian_row(const char *s, char *out, size_t k, const int beyond) {
  combiner buffer, *c = combiner_beyond(&buffer, out, beyond);
  if (!beyond && is_one_vector(k)) {
    small_softmax_jacobian(s, out, k);
    return;
  }
  for (size_t i = 0; i < k; ++i, out += k * sizeof(elem)) {
    const vec minus = v_set1(-e_get(s + i * sizeof(elem)));
    row_of_jacobian(out, s, minus, k, i, variance(s, k, i), i + 1 < k, c);
  }
  end_of_jacobian(c);
}

/* The next classes of a row from class i on, as many as a vector holds. */
SMC_INLINE vec load_classes(const char *row, size_t k, size_t i) {
  return e_load_n(row + i * sizeof(elem), k - i < W ? k - i : W, v_set1(0));
}

/* The first row is -s, but for the diagonal; its last vector. */
static vec log_softmax_jacobian_first(const char *log_s, char *out, size_t k) {
  vec minus = v_set1(0);
  for (size_t i = 0; i < k; i += W) {
    minus = v_sub(v_set1(0), exp_of_negative(load_classes(log_s, k, i), v_set1(0)));
    e_store_n(out + i * sizeof(elem), minus, k - i < W ? k - i : W);
  }
  return minus;
}

/* The others are copies of the first, of which the diagonal is stored last: it is
 * 1 - s_i = -expm1(log s_i).  Types that are converted are copied as they are stored. */
SMC_INLINE void log_softmax_jacobian_row(const char *log_s, char *out, size_t k, const int beyond) {
  combiner buffer, *c = combiner_beyond(&buffer, out + k * sizeof(elem), beyond);
  const vec minus = log_softmax_jacobian_first(log_s, out, k);
  real diagonal[W], first = 0;
  for (size_t i = 0; i < k; ++i) {
    char *row = out + i * k * sizeof(elem);
    if (i % W == 0) {
      const vec on = v_sub(v_set1(0), expm1_of_negative(load_classes(log_s, k, i)));
      if (!beyond && is_one_vector(k)) {
        small_jacobian(NULL, out, k, minus, on, 0);
        return;
      }
      v_store(diagonal, on);
    }
    if (i == 0) {
      first = diagonal[0];
    } else if (sizeof(elem) == sizeof(real)) {
      row_of_jacobian(row, out, v_set1(1), k, i, diagonal[i % W], (k - 1 - i) * k >= W, c);
    } else {
      memcpy(row, out, k * sizeof(elem));
      e_put(row + i * sizeof(elem), diagonal[i % W]);
    }
  }
  end_of_jacobian(c);
  e_put(out, first);
}

/* out[t, i*j + l] = s_t ((i = t) - s_i) x_l */
SMC_INLINE void layer_jacobian_row(const char *s, const char *x, char *out, size_t k, size_t j,
                                   const int beyond) {
  combiner buffer, *c = combiner_beyond(&buffer, out, beyond);
  for (size_t t = 0; t < k; ++t) {
    vec s_t = v_set1(e_get(s + t * sizeof(elem)));
    vec diagonal = v_mul(s_t, one_minus(s, k, t)), minus = v_sub(v_set1(0), s_t);
    for (size_t i = 0; i < k; ++i, out += j * sizeof(elem)) {
      vec off_diagonal = v_mul(minus, v_set1(e_get(s + i * sizeof(elem))));
      const int overstore = ((k - 1 - t) * k + k - 1 - i) * j >= W;
      row_of_jacobian(out, x, i == t ? diagonal : off_diagonal, j, j, 0, overstore, c);
    }
  }
  end_of_jacobian(c);
}

static void softmax_jacobians(const smc_call *c) {
  const int beyond = is_beyond_caches(c->n * c->k, c->k);
  for (size_t i = 0; i < c->n; ++i) {
    const char *row = element_at(c->operands[0], i, 0);
    char *out = element_at(c->operands[1], i, 0);
    if (beyond) {
      softmax_jacobian_row(row, out, c->k, 1);
    } else {
      softmax_jacobian_row(row, out, c->k, 0);
    }
  }
}

static void log_softmax_jacobians(const smc_call *c) {
  const int beyond = is_beyond_caches(c->n * c->k, c->k);
  for (size_t i = 0; i < c->n; ++i) {
    const char *row = element_at(c->operands[0], i, 0);
    char *out = element_at(c->operands[1], i, 0);
    if (beyond) {
      log_softmax_jacobian_row(row, out, c->k, 1);
    } else {
      log_softmax_jacobian_row(row, out, c->k, 0);
    }
  }
}

static void layer_jacobians(const smc_call *c) {
  const int beyond = is_beyond_caches(c->n * c->k * c->k, c->j);
  for (size_t i = 0; i < c->n; ++i) {
    const char *row = element_at(c->operands[0], i, 0), *x = element_at(c->operands[1], i, 0);
    char *out = element_at(c->operands[2], i, 0);
    if (beyond) {
      layer_jacobian_row(row, x, out, c->k, c->j, 1);
    } else {
      layer_jacobian_row(row, x, out, c->k, c->j, 0);
    }
  }
}

#endif
