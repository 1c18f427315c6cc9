/* What XLA calls: handlers of its foreign function interface, on top of the C API of smcore.
 *
 * XLA's arrays are dense. A handler works on all rows of a call in the thread of XLA that calls it.
 * It needs neither the GIL nor memory. All of them are made by _kernels.py's `define`, which says
 * what the operands are.
 */
#include <Python.h>

#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "smcore.h"
#include "xla/ffi/api/c_api.h"

static const smcore_api *smcore;

/* ---- Buffers and attributes ------------------------------------------------------------------ */

static const XLA_FFI_Buffer *argument(const XLA_FFI_CallFrame *frame, int64_t i) {
  return (const XLA_FFI_Buffer *)frame->args.args[i];
}

static const XLA_FFI_Buffer *result(const XLA_FFI_CallFrame *frame, int64_t i) {
  return (const XLA_FFI_Buffer *)frame->rets.rets[i];
}

/* The attribute of that name, of 8 bytes; NULL without one. */
static const void *attribute(const XLA_FFI_CallFrame *frame, const char *name) {
  const XLA_FFI_Attrs *attrs = &frame->attrs;
  for (int64_t i = 0; i < attrs->size; i++) {
    if (attrs->names[i]->len == strlen(name) && !memcmp(attrs->names[i]->ptr, name, strlen(name)) &&
        attrs->types[i] == XLA_FFI_AttrType_SCALAR)
      return ((const XLA_FFI_Scalar *)attrs->attrs[i])->value;
  }
  return NULL;
}

static double real(const XLA_FFI_CallFrame *frame, const char *name) {
  const double *value = (const double *)attribute(frame, name);
  return value == NULL ? 0 : *value;
}

static int64_t integer(const XLA_FFI_CallFrame *frame, const char *name) {
  const int64_t *value = (const int64_t *)attribute(frame, name);
  return value == NULL ? 0 : *value;
}

/* SMCORE_F32 and its like; or -1. */
static int dtype_of(const XLA_FFI_Buffer *buffer) {
  switch (buffer->dtype) {
  case XLA_FFI_DataType_F32: return SMCORE_F32;
  case XLA_FFI_DataType_F64: return SMCORE_F64;
  case XLA_FFI_DataType_F16: return SMCORE_F16;
  case XLA_FFI_DataType_BF16: return SMCORE_BF16;
  default: return -1;
  }
}

static size_t computed_size(int dtype) { return dtype == SMCORE_F64 ? 8 : 4; }
static size_t stored_size(int dtype) {
  return dtype == SMCORE_F64 ? 8 : dtype == SMCORE_F32 ? 4 : 2;
}

/* The product of all but the last `inner` dimensions. */
static size_t leading(const XLA_FFI_Buffer *buffer, int64_t inner) {
  size_t count = 1;
  for (int64_t i = 0; i + inner < buffer->rank; i++) count *= (size_t)buffer->dims[i];
  return count;
}

static size_t dim_from_end(const XLA_FFI_Buffer *buffer, int64_t i) {
  return (size_t)buffer->dims[buffer->rank - i];
}

static const void *at(const void *data, size_t bytes) { return (const char *)data + bytes; }
static void *to(void *data, size_t bytes) { return (char *)data + bytes; }

/* A number of the type computed in. */
static double number(int dtype, const void *values, size_t i) {
  return dtype == SMCORE_F64 ? ((const double *)values)[i] : ((const float *)values)[i];
}

static void put_number(int dtype, void *values, size_t i, double value) {
  if (dtype == SMCORE_F64)
    ((double *)values)[i] = value;
  else
    ((float *)values)[i] = (float)value;
}

/* ---- The call -------------------------------------------------------------------------------- */

static XLA_FFI_Error *error(const XLA_FFI_CallFrame *frame, const char *message) {
  XLA_FFI_Error_Create_Args args = {.struct_size = XLA_FFI_Error_Create_Args_STRUCT_SIZE,
                                    .message = message,
                                    .errc = XLA_FFI_Error_Code_INVALID_ARGUMENT};
  return frame->api->XLA_FFI_Error_Create(&args);
}

