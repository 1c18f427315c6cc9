/* Dense Jacobians: K exponentials or none, K^2 stores.  Included once for each type stored (SMC_D).
 *
 * The diagonal of softmax's is s_i (1 - s_i), and 1 - s_i is the sum of the others where s_i is large:
 * subtracting would lose what is left of it.
 */

#ifndef SMC_JACOBIAN_CONSTANTS
#define SMC_JACOBIAN_CONSTANTS
enum { SMC_ALIGNED_FROM = 8 }; /* vectors: of so many more are saved than one of a part costs */
#endif

#define sum_range SMC_K(sum_range)
#define one_minus SMC_K(one_minus)
#define store_scaled SMC_K(store_scaled)
#define convert_scaled SMC_K(convert_scaled)
#define scaled_copy SMC_K(scaled_copy)
#define variance SMC_K(variance)
#define small_jacobian SMC_K(small_jacobian)
#define softmax_jacobian_row SMC_K(softmax_jacobian_row)
#define log_softmax_jacobian_row SMC_K(log_softmax_jacobian_row)
#define layer_jacobian_row SMC_K(layer_jacobian_row)

/* sum + s[from] + ... + s[to - 1] */
static pair sum_range(pair sum, const char *s, size_t from, size_t to) {
  for (size_t i = from; i < to; i += W) {
    size_t n = to - i < W ? to - i : W;
    pair t = two_sum(sum.hi, SMC_K(load_n)(s + i * sizeof(elem), n, v_set1(0)));
    sum = (pair){t.hi, v_add(sum.lo, t.lo)};
  }
  return sum;
}

/* 1 - s_i, in every lane */
static vec one_minus(const char *s, size_t k, size_t i) {
  real s_i = SMC_K(get)(s + i * sizeof(elem));
  if (!(s_i > (real)0.5)) return v_sub(v_set1(1), v_set1(s_i));
  pair others = sum_range(sum_range(pair_of(0), s, 0, i), s, i + 1, k);
  SMC_UNROLL for (size_t d = W / 2; d; d /= 2) {
    pair other = {v_xor_lanes(others.hi, (int)d), v_xor_lanes(others.lo, (int)d)};
    others = pair_add(others, other);
  }
  return pair_value(others);
}

/* out = factor*x, n elements.  Many are stored a cache line at a time.  `loose`: what is beyond their end
 * may be written as well, as it will be written over: a whole store is faster than one of a part. */
SMC_INLINE void store_scaled(char *out, const char *x, vec factor, size_t n, int loose) {
  const size_t beyond = (uintptr_t)out / sizeof(elem) % W;
  size_t i = 0;
  if (n >= SMC_ALIGNED_FROM * W && beyond > 0) {
    i = W - beyond;
    SMC_K(store_n)(out, v_mul(factor, SMC_K(load)(x)), i);
  }
  /* Where it takes little to store one, a loop of one may not be fetched fast enough. */
  const int two = W >= 8 && sizeof(elem) == sizeof(real);
  for (; two && i + 2 * W <= n; i += 2 * W) {
    const char *from = x + i * sizeof(elem);
    char *to = out + i * sizeof(elem);
    SMC_K(store)(to, v_mul(factor, SMC_K(load)(from)));
    SMC_K(store)(to + W * sizeof(elem), v_mul(factor, SMC_K(load)(from + W * sizeof(elem))));
  }
  for (; i + W <= n; i += W) {
    SMC_K(store)(out + i * sizeof(elem), v_mul(factor, SMC_K(load)(x + i * sizeof(elem))));
  }
  if (i == n) return;
  const vec rest = v_mul(factor, SMC_K(load_n)(x + i * sizeof(elem), n - i, v_set1(0)));
  if (loose) {
    SMC_K(store)(out + i * sizeof(elem), rest);
  } else {
    SMC_K(store_n)(out + i * sizeof(elem), rest, n - i);
  }
}

/* Out of line where it converts, and is long. */
static SMC_OUTLINE void convert_scaled(char *out, const char *x, vec factor, size_t n, int loose) {
  store_scaled(out, x, factor, n, loose);
}

SMC_INLINE void scaled_copy(char *out, const char *x, vec factor, size_t n, int loose) {
  if (sizeof(elem) == sizeof(real)) {
    store_scaled(out, x, factor, n, loose);
  } else {
    convert_scaled(out, x, factor, n, loose);
  }
}

