#include "tests/store/failing_calls.hpp"

#include <fcntl.h>
#include <lmdb.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <optional>
#include <vector>

namespace jobq {

Pretended pretended;

namespace {

struct Armed {
  Fault fault;
  pid_t maker = 0;
  int seen = 0;
  int met = 0;
  bool armed = false;
};
std::vector<Armed>& faults() {
  static std::vector<Armed> all;
  return all;
}

bool fits(const Armed& one, std::string_view call, std::string_view path) {
  if (!one.armed || one.fault.call != call || !path.ends_with(one.fault.path_end)) return false;
  if (one.fault.in == In::anywhere) return true;
  return (one.fault.in == In::this_process) == (getpid() == one.maker);
}

// What the call has to return in place of being made.
std::optional<int> fault_of(std::string_view call, std::string_view path = {}) {
  for (std::size_t i = 0; i < faults().size(); ++i) {
    if (!fits(faults()[i], call, path)) continue;
    if (faults()[i].seen++ < faults()[i].fault.after) continue;
    ++faults()[i].met;
    if (!faults()[i].fault.for_ever) faults()[i].armed = false;
    const Fault fault = faults()[i].fault;
    if (fault.signal != 0) raise(fault.signal);
    if (fault.first) {
      fault.first();
      continue;
    }
    errno = fault.error;
    return fault.error;
  }
  return std::nullopt;
}

}  // namespace

Failing::Failing(Fault fault) : slot_(faults().size()) {
  faults().push_back({.fault = std::move(fault), .maker = getpid(), .armed = true});
}
Failing::~Failing() { disarm(); }
int Failing::met() const { return faults()[slot_].met; }
void Failing::disarm() { faults()[slot_].armed = false; }

}  // namespace jobq

using jobq::fault_of;
using jobq::pretended;

