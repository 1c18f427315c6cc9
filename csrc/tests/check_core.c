/* Every target of this processor, every dtype, rows of many lengths and strides, against the
 * formulas in long double.  In plain C, for processors that are emulated or have no Python: the
 * tests of the package, which are many more, are in Python.
 *
 * Returns non-zero if a result is wrong, or something was written that is not part of the output.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "arrays.h"
#include "formats.h"
#include "smcore_kernels.h"

/* ---- judging --------------------------------------------------------------------------------- */

static int failures;
static struct {
  const smc_target *target;
  const format *f;
  size_t n, k;
  int layout;
} now;

static void fail(const char *op, const char *what, real got, real want) {
  if (++failures > 20) return;
  printf("FAILED %s %s %s, %zu rows of %zu, %s: %s: %Lg instead of %Lg\n", now.target->name,
         now.f->name, op, now.n, now.k, layout_names[now.layout], what, got, want);
}

/* Within `units` of the last place of `size`, which is that of `want` unless terms cancel in it. */
static void expect(const char *op, const format *f, real got, real want, real size, real units) {
  if (isnan(want) ? isnan(got) : got == want) return;
  if (!(fabsl(got - want) <= bound(f, units) * unit(f, size))) fail(op, "value", got, want);
}

/* ---- the truth, for one row ------------------------------------------------------------------ */

typedef struct {
  real max, tail; /* tail: the sum of exp(x - max) without the first maximum */
  size_t peak;
} summary;

static summary summarize(const array *x, size_t i, real scale) {
  summary s = {-INFINITY, 0, 0};
  for (size_t c = 0; c < x->k; ++c) {
    real a = scale * get(x->f, element(x, i, c));
    if (a > s.max) s.max = a, s.peak = c;
  }
  real at_peak = get(x->f, element(x, i, s.peak));
  for (size_t c = 0; c < x->k; ++c) {
    if (c != s.peak) s.tail += expl(scale * (get(x->f, element(x, i, c)) - at_peak));
  }
  return s;
}

static real below_max(const array *x, size_t i, size_t c, summary s, real scale) {
  return scale * (get(x->f, element(x, i, c)) - get(x->f, element(x, i, s.peak)));
}

/* ---- the operations -------------------------------------------------------------------------- */

/* An error of some epsilon in all, and less where the logarithm is small. */
static void check_partial(const smc_kernels *kernels, const array *x) {
  const format *f = &formats[x->f->computed];
  array m = make(f, x->n, 1, now.layout), s = make(f, x->n, 1, now.layout);
  kernels->logsumexp_partial(
      &(smc_call){.operands = {x->view, m.view, s.view}, .n = x->n, .k = x->k});
  for (size_t i = 0; i < x->n; ++i) {
    const summary row = summarize(x, i, 1);
    const real log = log1pl(row.tail), size = fminl(1, 2 * fmaxl(fabsl(row.max), log));
    const real first = get(f, element(&m, i, 0)), rest = get(f, element(&s, i, 0));
    expect("logsumexp_partial", f, (first - row.max) + rest, log, size, 3);
    if (fabsl(rest) > unit(f, first)) fail("logsumexp_partial", "rest", rest, first);
  }
  if (!kept_outside(&m)) fail("logsumexp_partial", "wrote outside of its output", 0, 0);
  if (!kept_outside(&s)) fail("logsumexp_partial", "wrote outside of its output", 0, 0);
  release(&m), release(&s);
}

static void check_forward(const smc_kernels *kernels, array *x, real scale) {
  const format *f = x->f;
  array s = make(f, x->n, x->k, now.layout), l = make(f, x->n, x->k, now.layout);
  array e = make(f, x->n, 1, now.layout);
  kernels->softmax(
      &(smc_call){.operands = {x->view, s.view}, .n = x->n, .k = x->k, .scale = (double)scale});
  kernels->log_softmax(
      &(smc_call){.operands = {x->view, l.view}, .n = x->n, .k = x->k, .scale = (double)scale});
  kernels->logsumexp(&(smc_call){.operands = {x->view, e.view}, .n = x->n, .k = x->k});
  for (size_t i = 0; i < x->n; ++i) {
    summary row = summarize(x, i, scale), plain = summarize(x, i, 1);
    real log = log1pl(plain.tail), lse = plain.max + log;
    for (size_t c = 0; c < x->k; ++c) {
      real d = below_max(x, i, c, row, scale);
      real softmax = expl(d) / (1 + row.tail), log_softmax = d - log1pl(row.tail);
      expect("softmax", f, get(f, element(&s, i, c)), softmax, softmax, 3);
      expect("log_softmax", f, get(f, element(&l, i, c)), log_softmax, log_softmax, 3);
    }
    expect("logsumexp", f, get(f, element(&e, i, 0)), lse, fmaxl(fabsl(lse), log), 3);
  }
  if (!kept_outside(&s)) fail("softmax", "wrote outside of its output", 0, 0);
  if (!kept_outside(&l)) fail("log_softmax", "wrote outside of its output", 0, 0);
  if (!kept_outside(&e)) fail("logsumexp", "wrote outside of its output", 0, 0);
  release(&s), release(&l), release(&e);
}

