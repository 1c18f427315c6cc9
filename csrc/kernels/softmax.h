/* softmax, log_softmax, logsumexp: one algorithm, three endings.
 *
 *   1. the maximum;
 *   2. the sum of the exponentials, kept for the third pass where there is room;
 *   3. each element's result.
 *
 * softmax divides by the whole sum.  The other two need log(sum) = max + log1p(S'/e_k), where S' is
 * summed without one position k of the maximum: nothing cancels (SciPy issue 19521 shows what does).
 *
 * A row of many blocks is read twice (M. Dukhan and A. Ablavatski, "The Two-Pass Softmax Algorithm",
 * 2020): each block has its own maximum, and sums about maxima that differ are added after a
 * multiplication by a power of two, which is exact, as what is taken away from exponents is an integer.
 * Included once for each type computed in (SMC_T).
 */

#define max_of_strand SMC_V(max_of_strand)
#define load_left SMC_V(load_left)
#define store_left SMC_V(store_left)
#define exp_group SMC_V(exp_group)
#define exp_part SMC_V(exp_part)
#define add_term SMC_V(add_term)
#define add_two_terms SMC_V(add_two_terms)
#define whole_sum SMC_V(whole_sum)
#define tail_sum SMC_V(tail_sum)
#define whole_of_strand SMC_V(whole_of_strand)
#define tail_of_strand SMC_V(tail_of_strand)
#define softmax_sums SMC_V(softmax_sums)
#define find_maxima SMC_V(find_maxima)
#define add_sums SMC_V(add_sums)
#define finish_sums SMC_V(finish_sums)
#define moved SMC_V(moved)
#define select_shift SMC_V(select_shift)
#define merge_sums SMC_V(merge_sums)
#define sums_of_blocks SMC_V(sums_of_blocks)
#define sums_about SMC_V(sums_about)
#define log_of SMC_V(log_of)
#define log_of_sum SMC_V(log_of_sum)
#define nan_if_held SMC_V(nan_if_held)
#define softmax_tile SMC_V(softmax_tile)
#define log_softmax_tile SMC_V(log_softmax_tile)
#define logsumexp_tile SMC_V(logsumexp_tile)
#define sums_of_exp SMC_V(sums_of_exp)
#define inverse_of SMC_V(inverse_of)
#define times_inverse SMC_V(times_inverse)
#define scale_strand SMC_V(scale_strand)
#define quotients SMC_V(quotients)
#define quotient_strand SMC_V(quotient_strand)
#define logarithms SMC_V(logarithms)
#define log_strand SMC_V(log_strand)
#define forward_how SMC_V(forward_how)

#ifndef SMC_FORWARD_CONSTANTS
#define SMC_FORWARD_CONSTANTS
typedef enum { SMC_SOFTMAX, SMC_LOG_SOFTMAX, SMC_LOGSUMEXP } smc_ending;
typedef enum { SMC_TOTAL, SMC_TAIL } smc_sum; /* all exponentials; all but that of one maximum */
enum { SMC_SUM_STEPS = 32 };     /* vectors to an accumulator before it joins the running sum */
enum { SMC_UNPAIRED_MAX = 256 }; /* the longest row whose whole sum takes each term by itself */
enum { SMC_X, SMC_Y };           /* operands */
#endif

/* A vector, of which n numbers are left. */
SMC_INLINE vec load_left(const real *x, size_t n, vec fill) {
  return n >= W ? v_load(x) : v_load_n(x, n, fill);
}

SMC_INLINE void store_left(real *y, vec a, size_t n) {
  if (n >= W) {
    v_store(y, a);
  } else {
    v_store_n(y, a, n);
  }
}

/* ---- pass 1: the maximum of sign*x, lane by lane ------------------------------------------------- */

static vec max_of_strand(const real *x, size_t n, vec sign) {
  const vec none = v_set1((real)-INFINITY);
  vec m[SMC_GROUP];
  size_t i = 0;
  SMC_EACH(j, SMC_GROUP) m[j] = none;
  for (; i + SMC_GROUP * W <= n; i += SMC_GROUP * W) {
    SMC_EACH(j, SMC_GROUP) m[j] = v_max(m[j], v_mul(v_load(x + i + (size_t)j * W), sign));
  }
  for (; i < n; i += W) m[0] = v_max(m[0], v_mul(load_left(x + i, n - i, v_mul(none, sign)), sign));
  return v_max(v_max(m[0], m[1]), v_max(m[2], m[3]));
}

