// The online backup: a compacted copy made by another thread from a read transaction, while the loop goes on writing.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "broker/store/lmdb_store.hpp"

namespace jobq::lmdb {
namespace {

// Like rename(), but never over something. Not every file system can; then a look before has to do.
int rename_into_nothing(const std::string& from, const std::string& to) {
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return -1;
  if (access(to.c_str(), F_OK) == 0) {
    errno = EEXIST;
    return -1;
  }
  return rename(from.c_str(), to.c_str());
}

Status failed(const char* doing, const std::string& what) {
  const int error = errno;
  const std::string text = fmt::format("cannot {} {}: {}", doing, what, std::strerror(error));
  if (error == EEXIST)
    return {Code::wrong_state, text + "; choose another name: a backup is never overwritten"};
  if (error == ENOSPC || error == EDQUOT) return {Code::disk_full, text + "; free disk space"};
  return {Code::io_error, text};
}

}  // namespace

// LMDB has no way to stop a copy; taking its file away makes its next write fail.
bool LmdbStore::take_away_the_backups_file() {
  const Fd nothing(open("/dev/null", O_RDONLY | O_CLOEXEC));
  return nothing.open() && dup3(nothing.get(), backup_fd_, O_CLOEXEC) >= 0;
}

// The pages that a copy still reads cannot be used again, so that the file grows while it runs.
void LmdbStore::stop_backup_that_holds_back_too_much() {
  const std::lock_guard guard(backup_mutex_);
  if (backup_fd_ < 0 || options_.backup_growth_bytes_max == 0 || env_->info().end_bytes <= backup_end_max_)
    return;
  if (backup_stopped_ == BackupEnd::none && take_away_the_backups_file())
    backup_stopped_ = BackupEnd::held_back_too_much;
}

void LmdbStore::stop_backup() {
  const std::lock_guard guard(backup_mutex_);
  if (backup_fd_ < 0 || backup_stopped_ != BackupEnd::none) return;
  if (take_away_the_backups_file()) backup_stopped_ = BackupEnd::asked;
}

// A copy under another name, synced and renamed, so that a backup that is there is whole.
Status LmdbStore::backup(const std::string& path) {
  const std::string aside = path + ".part";
  const auto stopped_text = [&](BackupEnd why) {
    if (why == BackupEnd::asked) return Status{Code::wrong_state, "the backup was stopped"};
    return Status{
        Code::store_full,
        fmt::format("the backup {} was given up: the store has grown by more than {} MiB meanwhile; back "
                    "up to a faster disk or at a quieter time, or raise the limit",
                    path, options_.backup_growth_bytes_max >> 20)};
  };
  if (access(path.c_str(), F_OK) == 0) {
    errno = EEXIST;
    return failed("make", path);
  }
  const std::unique_lock only_one(backup_running_, std::try_to_lock);
  if (!only_one.owns_lock())
    return {Code::wrong_state, "another backup of this store is being made; wait for it"};
  // An attempt that was cut short may have left one.
  const Fd fd(open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640));
  if (!fd.open()) return failed("write", aside);
  {
    const std::lock_guard guard(backup_mutex_);
    backup_fd_ = fd.get();
    backup_end_max_ = env_->info().end_bytes + options_.backup_growth_bytes_max;
    backup_stopped_ = BackupEnd::none;
  }
  Status done;
  try {
    env_->copy_to(fd.get());
  } catch (const StoreError& error) {
    done = error.status();
  }
  {
    const std::lock_guard guard(backup_mutex_);
    backup_fd_ = -1;
    if (backup_stopped_ != BackupEnd::none) done = stopped_text(backup_stopped_);
  }
  if (done.ok() && fsync(fd.get()) != 0) done = failed("sync", aside);
  if (done.ok() && rename_into_nothing(aside, path) != 0) done = failed("make", path);
  if (!done.ok()) {
    std::error_code ignored;
    std::filesystem::remove(aside, ignored);
    return done;
  }
  try {
    const std::filesystem::path parent = std::filesystem::path(path).parent_path();
    sync_directory(parent.empty() ? "." : parent.string());
  } catch (const StoreError& error) {
    return error.status();
  }
  return {};
}

}  // namespace jobq::lmdb
