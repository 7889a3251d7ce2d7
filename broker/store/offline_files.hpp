// What restore, compaction and repair have in common: a file that is made beside its place, verified and renamed.
//
// Errors: StoreError. Thread-safety: none. Units: bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "broker/store/lmdb_env.hpp"
#include "broker/store/offline.hpp"

namespace jobq::lmdb {

[[noreturn]] void fail_with(int error,
                            const std::string& doing);  // "cannot <doing>: ..."; kind and remedy by errno
[[noreturn]] void fail_interrupted();

std::uint64_t size_of(const std::string& file);  // 0: none

// The file that is being made. Removed with its LMDB lock file unless it was put in its place.
class Aside {
 public:
  explicit Aside(std::string file) : file_(std::move(file)) { remove(); }
  ~Aside() {
    if (!placed_) remove();
  }
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;
  [[nodiscard]] const std::string& file() const { return file_; }
  // Synced, renamed, and the directory synced.
  void place(const std::string& at);

 private:
  void remove() const;
  std::string file_;
  bool placed_ = false;
};

// Run by root, a file must still be readable by the broker, which is not.
void give_to_owner_of(const std::string& model, const std::string& file);

// not_empty, unless the directory is not there or holds nothing but what an earlier attempt that was cut short has left.
void require_empty(const std::string& directory, OfflineReport* report);
void require_space(const std::string& directory, std::uint64_t needed, const char* what);

// check_store() with the options' progress and problem lines.
CheckCounts check_with_progress(const CheckOptions& check, std::string_view doing,
                                const OfflineOptions& options);

// Runs work(); a StoreError becomes its status and *problem.
template <typename Work>
Status guarded(StoreProblem* problem, Work work) {
  *problem = StoreProblem::none;
  try {
    work();
    return {};
  } catch (const StoreError& error) {
    *problem = error.problem();
    return error.status();
  }
}

}  // namespace jobq::lmdb