/* ---- pass 2: sums of exponentials ------------------------------------------------------------------ */

/* 2^LIFT exp(x - max) of n vectors; a becomes sign*x. */
SMC_INLINE void exp_group(vec *a, vec *e, const shift *sh, const scaling *scale, const int n,
                          const int general) {
  if (general) {
    SMC_EACH(j, n) a[j] = v_mul(a[j], scale->sign);
  }
  SMC_EACH(j, n) e[j] = a[j];
  exp_shifted(e, sh, scale, n, general);
}

/* The whole sum starts from an offset above any term, which is at most two terms of sqrt(2) 2^LIFT each,
 * and C of the table: the rounding error of each addition is then exact in three operations
 * (fast_two_sum) instead of six. */
SMC_INLINE void add_term(pair *sum, vec e, const smc_sum which) {
  pair s = which == SMC_TOTAL ? fast_two_sum(sum->hi, e) : two_sum(sum->hi, e);
  *sum = (pair){s.hi, v_add(sum->lo, s.lo)};
}

/* Two terms to a sum: `paired`, they are added to each other first, for one more rounding and less work. */
SMC_INLINE void add_two_terms(pair *sum, vec a, vec b, const smc_sum which, int paired) {
  if (paired) {
    add_term(sum, v_add(a, b), which);
  } else {
    add_term(sum, a, which);
    add_term(sum, b, which);
  }
}

/* The sum of 2^LIFT exp(x - max), which goes to y unless that is NULL. */
SMC_INLINE pair whole_sum(const real *x, real *y, size_t n, const shift *sh, const scaling *scale,
                          int paired, const int general) {
  const vec offset = v_set1(4 * SMC_C(LIFTED));
  const vec fill = v_mul(v_set1((real)-INFINITY), scale->sign);
  pair total = pair_of(0);
  for (size_t i = 0; i < n;) {
    const size_t end = n - i < SMC_SUM_STEPS * W ? n : i + SMC_SUM_STEPS * W;
    pair sum = {offset, v_set1(0)};
    for (; i + SMC_GROUP * W <= end; i += SMC_GROUP * W) {
      vec a[SMC_GROUP], e[SMC_GROUP];
      SMC_EACH(j, SMC_GROUP) a[j] = v_load(x + i + (size_t)j * W);
      exp_group(a, e, sh, scale, SMC_GROUP, general);
      if (y) {
        SMC_EACH(j, SMC_GROUP) v_store(y + i + (size_t)j * W, e[j]);
      }
      add_two_terms(&sum, e[0], e[1], SMC_TOTAL, paired);
      add_two_terms(&sum, e[2], e[3], SMC_TOTAL, paired);
    }
    for (; i < end; i += W) {
      vec a = load_left(x + i, n - i, fill), e;
      exp_group(&a, &e, sh, scale, 1, general);
      if (y) store_left(y + i, e, n - i);
      add_term(&sum, e, SMC_TOTAL);
    }
    total = pair_add(total, (pair){v_sub(sum.hi, offset), sum.lo});
  }
  return total;
}

/* The same without maxima; how many there are, is added to `peaks`. */
SMC_INLINE pair tail_sum(const real *x, real *y, size_t n, vec m, const shift *sh,
                         const scaling *scale, vec *peaks, const int general) {
  const vec zero = v_set1(0), one = v_set1(1);
  const vec fill = v_mul(v_set1((real)-INFINITY), scale->sign);
  pair total = pair_of(0);
  vec count = *peaks;
  for (size_t i = 0; i < n;) {
    const size_t end = n - i < SMC_SUM_STEPS * W ? n : i + SMC_SUM_STEPS * W;
    pair sum = {zero, zero};
    for (; i + SMC_GROUP * W <= end; i += SMC_GROUP * W) {
      vec a[SMC_GROUP], e[SMC_GROUP];
      SMC_EACH(j, SMC_GROUP) a[j] = v_load(x + i + (size_t)j * W);
      exp_group(a, e, sh, scale, SMC_GROUP, general);
      if (y) {
        SMC_EACH(j, SMC_GROUP) v_store(y + i + (size_t)j * W, e[j]);
      }
      SMC_EACH(j, SMC_GROUP) {
        mask peak = v_eq(a[j], m);
        e[j] = v_select(peak, zero, e[j]);
        count = v_add_if(peak, count, one);
      }
      add_term(&sum, v_add(e[0], e[1]), SMC_TAIL);
      add_term(&sum, v_add(e[2], e[3]), SMC_TAIL);
    }
    for (; i < end; i += W) {
      vec a = load_left(x + i, n - i, fill), e;
      exp_group(&a, &e, sh, scale, 1, general);
      if (y) store_left(y + i, e, n - i);
      mask peak = v_eq(a, m);
      count = v_add_if(peak, count, one);
      add_term(&sum, v_select(peak, zero, e), SMC_TAIL);
    }
    total = pair_add(total, sum);
  }
  *peaks = count;
  return total;
}

