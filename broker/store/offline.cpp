#include "broker/store/offline.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>
#include <vector>

#include "broker/store/bytes_io.hpp"
#include "broker/store/lmdb_env.hpp"
#include "broker/store/offline_files.hpp"
#include "broker/store/rows.hpp"
#include "broker/store/store_files.hpp"

namespace jobq {
namespace lmdb {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kReadMapBytes = std::uint64_t{1} << 40;  // address space only
constexpr std::size_t kCopyBytes = std::size_t{4} << 20;

void require_sound(const CheckCounts& counts, const std::string& what) {
  if (counts.problems == 0) return;
  throw StoreError(
      Code::corruption, StoreProblem::damaged,
      fmt::format("{} has {} problem{}; nothing was changed. `jobq check {} --repair NEW_DIR` saves its "
                  "sound jobs into a new store",
                  what, counts.problems, counts.problems == 1 ? "" : "s", what));
}

void require_same(const CheckCounts& before, const CheckCounts& after, const std::string& what) {
  if (after.problems == 0 && before.jobs == after.jobs && before.ready == after.ready &&
      before.scheduled == after.scheduled && before.leased == after.leased && before.dead == after.dead &&
      before.queues == after.queues) {
    return;
  }
  throw StoreError(
      Code::corruption, StoreProblem::damaged,
      fmt::format("the copy of {} is not the same as the original: {} of {} jobs, {} problems; nothing "
                  "was changed. Look at the disk and the memory of this machine",
                  what, after.jobs, before.jobs, after.problems));
}

// The identity of the store in a file that is not in its place yet. The file's inode is noted at the first start.
void write_identity(const std::string& file, bool new_incarnation) {
  Env env(file, kReadMapBytes, Env::Mode::read_write);
  Txn txn(&env, Txn::Kind::write);
  IdentityRow identity =
      decode_identity(txn.get(Table::meta, meta_key::kIdentity).value_or(std::string_view{}));
  if (new_incarnation) {
    std::random_device entropy;
    for (auto& byte : identity.incarnation) byte = static_cast<std::uint8_t>(entropy());
    identity.secret = (std::uint64_t{entropy()} << 32) | entropy();
  }
  identity.file_inode = 0;
  identity.file_born_ns = 0;
  std::string row;
  encode_identity(identity, &row);
  txn.put(Table::meta, meta_key::kIdentity, row);
  txn.commit();
}

void copy_file(const std::string& from, const std::string& to, const OfflineOptions& options) {
  const Fd in(open(from.c_str(), O_RDONLY | O_CLOEXEC));
  if (!in.open()) fail_with(errno, "read " + from);
  const Fd out(open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640));
  if (!out.open()) fail_with(errno, "write " + to);
  const std::uint64_t bytes = size_of(from);
  std::vector<char> piece(kCopyBytes);
  for (std::uint64_t done = 0;;) {
    if (options.progress && !options.progress("copying", done, bytes)) fail_interrupted();
    const ssize_t got = read(in.get(), piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_with(errno, "read " + from);
    if (got == 0) return;
    for (ssize_t written = 0; written < got;) {
      const ssize_t wrote = write(out.get(), piece.data() + written, static_cast<std::size_t>(got - written));
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote <= 0) fail_with(wrote < 0 ? errno : EIO, "write " + to);
      written += wrote;
    }
    done += static_cast<std::uint64_t>(got);
  }
}

void restore(const std::string& file, const std::string& directory, const OfflineOptions& options,
             OfflineReport* report) {
  std::error_code ignored;
  if (fs::is_directory(file, ignored)) {
    throw StoreError(
        Code::wrong_state, StoreProblem::not_a_store,
        fmt::format("{} is a directory; name the file of a backup, as `jobq backup` printed it", file));
  }
  // Before anything is read for minutes.
  require_empty(directory, report);
  const CheckCounts before = check_with_progress({.path = file}, "verifying the backup", options);
  require_sound(before, file);

  prepare_directory(directory, true);
  const Fd lock = lock_directory(directory);
  require_empty(directory, report);  // nobody came between
  Aside aside(fmt::format("{}/{}", directory, kRestoringFile));
  require_space(directory, size_of(file), "the restore");
  copy_file(file, aside.file(), options);
  write_identity(aside.file(), true);
  report->counts = check_with_progress({.path = aside.file(), .locked = true}, "verifying the copy", options);
  require_same(before, report->counts, file);
  give_to_owner_of(directory, aside.file());
  give_to_owner_of(directory, fmt::format("{}/{}", directory, kLockFile));
  report->bytes_before = size_of(file);
  report->bytes_after = size_of(aside.file());
  aside.place(data_file(directory));
}

// In a child: a page that is damaged may end it.
void write_compacted(const std::string& file, const std::string& to, const OfflineOptions& options) {
  const std::string directory = fs::path(file).parent_path().string();
  std::uint64_t expected = 0;
  const auto work = [&](const LineSink& line) {
    Env env(file, kReadMapBytes, Env::Mode::read_only);
    std::uint64_t used = 0;
    {
      const Txn txn(&env, Txn::Kind::read);
      const EnvInfo info = env.info();
      used = info.end_bytes - std::min(info.end_bytes, txn.free_pages() * info.page_bytes);
    }
    require_space(directory, used, "the compaction");
    line(std::to_string(used));
    const Fd out(open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640));
    if (!out.open()) fail_with(errno, "write " + to);
    env.copy_to(out.get());
    if (fsync(out.get()) != 0) fail_with(errno, "sync " + to);
    return std::string();
  };
  const auto heard = [&](std::string_view line) {
    expected = static_cast<std::uint64_t>(std::strtoull(std::string(line).c_str(), nullptr, 10));
  };
  std::function<bool()> go_on;
  if (options.progress) go_on = [&] { return options.progress("writing", size_of(to), expected); };
  const ChildEnd end = run_in_child(work, heard, go_on);
  if (end.stopped) fail_interrupted();
  if (!end.status.ok()) throw StoreError(end.status.code(), end.problem, end.status.text());
  if (!end.whole) {
    if (const Status outside = ended_from_outside(end, "reading " + file); !outside.ok())
      throw StoreError(outside.code(), StoreProblem::io, outside.text() + "; nothing was changed");
    throw StoreError(
        Code::corruption, StoreProblem::damaged,
        fmt::format("reading {} ended by signal {}: a page of it is damaged; nothing was changed", file,
                    end.signal));
  }
}

