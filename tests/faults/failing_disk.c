// A disk that fails when it is told to: stands in for the calls that write, sync and grow the store's files. Linked into a
// test it is told by failing_disk.hpp; preloaded into a program it is told by its environment:
//
//   FAILING_DISK="KIND MODE NTH REPEAT DIRECTORY"   the numbers of failing_disk.hpp
//
// Only files in the directory whose names begin with "data.mdb" are counted, and the directory itself for syncs. Calls go to the
// kernel directly, so no other shim may stand behind this one. Thread-safe.
// Both names of each call are defined here, so none may stand for the other.
#undef _FILE_OFFSET_BITS
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

// The same numbers are in failing_disk.hpp.
enum { kWrite = 1, kMeta = 2, kSync = 3, kGrow = 4 };
enum { kIoError = 1, kNoSpace = 2, kShort = 3, kDoneAndDenied = 4 };

static char directory[PATH_MAX];
static atomic_int armed_kind, armed_mode, repeats;
static atomic_long nth, seen, failed;

void failing_disk_arm(const char* path, int kind, int mode, long number, int repeat) {
  snprintf(directory, sizeof directory, "%s", path);
  nth = number;
  seen = 0;
  failed = 0;
  armed_mode = mode;
  repeats = repeat;
  armed_kind = kind;
}

void failing_disk_disarm(void) { armed_kind = 0; }
long failing_disk_failed(void) { return failed; }

__attribute__((constructor)) static void from_the_environment(void) {
  const char* text = getenv("FAILING_DISK");
  int kind = 0, mode = 0, repeat = 0, at = 0;
  long number = 0;
  if (text == NULL) return;
  if (sscanf(text, "%d %d %ld %d %n", &kind, &mode, &number, &repeat, &at) != 4 || at == 0) abort();
  failing_disk_arm(text + at, kind, mode, number, repeat);
}

// In the directory: "" for itself, otherwise the name behind the slash; NULL for all else.
static const char* watched(int fd, char* path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length <= 0) return NULL;
  path[length] = 0;
  const size_t root = strlen(directory);
  if (strncmp(path, directory, root) != 0) return NULL;
  if (path[root] == 0) return path + root;
  if (path[root] != '/') return NULL;
  const char* name = path + root + 1;
  const size_t size = strlen(name);
  if (strncmp(name, "data.mdb", 8) != 0 || strchr(name, '/') != NULL) return NULL;
  if (size >= 5 && strcmp(name + size - 5, "-lock") == 0) return NULL;
  return name;
}

// What to do wrong, 0 for nothing. kind: kWrite is kMeta on a descriptor that syncs by itself, as LMDB writes its last page.
static int fault(int fd, int kind) {
  if (armed_kind == 0) return 0;
  const int error = errno;
  char path[PATH_MAX];
  const char* name = watched(fd, path);
  int mode = 0;
  if (name != NULL && (*name != 0 || kind == kSync)) {
    if (kind == kWrite && (fcntl(fd, F_GETFL) & O_DSYNC) != 0) kind = kMeta;
    if (kind == armed_kind) {
      const long number = ++seen;
      if (number == nth || (number > nth && repeats)) {
        ++failed;
        mode = armed_mode;
      }
    }
  }
  errno = error;
  return mode;
}

static ssize_t denied(int mode) {
  errno = mode == kNoSpace ? ENOSPC : EIO;
  return -1;
}

static ssize_t pwrite_whole(int fd, const void* bytes, size_t length, off_t offset) {
  return syscall(SYS_pwrite64, fd, bytes, length, offset);
}

static ssize_t faulty_pwrite(int fd, const void* bytes, size_t length, off_t offset) {
  const int mode = fault(fd, kWrite);
  if (mode == kIoError || mode == kNoSpace) return denied(mode);
  const ssize_t written = pwrite_whole(fd, bytes, mode == kShort ? length / 2 : length, offset);
  return mode == kDoneAndDenied ? denied(mode) : written;
}
ssize_t pwrite(int fd, const void* bytes, size_t length, off_t offset) {
  return faulty_pwrite(fd, bytes, length, offset);
}
ssize_t pwrite64(int fd, const void* bytes, size_t length, off64_t offset) {
  return faulty_pwrite(fd, bytes, length, offset);
}

ssize_t write(int fd, const void* bytes, size_t length) {
  const int mode = fault(fd, kWrite);
  if (mode == kIoError || mode == kNoSpace) return denied(mode);
  const ssize_t written = syscall(SYS_write, fd, bytes, mode == kShort ? length / 2 : length);
  return mode == kDoneAndDenied ? denied(mode) : written;
}

// Short: the first pieces whole, and half of the last one that is written at all.
static ssize_t faulty_pwritev(int fd, const struct iovec* pieces, int count, off_t offset) {
  const int mode = fault(fd, kWrite);
  if (mode == kIoError || mode == kNoSpace) return denied(mode);
  if (mode == kShort) {
    ssize_t total = 0;
    const int whole = count / 2;
    for (int i = 0; i <= whole; ++i) {
      const size_t length = i < whole ? pieces[i].iov_len : pieces[i].iov_len / 2;
      const ssize_t written = pwrite_whole(fd, pieces[i].iov_base, length, offset + total);
      if (written < 0) return written;
      total += written;
    }
    return total;
  }
  const ssize_t written = syscall(SYS_pwritev, fd, pieces, count, offset, 0L);
  return mode == kDoneAndDenied ? denied(mode) : written;
}
ssize_t pwritev(int fd, const struct iovec* pieces, int count, off_t offset) {
  return faulty_pwritev(fd, pieces, count, offset);
}
ssize_t pwritev64(int fd, const struct iovec* pieces, int count, off64_t offset) {
  return faulty_pwritev(fd, pieces, count, offset);
}
ssize_t writev(int fd, const struct iovec* pieces, int count) {
  const off_t offset = armed_kind != 0 ? lseek(fd, 0, SEEK_CUR) : -1;
  if (offset < 0) return syscall(SYS_writev, fd, pieces, count);
  const ssize_t written = faulty_pwritev(fd, pieces, count, offset);
  if (written > 0) lseek(fd, offset + written, SEEK_SET);
  return written;
}

static int faulty_sync(int fd, long call) {
  const int mode = fault(fd, kSync);
  if (mode != 0 && mode != kDoneAndDenied) return (int)denied(mode);
  const int result = (int)syscall(call, fd);
  return mode == 0 ? result : (int)denied(mode);
}
int fsync(int fd) { return faulty_sync(fd, SYS_fsync); }
int fdatasync(int fd) { return faulty_sync(fd, SYS_fdatasync); }

int fallocate(int fd, int how, off_t offset, off_t length) {
  const int mode = fault(fd, kGrow);
  return mode != 0 ? (int)denied(mode) : (int)syscall(SYS_fallocate, fd, how, offset, length);
}
int fallocate64(int fd, int how, off64_t offset, off64_t length) { return fallocate(fd, how, offset, length); }
int ftruncate(int fd, off_t size) {
  const int mode = fault(fd, kGrow);
  return mode != 0 ? (int)denied(mode) : (int)syscall(SYS_ftruncate, fd, size);
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }
