#include "broker/store/offline_files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "broker/store/store_files.hpp"

namespace jobq::lmdb {
namespace fs = std::filesystem;

void fail_with(int error, const std::string& doing) {
  const std::string text = fmt::format("cannot {}: {}", doing, std::strerror(error));
  if (error == ENOSPC || error == EDQUOT)
    throw StoreError(Code::disk_full, StoreProblem::no_space, text + "; free disk space");
  if (error == EACCES || error == EPERM || error == EROFS)
    throw StoreError(Code::io_error, StoreProblem::read_only, text + "; check owner and mode");
  throw StoreError(Code::io_error, StoreProblem::io, text);
}

void fail_interrupted() { throw StoreError(Code::closed, StoreProblem::interrupted, "interrupted"); }

std::uint64_t size_of(const std::string& file) {
  std::error_code ignored;
  const auto bytes = fs::file_size(file, ignored);
  return ignored ? 0 : bytes;
}

void Aside::place(const std::string& at) {
  const Fd fd(open(file_.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.open() || fsync(fd.get()) != 0) fail_with(errno, "sync " + file_);
  if (rename(file_.c_str(), at.c_str()) != 0) fail_with(errno, fmt::format("rename {} to {}", file_, at));
  placed_ = true;
  sync_directory(fs::path(at).parent_path().string());
  std::error_code ignored;
  fs::remove(file_ + "-lock", ignored);
}

void Aside::remove() const {
  std::error_code ignored;
  fs::remove(file_, ignored);
  fs::remove(file_ + "-lock", ignored);
}

void give_to_owner_of(const std::string& model, const std::string& file) {
  struct stat found {};
  if (geteuid() != 0 || stat(model.c_str(), &found) != 0) return;
  if (chown(file.c_str(), found.st_uid, found.st_gid) != 0)
    fail_with(errno, "give " + file + " to the owner of " + model);
}

void require_space(const std::string& directory, std::uint64_t needed, const char* what) {
  const std::uint64_t free = disk_free_bytes(directory);
  if (free >= needed) return;
  throw StoreError(Code::disk_full, StoreProblem::no_space,
                   fmt::format("{} needs up to {} MiB in {}, and {} MiB are free; nothing was changed", what,
                               (needed >> 20) + 1, directory, free >> 20));
}

void require_empty(const std::string& directory, OfflineReport* report) {
  std::error_code error;
  if (!fs::exists(directory, error)) return;
  if (!fs::is_directory(directory, error)) {
    throw StoreError(
        Code::wrong_state, StoreProblem::not_empty,
        fmt::format("{} is not a directory; name one that is not there yet, or empty", directory));
  }
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    if (name == kRestoringFile && report != nullptr) report->left_over = entry.path().string();
    if (name != kLockFile && name != kRestoringFile && name != std::string(kRestoringFile) + "-lock")
      names.push_back(name);
  }
  if (error) fail_with(error.value(), "look into " + directory);
  if (names.empty()) return;
  std::sort(names.begin(), names.end());
  const bool a_store = std::find(names.begin(), names.end(), kDataFile) != names.end();
  names.resize(std::min<std::size_t>(names.size(), 3));
  throw StoreError(
      Code::wrong_state, StoreProblem::not_empty,
      fmt::format("{} is not empty ({}{}); {}", directory, fmt::join(names, ", "),
                  names.size() == 3 ? ", ..." : "",
                  a_store ? "it holds a store: move that directory away, or restore into another one"
                          : "restore into a new directory"));
}

CheckCounts check_with_progress(const CheckOptions& wanted, std::string_view doing,
                                const OfflineOptions& options) {
  CheckOptions check = wanted;
  if (options.progress) check.go_on = [&] { return options.progress(doing, 0, 0); };
  CheckCounts counts;
  StoreProblem why = StoreProblem::none;
  const Status done = check_store(
      check,
      [&](std::string_view line) {
        if (options.problem_line) options.problem_line(line);
      },
      &counts, &why);
  if (!done.ok()) throw StoreError(done.code(), why, done.text());
  return counts;
}

}  // namespace jobq::lmdb
