/* Run a program one instruction at a time, on Linux, and print how many there were.  For processors
 * whose instructions no emulator at hand knows. */
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
  int status = 0;
  unsigned long steps = 0;
  const pid_t child = argc > 1 ? fork() : -1;
  if (child < 0) return 2;
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    execv(argv[1], argv + 1);
    _exit(127);
  }
  while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
    ++steps;
    ptrace(PTRACE_SINGLESTEP, child, NULL, NULL);
  }
  printf("%lu\n", steps);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}