static pair whole_of_strand(const real *x, real *y, size_t n, const shift *sh,
                            const scaling *scale, int paired) {
  if (is_general(scale, sh)) return whole_sum(x, y, n, sh, scale, paired, 1);
  return whole_sum(x, y, n, sh, scale, paired, 0);
}

static pair tail_of_strand(const real *x, real *y, size_t n, vec m, const shift *sh,
                           const scaling *scale, vec *peaks) {
  if (is_general(scale, sh)) return tail_sum(x, y, n, m, sh, scale, peaks, 1);
  return tail_sum(x, y, n, m, sh, scale, peaks, 0);
}

/* What is known of the row (or rows) in a strand. */
typedef struct {
  vec m;      /* the maximum of sign*x */
  vec absent; /* what terms are left out of a tail: m */
  shift sh;   /* what sums are about */
  pair sum;   /* of SMC_TOTAL or SMC_TAIL */
  vec peaks;  /* how many terms were left out */
  vec nan;    /* of a tail, where m is infinite: NaN if the row holds one, else 0 */
} softmax_sums;

SMC_INLINE softmax_sums sums_about(vec m, shift sh) {
  return (softmax_sums){m, m, sh, pair_of(0), v_set1(0), v_set1(0)};
}

/* The maxima of the block at hand. */
static void find_maxima(const tile *t, const scaling *scale, softmax_sums *s) {
  for (size_t u = 0; u < t->strands; ++u) {
    s[u].m = max_of_strand(strand(t, SMC_X, u), t->length, scale->sign);
  }
  for (size_t u = 0; u < t->strands; ++u) s[u].m = reduce_max(t, s[u].m);
}

/* The terms of the block at hand, lane by lane. */
static void add_sums(const tile *t, const scaling *scale, smc_sum which, int keep,
                     softmax_sums *s) {
  const int precise = SMC_C(OCTAVE) > 1;
  const int paired = precise && !t->across && t->of->k > SMC_UNPAIRED_MAX;
  for (size_t u = 0; u < t->strands; ++u) {
    const real *x = strand(t, SMC_X, u);
    real *y = keep ? strand(t, t->of->inputs, u) : NULL;
    pair part = which == SMC_TOTAL
                    ? whole_of_strand(x, y, t->length, &s[u].sh, scale, paired)
                    : tail_of_strand(x, y, t->length, s[u].absent, &s[u].sh, scale, &s[u].peaks);
    s[u].sum = pair_add(s[u].sum, part);
  }
}

/* Of all lanes; a tail has left out every maximum, where it should one. */
static void finish_sums(const tile *t, const scaling *scale, smc_sum which, softmax_sums *s) {
  for (size_t u = 0; u < t->strands; ++u) s[u].sum = reduce_sum(t, s[u].sum);
  for (size_t u = 0; which == SMC_TAIL && u < t->strands; ++u) {
    vec peaks = reduce_sum(t, (pair){s[u].peaks, v_set1(0)}).hi;
    vec more = v_max(v_set1(0), v_sub(peaks, v_set1(1)));
    if (v_count(v_lt(v_set1(0), more)) == 0) continue;
    pair e = exp_of_peak(s[u].m, &s[u].sh, scale);
    vec product = v_mul(e.hi, more);
    pair ties = {product, v_fma(e.lo, more, v_mul_err(e.hi, more, product))};
    s[u].sum = normalized(pair_add(s[u].sum, ties));
  }
}

/* a, which is about one shift, about another one that is not lower.  What is less than the share of the
 * least term is as good as nothing: so the power of two has a bound, and is applied in halves. */
