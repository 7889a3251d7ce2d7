// The parent's side: starts the child that reads, and passes on what it says.
#include "broker/store/check_store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "broker/store/bytes_io.hpp"
#include "broker/store/lmdb_env.hpp"
#include "broker/store/store_checker.hpp"
#include "broker/store/store_files.hpp"

namespace jobq {
namespace lmdb {

// A broker that has the store open may change it under us; and none may open it while we read.
Fd share_lock(const std::string& directory) {
  const std::string file = fmt::format("{}/{}", directory, kLockFile);
  Fd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.open() || flock(fd.get(), LOCK_SH | LOCK_NB) == 0) return fd;
  std::array<char, 32> text{};
  const ssize_t got = pread(fd.get(), text.data(), text.size() - 1, 0);
  const std::string pid(text.data(), got > 1 ? static_cast<std::size_t>(got) - 1 : 0);
  throw StoreError(Code::io_error, StoreProblem::already_open,
                   fmt::format("{} is in use by process {}; ask the broker, or stop it first", directory,
                               pid.empty() ? std::string("(pid unknown)") : pid));
}

namespace {

// Whether one of the two pages at the front says that this is a file of LMDB. One is enough for a repair.
bool has_a_head(const std::string& file) {
  constexpr off_t kMagicAt = 16, kPageBytes = 4096;
  constexpr std::uint32_t kMagic = 0xBEEFC0DE;
  const Fd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.open()) {
    throw StoreError(Code::io_error, StoreProblem::io,
                     fmt::format("cannot read {}: {}", file, std::strerror(errno)));
  }
  for (const off_t at : {kMagicAt, kMagicAt + kPageBytes}) {
    std::uint32_t magic = 0;
    if (pread(fd.get(), &magic, sizeof magic, at) == sizeof magic && magic == kMagic) return true;
  }
  return false;
}

void require_head(const std::string& file) {
  if (has_a_head(file)) return;
  throw StoreError(Code::corruption, StoreProblem::not_a_store,
                   fmt::format("{} is not a store of jobq, or both pages at its front are damaged", file));
}

}  // namespace

std::string data_file_of(const std::string& path, Fd* lock) {
  struct stat found {};
  if (stat(path.c_str(), &found) != 0) {
    throw StoreError(Code::io_error, StoreProblem::io,
                     fmt::format("cannot look at {}: {}", path, std::strerror(errno)));
  }
  if (S_ISDIR(found.st_mode)) {
    *lock = share_lock(path);
    std::string file = data_file(path);
    if (stat(file.c_str(), &found) != 0 && errno == ENOENT) {
      throw StoreError(Code::io_error, StoreProblem::not_a_store,
                       fmt::format("{} holds no store: there is no {} in it", path, kDataFile));
    }
    require_head(file);
    return file;
  }
  if (!S_ISREG(found.st_mode)) {
    throw StoreError(Code::io_error, StoreProblem::not_a_store,
                     fmt::format("{} is neither a directory nor a file", path));
  }
  // Somebody may mean the directory and name the file in it.
  const std::filesystem::path as_path(path);
  if (as_path.filename() == kDataFile) {
    *lock = share_lock(as_path.has_parent_path() ? as_path.parent_path().string() : ".");
  }
  if (found.st_size == 0) {
    throw StoreError(Code::corruption, StoreProblem::damaged, fmt::format("{} is empty", path));
  }
  require_head(path);
  return path;
}

}  // namespace lmdb

namespace {

using lmdb::ByteReader;
using lmdb::ByteWriter;

// In the child.
std::string read_store(const CheckOptions& options, const LineSink& line) {
  lmdb::Fd lock;
  const std::string file = options.locked ? options.path : lmdb::data_file_of(options.path, &lock);
  lmdb::Env env(file, std::uint64_t{1} << 40, lmdb::Env::Mode::read_only);
  lmdb::require_format(&env, file);
  const CheckCounts counts = lmdb::StoreChecker(&env, options.dump, line).run();
  std::string row;
  ByteWriter(&row)
      .number(counts.jobs)
      .number(counts.ready)
      .number(counts.scheduled)
      .number(counts.leased)
      .number(counts.dead)
      .number(counts.awaiting_sweep)
      .number(counts.queues)
      .number(counts.problems)
      .signed_number(counts.as_of.ms);
  return row;
}

}  // namespace

Status check_store(const CheckOptions& options, const CheckSink& sink, CheckCounts* counts,
                   StoreProblem* problem) {
  StoreProblem ignored = StoreProblem::none;
  StoreProblem& why = problem != nullptr ? *problem : ignored;
  const ChildEnd end =
      run_in_child([&](const LineSink& line) { return read_store(options, line); }, sink, options.go_on);
  why = end.problem;
  if (end.stopped) {
    why = StoreProblem::interrupted;
    return {Code::closed, "interrupted"};
  }
  if (!end.status.ok()) return end.status;
  if (end.whole) {
    ByteReader reader(end.result);
    for (std::uint64_t* count :
         {&counts->jobs, &counts->ready, &counts->scheduled, &counts->leased, &counts->dead,
          &counts->awaiting_sweep, &counts->queues, &counts->problems}) {
      *count = reader.number();
    }
    counts->as_of = TimeMs{reader.signed_number()};
    return {};
  }
  if (Status outside = ended_from_outside(end, "reading " + options.path); !outside.ok()) {
    why = StoreProblem::io;
    return outside;
  }
  why = StoreProblem::damaged;
  return {Code::corruption, fmt::format("reading {} ended by signal {} after the lines above: a page of the "
                                        "file is damaged; restore a backup, "
                                        "or save what can be read with `jobq check {} --repair NEW_DIR`",
                                        options.path, end.signal, options.path)};
}

}  // namespace jobq
