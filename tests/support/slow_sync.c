/*
 * Makes each sync of a file take SYNC_MS milliseconds more, as slow disks do. Where there is a file
 * SYNC_FAILS it is removed, and fdatasync fails, once. LD_PRELOAD loads it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int slowly(const char *name, int file) {
  const char *text = getenv("SYNC_MS");
  long ms = text ? atol(text) : 0;
  struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
  int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  nanosleep(&pause, NULL);
  return sync(file);
}

int fsync(int file) { return slowly("fsync", file); }

int fdatasync(int file) {
  const char *path = getenv("SYNC_FAILS");
  int result = slowly("fdatasync", file);
  if (path == NULL || unlink(path) != 0) return result;
  errno = EIO;
  return -1;
}
