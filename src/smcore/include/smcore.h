/* The C API of smcore: softmax, its derivatives and its losses, on rows of numbers in memory.
 *
 *     #include <Python.h>
 *     #include <smcore.h>
 *
 *     static const smcore_api *smcore;
 *
 *     if ((smcore = smcore_import()) == NULL) return NULL;  // once, with the GIL
 *     smcore->softmax_rows(SMCORE_F32, n, k, x, k, 1, y, k, 1, 1.0);
 *
 * smcore.get_include() is the folder of this file.  There is nothing to link.
 *
 * What holds for all functions:
 *
 * - They need no GIL, allocate nothing, keep no state, and work in the thread that calls, of which
 *   they take up to 64 KiB of stack.  Any number of threads may call them at once.
 * - They are those of Python: the same kernels and the same bits, for the target that is in use
 *   (use_target) when they are called.  No floating-point flag is left behind that Python would not
 *   leave.
 * - Rows: n of them, with k elements each.  The strides after a pointer are in elements: from a row
 *   to the next, and from one element of a row to the next.  They may be anything, 0 (of what is
 *   read) and negative included.
 * - Values, one for each row, lie side by side, and so do weights, one for each class.
 * - Every element is aligned for its type.  An output may be the very memory of an input (same
 *   address, same strides), and otherwise overlaps none.
 * - `dtype` says what rows are made of: all pointers that are void are to that type, except where
 *   it says "computed in", which is double for SMCORE_F64 and float for all others.
 * - They return 0; or -1 if there is no such dtype, k is 0, or a label is k or more, and then
 *   nothing has been written.  Nothing else is checked.
 */
#ifndef SMCORE_H
#define SMCORE_H

#include <Python.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Functions are only ever added to the end of smcore_api, which makes it larger.  Any other change
 * would be another version. */
#define SMCORE_API_VERSION 1

/* float; double; the bits of a float of 16 bits, IEEE 754's or bfloat16, as uint16_t. */
enum { SMCORE_F32, SMCORE_F64, SMCORE_F16, SMCORE_BF16 };

typedef struct {
  uint32_t version; /* SMCORE_API_VERSION of the smcore that is imported */
  uint32_t size;    /* of this structure there, in bytes */

  /* y = softmax(scale * x); its logarithm. */
  int (*softmax_rows)(int dtype, size_t n, size_t k, const void *x, ptrdiff_t x_row,
                      ptrdiff_t x_col, void *y, ptrdiff_t y_row, ptrdiff_t y_col, double scale);
  int (*log_softmax_rows)(int dtype, size_t n, size_t k, const void *x, ptrdiff_t x_row,
                          ptrdiff_t x_col, void *y, ptrdiff_t y_row, ptrdiff_t y_col, double scale);

  /* y: the value log(sum(exp(x))) of each row. */
  int (*logsumexp_rows)(int dtype, size_t n, size_t k, const void *x, ptrdiff_t x_row,
                        ptrdiff_t x_col, void *y);

  /* The gradient by x, from that by s = softmax(x), which is g.  As the Jacobian is symmetric, it
   * is also the tangent of s, from that of x. */
  int (*softmax_vjp_rows)(int dtype, size_t n, size_t k, const void *s, ptrdiff_t s_row,
                          ptrdiff_t s_col, const void *g, ptrdiff_t g_row, ptrdiff_t g_col, void *y,
                          ptrdiff_t y_row, ptrdiff_t y_col);

  /* The gradient by x, from that by log_s = log_softmax(x), which is g; and the tangent of log_s,
   * from that of x, which is v. */
  int (*log_softmax_vjp_rows)(int dtype, size_t n, size_t k, const void *log_s, ptrdiff_t log_s_row,
                              ptrdiff_t log_s_col, const void *g, ptrdiff_t g_row, ptrdiff_t g_col,
                              void *y, ptrdiff_t y_row, ptrdiff_t y_col);
  int (*log_softmax_jvp_rows)(int dtype, size_t n, size_t k, const void *log_s, ptrdiff_t log_s_row,
                              ptrdiff_t log_s_col, const void *v, ptrdiff_t v_row, ptrdiff_t v_col,
                              void *y, ptrdiff_t y_row, ptrdiff_t y_col);

  /* y = g * exp(x - lse): the gradient by x, from the values g, that by lse = logsumexp(x). */
  int (*logsumexp_vjp_rows)(int dtype, size_t n, size_t k, const void *x, ptrdiff_t x_row,
                            ptrdiff_t x_col, const void *lse, const void *g, void *y,
                            ptrdiff_t y_row, ptrdiff_t y_col);

  /* The loss of each row of logits x, and `factor` times its gradient by x.  The target of a row is
   * its label, or where `labels` is NULL a distribution t.  A row whose label is negative is
   * ignored: its loss and gradient are 0.  Of the type computed in: `weight` (of the classes, or
   * NULL), and the values `sample_weight` (factors of loss and gradient, at least 0, or NULL),
   * `loss` and `lse` (the logsumexp, or NULL).  `grad` may be NULL. */
  int (*cross_entropy_rows)(int dtype, size_t n, size_t k, const void *x, ptrdiff_t x_row,
                            ptrdiff_t x_col, const int64_t *labels, const void *t, ptrdiff_t t_row,
                            ptrdiff_t t_col, const void *weight, const void *sample_weight,
                            double label_smoothing, double z_loss, double factor, void *loss,
                            void *lse, void *grad, ptrdiff_t grad_row, ptrdiff_t grad_col);

  /* The sum of n values side by side, of SMCORE_F32 or SMCORE_F64 (else NaN), as Python sums
   * losses: in double, with what rounding takes from it summed apart. */
  double (*sum_values)(int dtype, size_t n, const void *values);
} smcore_api;

/* The functions of the smcore that is installed; or NULL, with an ImportError set. */
static inline const smcore_api *smcore_import(void) {
  PyObject *package = PyImport_ImportModule("smcore"), *core, *capsule;
  const smcore_api *api;
  if (package == NULL) return NULL;
  Py_DECREF(package);
  core = PyImport_ImportModule("smcore._core");
  if (core == NULL) {
    if (PyErr_ExceptionMatches(PyExc_ImportError)) {
      PyErr_SetString(PyExc_ImportError,
                      "smcore is installed without compiled kernels, so it has no C API: install "
                      "a wheel for this platform, or compile it with SMCORE_BUILD=c");
    }
    return NULL;
  }
  capsule = PyObject_GetAttrString(core, "_C_API");
  Py_DECREF(core);
  if (capsule == NULL) return NULL;
  api = (const smcore_api *)PyCapsule_GetPointer(capsule, "smcore._core._C_API");
  Py_DECREF(capsule); /* the structure is static */
  if (api != NULL && (api->version != SMCORE_API_VERSION || api->size < sizeof *api)) {
    PyErr_Format(PyExc_ImportError,
                 "this module was compiled for version %d of smcore's C API, with %d bytes of "
                 "functions; the smcore installed has version %d, with %d bytes: %s",
                 SMCORE_API_VERSION, (int)sizeof *api, (int)api->version, (int)api->size,
                 api->version > SMCORE_API_VERSION ? "compile the module again"
                                                   : "install a newer smcore");
    return NULL;
  }
  return api;
}

#ifdef __cplusplus
}
#endif

#endif
