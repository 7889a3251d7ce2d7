// Writes a Deliver message job by job: each body is copied once, from where it is stored into the bytes that are sent.
// The same message that encode() makes of a protocol::Deliver, but for the width of its count.
//
//   DeliverWriter writer(&bytes);
//   writer.begin(session);
//   writer.add(delivery, parts);     // views are read before it returns
//   writer.finish();                 // bytes hold a whole message now
//
// A large body can come piece by piece instead: begin_job(), then add_piece() until it is complete, then end_job().
//
// Not thread-safe. Ownership: the string is the caller's and outlives the writer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "libjobq/protocol/message.hpp"

namespace jobq::protocol {

class DeliverWriter {
 public:
  explicit DeliverWriter(std::string* out) : out_(out) {}
  // Clears the string.
  void begin(SessionNo session);
  // The body lies in parts, one behind the other; that of `job` is not looked at.
  void add(const Delivery& job, std::span<const std::string_view> body);
  void begin_job(const Delivery& job, std::size_t body_bytes);
  void add_piece(std::span<const std::string_view> parts);
  void end_job(const Delivery& job);
  void finish();
  [[nodiscard]] std::uint32_t jobs() const { return jobs_; }

 private:
  std::string* out_;
  std::size_t count_at_ = 0;
  std::uint32_t jobs_ = 0;
};

}  // namespace jobq::protocol
