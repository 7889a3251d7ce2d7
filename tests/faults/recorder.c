// An LD_PRELOAD shim that writes down what a program does to its data files, so that power_cut_test.cpp can
// build what a disk could have held at any moment.
//
//   RECORDER_DIR         the directory to watch: files in it whose names begin with "data.mdb", without locks
//   RECORDER_LOG         where the log goes
//   RECORDER_LMDB_FLAGS  flags (hexadecimal) added at mdb_env_open: to see whether a test notices MDB_NOSYNC
//
// The log is a row of struct entry, each followed by length bytes. One mutex keeps it in order. Writes to
// standard output are logged as confirmations, before they are made.
// Both names of each call are defined here, so none may stand for the other.
#undef _FILE_OFFSET_BITS
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

// The same numbers are in disk_log.hpp.
enum {
  kWrite = 1,         // not durable before a sync
  kDurableWrite = 2,  // to an O_DSYNC descriptor: durable when it has returned
  kWriteReturned = 3,
  kSync = 4,
  kTruncate = 5,
  kGrow = 6,
  kCreate = 7,  // name
  kRename = 8,  // from, zero byte, to
  kConfirm = 9,
  kSyncDirectory = 10,
  kUnlink = 11,  // name
};
struct entry {
  uint32_t kind, file, length, unused;
  uint64_t offset;
};

enum { kDescriptors = 1024, kFiles = 64, kNameBytes = 256 };
static struct {
  int file;  // 0: not watched; -1: the directory
  int durable;
} descriptors[kDescriptors];
static char names[kFiles][kNameBytes];  // of file 1, 2, ...; "" when it is gone
static int files;
static int log_fd = -1;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void* next(const char* name) {
  void* found = dlsym(RTLD_NEXT, name);
  if (found == NULL) abort();
  return found;
}

static void put(const void* bytes, size_t length) {
  static ssize_t (*real_write)(int, const void*, size_t);
  if (real_write == NULL) real_write = (ssize_t(*)(int, const void*, size_t))next("write");
  if (real_write(log_fd, bytes, length) != (ssize_t)length) abort();
}