/* From the logits: g relative to the peak, whose rounded s has no weight then.  Three units are
 * softmax's own; of 16 bits each s is half a unit off, or half of the least number, and a product
 * as much of its terms. */
static void check_product(const smc_kernels *kernels, array *x) {
  const format *f = x->f;
  array s = make(f, x->n, x->k, now.layout), g = make(f, x->n, x->k, now.layout);
  array y = make(f, x->n, x->k, now.layout);
  fill(&g, 0, 4);
  kernels->softmax(&(smc_call){.operands = {x->view, s.view}, .n = x->n, .k = x->k, .scale = 1});
  kernels->softmax_vjp(&(smc_call){.operands = {s.view, g.view, y.view}, .n = x->n, .k = x->k});
  for (size_t i = 0; i < x->n; ++i) {
    const summary row = summarize(x, i, 1);
    const real center = get(f, element(&g, i, row.peak));
    real dot = 0, size = 0;
    for (size_t c = 0; c < x->k; ++c) {
      const real p = expl(below_max(x, i, c, row, 1)) / (1 + row.tail);
      const real h = get(f, element(&g, i, c)) - center;
      dot += p * h, size += p * fabsl(h);
    }
    for (size_t c = 0; c < x->k; ++c) {
      const real p = expl(below_max(x, i, c, row, 1)) / (1 + row.tail);
      const real h = get(f, element(&g, i, c)) - center, terms = p * (fabsl(h) + size);
      const real most = f->size == 2 ? 4 * terms + ldexpl(64, f->min_exponent) : terms;
      expect("softmax_vjp", f, get(f, element(&y, i, c)), p * (h - dot), most, 7);
    }
  }
  if (!kept_outside(&y)) fail("softmax_vjp", "wrote outside of its output", 0, 0);
  release(&s), release(&g), release(&y);
}

/* Plain labels, or smoothed ones with some ignored: the gradient is (s - a)/n, a the target. */
static void check_cross_entropy(const smc_kernels *kernels, array *x, real smoothing) {
  const format *f = x->f, *computed = &formats[f->computed];
  const real on = 1 - smoothing, off = smoothing / (real)x->k, factor = 1 / (real)x->n;
  array grad = make(f, x->n, x->k, now.layout), loss = make(computed, x->n, 1, DENSE);
  array weight = make(computed, 1, x->k, DENSE);
  int64_t *labels = malloc(x->n * sizeof *labels);
  if (!labels) abort();
  for (size_t c = 0; c < x->k; ++c) put(computed, element(&weight, 0, c), 1);
  for (size_t i = 0; i < x->n; ++i) {
    size_t at_peak = summarize(x, i, 1).peak;
    labels[i] = (int64_t)(i % 3 ? (size_t)rand() % x->k : at_peak);
    if (smoothing > 0 && i % 5 == 4) labels[i] = -1;
  }
  const smc_targets targets = {.weight = weight.memory + 4 * computed->size,
                               .on = (double)on,
                               .off = (double)off,
                               .factor = (double)factor};
  const smc_view of_labels = {labels, (ptrdiff_t)sizeof *labels, 0};
  kernels->cross_entropy(&(smc_call){.operands = {x->view, {0}, grad.view, of_labels, loss.view},
                                     .n = x->n,
                                     .k = x->k,
                                     .targets = &targets});
  for (size_t i = 0; i < x->n; ++i) {
    summary row = summarize(x, i, 1);
    const size_t label = (size_t)labels[i];
    real total = 1 + row.tail, log = log1pl(row.tail), want = 0;
    for (size_t c = 0; c < x->k; ++c) {
      real d = below_max(x, i, c, row, 1), a = off + (c == label ? on : 0), s = expl(d) / total;
      real g = c == row.peak && c == label ? off * (real)(x->k - 1) - row.tail / total : s - a;
      if (labels[i] < 0) {
        a = g = 0;
      } else if (c == row.peak && c == label && smoothing == 0) {
        g = -row.tail / total;
      }
      want += a * (log - d);
      real size = smoothing > 0 ? fmaxl(s, a) : g;
      expect("cross_entropy: gradient", f, get(f, element(&grad, i, c)), factor * g, factor * size,
             4);
    }
    expect("cross_entropy: loss", computed, get(computed, element(&loss, i, 0)), want, want, 4);
  }
  if (!kept_outside(&grad)) fail("cross_entropy", "wrote outside of its output", 0, 0);
  if (!kept_outside(&loss)) fail("cross_entropy", "wrote outside of its losses", 0, 0);
  release(&grad), release(&loss), release(&weight);
  free(labels);
}