/* XLA asks, before the first call, for which version a handler was compiled.  Returns whether. */
static int was_asked(XLA_FFI_CallFrame *frame) {
  XLA_FFI_Extension_Base *extension = frame->extension_start;
  if (extension == NULL || extension->type != XLA_FFI_Extension_Metadata) return 0;
  XLA_FFI_Metadata *metadata = ((XLA_FFI_Metadata_Extension *)extension)->metadata;
  metadata->api_version.major_version = XLA_FFI_API_MAJOR;
  metadata->api_version.minor_version = XLA_FFI_API_MINOR;
  return 1;
}

typedef int (*map_rows)(int, size_t, size_t, const void *, ptrdiff_t, ptrdiff_t, void *, ptrdiff_t,
                        ptrdiff_t, double);

/* x, and one scale a row if there are any; y. */
static XLA_FFI_Error *map(XLA_FFI_CallFrame *frame, map_rows rows) {
  if (was_asked(frame)) return NULL;
  const XLA_FFI_Buffer *x = argument(frame, 0);
  int dtype = dtype_of(x);
  size_t k = dim_from_end(x, 1), n = leading(x, 1), size = k * stored_size(dtype);
  ptrdiff_t step = (ptrdiff_t)k;
  void *y = result(frame, 0)->data;
  if (frame->args.size == 1) {
    rows(dtype, n, k, x->data, step, 1, y, step, 1, 1.0);
    return NULL;
  }
  const void *scales = argument(frame, 1)->data;
  for (size_t i = 0; i < n; i++) {
    double scale = number(dtype, scales, i);
    rows(dtype, 1, k, at(x->data, i * size), step, 1, to(y, i * size), step, 1, scale);
  }
  return NULL;
}

static XLA_FFI_Error *softmax(XLA_FFI_CallFrame *frame) { return map(frame, smcore->softmax_rows); }

static XLA_FFI_Error *log_softmax(XLA_FFI_CallFrame *frame) {
  return map(frame, smcore->log_softmax_rows);
}

static XLA_FFI_Error *logsumexp(XLA_FFI_CallFrame *frame) {
  if (was_asked(frame)) return NULL;
  const XLA_FFI_Buffer *x = argument(frame, 0);
  size_t k = dim_from_end(x, 1);
  smcore->logsumexp_rows(dtype_of(x), leading(x, 1), k, x->data, (ptrdiff_t)k, 1,
                         result(frame, 0)->data);
  return NULL;
}

enum { ROWS = 64 }; /* that kernels take together, if rows are short */

/* exp(x - lse) of x and lse. */
static XLA_FFI_Error *softmax_of_lse(XLA_FFI_CallFrame *frame) {
  if (was_asked(frame)) return NULL;
  const XLA_FFI_Buffer *x = argument(frame, 0);
  int dtype = dtype_of(x);
  size_t k = dim_from_end(x, 1), n = leading(x, 1), size = stored_size(dtype);
  ptrdiff_t step = (ptrdiff_t)k;
  const void *lse = argument(frame, 1)->data;
  double ones[ROWS]; /* of any dtype */
  for (int i = 0; i < ROWS; i++) {
    const uint16_t half = dtype == SMCORE_F16 ? 0x3c00 : 0x3f80;
    if (size == 2)
      ((uint16_t *)(void *)ones)[i] = half;
    else
      put_number(dtype, ones, (size_t)i, 1);
  }
  for (size_t i = 0; i < n; i += ROWS) {
    size_t count = n - i < ROWS ? n - i : ROWS;
    smcore->logsumexp_vjp_rows(dtype, count, k, at(x->data, i * k * size), step, 1,
                               at(lse, i * size), ones, to(result(frame, 0)->data, i * k * size),
                               step, 1);
  }
  return NULL;
}

typedef int (*multiply_rows)(int, size_t, size_t, const void *, ptrdiff_t, ptrdiff_t, const void *,
                             ptrdiff_t, ptrdiff_t, void *, ptrdiff_t, ptrdiff_t);