static void record(uint32_t kind, int file, uint64_t offset, const void* bytes, size_t length) {
  const int error = errno;
  pthread_mutex_lock(&mutex);
  if (log_fd < 0) {
    static int (*real_open)(const char*, int, ...);
    real_open = (int (*)(const char*, int, ...))next("open");
    const char* path = getenv("RECORDER_LOG");
    log_fd = real_open(path != NULL ? path : "/dev/null", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (log_fd < 0) abort();
  }
  const struct entry head = {kind, (uint32_t)file, (uint32_t)length, 0, offset};
  put(&head, sizeof head);
  if (length > 0) put(bytes, length);
  pthread_mutex_unlock(&mutex);
  errno = error;
}

// The name inside the watched directory, "" for the directory itself, NULL for anything else.
static const char* watched(const char* path) {
  const char* root = getenv("RECORDER_DIR");
  if (root == NULL || path == NULL) return NULL;
  const size_t length = strlen(root);
  if (strncmp(path, root, length) != 0) return NULL;
  if (path[length] == 0) return path + length;
  if (path[length] != '/') return NULL;
  const char* name = path + length + 1;
  if (*name == 0) return name;
  const size_t size = strlen(name);
  if (strncmp(name, "data.mdb", 8) != 0 || strchr(name, '/') != NULL) return NULL;
  if (size >= 5 && strcmp(name + size - 5, "-lock") == 0) return NULL;
  return name;
}

static int find(const char* name) {
  for (int i = 0; i < files; ++i)
    if (strcmp(names[i], name) == 0) return i + 1;
  return 0;
}

static int opened(const char* path, int flags, int fd) {
  const char* name = fd >= 0 && fd < kDescriptors ? watched(path) : NULL;
  if (name == NULL) return fd;
  descriptors[fd].durable = (flags & O_DSYNC) != 0;
  if (*name == 0) {
    descriptors[fd].file = -1;
    return fd;
  }
  int file = find(name);
  if (file == 0) {
    if (files == kFiles || strlen(name) >= kNameBytes) abort();
    strcpy(names[files], name);
    file = ++files;
    record(kCreate, file, 0, name, strlen(name));
  } else if ((flags & O_TRUNC) != 0) {
    record(kTruncate, file, 0, NULL, 0);
  }
  descriptors[fd].file = file;
  return fd;
}

#define OPEN(function)                                    \
  int function(const char* path, int flags, ...) {        \
    va_list arguments;                                    \
    va_start(arguments, flags);                           \
    const mode_t mode = va_arg(arguments, mode_t);        \
    va_end(arguments);                                    \
    int (*real)(const char*, int, ...) = next(#function); \
    return opened(path, flags, real(path, flags, mode));  \
  }
OPEN(open)
OPEN(open64)

int close(int fd) {
  int (*real)(int) = next("close");
  if (fd >= 0 && fd < kDescriptors) descriptors[fd].file = 0;
  return real(fd);
}

static int file_of(int fd) { return fd >= 0 && fd < kDescriptors ? descriptors[fd].file : 0; }

static void about_to_write(int fd, const void* bytes, size_t length, uint64_t offset) {
  const int file = file_of(fd);
  if (file > 0) record(descriptors[fd].durable ? kDurableWrite : kWrite, file, offset, bytes, length);
}

static void has_written(int fd, ssize_t written, size_t length) {
  const int file = file_of(fd);
  if (file <= 0) return;
  if (written != (ssize_t)length) abort();  // the test's disk is full: the log would not be true
  if (descriptors[fd].durable) record(kWriteReturned, file, 0, NULL, 0);
}

#define PWRITE(function, offset_type)                                              \
  ssize_t function(int fd, const void* bytes, size_t length, offset_type offset) { \
    ssize_t (*real)(int, const void*, size_t, offset_type) = next(#function);      \
    about_to_write(fd, bytes, length, (uint64_t)offset);                           \
    const ssize_t written = real(fd, bytes, length, offset);                       \
    has_written(fd, written, length);                                              \
    return written;                                                                \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int fd, const void* bytes, size_t length) {
  ssize_t (*real)(int, const void*, size_t) = next("write");
  if (fd == STDOUT_FILENO) record(kConfirm, 0, 0, bytes, length);
  if (file_of(fd) > 0) about_to_write(fd, bytes, length, (uint64_t)lseek(fd, 0, SEEK_CUR));
  const ssize_t written = real(fd, bytes, length);
  has_written(fd, written, length);
  return written;
}

// The pieces of a gathered write are recorded one by one: a power cut may fall between them.
static size_t gathered(int fd, const struct iovec* pieces, int count, uint64_t offset) {
  size_t length = 0;
  for (int i = 0; i < count; ++i) {
    about_to_write(fd, pieces[i].iov_base, pieces[i].iov_len, offset + length);
    length += pieces[i].iov_len;
  }
  return length;
}

ssize_t writev(int fd, const struct iovec* pieces, int count) {
  ssize_t (*real)(int, const struct iovec*, int) = next("writev");
  if (file_of(fd) <= 0) return real(fd, pieces, count);
  const size_t length = gathered(fd, pieces, count, (uint64_t)lseek(fd, 0, SEEK_CUR));
  const ssize_t written = real(fd, pieces, count);
  has_written(fd, written, length);
  return written;
}

#define PWRITEV(function, offset_type)                                                  \
  ssize_t function(int fd, const struct iovec* pieces, int count, offset_type offset) { \
    ssize_t (*real)(int, const struct iovec*, int, offset_type) = next(#function);      \
    if (file_of(fd) <= 0) return real(fd, pieces, count, offset);                       \
    const size_t length = gathered(fd, pieces, count, (uint64_t)offset);                \
    const ssize_t written = real(fd, pieces, count, offset);                            \
    has_written(fd, written, length);                                                   \
    return written;                                                                     \
  }
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

#define SYNC(function)                                                  \
  int function(int fd) {                                                \
    int (*real)(int) = next(#function);                                 \
    const int result = real(fd);                                        \
    const int file = file_of(fd);                                       \
    if (result == 0 && file > 0) record(kSync, file, 0, NULL, 0);       \
    if (result == 0 && file < 0) record(kSyncDirectory, 0, 0, NULL, 0); \
    return result;                                                      \
  }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(function, offset_type)                                           \
  int function(int fd, offset_type size) {                                        \
    int (*real)(int, offset_type) = next(#function);                              \
    if (file_of(fd) > 0) record(kTruncate, file_of(fd), (uint64_t)size, NULL, 0); \
    return real(fd, size);                                                        \
  }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define FALLOCATE(function, offset_type)                                   \
  int function(int fd, int mode, offset_type offset, offset_type length) { \
    int (*real)(int, int, offset_type, offset_type) = next(#function);     \
    const int result = real(fd, mode, offset, length);                     \
    if (result == 0 && mode == 0 && file_of(fd) > 0)                       \
      record(kGrow, file_of(fd), (uint64_t)(offset + length), NULL, 0);    \
    return result;                                                         \
  }
FALLOCATE(fallocate, off_t)
FALLOCATE(fallocate64, off64_t)

int rename(const char* from, const char* to) {
  int (*real)(const char*, const char*) = next("rename");
  const char* old_name = watched(from);
  const char* new_name = watched(to);
  const int result = real(from, to);
  if (result != 0 || old_name == NULL || new_name == NULL) return result;
  const int file = find(old_name), replaced = find(new_name);
  char both[2 * kNameBytes];
  const size_t length = strlen(old_name) + 1 + strlen(new_name);
  if (length >= sizeof both) abort();
  strcpy(both, old_name);
  strcpy(both + strlen(old_name) + 1, new_name);
  record(kRename, file, 0, both, length);
  if (replaced != 0) names[replaced - 1][0] = 0;
  if (file != 0) strcpy(names[file - 1], new_name);
  return result;
}

static void removed(const char* path, int result) {
  const char* name = result == 0 ? watched(path) : NULL;
  const int file = name != NULL && *name != 0 ? find(name) : 0;
  if (file == 0) return;
  record(kUnlink, file, 0, name, strlen(name));
  names[file - 1][0] = 0;
}

int unlink(const char* path) {
  int (*real)(const char*) = next("unlink");
  const int result = real(path);
  removed(path, result);
  return result;
}

int remove(const char* path) {
  int (*real)(const char*) = next("remove");
  const int result = real(path);
  removed(path, result);
  return result;
}

// liblmdb is a shared library, so its door can be watched too.
int mdb_env_open(void* env, const char* path, unsigned int flags, mode_t mode) {
  int (*real)(void*, const char*, unsigned int, mode_t) = next("mdb_env_open");
  const char* more = getenv("RECORDER_LMDB_FLAGS");
  if (more != NULL) flags |= (unsigned int)strtoul(more, NULL, 16);
  return real(env, path, flags, mode);
}
