/*
 * The disk of one process, loaded by LD_PRELOAD: slow, failing or recorded.
 *
 * DISK_SYNC_MS: each sync takes so many milliseconds longer.
 * DISK_HOLDS: while there is a file of this name, fdatasync waits.
 * DISK_FAILS: where there is a file of this name it is removed, and fdatasync fails, once.
 * DISK_DATA_HOLDS, DISK_DATA_FAILS: the same of a broker's data file alone; while it waits there is also
 *   a file of the first name with ".now" behind it.
 * DISK_RECORD: file that gets every change and sync of files whose names end with "broker.db" or
 * "broker.db-wal", as records of five 32-bit words, with the bytes behind them:
 *   kind (1 write, 2 truncate, 3 sync begins, 4 sync has succeeded), file (0 the first, 1 the log),
 *   offset or size, bytes or number of the sync, thread.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int record = -2;
static uint32_t syncs;

static int ends_with(const char *text, const char *end) {
  size_t length = strlen(text), wanted = strlen(end);
  return length >= wanted && strcmp(text + length - wanted, end) == 0;
}

/* 0 the data file, 1 its log, -1 another one. */
static int kind_of(int file) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return -1;
  path[length] = 0;
  return ends_with(path, "/broker.db") ? 0 : ends_with(path, "/broker.db-wal") ? 1 : -1;
}

static int recorded(int file) { return getenv("DISK_RECORD") == NULL ? -1 : kind_of(file); }

static void note(uint32_t kind, uint32_t file, uint32_t at, uint32_t length, const void *bytes) {
  uint32_t head[5] = {kind, file, at, length, (uint32_t)gettid()};
  struct iovec parts[2] = {{head, sizeof head}, {(void *)bytes, kind == 1 ? length : 0}};
  pthread_mutex_lock(&lock);
  if (record == -2) record = open(getenv("DISK_RECORD"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (writev(record, parts, 2) < 0) abort();
  pthread_mutex_unlock(&lock);
}

static ssize_t write_at(const char *name, int file, const void *bytes, size_t length, off_t at) {
  ssize_t (*write)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, name);
  ssize_t written = write(file, bytes, length, at);
  int kind = recorded(file);
  if (kind >= 0 && written > 0) note(1, kind, at, written, bytes);
  return written;
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at) {
  return write_at("pwrite", file, bytes, length, at);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off_t at) {
  return write_at("pwrite64", file, bytes, length, at);
}

static int truncate_to(const char *name, int file, off_t size) {
  int (*truncate)(int, off_t) = dlsym(RTLD_NEXT, name);
  int result = truncate(file, size);
  int kind = recorded(file);
  if (kind >= 0 && result == 0) note(2, kind, size, 0, NULL);
  return result;
}

int ftruncate(int file, off_t size) { return truncate_to("ftruncate", file, size); }

int ftruncate64(int file, off_t size) { return truncate_to("ftruncate64", file, size); }

static int sync_slowly(const char *name, int file) {
  int (*sync)(int) = dlsym(RTLD_NEXT, name);
  const char *text = getenv("DISK_SYNC_MS");
  long ms = text ? atol(text) : 0;
  struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
  int kind = recorded(file);
  uint32_t number = __atomic_add_fetch(&syncs, 1, __ATOMIC_RELAXED);
  if (kind >= 0) note(3, kind, 0, number, NULL);
  if (ms > 0) nanosleep(&pause, NULL);
  int result = sync(file);
  if (kind >= 0 && result == 0) note(4, kind, 0, number, NULL);
  return result;
}

int fsync(int file) { return sync_slowly("fsync", file); }

/* While there is a file of that name. */
static void wait_for(const char *name, const char *sign) {
  const char *holds = getenv(name);
  char now[4096];
  if (holds == NULL || access(holds, F_OK) != 0) return;
  snprintf(now, sizeof now, "%s%s", holds, sign);
  if (*sign) close(open(now, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  while (access(holds, F_OK) == 0) usleep(1000);
  if (*sign) unlink(now);
}

/* Whether there was a file of that name. */
static int takes(const char *name) {
  const char *path = getenv(name);
  return path != NULL && unlink(path) == 0;
}

int fdatasync(int file) {
  wait_for("DISK_HOLDS", "");
  if (kind_of(file) == 0) wait_for("DISK_DATA_HOLDS", ".now");
  int fails = takes("DISK_FAILS") || (kind_of(file) == 0 && takes("DISK_DATA_FAILS"));
  if (!fails) return sync_slowly("fdatasync", file);
  errno = EIO;
  return -1;
}
