/* Rows of an array to panels in a buffer, and back: along (a row as it is), or across (W rows, one
 * in each lane). */
#ifndef SMC_PACK_H
#define SMC_PACK_H

#include "convert.h"
#include "transpose.h"

enum { SMC_NARROW_MAX = 3 }; /* classes of rows too short to be loaded four at a time */

static void pack_along(smc_view from, size_t row, size_t rows, size_t begin, size_t classes,
                       real *to, size_t apart) {
  for (size_t r = row; r < row + rows; ++r, to += apart) {
    load_elements(element_at(from, r, begin), from.col, classes, to);
  }
}

static void unpack_along(smc_view to, size_t row, size_t rows, size_t begin, size_t classes,
                         const real *from, size_t apart) {
  for (size_t r = row; r < row + rows; ++r, from += apart) {
    store_elements(element_at(to, r, begin), to.col, classes, from);
  }
}

/* Pack columns, line after line, whatever the distance from class to class. */
static void pack_columns(smc_view from, size_t row, size_t rows, size_t begin, size_t classes,
                         real *to, size_t apart) {
  for (size_t c = 0; c < classes; ++c, to += W) {
    const char *p = element_at(from, row, begin + c);
    for (size_t r = 0; r < rows; r += W, p += W * sizeof(elem)) {
      v_store(to + r / W * apart, rows - r < W ? e_load_n(p, rows - r, v_set1(0)) : e_load(p));
    }
  }
}

static void unpack_columns(smc_view to, size_t row, size_t rows, size_t begin, size_t classes,
                           const real *from, size_t apart, const epilogue by) {
  for (size_t c = 0; c < classes; ++c, from += W) {
    char *p = element_at(to, row, begin + c);
    for (size_t r = 0; r < rows; r += W, p += W * sizeof(elem)) {
      const epilogue left = epilogue_of_panel(by, r / W);
      vec a = v_load(from + r / W * apart);
      apply_epilogue(&a, 1, &left);
      if (rows - r < W) {
        e_store_n(p, a, rows - r);
      } else {
        e_store(p, a);
      }
    }
  }
}

#if SMC_FAST_MASKS
/* Pack W rows of two or three classes, side by side: as many vectors, whose lanes are permuted.
 * Element i is of row i / classes.  Return the maxima. */
SMC_INLINE vec load_narrow(const char *p, const int classes, real *to) {
  vec v[SMC_NARROW_MAX], m = v_set1((real)-INFINITY);
  SMC_EACH(j, classes) v[j] = e_load(p + (size_t)j * W * sizeof(elem));
  SMC_EACH(c, classes) {
    const vec element = v_fma(lane_numbers(), v_set1((real)classes), v_set1((real)c));
    const vec lane = v_add(element, v_set1(SMC_C(ROUNDER)));
    vec column = v_permute(v[0], lane);
    for (int j = 1; j < classes; ++j) {
      mask before = v_lt(element, v_set1((real)j * (real)W));
      column = v_select(before, column, v_permute(v[j], lane));
    }
    v_store(to + (size_t)c * W, column);
    m = v_max(m, column);
  }
  return m;
}

SMC_INLINE void store_narrow(char *p, const int classes, const real *from, const epilogue *by) {
  vec v[SMC_NARROW_MAX];
  SMC_EACH(c, classes) v[c] = v_load(from + (size_t)c * W);
  apply_epilogue(v, classes, by);
  SMC_EACH(j, classes) {
    const vec element = v_add(lane_numbers(), v_set1((real)j * (real)W));
    const vec middle = v_sub(element, v_set1((real)(classes - 1) / 2));
    const vec row = v_round(v_mul(middle, v_set1(1 / (real)classes)));
    const vec class = v_fnma(row, v_set1((real)classes), element);
    const vec lane = v_add(row, v_set1(SMC_C(ROUNDER)));
    vec a = v_permute(v[0], lane);
    for (int c = 1; c < classes; ++c) {
      a = v_select(v_lt(class, v_set1((real)c)), a, v_permute(v[c], lane));
    }
    e_store(p + (size_t)j * W * sizeof(elem), a);
  }
}
#endif

/* Pack any number of rows up to W, of any strides, across.  A single row is in every lane; a few
 * classes, or some apart from each other, are taken one element after the other; dense rows go by
 * way of a square in which they are of the type computed in.  Missing numbers are 0. */