// The linker's names. A system call says 0 or -1 and errno, a function of LMDB the error itself.
#define JOBQ_SYSTEM_CALL(type, name, path, parameters, ...)                    \
  extern "C" type __real_##name parameters;                                    \
  extern "C" type __wrap_##name parameters;                                    \
  extern "C" type __wrap_##name parameters {                                   \
    if (const auto fault = fault_of(#name, path)) return *fault == 0 ? 0 : -1; \
    return __real_##name(__VA_ARGS__);                                         \
  }
#define JOBQ_LMDB_CALL(name, path, parameters, ...)              \
  extern "C" int __real_##name parameters;                       \
  extern "C" int __wrap_##name parameters;                       \
  extern "C" int __wrap_##name parameters {                      \
    if (const auto fault = fault_of(#name, path)) return *fault; \
    return __real_##name(__VA_ARGS__);                           \
  }

JOBQ_SYSTEM_CALL(int, access, path, (const char* path, int mode), path, mode)
JOBQ_SYSTEM_CALL(int, chmod, path, (const char* path, mode_t mode), path, mode)
JOBQ_SYSTEM_CALL(int, chown, path, (const char* path, uid_t user, gid_t group), path, user, group)
JOBQ_SYSTEM_CALL(int, dup3, "", (int from, int to, int flags), from, to, flags)
JOBQ_SYSTEM_CALL(int, fallocate64, "", (int fd, int mode, off64_t from, off64_t bytes), fd, mode, from, bytes)
JOBQ_SYSTEM_CALL(int, flock, "", (int fd, int operation), fd, operation)
JOBQ_SYSTEM_CALL(pid_t, fork, "", (void))
JOBQ_SYSTEM_CALL(int, fstat64, "", (int fd, struct stat64* found), fd, found)
JOBQ_SYSTEM_CALL(int, fsync, "", (int fd), fd)
JOBQ_SYSTEM_CALL(int, ftruncate64, "", (int fd, off64_t bytes), fd, bytes)
JOBQ_SYSTEM_CALL(int, mkdir, path, (const char* path, mode_t mode), path, mode)
JOBQ_SYSTEM_CALL(int, pipe2, "", (int* ends, int flags), ends, flags)
JOBQ_SYSTEM_CALL(int, poll, "", (pollfd * fds, nfds_t count, int ms), fds, count, ms)
JOBQ_SYSTEM_CALL(ssize_t, pwrite64, "", (int fd, const void* from, size_t bytes, off64_t at), fd, from, bytes,
                 at)
JOBQ_SYSTEM_CALL(ssize_t, pread64, "", (int fd, void* to, size_t bytes, off64_t at), fd, to, bytes, at)
JOBQ_SYSTEM_CALL(ssize_t, read, "", (int fd, void* to, size_t bytes), fd, to, bytes)
JOBQ_SYSTEM_CALL(ssize_t, write, "", (int fd, const void* from, size_t bytes), fd, from, bytes)
JOBQ_SYSTEM_CALL(int, rename, to, (const char* from, const char* to), from, to)
JOBQ_SYSTEM_CALL(int, renameat2, to, (int a, const char* from, int b, const char* to, unsigned int flags), a,
                 from, b, to, flags)
JOBQ_SYSTEM_CALL(int, stat64, path, (const char* path, struct stat64* found), path, found)
JOBQ_SYSTEM_CALL(pid_t, waitpid, "", (pid_t child, int* ended, int options), child, ended, options)

JOBQ_LMDB_CALL(mdb_cursor_del, "", (MDB_cursor * cursor, unsigned int flags), cursor, flags)
JOBQ_LMDB_CALL(mdb_cursor_get, "",
               (MDB_cursor * cursor, MDB_val* key, MDB_val* value, MDB_cursor_op operation), cursor, key,
               value, operation)
JOBQ_LMDB_CALL(mdb_cursor_open, "", (MDB_txn * txn, MDB_dbi table, MDB_cursor** cursor), txn, table, cursor)
JOBQ_LMDB_CALL(mdb_cursor_put, "", (MDB_cursor * cursor, MDB_val* key, MDB_val* value, unsigned int flags),
               cursor, key, value, flags)
JOBQ_LMDB_CALL(mdb_dbi_open, name, (MDB_txn * txn, const char* name, unsigned int flags, MDB_dbi* table), txn,
               name, flags, table)
JOBQ_LMDB_CALL(mdb_drop, "", (MDB_txn * txn, MDB_dbi table, int removes), txn, table, removes)
JOBQ_LMDB_CALL(mdb_env_copyfd2, "", (MDB_env * env, mdb_filehandle_t fd, unsigned int flags), env, fd, flags)
JOBQ_LMDB_CALL(mdb_env_create, "", (MDB_env * *env), env)
JOBQ_LMDB_CALL(mdb_env_info, "", (MDB_env * env, MDB_envinfo* info), env, info)
JOBQ_LMDB_CALL(mdb_env_open, path, (MDB_env * env, const char* path, unsigned int flags, mdb_mode_t mode),
               env, path, flags, mode)
JOBQ_LMDB_CALL(mdb_env_set_mapsize, "", (MDB_env * env, size_t bytes), env, bytes)
JOBQ_LMDB_CALL(mdb_env_set_maxdbs, "", (MDB_env * env, MDB_dbi tables), env, tables)
JOBQ_LMDB_CALL(mdb_env_stat, "", (MDB_env * env, MDB_stat* stat), env, stat)
JOBQ_LMDB_CALL(mdb_stat, "", (MDB_txn * txn, MDB_dbi table, MDB_stat* stat), txn, table, stat)
JOBQ_LMDB_CALL(mdb_txn_begin, "", (MDB_env * env, MDB_txn* parent, unsigned int flags, MDB_txn** txn), env,
               parent, flags, txn)

// The linker's names for what --wrap puts between.
// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" {

int __real_open64(const char* path, int flags, ...);
int __wrap_open64(const char* path, int flags, ...);
int __wrap_open64(const char* path, int flags, ...) {
  if (fault_of("open64", path)) return -1;
  if ((flags & O_CREAT) == 0) return __real_open64(path, flags);
  va_list more;
  va_start(more, flags);
  const auto mode = va_arg(more, mode_t);
  va_end(more);
  return __real_open64(path, flags, mode);
}

int __real_statfs64(const char* path, struct statfs64* found);
int __wrap_statfs64(const char* path, struct statfs64* found);
int __wrap_statfs64(const char* path, struct statfs64* found) {
  if (fault_of("statfs64", path)) return -1;
  const int done = __real_statfs64(path, found);
  if (pretended.file_system != 0) found->f_type = static_cast<decltype(found->f_type)>(pretended.file_system);
  return done;
}

int __real_statvfs64(const char* path, struct statvfs64* found);
int __wrap_statvfs64(const char* path, struct statvfs64* found);
int __wrap_statvfs64(const char* path, struct statvfs64* found) {
  if (fault_of("statvfs64", path)) return -1;
  const int done = __real_statvfs64(path, found);
  if (pretended.disk_is_full) found->f_bavail = 0;
  return done;
}

int __real_statx(int at, const char* path, int flags, unsigned int mask, struct statx* found);
int __wrap_statx(int at, const char* path, int flags, unsigned int mask, struct statx* found);
int __wrap_statx(int at, const char* path, int flags, unsigned int mask, struct statx* found) {
  if (fault_of("statx", path)) return -1;
  const int done = __real_statx(at, path, flags, mask, found);
  if (pretended.no_birth_time) found->stx_mask &= ~static_cast<decltype(found->stx_mask)>(STATX_BTIME);
  if (pretended.born_s != 0) {
    found->stx_mask |= STATX_BTIME;
    found->stx_btime.tv_sec = pretended.born_s;
  }
  return done;
}

uid_t __real_geteuid();
uid_t __wrap_geteuid();
uid_t __wrap_geteuid() { return pretended.user >= 0 ? static_cast<uid_t>(pretended.user) : __real_geteuid(); }

// The transaction is gone whatever a commit comes to.
int __real_mdb_txn_commit(MDB_txn* txn);
int __wrap_mdb_txn_commit(MDB_txn* txn);
int __wrap_mdb_txn_commit(MDB_txn* txn) {
  const auto fault = fault_of("mdb_txn_commit");
  if (!fault) return __real_mdb_txn_commit(txn);
  mdb_txn_abort(txn);
  return *fault;
}

int __real_mdb_reader_list(MDB_env* env, MDB_msg_func* take, void* to);
int __wrap_mdb_reader_list(MDB_env* env, MDB_msg_func* take, void* to);
int __wrap_mdb_reader_list(MDB_env* env, MDB_msg_func* take, void* to) {
  if (const auto fault = fault_of("mdb_reader_list")) return *fault;
  if (pretended.readers == nullptr) return __real_mdb_reader_list(env, take, to);
  for (const char* const* line = pretended.readers; *line != nullptr; ++line) take(*line, to);
  return 0;
}

int __real_mdb_reader_check(MDB_env* env, int* dead);
int __wrap_mdb_reader_check(MDB_env* env, int* dead);
int __wrap_mdb_reader_check(MDB_env* env, int* dead) {
  if (const auto fault = fault_of("mdb_reader_check")) return *fault;
  const int done = __real_mdb_reader_check(env, dead);
  if (pretended.dead_readers != 0) *dead = pretended.dead_readers;
  return done;
}
}
// NOLINTEND(bugprone-reserved-identifier)
