// What the throwing calls of the library throw: a Code, a sentence for people, and whether waiting helps.
//
//   try {
//     client.enqueue("receipts", receipt);
//   } catch (const jobq::Error& error) {
//     if (error.retryable()) answer_503(error.retry_after());
//   }
//
// Thread-safety: a value; const members may be called from many threads.
#pragma once

#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>

#include "jobq/export.hpp"
#include "jobq/status.hpp"

namespace jobq {

class JOBQ_API Error : public std::runtime_error {
 public:
  explicit Error(const Status& status, std::chrono::milliseconds retry_after = {})
      : std::runtime_error(status.text()), code_(status.code()), retry_after_(retry_after) {}
  Error(Code code, const std::string& text) : std::runtime_error(text), code_(code) {}

  [[nodiscard]] Code code() const { return code_; }
  // True when the same call may succeed later without being changed.
  [[nodiscard]] bool retryable() const { return is_retryable(code_); }
  // How long the broker asks to wait before the next try; zero when it has no opinion.
  [[nodiscard]] std::chrono::milliseconds retry_after() const { return retry_after_; }

 private:
  Code code_;
  std::chrono::milliseconds retry_after_{};
};

}  // namespace jobq