static void load_rows(const char *p, ptrdiff_t row, ptrdiff_t col, size_t rows, size_t classes,
                      real *to) {
  if (rows == 1) {
    for (size_t c = 0; c < classes; ++c, p += col) v_store(to + c * W, v_set1(e_get(p)));
    return;
  }
  if (col != sizeof(elem) || classes < 4) {
    for (size_t c = 0; c < classes; ++c, p += col, to += W) {
      if (rows < W) v_store(to, v_set1(0));
      get_elements(p, row, rows, to);
    }
    return;
  }
  for (size_t c = 0, k; c < classes; c += k) {
    square s;
    k = square_classes(classes - c);
    for (size_t r = 0; r < W; ++r) {
      const char *from = p + (ptrdiff_t)r * row + c * sizeof(elem);
      for (size_t i = 0; i < k; i += W) {
        size_t left = r < rows ? k - i : 0;
        vec a = left == 0  ? v_set1(0) /* where nothing may be, a load of no lanes is slow */
                : left < W ? e_load_n(from + i * sizeof(elem), left, v_set1(0))
                           : e_load(from + i * sizeof(elem));
        v_store(&s.rows[r][i], a);
      }
    }
    load_square(&s, k, to + c * W);
  }
}

static void store_rows(char *p, ptrdiff_t row, ptrdiff_t col, size_t rows, size_t classes,
                       real *from, const epilogue *by) {
  const int dense_rows = rows > 1 && col == sizeof(elem) && classes >= 4;
  if (!dense_rows) apply_epilogue_to_panel(from, classes, by);
  if (rows == 1) {
    for (size_t c = 0; c < classes; ++c, p += col) e_put(p, from[c * W]);
    return;
  }
  if (col != sizeof(elem) || classes < 4) {
    for (size_t c = 0; c < classes; ++c, p += col, from += W) put_elements(p, row, rows, from);
    return;
  }
  for (size_t c = 0, k; c < classes; c += k) {
    square s;
    k = square_classes(classes - c);
    store_square(&s, k, from + c * W, by);
    for (size_t r = 0; r < rows; ++r) {
      store_elements(p + (ptrdiff_t)r * row + c * sizeof(elem), sizeof(elem), k, s.rows[r]);
    }
  }
}

/* Whether rows are narrow, and side by side. */
SMC_INLINE int are_narrow(const smc_view v, size_t classes) {
  return SMC_FAST_MASKS && (classes == 2 || classes == SMC_NARROW_MAX) && v.col == sizeof(elem) &&
         v.row == (ptrdiff_t)(classes * sizeof(elem));
}

/* Whether rows can be loaded and stored by whole quads of classes, without conversion. */
SMC_INLINE int are_whole(const smc_view v, size_t classes) {
  return sizeof(elem) == sizeof(real) && v.col == sizeof(elem) && classes >= 4;
}

/* Pack rows across; return how many of the first panels' maxima are known now. */
static size_t pack_across(smc_view from, size_t row, size_t rows, size_t begin, size_t classes,
                          real *to, size_t apart, vec *maxima) {
  const int whole_rows = are_narrow(from, classes) || are_whole(from, classes);
  if (W == 1) return 0; /* there is nothing across */
  if (from.row == sizeof(elem)) {
    pack_columns(from, row, rows, begin, classes, to, apart);
    return 0;
  }
  for (size_t r = 0; r < rows; r += W, to += apart) {
    const char *p = element_at(from, row + r, begin);
    if (rows - r < W || !whole_rows) {
      load_rows(p, from.row, from.col, rows - r < W ? rows - r : W, classes, to);
      continue;
    }
#if SMC_FAST_MASKS
    if (classes <= SMC_NARROW_MAX) {
      maxima[r / W] = classes == 2 ? load_narrow(p, 2, to) : load_narrow(p, SMC_NARROW_MAX, to);
      continue;
    }
#endif
    maxima[r / W] = load_whole(p, from.row, classes, to);
  }
  return whole_rows ? rows / W : 0;
}

static void unpack_across(smc_view to, size_t row, size_t rows, size_t begin, size_t classes,
                          real *from, size_t apart, const epilogue by) {
  const int whole_rows = are_narrow(to, classes) || are_whole(to, classes);
  if (W == 1) return;
  if (to.row == sizeof(elem)) {
    unpack_columns(to, row, rows, begin, classes, from, apart, by);
    return;
  }
  for (size_t r = 0; r < rows; r += W, from += apart) {
    const epilogue left = epilogue_of_panel(by, r / W);
    char *p = element_at(to, row + r, begin);
    if (rows - r < W || !whole_rows) {
      store_rows(p, to.row, to.col, rows - r < W ? rows - r : W, classes, from, &left);
      continue;
    }
#if SMC_FAST_MASKS
    if (classes <= SMC_NARROW_MAX) {
      if (classes == 2) {
        store_narrow(p, 2, from, &left);
      } else {
        store_narrow(p, SMC_NARROW_MAX, from, &left);
      }
      continue;
    }
#endif
    store_whole(p, to.row, classes, from, &left);
  }
}

#endif