SMC_INLINE pair moved(pair a, const shift *from, const shift *to) {
  vec n = v_mul(v_sub(to->origin, from->origin), v_set1((real)1 / SMC_C(OCTAVE)));
  n = v_max(v_set1(-3 * SMC_C(LIFT)), n);
  vec half = v_round(v_mul(n, v_set1((real)0.5)));
  a = pair_times_power(a, v_ldexp(v_set1(1), half));
  return pair_times_power(a, v_ldexp(v_set1(1), v_sub(n, half)));
}

SMC_INLINE shift select_shift(mask m, const shift *a, const shift *b) {
  return (shift){v_set1(0), v_select(m, a->peak, b->peak), v_select(m, a->floor, b->floor),
                 v_select(m, a->origin, b->origin)};
}

/* Of two parts of a row, whose shifts have no center. */
static void merge_sums(softmax_sums *s, const softmax_sums *more, const scaling *scale,
                       smc_sum which) {
  mask higher = v_lt(s->m, more->m);
  shift top = select_shift(higher, &more->sh, &s->sh), low = select_shift(higher, &s->sh, &more->sh);
  pair sum = pair_add(moved(s->sum, &s->sh, &top), moved(more->sum, &more->sh, &top));
  if (which == SMC_TAIL) { /* the lower maximum has been left out, if it was not too low for that */
    vec m = v_select(higher, s->m, more->m), zero = v_set1(0);
    mask counted = v_eq(v_select(higher, s->absent, more->absent), m);
    pair e = moved(exp_of_peak(m, &low, scale), &low, &top);
    sum = pair_add(sum, (pair){v_select(counted, e.hi, zero), v_select(counted, e.lo, zero)});
  }
  s->absent = v_select(higher, more->absent, s->absent);
  s->m = v_select(higher, more->m, s->m);
  s->sh = top;
  s->sum = normalized(sum);
}

/* What is 0, or NaN in a row that holds one, to be added to an infinite maximum; it is rare, so the row
 * is looked at only then. */
static vec nan_if_held(tile *t, size_t u, vec m) {
  vec nan = v_set1(0);
  if (v_count(v_lt(v_abs(m), v_set1((real)INFINITY))) == W) return nan;
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    const real *x = strand(t, SMC_X, u);
    for (size_t i = 0; i < t->length; i += W) {
      vec a = load_left(x + i, t->length - i, v_set1(0));
      nan = v_select(v_eq(a, a), nan, a);
    }
  }
  if (!t->across) {
    SMC_UNROLL for (size_t d = W / 2; d; d /= 2) nan = v_add(nan, v_xor_lanes(nan, (int)d));
  }
  return nan;
}

/* Of a row of many blocks: the sums about the maximum of each are merged.  Only where the maximum of
 * the row is so large that it has to be subtracted, all are about that, and the row is read once more. */
static void sums_of_blocks(tile *t, const scaling *scale, smc_sum which, softmax_sums *s) {
  softmax_sums part[SMC_MAX_STRANDS];
  const vec least = v_set1(-SMC_C(SHIFT_LIMIT)), none = v_set1((real)INFINITY);
  int far = 0;
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    softmax_sums *now = begin ? part : s;
    enter_block(t, begin);
    find_maxima(t, scale, now);
    for (size_t u = 0; u < t->strands; ++u) {
      vec peak = scaled_maximum(now[u].m, scale);
      now[u] = sums_about(now[u].m, shift_about(v_max(least, peak)));
      now[u].absent = v_select(v_lt(peak, least), none, now[u].m);
    }
    add_sums(t, scale, which, 0, now);
    finish_sums(t, scale, which, now);
    for (size_t u = 0; begin && u < t->strands; ++u) merge_sums(&s[u], &part[u], scale, which);
  }
  for (size_t u = 0; u < t->strands; ++u) {
    part[u] = sums_about(s[u].m, make_shift(s[u].m, scale));
    if (which == SMC_TAIL) s[u].nan = nan_if_held(t, u, s[u].m);
    far |= v_count(v_eq(part[u].sh.center, v_set1(0))) != W;
  }
  if (!far) return;
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    add_sums(t, scale, which, 0, part);
  }
  finish_sums(t, scale, which, part);
  for (size_t u = 0; u < t->strands; ++u) {
    mask near = v_eq(part[u].sh.center, v_set1(0));
    s[u].sum.hi = v_select(near, s[u].sum.hi, part[u].sum.hi);
    s[u].sum.lo = v_select(near, s[u].sum.lo, part[u].sum.lo);
    s[u].sh = part[u].sh;
  }
}

