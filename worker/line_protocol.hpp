// What jobq-worker and a persistent process say to each other: one JSON object per line, a job down its stdin, its
// outcome back from its stdout. docs/persistent_workers.md is the specification.
//
// Thread-safety: functions without state. Errors: any bytes are an answer or bad_message with a sentence.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "jobq/status.hpp"
#include "worker/environment.hpp"

namespace jobq::runner {

inline constexpr int kLineProtocol = 1;  // JOBQ_PROTOCOL
inline constexpr std::size_t kAnswerBytesMax = std::size_t{64} << 10;

// With the newline at its end. The body is "body" when it is UTF-8, else "body_base64".
std::string job_line(const JobFacts& facts, std::string_view body);

enum class AnswerOutcome : std::uint8_t { ack, nack, reject, snooze, release };

struct Answer {
  AnswerOutcome outcome = AnswerOutcome::ack;
  std::string error;                   // of nack and reject
  std::chrono::milliseconds delay{0};  // of snooze; of nack: 0 is the queue's backoff
};

// The answer to `job`. Fields that are not known are skipped: a newer program may send more.
Result<Answer> parse_answer(std::string_view line, std::string_view job);

std::string base64(std::string_view bytes);

}  // namespace jobq::runner
