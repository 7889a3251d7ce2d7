// Options of the public interface -> a checked job: what can be refused here is refused before anything is
// sent.
//
// Thread-safety: functions without state.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "jobq/options.hpp"
#include "jobq/status.hpp"
#include "libjobq/protocol/message.hpp"

namespace jobq {

// What make_job() has checked. Points to the body and the options that it was made of.
struct CheckedJob {
  protocol::EnqueueJob fields;  // without the headers
  std::string headers;          // packed

  // Where its headers are: until this is moved.
  [[nodiscard]] protocol::EnqueueJob view() const {
    protocol::EnqueueJob job = fields;
    job.headers = headers;
    return job;
  }
  // An upper bound of what it takes in a message.
  [[nodiscard]] std::size_t wire_bytes() const {
    return fields.type.size() + fields.body.size() + headers.size() + fields.unique_key.size() + 96;
  }
};

// Fills in *job. bad_type, bad_priority, bad_time, bad_unique_key, headers_too_large, body_too_large, bad_argument.
Status make_job(std::string_view body, const EnqueueOptions& options, CheckedJob* job);

// bad_argument unless it is over zero and at most 12 hours.
Status check_timeout(std::chrono::milliseconds timeout);

}  // namespace jobq
