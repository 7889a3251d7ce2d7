// Groups of jobs in a row, encoded as they travel: made where a job is submitted, moved from there to the message that
// carries it, and kept until that is answered. In front of them is room for the head of the message
// (protocol/enqueue_bytes.hpp), so that the message is one piece without another copy of the bodies.
//
// Not thread-safe. Ownership: the bytes are its own, and shared with the frames made of them; it never changes bytes that
// a frame was made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libjobq/base/time.hpp"
#include "libjobq/frame.hpp"
#include "libjobq/protocol/message.hpp"

namespace jobq {

class EncodedGroups {
 public:
  // Jobs that are stored together or not at all; one job of a plain enqueue.
  struct Group {
    std::uint64_t token = 0;  // the caller's name for it
    std::size_t bytes = 0;
    std::uint32_t jobs = 0;
    bool done = false;  // it has been completed; its bytes stay
    TimeMs deadline{};
    DurationMs timeout{};  // what the deadline was made of, for the text
  };

  [[nodiscard]] bool empty() const { return groups_.empty(); }
  [[nodiscard]] std::vector<Group>& groups() { return groups_; }
  [[nodiscard]] const std::vector<Group>& groups() const { return groups_; }
  [[nodiscard]] std::size_t jobs() const { return jobs_; }
  [[nodiscard]] std::size_t bytes() const { return shared_ ? shared_->bytes.size() - kRoom : 0; }
  // The encoded group that begins at this byte of all groups.
  [[nodiscard]] std::string_view group_at(std::size_t offset) const {
    return std::string_view(shared_->bytes).substr(kRoom + offset);
  }

  // One group: begin(), add() for each of its jobs, end().
  void begin(std::string_view queue, std::size_t jobs, std::size_t bytes_about);
  void add(const protocol::EnqueueJob& job);
  void end(std::uint64_t token, TimeMs deadline, DurationMs timeout);
  // Appends `count` groups of another, which begin with its `first` at its byte `offset`; how many bytes that were.
  std::size_t append(const EncodedGroups& other, std::size_t first, std::size_t count, std::size_t offset);

  // Nothing is left but the memory, if nobody else reads it.
  void clear();
  [[nodiscard]] std::size_t capacity() const { return shared_ ? shared_->bytes.capacity() : 0; }

  // The whole message, with this head in front. May be called again, with another head.
  [[nodiscard]] Frame frame(std::string_view head);

 private:
  static constexpr std::size_t kRoom = 64;

  void make_room(std::size_t more);

  std::shared_ptr<SharedBytes> shared_;  // null: none yet
  bool framed_ = false;
  std::vector<Group> groups_;
  std::size_t jobs_ = 0;
  std::size_t begun_at_ = 0;         // of the group that is being made
  std::uint32_t jobs_of_group_ = 0;  // and how many jobs it has
};

}  // namespace jobq
