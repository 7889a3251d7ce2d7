// The files around the database: the directory, the lock that admits one process, creating a store so that a
// crash leaves none or a whole one, and growing the file ahead of its use.
//
// Errors: StoreError. Thread-safety: none. Units: bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "broker/store/lmdb_options.hpp"

namespace jobq::lmdb {

class Env;

inline constexpr std::string_view kDataFile = "data.mdb";
inline constexpr std::string_view kLockFile = "lock";
// Being written by `jobq restore` and `jobq compact` (offline.hpp); left over only by a crash of theirs.
inline constexpr std::string_view kRestoringFile = "data.mdb.restoring";
inline constexpr std::string_view kCompactingFile = "data.mdb.compacting";

// A file descriptor that closes itself.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd();
  Fd(Fd&& other) noexcept;
  Fd& operator=(Fd&& other) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool open() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

std::string data_file(const std::string& directory);

// Makes the directory (and its parents) if it is not there. Refuses network file systems unless allowed.
void prepare_directory(const std::string& directory, bool allow_network_fs);

// Holds the store for this process until the descriptor is closed; already_open with the holder's pid
// otherwise.
Fd lock_directory(const std::string& directory);

// For reading offline: held with others that read; already_open when a broker has the store. Not open when there is no
// lock file.
Fd share_lock(const std::string& directory);
// The data file that `path` (a directory, or a file) stands for. A directory, or a file that lies in its place, is locked.
std::string data_file_of(const std::string& path, Fd* lock);

// Makes a store beside its place, syncs it and renames it. Nothing when there is one. Returns whether it made
// one.
bool create_if_absent(const std::string& directory, std::uint64_t map_bytes);

// A new store with nothing in it as a file of that name, which is not there yet.
void make_store_file(const std::string& file, std::uint64_t map_bytes);

// fsync of a directory: a rename in it lasts.
void sync_directory(const std::string& directory);

// StoreError (newer_format, not_a_store) when this version does not read the store. `file` is for the text.
void require_format(Env* env, const std::string& file);

// What tells one file from a copy of it.
struct FileIdentity {
  std::uint64_t inode = 0;
  std::int64_t born_ns = 0;  // 0 where the file system does not say
};
FileIdentity identify(const std::string& file);

std::uint64_t disk_free_bytes(const std::string& directory);

// Keeps the data file some way longer than what is in use.
class Preallocation {
 public:
  Preallocation() = default;
  Preallocation(const std::string& file, std::uint64_t step_bytes, std::uint64_t map_bytes,
                const std::function<void(std::string_view)>& log);
  // Called between batches: makes sure that `needed` bytes and half a step lie behind `end`.
  void keep_ahead(std::uint64_t end, std::uint64_t needed);
  [[nodiscard]] std::uint64_t file_bytes() const { return file_bytes_; }
  [[nodiscard]] bool disk_full() const { return disk_full_; }

 private:
  Fd fd_;
  std::uint64_t step_bytes_ = 0;  // 0: off
  std::uint64_t map_bytes_ = 0;
  std::uint64_t file_bytes_ = 0;
  bool disk_full_ = false;
  std::function<void(std::string_view)> log_;
};

}  // namespace jobq::lmdb
