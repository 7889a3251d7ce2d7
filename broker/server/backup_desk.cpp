#include "broker/server/backup_desk.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "broker/server/admin_params.hpp"
#include "broker/server/log.hpp"

namespace jobq {
namespace {

using json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr mode_t kDirectoryMode = 0750;
constexpr std::size_t kNameBytesMax = 200;

std::int64_t ms_since(std::chrono::steady_clock::time_point then) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - then)
      .count();
}

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : std::string();
}

bool is_plain_name(std::string_view name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-' || c == '+' || c == ':' || c == '@' || c == '=';
  };
  return !name.empty() && name.size() <= kNameBytesMax && name.front() != '.' && name.front() != '-' &&
         !name.ends_with(".part") && std::all_of(name.begin(), name.end(), plain);
}

bool same_disk(const std::string& a, const std::string& b) {
  struct stat at_a {
  }, at_b{};
  return stat(a.c_str(), &at_a) == 0 && stat(b.c_str(), &at_b) == 0 && at_a.st_dev == at_b.st_dev;
}

}  // namespace

std::string backup_directory(const Config& config) {
  const std::string directory =
      config.store_backup_directory.empty() ? config.data + "/backups" : config.store_backup_directory;
  std::error_code error;
  const fs::path absolute = fs::absolute(directory, error);
  std::string text = (error ? fs::path(directory) : absolute).lexically_normal().string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

BackupDesk::~BackupDesk() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard guard(mutex_);
    cancel_asked_ = true;
  }
  store_->stop_backup();
  thread_.join();
}

const char* BackupDesk::to_string(State state) {
  switch (state) {
    case State::none:
      return "none";
    case State::running:
      return "running";
    case State::done:
      return "done";
    case State::failed:
      return "failed";
    case State::cancelled:
      return "cancelled";
  }
  return "?";
}

bool BackupDesk::knows(std::string_view verb) {
  return verb == "backup" || verb == "backup.show" || verb == "backup.cancel";
}

Result<json> BackupDesk::answer(const protocol::Admin& admin, TimeMs wall_now) {
  AdminParams params(admin);
  if (admin.verb == "backup") {
    params.allow_only({"file"});
    const std::string_view name = params.required_text("file");
    if (!params.ok()) return params.status();
    if (Status begun = begin(name, wall_now); !begun.ok()) return begun;
    return document();
  }
  params.allow_only({});
  if (!params.ok()) return params.status();
  if (admin.verb == "backup.cancel") {
    {
      const std::lock_guard guard(mutex_);
      if (state_ != State::running) return Status{Code::wrong_state, "no backup is running"};
      cancel_asked_ = true;
    }
    store_->stop_backup();
  }
  return document();
}

// A plain name, or the whole path of a file in the directory for backups.
Result<std::string> BackupDesk::place_for(std::string_view name) const {
  const std::string directory = backup_directory(*config_);
  std::string plain(name);
  if (name.front() == '/') {
    const fs::path path = fs::path(plain).lexically_normal();
    if (path.parent_path() != fs::path(directory)) {
      return Status{Code::forbidden,
                    fmt::format("this broker writes backups into {} only (on {}); give a plain name, or set "
                                "store.backup_directory",
                                directory, host_name())};
    }
    plain = path.filename().string();
  }
  if (!is_plain_name(plain)) {
    return Status{
        Code::bad_argument,
        fmt::format(
            "'{}' cannot be the name of a backup: letters, digits and .-_+:@= only, not beginning with "
            "'.' or '-', not ending in .part; it is written into {} on {}",
            plain.substr(0, kNameBytesMax), directory, host_name())};
  }
  if (mkdir(directory.c_str(), kDirectoryMode) != 0 && errno != EEXIST) {
    return Status{Code::io_error, fmt::format("cannot make the directory for backups, {}: {}", directory,
                                              std::strerror(errno))};
  }
  return fmt::format("{}/{}", directory, plain);
}

// A backup that fills the disk would stop producers.
Status BackupDesk::check_room(const std::string& directory, const StoreHealth& health) const {
  struct statvfs room {};
  if (statvfs(directory.c_str(), &room) != 0) {
    return {Code::io_error, fmt::format("cannot look at {}: {}", directory, std::strerror(errno))};
  }
  const std::uint64_t free = std::uint64_t{room.f_bavail} * room.f_frsize;
  const bool shared = same_disk(directory, config_->data);
  const std::uint64_t needed = health.used_bytes + (shared ? config_->store_min_free_bytes : 0);
  if (free >= needed) return {};
  return {Code::disk_full,
          fmt::format("a backup needs up to {} MiB in {}{}, and {} MiB are free",
                      (health.used_bytes >> 20) + 1, directory,
                      shared ? fmt::format(" and {} MiB must stay free there for the store (store.min_free)",
                                           config_->store_min_free_bytes >> 20)
                             : "",
                      free >> 20)};
}

Status BackupDesk::begin(std::string_view name, TimeMs wall_now) {
  Result<std::string> file = place_for(name);
  if (!file.ok()) return file.status();
  struct stat found {};
  if (lstat(file->c_str(), &found) == 0) {
    return {Code::wrong_state,
            fmt::format("{} on {} exists; choose another name: a backup is never overwritten", *file,
                        host_name())};
  }
  const StoreHealth health = store_->health();
  if (Status room = check_room(fs::path(*file).parent_path().string(), health); !room.ok()) return room;
  {
    const std::lock_guard guard(mutex_);
    if (state_ == State::running) {
      return {Code::wrong_state,
              fmt::format("a backup is being made already, {}; wait for it (`jobq backup --show`) or "
                          "stop it (`jobq backup --cancel`)",
                          file_)};
    }
    state_ = State::running;
    cancel_asked_ = false;
    file_ = *file;
    error_.clear();
    began_at_ = wall_now;
    began_ = std::chrono::steady_clock::now();
    bytes_ = 0;
    expected_bytes_ = health.used_bytes;
  }
  if (thread_.joinable()) thread_.join();  // it has ended
  thread_ = std::thread([this, path = *file] { run(path); });
  return {};
}

void BackupDesk::run(const std::string& file) {
  log::info("backup: writing {}", file);
  const Status made = store_->backup(file);
  struct stat found {};
  const bool there = made.ok() && stat(file.c_str(), &found) == 0;
  const std::lock_guard guard(mutex_);
  took_ms_ = ms_since(began_);
  if (made.ok()) {
    state_ = State::done;
    bytes_ = there ? static_cast<std::uint64_t>(found.st_size) : 0;
    log::info("backup: {} is whole and on disk, {} MiB in {} ms", file, bytes_ >> 20, took_ms_);
  } else {
    state_ = cancel_asked_ ? State::cancelled : State::failed;
    error_ = made.text();
    log::warning("backup: {} was not made: {}", file, made.text());
  }
}

json BackupDesk::document() const {
  const std::lock_guard guard(mutex_);
  std::uint64_t bytes = bytes_;
  if (state_ == State::running) {
    struct stat found {};
    if (stat((file_ + ".part").c_str(), &found) == 0) bytes = static_cast<std::uint64_t>(found.st_size);
  }
  const bool any = state_ != State::none;
  return {{"backup",
           {{"state", to_string(state_)},
            {"host", host_name()},
            {"directory", backup_directory(*config_)},
            {"file", any ? json(file_) : json()},
            {"bytes", bytes},
            {"expected_bytes", expected_bytes_},
            {"began_at", any ? json(began_at_.ms) : json()},
            {"took_ms", state_ == State::running ? ms_since(began_) : took_ms_},
            {"error", error_.empty() ? json() : json(error_)}}}};
}

}  // namespace jobq