void compact(const std::string& directory, const OfflineOptions& options, OfflineReport* report) {
  const std::string file = data_file(directory);
  if (struct stat found{}; stat(file.c_str(), &found) != 0) {
    const int error = errno;
    if (stat(directory.c_str(), &found) != 0) fail_with(errno, "look at " + directory);
    if (error != ENOENT) fail_with(error, "look at " + file);
    throw StoreError(Code::io_error, StoreProblem::not_a_store,
                     fmt::format("{} holds no store: there is no {} in it", directory, kDataFile));
  }
  const Fd lock = lock_directory(directory);
  give_to_owner_of(file, fmt::format("{}/{}", directory, kLockFile));
  const CheckCounts before =
      check_with_progress({.path = file, .locked = true}, "verifying the store", options);
  require_sound(before, directory);
  if (size_of(fmt::format("{}/{}", directory, kCompactingFile)) > 0)
    report->left_over = fmt::format("{}/{}", directory, kCompactingFile);
  Aside aside(fmt::format("{}/{}", directory, kCompactingFile));
  write_compacted(file, aside.file(), options);
  write_identity(aside.file(), false);
  report->counts =
      check_with_progress({.path = aside.file(), .locked = true}, "verifying the new file", options);
  require_same(before, report->counts, directory);
  struct stat old {};
  if (stat(file.c_str(), &old) == 0 && chmod(aside.file().c_str(), old.st_mode & 07777) != 0)
    fail_with(errno, "set the mode of " + aside.file());
  give_to_owner_of(file, aside.file());
  report->bytes_before = size_of(file);
  report->bytes_after = size_of(aside.file());
  aside.place(file);
}

}  // namespace
}  // namespace lmdb

Status restore_store(const std::string& file, const std::string& directory, const OfflineOptions& options,
                     OfflineReport* report, StoreProblem* problem) {
  return lmdb::guarded(problem, [&] { lmdb::restore(file, directory, options, report); });
}

Status compact_store(const std::string& directory, const OfflineOptions& options, OfflineReport* report,
                     StoreProblem* problem) {
  return lmdb::guarded(problem, [&] { lmdb::compact(directory, options, report); });
}

}  // namespace jobq
