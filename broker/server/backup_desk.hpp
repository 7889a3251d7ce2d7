// The online backup as the verbs `backup`, `backup.show` and `backup.cancel` see it: one at a time, made by a thread of
// its own while the loop goes on.
//
// Where it may write: into one directory of the broker's host (store.backup_directory), under a plain name that is not
// taken. Whoever may order a backup cannot make the broker write anywhere else or over anything.
//
// Thread-safety: the methods are for the loop's thread; the thread of a running backup only touches the store and what
// stands under the mutex. The store outlives the desk; the destructor stops a running backup. Units: bytes, milliseconds.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <thread>

#include "broker/config.hpp"
#include "broker/store/store.hpp"
#include "jobq/status.hpp"
#include "libjobq/protocol/message.hpp"

namespace jobq {

class BackupDesk {
 public:
  // config outlives the desk too; it is read anew for each backup.
  BackupDesk(const Config* config, Store* store) : config_(config), store_(store) {}
  ~BackupDesk();
  BackupDesk(const BackupDesk&) = delete;
  BackupDesk& operator=(const BackupDesk&) = delete;

  static bool knows(std::string_view verb);
  // REQUIRES: knows(admin.verb). The document, or why not.
  Result<nlohmann::ordered_json> answer(const protocol::Admin& admin, TimeMs wall_now);

 private:
  enum class State : std::uint8_t { none, running, done, failed, cancelled };
  static const char* to_string(State state);

  Status begin(std::string_view name, TimeMs wall_now);
  Result<std::string> place_for(std::string_view name) const;
  Status check_room(const std::string& directory, const StoreHealth& health) const;
  void run(const std::string& file);
  nlohmann::ordered_json document() const;

  const Config* config_;
  Store* store_;
  std::thread thread_;

  mutable std::mutex mutex_;
  State state_ = State::none;
  bool cancel_asked_ = false;
  std::string file_, error_;
  TimeMs began_at_{};
  std::chrono::steady_clock::time_point began_{};
  std::int64_t took_ms_ = 0;
  std::uint64_t bytes_ = 0, expected_bytes_ = 0;
};

// The directory that backups are written into.
std::string backup_directory(const Config& config);

}  // namespace jobq