/* The sum of each row, a few numbers at once: pairs that have twice the digits of the type computed
 * in. */
static void check_merge(const smc_kernels *kernels, array *x) {
  const format *f = x->f;
  array parts[6];
  smc_call call = {.n = x->n, .k = 1};
  for (int i = 0; i < 6; ++i) {
    parts[i] = make(f, x->n, 1, now.layout);
    call.operands[i] = parts[i].view;
  }
  for (size_t i = 0; i < x->n; ++i) {
    put(f, element(&parts[0], i, 0), get(f, element(x, i, 0)));
    put(f, element(&parts[2], i, 0), get(f, element(x, i, x->k - 1)));
    for (int j = 0; j < 4; j += 2) {
      const real m = get(f, element(&parts[j], i, 0));
      put(f, element(&parts[j + 1], i, 0), uniform() * unit(f, m) / 2);
    }
  }
  kernels->logsumexp_merge(&call);
  for (size_t i = 0; i < x->n; ++i) {
    real value[6];
    for (int j = 0; j < 6; ++j) value[j] = get(f, element(&parts[j], i, 0));
    const real p = value[0] + value[1], q = value[2] + value[3], log = log1pl(expl(-fabsl(p - q)));
    /* The rest has digits down to a unit of the unit of m; the truth has its own. */
    const real known = ldexpl(fabsl(value[4]), f->digits - truth_digits() + 2);
    const real size = fmaxl(log, fmaxl(unit(f, value[4]), known));
    expect("logsumexp_merge", f, value[4] + value[5], fmaxl(p, q) + log, size, 3);
  }
  for (int i = 4; i < 6; ++i) {
    if (!kept_outside(&parts[i])) fail("logsumexp_merge", "wrote outside of its output", 0, 0);
  }
  for (int i = 0; i < 6; ++i) release(&parts[i]);
}

/* What the edges of the format give, in the last row and the last class. */
static void check_edges(const smc_kernels *kernels, array *x) {
  const format *f = x->f;
  const real values[] = {-INFINITY, NAN, INFINITY};
  for (size_t v = 0; v < sizeof values / sizeof *values; ++v) {
    array y = make(f, x->n, x->k, now.layout);
    real got, want = v == 0 && x->k > 1 ? 0 : (real)NAN;
    put(f, element(x, x->n - 1, x->k - 1), values[v]);
    kernels->softmax(&(smc_call){.operands = {x->view, y.view}, .n = x->n, .k = x->k, .scale = 1});
    got = get(f, element(&y, x->n - 1, x->k - 1));
    expect("softmax", f, got, want, want, 0);
    got = get(f, element(&y, x->n - 1, 0));
    if (v > 0 && !isnan(got)) fail("softmax", "of a row that holds NaN or infinity", got, NAN);
    release(&y);
  }
}

/* The parts of a row, the last one first. */
static int backwards(void *context, size_t parts, void (*body)(void *, size_t, size_t),
                     void *work) {
  (void)context;
  while (parts-- > 0) body(work, parts, parts + 1);
  return 0;
}

static smc_view row_of(const array *x, size_t i) {
  return (smc_view){element(x, i, 0), x->view.row, x->view.col};
}

static void expect_same(const char *what, const array *got, const array *want) {
  for (size_t i = 0; i < got->n; ++i) {
    for (size_t c = 0; c < got->k; ++c) {
      real a = get(got->f, element(got, i, c)), b = get(got->f, element(want, i, c));
      if (a != b) fail(what, "of a row alone, in parts", a, b);
    }
  }
}