/* s_i (1 - s_i) */
SMC_INLINE real variance(const char *s, size_t k, size_t i) {
  const real s_i = SMC_K(get)(s + i * sizeof(elem));
  if (!(s_i > (real)0.5)) return s_i * (1 - s_i);
  real lane[SMC_V(lanes)];
  v_store(lane, one_minus(s, k, i));
  return s_i * lane[0];
}

/* Where a row is one vector, the diagonal is put into it.  Rows are stored whole: what one has beyond its
 * end, the next one writes over. */
static void small_jacobian(const char *s, char *out, size_t k) {
  static const real number[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const vec lane = v_load(number), all = SMC_K(load_n)(s, k, v_set1(0));
  const vec minus = v_sub(v_set1(0), all);
  vec on = v_mul(all, v_sub(v_set1(1), all));
  if (v_count(v_lt(v_set1((real)0.5), all)) > 0) {
    real diagonal[SMC_V(lanes)] = {0};
    for (size_t i = 0; i < k; ++i) diagonal[i] = variance(s, k, i);
    on = v_load(diagonal);
  }
  for (size_t i = 0; i < k; ++i, out += k * sizeof(elem)) {
    vec row = v_mul(minus, v_set1(SMC_K(get)(s + i * sizeof(elem))));
    row = v_select(v_eq(lane, v_set1((real)i)), on, row);
    if ((k - i) * k >= W) {
      SMC_K(store)(out, row);
    } else {
      SMC_K(store_n)(out, row, k);
    }
  }
}

/* As there, but that the diagonal is stored by itself. */
static void softmax_jacobian_row(const char *s, char *out, size_t k) {
  if (k <= W) {
    small_jacobian(s, out, k);
    return;
  }
  for (size_t i = 0; i < k; ++i, out += k * sizeof(elem)) {
    const vec minus = v_set1(-SMC_K(get)(s + i * sizeof(elem)));
    scaled_copy(out, s, minus, k, i + 1 < k);
    SMC_K(put)(out + i * sizeof(elem), variance(s, k, i));
  }
}

/* Every row is -s; the diagonal is 1 - s_i = -expm1(log s_i). */
static void log_softmax_jacobian_row(const char *log_s, char *out, size_t k) {
  for (size_t i = 0; i < k; i += W) {
    size_t n = k - i < W ? k - i : W;
    vec x = SMC_K(load_n)(log_s + i * sizeof(elem), n, v_set1(0)),
        s = exp_of_negative(x, v_set1(0));
    SMC_K(store_n)(out + i * sizeof(elem), v_sub(v_set1(0), s), n);
  }
  for (size_t i = 1; i < k; ++i) {
    char *row = out + i * k * sizeof(elem);
    if (sizeof(elem) == sizeof(real)) {
      scaled_copy(row, out, v_set1(1), k, (k - 1 - i) * k >= W);
    } else { /* without converting */
      memcpy(row, out, k * sizeof(elem));
    }
  }
  for (size_t i = 0; i < k; i += W) { /* a single element by put: Clang 22 stores two of bfloat16 */
    const size_t n = k - i < W ? k - i : W;
    real diagonal[SMC_V(lanes)];
    vec x = SMC_K(load_n)(log_s + i * sizeof(elem), n, v_set1(0));
    v_store(diagonal, v_sub(v_set1(0), expm1_of_negative(x)));
    for (size_t j = 0; j < n; ++j) {
      SMC_K(put)(out + (i + j) * (k + 1) * sizeof(elem), diagonal[j]);
    }
  }
}

/* out[t, i*j + l] = s_t ((i = t) - s_i) x_l */
static void layer_jacobian_row(const char *s, const char *x, char *out, size_t k, size_t j) {
  for (size_t t = 0; t < k; ++t) {
    vec s_t = v_set1(SMC_K(get)(s + t * sizeof(elem)));
    vec diagonal = v_mul(s_t, one_minus(s, k, t)), minus = v_sub(v_set1(0), s_t);
    for (size_t i = 0; i < k; ++i, out += j * sizeof(elem)) {
      vec off_diagonal = v_mul(minus, v_set1(SMC_K(get)(s + i * sizeof(elem))));
      const int loose = ((k - 1 - t) * k + k - 1 - i) * j >= W;
      scaled_copy(out, x, i == t ? diagonal : off_diagonal, j, loose);
    }
  }
}
