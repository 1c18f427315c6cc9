/* What comes next is asked for while a pass computes, where what a tile reads is too short a stream
 * for the processor to see. */
#ifndef SMC_PREFETCH_H
#define SMC_PREFETCH_H

#include "tile.h"

/* Memory that a pass prefetches meanwhile: of inputs, the panel after the one it reads; of results,
 * where they will be written. */
typedef struct {
  const char *first[SMC_MAX_PANEL_OPERANDS]; /* or NULL, where there is nothing to fetch */
  size_t step;                               /* bytes from one vector to the next, as stored */
  size_t apart;                              /* from one line to the next */
} prefetcher;

/* Aim at what goes with panel u.  (Of columns, the first panel of those that share lines prefetches
 * them.) */
static SMC_OUTLINE void aim_prefetcher(const tile *t, size_t u, prefetcher *a) {
  const smc_call *b = t->call;
  const ptrdiff_t col = b->operands[0].col;
  const size_t row = t->row + u * (is_across(t) ? W : 1);
  const int count =
      t->plan.online || is_combined(t) || is_nontemporal(t) ? t->op->inputs : t->op->panels;
  if (is_columns(t) && u * sizeof(vec) % SMC_LINE != 0) return;
  a->step = is_columns(t) ? (size_t)col : W * sizeof(elem);
  a->apart = is_columns(t) ? (size_t)col : SMC_LINE;
  for (int i = 0; i < count; ++i) {
    const smc_view *o = &b->operands[i];
    if (!o->data || o->col != col) continue;
    const ptrdiff_t next =
        t->plan.online ? (ptrdiff_t)t->plan.k_block * col : (ptrdiff_t)t->rows * o->row;
    a->first[i] = (const char *)o->data + (ptrdiff_t)row * o->row + (ptrdiff_t)t->begin * col +
                  (i < t->op->inputs ? next : 0);
  }
}

SMC_INLINE int is_prefetched(const tile *t) {
  return W > 1 && (t->plan.prefetch == SMC_PREFETCH_TILE || t->plan.prefetch == SMC_PREFETCH_BLOCK);
}

SMC_INLINE prefetcher prefetcher_of(const tile *t, size_t u) {
  prefetcher a = {{NULL}, 0, 0};
  if (is_prefetched(t)) aim_prefetcher(t, u, &a);
  return a;
}

/* Prefetch while so many vectors from vector i on are computed with. */
SMC_INLINE void prefetch_vectors(const prefetcher *a, size_t i, size_t vectors) {
  if (W == 1 || !a->first[0]) return;
  for (size_t at = i * a->step, end = at + vectors * a->step; at < end; at += a->apart) {
    SMC_EACH(j, SMC_MAX_PANEL_OPERANDS) {
      if (a->first[j]) SMC_PREFETCH(a->first[j] + at);
    }
  }
}

/* Prefetch while class i of `jam` columns is computed with. */
SMC_INLINE void prefetch_jammed(const prefetcher *a, size_t i, const int jam) {
  if (!a->first[0]) return;
  SMC_UNROLLED for (size_t at = 0; at < (size_t)jam * sizeof(vec); at += SMC_LINE) {
    SMC_EACH(j, SMC_MAX_PANEL_OPERANDS) {
      if (a->first[j]) SMC_PREFETCH(a->first[j] + i * a->step + at);
    }
  }
}

/* Prefetch a later class of jammed columns that are gone through class after class, once more: so
 * many classes further on, as few lines of a page are too short a stream for the processor. */
SMC_INLINE void prefetch_later_class(const tile *t, const panel x) {
  if (t->plan.prefetch != SMC_PREFETCH_BLOCK) return;
  const char *later = (const char *)vector_at(x, SMC_LATER_CLASSES);
  SMC_UNROLLED for (size_t at = 0; at < SMC_UNROLL * sizeof(vec); at += SMC_LINE) {
    SMC_PREFETCH(later + at);
  }
}