/* A forward result and a vector; their product. */
static XLA_FFI_Error *multiply(XLA_FFI_CallFrame *frame, multiply_rows rows) {
  if (was_asked(frame)) return NULL;
  const XLA_FFI_Buffer *s = argument(frame, 0);
  ptrdiff_t k = (ptrdiff_t)dim_from_end(s, 1);
  rows(dtype_of(s), leading(s, 1), (size_t)k, s->data, k, 1, argument(frame, 1)->data, k, 1,
       result(frame, 0)->data, k, 1);
  return NULL;
}

static XLA_FFI_Error *softmax_vjp(XLA_FFI_CallFrame *frame) {
  return multiply(frame, smcore->softmax_vjp_rows);
}

static XLA_FFI_Error *log_softmax_vjp(XLA_FFI_CallFrame *frame) {
  return multiply(frame, smcore->log_softmax_vjp_rows);
}

static XLA_FFI_Error *log_softmax_jvp(XLA_FFI_CallFrame *frame) {
  return multiply(frame, smcore->log_softmax_jvp_rows);
}

/* ---- Cross-entropy --------------------------------------------------------------------------- */

/* A label as the kernels know it, -1 if its row is ignored; whether it is one. */
static int read_label(const XLA_FFI_Buffer *labels, size_t i, int64_t ignored, size_t k,
                      int64_t *label) {
  if (labels->dtype == XLA_FFI_DataType_S64)
    *label = ((const int64_t *)labels->data)[i];
  else
    *label = ((const int32_t *)labels->data)[i];
  if (*label == ignored) {
    *label = -1;
    return 1;
  }
  return *label >= 0 && (uint64_t)*label < k;
}

static XLA_FFI_Error *wrong_label(const XLA_FFI_CallFrame *frame, size_t row, size_t k,
                                  int64_t label) {
  char message[160];
  snprintf(message, sizeof message,
           "target must hold labels 0 to %" PRIu64 ", or ignore_index (%" PRId64 "); found %" PRId64
           " in row %" PRIu64,
           (uint64_t)(k - 1), integer(frame, "ignore_index"), label, (uint64_t)row);
  return error(frame, message);
}

/* Of the first weight that is negative or not finite; else NULL. */
static XLA_FFI_Error *wrong_weight(const XLA_FFI_CallFrame *frame, int dtype, const void *weights,
                                   size_t n) {
  char message[100];
  for (size_t i = 0; weights != NULL && i < n; i++) {
    double weight = number(dtype, weights, i);
    if (weight >= 0 && weight <= DBL_MAX) continue;
    snprintf(message, sizeof message,
             "sample_weight must be finite and at least 0; found %g in row %" PRIu64, weight,
             (uint64_t)i);
    return error(frame, message);
  }
  return NULL;
}

/* Rows of weight 0 do not count, whatever they hold, and whatever the factor is. */
static void clear_rows(int dtype, const void *weights, size_t n, size_t row, void *losses,
                       void *grad) {
  for (size_t i = 0; i < n; i++) {
    if (number(dtype, weights, i) != 0) continue;
    put_number(dtype, losses, i, 0);
    if (grad != NULL) memset(to(grad, i * row), 0, row);
  }
}

/* x (..., N, K), labels (..., N) or probabilities (..., N, K), factor (...), weight (..., K) and
 * sample_weight (..., N) if the attributes say so; the losses, by row or their sum, times the
 * factor, and the gradient or none. */
