/* The sizes of this machine's data caches. */
#include "smcore_kernels.h"

#include <stdint.h>
#include <stdio.h>

#if defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32) && (defined(_M_X64) || defined(_M_IX86))
#include <intrin.h>
#endif

/* Where nothing is known. */
static const smc_caches usual = {32 << 10, 1 << 20, 32 << 20};
static smc_caches here = {32 << 10, 1 << 20, 32 << 20};

/* A level's size joins those found: the first of one core, the largest of the last level. */
static void note(smc_caches *found, unsigned level, size_t bytes) {
  if (level == 1 && !found->l1) found->l1 = bytes;
  if (level == 2 && !found->l2) found->l2 = bytes;
  if (level >= 3 && found->l3 < bytes) found->l3 = bytes;
}

#if defined(__linux__)

/* Linux: Documentation/ABI/testing/sysfs-devices-system-cpu. */
static int read_line(int index, const char *name, char line[32]) {
  char path[80];
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, name);
  FILE *file = fopen(path, "r");
  if (!file) return 0;
  const int is_there = fgets(line, 32, file) != NULL;
  fclose(file);
  return is_there;
}

static void ask(smc_caches *found) {
  char level[32], type[32], size[32], unit;
  unsigned number, kib;
  for (int i = 0; i < 8; ++i) {
    if (!read_line(i, "level", level) || !read_line(i, "type", type) || type[0] == 'I') continue;
    if (!read_line(i, "size", size) || sscanf(size, "%u%c", &kib, &unit) != 2) continue;
    if (sscanf(level, "%u", &number) == 1)
      note(found, number, (size_t)kib << (unit == 'M' ? 20 : 10));
  }
}

#elif defined(__APPLE__)

static size_t number_of(const char *name) {
  uint64_t value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, NULL, 0) == 0 ? (size_t)value : 0;
}

/* Of the performance cores where there are others; there the second level is the last. */
static void ask(smc_caches *found) {
  const size_t l1 = number_of("hw.perflevel0.l1dcachesize");
  const size_t l2 = number_of("hw.perflevel0.l2cachesize");
  note(found, 1, l1 ? l1 : number_of("hw.l1dcachesize"));
  note(found, 2, l2 ? l2 : number_of("hw.l2cachesize"));
  note(found, 3, number_of("hw.l3cachesize"));
  if (!found->l3) found->l3 = found->l2;
}

#elif defined(_WIN32) && (defined(_M_X64) || defined(_M_IX86))

/* Intel: CPUID leaf 4; AMD: leaf 0x8000001D, of the same form (AMD64 Architecture Programmer's
 * Manual, volume 3). */
static void ask(smc_caches *found) {
  int r[4];
  __cpuid(r, 0);
  const int is_amd = r[2] == 0x444d4163; /* ...cAMD */
  const int leaf = is_amd ? (int)0x8000001d : 4;
  __cpuid(r, is_amd ? (int)0x80000000 : 0);
  if ((unsigned)r[0] < (unsigned)leaf) return;
  for (int i = 0; i < 8; ++i) {
    __cpuidex(r, leaf, i);
    const unsigned type = (unsigned)r[0] & 31, level = (unsigned)r[0] >> 5 & 7, b = (unsigned)r[1];
    if (type == 0) return;
    if (type == 2) continue; /* instructions */
    note(found, level,
         (size_t)((b >> 22) + 1) * ((b >> 12 & 0x3ff) + 1) * ((b & 0xfff) + 1) *
             ((unsigned)r[2] + 1));
  }
}

#else
static void ask(smc_caches *found) { (void)found; }
#endif

const smc_caches *smc_get_caches(void) { return &here; }

void smc_set_caches(const smc_caches *caches) {
  smc_caches found = {0, 0, 0};
  if (caches) {
    here = *caches;
    return;
  }
  (void)note;
  ask(&found);
  here.l1 = found.l1 ? found.l1 : usual.l1;
  here.l2 = found.l2 ? found.l2 : usual.l2;
  here.l3 = found.l3 ? found.l3 : found.l2 > usual.l3 ? found.l2 : usual.l3;
}