/* Prefetch where the results of a later class go, if they are stored in the caches. */
SMC_INLINE void prefetch_later_results(const panel y, int past) {
  const char *later = (const char *)vector_at(y, SMC_LATER_CLASSES);
  if (past) return;
  SMC_UNROLLED for (size_t at = 0; at < SMC_UNROLL * sizeof(vec); at += SMC_LINE) {
    SMC_PREFETCH_TO_WRITE(later + at);
  }
}

/* Prefetch the next class of a panel of columns, which a pass over all panels of a tile comes to
 * later. */
SMC_INLINE void prefetch_next_class(const panel s) { SMC_PREFETCH((const char *)vector_at(s, 1)); }

/* Prefetch where the results of the next class go. */
SMC_INLINE void prefetch_next_results(const panel y) {
  SMC_PREFETCH_TO_WRITE((const char *)vector_at(y, 1));
}

/* Prefetch so many bytes of short rows, SMC_LATER_BYTES further on: the processor sees no stream in
 * rows that are read a part of a line at a time.  (Results, too, as if they were read: in such a
 * loop that takes less than to ask for them to be written.) */
SMC_INLINE void prefetch_later(const elem *p, size_t bytes) {
  for (size_t at = SMC_LATER_BYTES; at < SMC_LATER_BYTES + bytes; at += SMC_LINE) {
    SMC_PREFETCH((const char *)p + at);
  }
}

/* Prefetch what goes with vector i of rows of a lane block: the lane block after the next, and the
 * lines that this one will write. */
SMC_INLINE void prefetch_lane_block(const tile *t, const panel *x, const panel *y, size_t i) {
  const ptrdiff_t later = 2 * (ptrdiff_t)W * t->apart[0];
  if (t->plan.prefetch != SMC_PREFETCH_TILE) return;
  SMC_EACH(j, SMC_UNROLL) SMC_PREFETCH((const char *)vector_at(x[j], i) + later);
  if (is_combined(t)) return;
  SMC_EACH(j, SMC_UNROLL) SMC_PREFETCH(vector_at(y[j], i));
}

/* Prefetch all that goes with panel u, of so many vectors. */
static SMC_OUTLINE void prefetch_all(const tile *t, size_t u, size_t vectors) {
  const prefetcher a = prefetcher_of(t, u);
  prefetch_vectors(&a, 0, vectors);
}

SMC_INLINE void prefetch_panel(const tile *t, size_t u, size_t vectors) {
  if (is_prefetched(t)) prefetch_all(t, u, vectors);
}

/* Touch a tile before it is read.  The processor sees no stream in rows of some lines that are
 * transposed, a quarter of a line at a time: all their lines are read before, in order.  Nor does
 * it in columns of which a tile has a few lines in each of many places: what this tile will write,
 * and the next one read, is prefetched.  (Only what lies forward and side by side is touched, as
 * nothing else is known to be there.) */
static void touch_tile(const tile *t) {
  const smc_call *b = t->call;
  const ptrdiff_t size = (ptrdiff_t)sizeof(elem);
  for (int i = 0; i < t->op->panels; ++i) {
    const smc_view *o = &b->operands[i];
    const int columns = o->row == size;
    const int rows = o->col == size && o->row == (ptrdiff_t)b->k * size;
    if (!o->data || !(columns || rows)) continue;
    const size_t bytes = t->rows * (size_t)o->row, count = columns ? b->k : 1;
    const char *p = (const char *)o->data + (ptrdiff_t)t->row * o->row;
    for (size_t c = 0; c < count; ++c, p += o->col) {
      for (size_t at = 0; at < bytes; at += SMC_LINE) {
        if (!columns) {
          (void)*(const volatile char *)(p + at);
        } else if (i < t->op->inputs) {
          SMC_PREFETCH(p + bytes + at);
        } else {
          SMC_PREFETCH_TO_WRITE(p + at);
        }
      }
    }
  }
}

#endif