static XLA_FFI_Error *cross_entropy(XLA_FFI_CallFrame *frame) {
  if (was_asked(frame)) return NULL;
  const XLA_FFI_Buffer *x = argument(frame, 0), *target = argument(frame, 1);
  const void *factors = argument(frame, 2)->data;
  const void *weight = integer(frame, "weight") ? argument(frame, 3)->data : NULL;
  const void *sample =
      integer(frame, "sample_weight") ? argument(frame, frame->args.size - 1)->data : NULL;
  void *losses = result(frame, 0)->data;
  void *grad = frame->rets.size > 1 ? result(frame, 1)->data : NULL;
  int dtype = dtype_of(x), has_labels = target->rank < x->rank;
  int by_row = result(frame, 0)->rank + 1 == x->rank;
  size_t k = dim_from_end(x, 1), n = dim_from_end(x, 2), batch = leading(x, 2);
  size_t size = stored_size(dtype), computed = computed_size(dtype);
  ptrdiff_t step = (ptrdiff_t)k;
  double smoothing = real(frame, "smoothing"), z_loss = real(frame, "z_loss");
  int64_t labels[ROWS], ignored = integer(frame, "ignore_index");
  double sums[ROWS]; /* losses of some rows, of the type computed in */
  XLA_FFI_Error *wrong = wrong_weight(frame, dtype, sample, batch * n);
  if (wrong != NULL) return wrong;
  for (size_t b = 0; b < batch; b++) {
    double factor = number(dtype, factors, b), total = 0, lost = 0;
    for (size_t i = 0; i < n; i += ROWS) {
      size_t count = n - i < ROWS ? n - i : ROWS, row = b * n + i, begin = row * k * size;
      const void *own = sample == NULL ? NULL : at(sample, row * computed);
      void *to_grad = grad == NULL ? NULL : to(grad, begin);
      for (size_t j = 0; has_labels && j < count; j++)
        if (!read_label(target, row + j, ignored, k, &labels[j]))
          return wrong_label(frame, row + j, k, labels[j]);
      smcore->cross_entropy_rows(dtype, count, k, at(x->data, begin), step, 1,
                                 has_labels ? labels : NULL,
                                 has_labels ? NULL : at(target->data, begin), step, 1,
                                 weight == NULL ? NULL : at(weight, b * k * computed), own,
                                 smoothing, z_loss, factor, sums, NULL, to_grad, step, 1);
      if (own != NULL) clear_rows(dtype, own, count, k * size, sums, to_grad);
      for (size_t j = 0; j < count; j++) {
        double loss = number(dtype, sums, j), next = total + loss;
        if (by_row) put_number(dtype, losses, row + j, factor * loss);
        lost += (total > loss ? total - next + loss : loss - next + total);
        total = next;
      }
    }
    if (!by_row) put_number(dtype, losses, b, factor * (lost == lost ? total + lost : total));
  }
  return NULL;
}

/* ---- The module ------------------------------------------------------------------------------ */

static const struct {
  const char *name;
  XLA_FFI_Handler *handler;
} handlers[] = {
    {"softmax", softmax},
    {"log_softmax", log_softmax},
    {"logsumexp", logsumexp},
    {"softmax_of_lse", softmax_of_lse},
    {"softmax_vjp", softmax_vjp},
    {"log_softmax_vjp", log_softmax_vjp},
    {"log_softmax_jvp", log_softmax_jvp},
    {"cross_entropy", cross_entropy},
};

/* A dict of capsules, as jax.ffi.register_ffi_target takes them. */
static PyObject *targets(PyObject *module, PyObject *none) {
  (void)module, (void)none;
  PyObject *found = PyDict_New();
  for (size_t i = 0; found != NULL && i < sizeof handlers / sizeof *handlers; i++) {
    void *address;
    memcpy(&address, &handlers[i].handler, sizeof address);
    PyObject *capsule = PyCapsule_New(address, NULL, NULL);
    if (capsule == NULL || PyDict_SetItemString(found, handlers[i].name, capsule) < 0)
      Py_CLEAR(found);
    Py_XDECREF(capsule);
  }
  return found;
}

static PyMethodDef methods[] = {
    {"targets", targets, METH_NOARGS, "Return the handlers by name, as capsules."},
    {NULL, NULL, 0, NULL}};

/* Which version of XLA's interface the handlers were compiled for; an older jaxlib refuses them. */
static int add_version(PyObject *module) {
  PyObject *version = Py_BuildValue("(ii)", XLA_FFI_API_MAJOR, XLA_FFI_API_MINOR);
  const int status = version == NULL ? -1 : PyModule_AddObjectRef(module, "version", version);
  Py_XDECREF(version);
  return status;
}

static int import_smcore(PyObject *module) {
  smcore = smcore_import();
  return smcore == NULL ? -1 : add_version(module);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)import_smcore},
#if PY_VERSION_HEX >= 0x030d0000
                                   {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
                                   {0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "smcore.jax._ffi",
                                    .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC PyInit__ffi(void) { return PyModuleDef_Init(&module); }
