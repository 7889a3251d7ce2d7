// The bytes of one message on their way out: its own, or a part of bytes that several share. A large one is not copied
// again until the kernel takes it.
//
// Thread-safety: a Frame belongs to one thread at a time. Shared bytes may be read by a thread of ZeroMQ; they are not
// changed before it says that it has done so.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace jobq {

struct SharedBytes {
  std::string bytes;
  std::atomic<int> readers{0};  // on other threads

  // Whether its only owner may write to it.
  [[nodiscard]] bool unread() const { return readers.load(std::memory_order_acquire) == 0; }
};

class Frame {
 public:
  // A smaller one is copied by whoever sends it: sharing costs more.
  static constexpr std::size_t kShareFrom = std::size_t{16} << 10;

  explicit Frame(std::string bytes) : own_(std::move(bytes)) {}
  // What of `bytes` comes after the first `skipped`.
  Frame(std::shared_ptr<SharedBytes> bytes, std::size_t skipped)
      : shared_(std::move(bytes)), skipped_(skipped) {}

  [[nodiscard]] std::string_view view() const {
    return shared_ ? std::string_view(shared_->bytes).substr(skipped_) : std::string_view(own_);
  }
  // Null: the bytes are its own.
  [[nodiscard]] const std::shared_ptr<SharedBytes>& shared() const { return shared_; }
  [[nodiscard]] std::string take() && { return shared_ ? std::string(view()) : std::move(own_); }

 private:
  std::string own_;
  std::shared_ptr<SharedBytes> shared_;
  std::size_t skipped_ = 0;
};

}  // namespace jobq
