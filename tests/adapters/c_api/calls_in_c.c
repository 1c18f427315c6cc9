/* Every function of smcore.h for Python: pointers are numbers, and the GIL is given up. */
#include <Python.h>
#include <fenv.h>
#include <smcore.h>

static const smcore_api *smcore;

typedef struct {
  unsigned long long data;
  Py_ssize_t row, col;
} rows;

#define AT(x) ((void *)(uintptr_t)(x))
#define PUT(x) &x.data, &x.row, &x.col
#define ROWS(x) AT(x.data), x.row, x.col
#define ANSWER(format, value)                                                                      \
  Py_BEGIN_ALLOW_THREADS done = value;                                                             \
  Py_END_ALLOW_THREADS return Py_BuildValue(format, done)

#define MAP(name)                                                                                  \
  static PyObject *name(PyObject *self, PyObject *arguments) {                                     \
    int dtype, done;                                                                               \
    Py_ssize_t n, k;                                                                               \
    rows x, y;                                                                                     \
    double scale;                                                                                  \
    (void)self;                                                                                    \
    if (!PyArg_ParseTuple(arguments, "innKnnKnnd", &dtype, &n, &k, PUT(x), PUT(y), &scale))        \
      return NULL;                                                                                 \
    ANSWER("i", smcore->name(dtype, (size_t)n, (size_t)k, ROWS(x), ROWS(y), scale));               \
  }
MAP(softmax_rows)
MAP(log_softmax_rows)

#define PRODUCT(name)                                                                              \
  static PyObject *name(PyObject *self, PyObject *arguments) {                                     \
    int dtype, done;                                                                               \
    Py_ssize_t n, k;                                                                               \
    rows s, g, y;                                                                                  \
    (void)self;                                                                                    \
    if (!PyArg_ParseTuple(arguments, "innKnnKnnKnn", &dtype, &n, &k, PUT(s), PUT(g), PUT(y)))      \
      return NULL;                                                                                 \
    ANSWER("i", smcore->name(dtype, (size_t)n, (size_t)k, ROWS(s), ROWS(g), ROWS(y)));             \
  }
PRODUCT(softmax_vjp_rows)
PRODUCT(log_softmax_vjp_rows)
PRODUCT(log_softmax_jvp_rows)

static PyObject *logsumexp_rows(PyObject *self, PyObject *arguments) {
  int dtype, done;
  Py_ssize_t n, k;
  rows x;
  unsigned long long y;
  (void)self;
  if (!PyArg_ParseTuple(arguments, "innKnnK", &dtype, &n, &k, PUT(x), &y)) return NULL;
  ANSWER("i", smcore->logsumexp_rows(dtype, (size_t)n, (size_t)k, ROWS(x), AT(y)));
}

static PyObject *logsumexp_vjp_rows(PyObject *self, PyObject *arguments) {
  int dtype, done;
  Py_ssize_t n, k;
  rows x, y;
  unsigned long long lse, g;
  (void)self;
  if (!PyArg_ParseTuple(arguments, "innKnnKKKnn", &dtype, &n, &k, PUT(x), &lse, &g, PUT(y)))
    return NULL;
  ANSWER("i",
         smcore->logsumexp_vjp_rows(dtype, (size_t)n, (size_t)k, ROWS(x), AT(lse), AT(g), ROWS(y)));
}

static PyObject *cross_entropy_rows(PyObject *self, PyObject *arguments) {
  int dtype, done;
  Py_ssize_t n, k;
  rows x, t, grad;
  unsigned long long labels, weight, sample_weight, loss, lse;
  double label_smoothing, z_loss, factor;
  (void)self;
  if (!PyArg_ParseTuple(arguments, "innKnnKKnnKKdddKKKnn", &dtype, &n, &k, PUT(x), &labels, PUT(t),
                        &weight, &sample_weight, &label_smoothing, &z_loss, &factor, &loss, &lse,
                        PUT(grad)))
    return NULL;
  ANSWER("i", smcore->cross_entropy_rows(dtype, (size_t)n, (size_t)k, ROWS(x), AT(labels), ROWS(t),
                                         AT(weight), AT(sample_weight), label_smoothing, z_loss,
                                         factor, AT(loss), AT(lse), ROWS(grad)));
}

static PyObject *sum_values(PyObject *self, PyObject *arguments) {
  int dtype;
  double done;
  Py_ssize_t n;
  unsigned long long values;
  (void)self;
  if (!PyArg_ParseTuple(arguments, "inK", &dtype, &n, &values)) return NULL;
  ANSWER("d", smcore->sum_values(dtype, (size_t)n, AT(values)));
}

/* The floating-point flags that a softmax leaves behind. */
static PyObject *flags(PyObject *self, PyObject *arguments) {
  PyObject *done;
  int found;
  feclearexcept(FE_ALL_EXCEPT);
  done = softmax_rows(self, arguments);
  found = fetestexcept(FE_ALL_EXCEPT & ~FE_INEXACT);
  feclearexcept(FE_ALL_EXCEPT);
  if (done == NULL) return NULL;
  Py_DECREF(done);
  return PyLong_FromLong(found);
}

#define METHOD(name) {#name, name, METH_VARARGS, NULL}
static PyMethodDef methods[] = {
    METHOD(softmax_rows),         METHOD(log_softmax_rows),
    METHOD(softmax_vjp_rows),     METHOD(log_softmax_vjp_rows),
    METHOD(log_softmax_jvp_rows), METHOD(logsumexp_rows),
    METHOD(logsumexp_vjp_rows),   METHOD(cross_entropy_rows),
    METHOD(sum_values),           METHOD(flags),
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "calls_in_c", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_calls_in_c(void) {
  smcore = smcore_import();
  return smcore == NULL ? NULL : PyModule_Create(&module);
}
