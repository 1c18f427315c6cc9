/* A loop spread over threads that sleep in between.  Nothing here needs the GIL. */
#ifndef SMCORE_POOL_H
#define SMCORE_POOL_H

#include <stddef.h>

/* Work on the items [begin, end).  Any number of them may run at once. */
typedef void (*smc_body)(void *context, size_t begin, size_t end);

/* First of all.  Returns 0, or -1 where there is no memory for a lock. */
int smc_pool_init(void);

/* In a forked child, which has none of the threads, whatever they were doing; returns the same. */
int smc_pool_reset(void);

/* The threads that a loop may use, that of the caller included: at least 1. */
void smc_set_num_threads(size_t count);
size_t smc_get_num_threads(void);

/* Call body on disjoint ranges that make up [0, items), each a multiple of `grain` long but the
 * last; return when all are done.  No more threads take part than have `share` items each.  Which
 * do, and on what ranges, is left to chance: a caller who finds the pool in use, or no thread to
 * help, does everything alone. */
void smc_parallel_for(size_t items, size_t share, size_t grain, smc_body body, void *context);

#endif