/* Passes 1 and 2.  The exponentials of a single block go to the output, if they are to be kept. */
static void sums_of_exp(tile *t, const scaling *scale, smc_sum which, int keep, softmax_sums *s) {
  if (!is_single_block(t)) {
    sums_of_blocks(t, scale, which, s);
    return;
  }
  enter_block(t, 0);
  find_maxima(t, scale, s);
  for (size_t u = 0; u < t->strands; ++u) {
    s[u] = sums_about(s[u].m, make_shift(s[u].m, scale));
    if (which == SMC_TAIL) s[u].nan = nan_if_held(t, u, s[u].m);
  }
  add_sums(t, scale, which, keep, s);
  finish_sums(t, scale, which, s);
}

/* ---- pass 3: the results ------------------------------------------------------------------------ */

/* 1/S, with its rounding error. */
SMC_INLINE pair inverse_of(pair sum) {
  vec inverse = v_div(v_set1(1), sum.hi), product = v_mul(sum.hi, inverse);
  vec rest = v_sub(v_sub(v_set1(1), product), v_mul_err(sum.hi, inverse, product));
  return (pair){inverse, v_mul(v_fnma(sum.lo, inverse, rest), inverse)};
}

/* e/S, with little more than the rounding of the result. */
SMC_INLINE vec times_inverse(vec e, const pair inverse) {
#if SMC_FUSED
  return v_fma(e, inverse.hi, v_mul(e, inverse.lo));
#else
  vec product = v_mul(e, inverse.hi);
  vec error = v_mul_err(e, inverse.hi, product);
  return v_add(product, v_fma(e, inverse.lo, error));
#endif
}

/* y = e/S, where e is in y already */
static void scale_strand(real *y, size_t n, const pair inverse) {
  size_t i = 0;
  for (; i + SMC_GROUP * W <= n; i += SMC_GROUP * W) {
    vec e[SMC_GROUP];
    SMC_EACH(j, SMC_GROUP) e[j] = times_inverse(v_load(y + i + (size_t)j * W), inverse);
    SMC_EACH(j, SMC_GROUP) v_store(y + i + (size_t)j * W, e[j]);
  }
  for (; i < n; i += W) {
    store_left(y + i, times_inverse(load_left(y + i, n - i, v_set1(0)), inverse), n - i);
  }
}

/* y = e/S, e computed once more */
SMC_INLINE void quotients(const real *x, real *y, size_t n, const shift *sh, const scaling *scale,
                          const pair inverse, const int general) {
  size_t i = 0;
  for (; i + SMC_GROUP * W <= n; i += SMC_GROUP * W) {
    vec a[SMC_GROUP], e[SMC_GROUP];
    SMC_EACH(j, SMC_GROUP) a[j] = v_load(x + i + (size_t)j * W);
    exp_group(a, e, sh, scale, SMC_GROUP, general);
    SMC_EACH(j, SMC_GROUP) v_store(y + i + (size_t)j * W, times_inverse(e[j], inverse));
  }
  for (; i < n; i += W) {
    vec a = load_left(x + i, n - i, v_set1(0)), e;
    exp_group(&a, &e, sh, scale, 1, general);
    store_left(y + i, times_inverse(e, inverse), n - i);
  }
}

static void quotient_strand(const real *x, real *y, size_t n, const shift *sh,
                            const scaling *scale, const pair inverse) {
  if (is_general(scale, sh)) {
    quotients(x, y, n, sh, scale, inverse, 1);
  } else {
    quotients(x, y, n, sh, scale, inverse, 0);
  }
}

/* scale*(x - max) - log1p(S'/e_k): two terms of one sign.  In halves if scaled, for x - max may
 * overflow where scale*(x - max) does not. */
