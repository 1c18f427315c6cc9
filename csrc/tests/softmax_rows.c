/* What tools/test_c_core.sh counts the instructions of: softmax_rows TARGET ROWS computes the
 * softmax of one row of 1000 float32 so many times.  Without arguments it names the targets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smcore_kernels.h"

int main(int argc, char **argv) {
  enum { CLASSES = 1000 };
  static float x[CLASSES], y[CLASSES];
  const smc_call call = {.operands = {{x, sizeof x, sizeof *x}, {y, sizeof y, sizeof *y}},
                         .n = 1,
                         .k = CLASSES,
                         .scale = 1};
  const smc_target *target;
  for (size_t c = 0; c < CLASSES; ++c) x[c] = (float)(rand() % 4096) / 512;
  for (size_t i = 0; (target = smc_available(i)) != NULL; ++i) {
    if (argc != 3) {
      puts(target->name);
    } else if (strcmp(target->name, argv[1]) == 0) {
      for (int row = atoi(argv[2]); row > 0; --row) {
        target->kernels[SMC_F32]->softmax(&call);
      }
      return 0;
    }
  }
  return argc == 3;
}
