/* A loop spread over threads that sleep in between.  Nothing here needs the GIL. */
#ifndef SMCORE_POOL_H
#define SMCORE_POOL_H

#include <stddef.h>

/* Work on the items [begin, end).  Any number of them may run at once. */
typedef void (*smc_body)(void *context, size_t begin, size_t end);

/* Whether to go on: looked at between pieces of a loop by the thread that called it.  One watch may
 * serve several loops, one after the other.  All but the first two members are 0 then. */
typedef struct {
  int (*look)(void);  /* returns 0 to go on; may do anything, as a loop of its own, or a fork */
  size_t grain;       /* items that are a piece at least; a multiple of the loop's grain */
  double since, rest; /* work since it looked last, and the least between two looks */
  int stopped;        /* what `look` returned, or SMC_FORKED */
} smc_watch;

/* `look` has forked, and this is the child, which has no threads to finish what they began. */
enum { SMC_FORKED = 1 };

/* First of all.  Returns 0, or -1 where there is no memory for a lock. */
int smc_pool_init(void);

/* In a forked child, which has none of the threads, whatever they were doing; returns the same. */
int smc_pool_reset(void);

/* The threads that a loop may use, that of the caller included: at least 1. */
void smc_set_num_threads(size_t count);
size_t smc_get_num_threads(void);

/* Call body on disjoint ranges that make up [0, items), each a multiple of `grain` long but the
 * last; return when all are done.  An item takes so much `work`, 1 being worth a thread: no more
 * threads take part than have as much each.  Which do, and on what ranges, is left to chance: a
 * caller who finds the pool in use, or no thread to help, does everything alone.
 *
 * With a watch that says to stop, no range is begun any more.  Returns what stopped it, or 0. */
int smc_parallel_for(size_t items, double work, size_t grain, smc_body body, void *context,
                     smc_watch *watch);

#endif