SMC_INLINE vec log_of(vec a, vec m, vec log, const scaling *scale, const int scaled) {
  if (!scaled) return v_sub(v_sub(a, m), log);
  vec half = v_set1((real)0.5);
  vec d = v_sub(v_mul(v_mul(a, scale->sign), half), v_mul(m, half));
  vec bounded = v_max(v_set1(-SMC_C(MAX)), d); /* as infinity times a rest of 0 is NaN */
  vec rest = v_fma(bounded, v_add(scale->rest, scale->rest), v_sub(v_set1(0), log));
  return v_fma(d, v_add(scale->magnitude, scale->magnitude), rest);
}

SMC_INLINE void logarithms(const real *x, real *y, size_t n, vec m, vec log, const scaling *scale,
                           const int scaled) {
  size_t i = 0;
  for (; i + SMC_GROUP * W <= n; i += SMC_GROUP * W) {
    vec a[SMC_GROUP];
    SMC_EACH(j, SMC_GROUP) a[j] = log_of(v_load(x + i + (size_t)j * W), m, log, scale, scaled);
    SMC_EACH(j, SMC_GROUP) v_store(y + i + (size_t)j * W, a[j]);
  }
  for (; i < n; i += W) {
    vec a = load_left(x + i, n - i, v_set1(0));
    store_left(y + i, log_of(a, m, log, scale, scaled), n - i);
  }
}

static void log_strand(const real *x, real *y, size_t n, vec m, vec log, const scaling *scale) {
  if (scale->active) {
    logarithms(x, y, n, m, log, scale, 1);
  } else {
    logarithms(x, y, n, m, log, scale, 0);
  }
}

/* log1p(S'/e_k) */
SMC_INLINE vec log_of_sum(const softmax_sums *s, const scaling *scale) {
  return log1p_of_pair(pair_quotient(s->sum, exp_of_peak(s->m, &s->sh, scale)));
}

typedef struct {
  smc_ending ending;
  double scale;
  smc_view lse; /* of SMC_LOGSUMEXP: one value for each row */
} forward_how;

/* operands: x; y, of x's shape, unless only the logsumexp is wanted */
static void softmax_tile(tile *t, const void *extra) {
  const scaling scale = scaling_by(((const forward_how *)extra)->scale);
  const int keep = is_single_block(t);
  softmax_sums s[SMC_MAX_STRANDS];
  pair inverse[SMC_MAX_STRANDS];
  sums_of_exp(t, &scale, SMC_TOTAL, keep, s);
  for (size_t u = 0; u < t->strands; ++u) inverse[u] = inverse_of(s[u].sum);
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    for (size_t u = 0; u < t->strands; ++u) {
      const real *x = strand(t, SMC_X, u);
      real *y = strand(t, SMC_Y, u);
      if (keep) {
        scale_strand(y, t->length, inverse[u]);
      } else {
        quotient_strand(x, y, t->length, &s[u].sh, &scale, inverse[u]);
      }
    }
    leave_block(t);
  }
}

static void log_softmax_tile(tile *t, const void *extra) {
  const scaling scale = scaling_by(((const forward_how *)extra)->scale);
  softmax_sums s[SMC_MAX_STRANDS];
  vec log[SMC_MAX_STRANDS];
  sums_of_exp(t, &scale, SMC_TAIL, 0, s);
  for (size_t u = 0; u < t->strands; ++u) {
    /* NaN where the maximum is infinite: no element of such a row has a logarithm. */
    log[u] = v_add(log_of_sum(&s[u], &scale), v_sub(s[u].m, s[u].m));
  }
  for (size_t begin = 0; begin < t->of->k; begin += t->block) {
    enter_block(t, begin);
    for (size_t u = 0; u < t->strands; ++u) {
      log_strand(strand(t, SMC_X, u), strand(t, SMC_Y, u), t->length, s[u].m, log[u], &scale);
    }
    leave_block(t);
  }
}

static void logsumexp_tile(tile *t, const void *extra) {
  const smc_view *lse = &((const forward_how *)extra)->lse;
  const scaling scale = scaling_by(1);
  softmax_sums s[SMC_MAX_STRANDS];
  sums_of_exp(t, &scale, SMC_TAIL, 0, s);
  for (size_t u = 0; u < t->strands; ++u) {
    mask finite = v_lt(v_abs(s[u].m), v_set1((real)INFINITY));
    vec log = v_select(finite, log_of_sum(&s[u], &scale), s[u].nan);
    store_by_row(t, u, v_add(s[u].m, log), t->of->as->put, lse->data, lse->row);
  }
}