/* A row has the same bits among others and alone, and with its parts in any order. */
static void check_row_alone(const smc_kernels *kernels) {
  const smc_parallel parallel = {backwards, NULL};
  const size_t n = now.n, k = now.k;
  array x = make(now.f, n, k, now.layout), g = make(now.f, n, k, now.layout);
  array s = make(now.f, n, k, now.layout), s1 = make(now.f, n, k, now.layout);
  array y = make(now.f, n, k, now.layout), y1 = make(now.f, n, k, now.layout);
  fill(&x, 0, 4), fill(&g, 0, 4);
  kernels->softmax(&(smc_call){.operands = {x.view, s.view}, .n = n, .k = k, .scale = 1});
  for (size_t i = 0; i < n; ++i) {
    kernels->softmax(&(smc_call){.operands = {row_of(&x, i), row_of(&s1, i)},
                                 .n = 1,
                                 .k = k,
                                 .scale = 1,
                                 .parallel = &parallel});
  }
  expect_same("softmax", &s1, &s);
  kernels->log_softmax(&(smc_call){.operands = {x.view, y.view}, .n = n, .k = k, .scale = 1});
  for (size_t i = 0; i < n; ++i) {
    kernels->log_softmax(&(smc_call){.operands = {row_of(&x, i), row_of(&y1, i)},
                                     .n = 1,
                                     .k = k,
                                     .scale = 1,
                                     .parallel = &parallel});
  }
  expect_same("log_softmax", &y1, &y);
  kernels->softmax_vjp(&(smc_call){.operands = {s.view, g.view, y.view}, .n = n, .k = k});
  for (size_t i = 0; i < n; ++i) {
    kernels->softmax_vjp(&(smc_call){.operands = {row_of(&s, i), row_of(&g, i), row_of(&y1, i)},
                                     .n = 1,
                                     .k = k,
                                     .parallel = &parallel});
  }
  expect_same("softmax_vjp", &y1, &y);
  release(&x), release(&g), release(&s), release(&s1), release(&y), release(&y1);
}

static void check_shape(const smc_kernels *kernels) {
  static const struct {
    real center, spread;
  } inputs[] = {{0, 4}, {0, 60}, {1000, 30}};
  for (size_t v = 0; v < sizeof inputs / sizeof *inputs; ++v) {
    array x = make(now.f, now.n, now.k, now.layout);
    fill(&x, inputs[v].center, inputs[v].spread);
    check_forward(kernels, &x, 1);
    check_partial(kernels, &x);
    if (inputs[v].center == 0) {
      check_forward(kernels, &x, (real)-0.8125);
      check_product(kernels, &x);
      if (now.f->size > 2) check_merge(kernels, &x);
      check_cross_entropy(kernels, &x, 0);
      check_cross_entropy(kernels, &x, (real)0.125);
    }
    check_edges(kernels, &x);
    release(&x);
  }
  check_row_alone(kernels);
}

/* Classes of a row that threads would share: with tiny thresholds, in the most parts that there
 * may be, none longer than whole k-blocks want. */
enum { IN_PARTS = 3 * 65536 + 1 };

int main(void) {
  static const size_t lengths[] = {1,  2,  3,  4,  5,  7,  8,  9,   10,  15,  16,  17,
                                   31, 33, 63, 64, 65, 66, 67, 100, 131, 257, 1025};
  for (size_t i = 0; (now.target = smc_available(i)) != NULL; ++i) {
    int before = failures;
    for (size_t d = 0; d < sizeof formats / sizeof *formats; ++d) {
      for (size_t l = 0; l < sizeof lengths / sizeof *lengths; ++l) {
        for (now.layout = 0; now.layout < LAYOUTS; ++now.layout) {
          now.f = &formats[d];
          now.k = lengths[l];
          now.n = now.k <= 32 ? 1 + (size_t)rand() % 70 : 1 + (size_t)rand() % 6;
          check_shape(now.target->kernels[now.f->dtype]);
        }
      }
    }
    for (size_t d = 0; d < sizeof formats / sizeof *formats; ++d) {
      now.f = &formats[d], now.layout = DENSE, now.n = 1, now.k = IN_PARTS;
      check_row_alone(now.target->kernels[now.f->dtype]);
    }
    printf("%s: %s\n", now.target->name, failures > before ? "FAILED" : "OK");
  }
  printf("%s\n", smc_compiler());
  return failures > 0;
}
