#include "libjobq/client/new_job.hpp"

#include <fmt/format.h>

#include "libjobq/protocol/codec.hpp"
#include "libjobq/protocol/limits.hpp"

namespace jobq {

namespace {

Status check_span(std::string_view what, std::chrono::milliseconds span) {
  if (span.count() >= 0 && span.count() <= limits::kDelayMsMax) return {};
  return Status(Code::bad_time,
                fmt::format("{} is {} ms: it must be from 0 to ten years", what, span.count()));
}

Status check_times(const EnqueueOptions& options) {
  if (Status status = check_span("delay", options.delay); !status.ok()) return status;
  if (Status status = check_span("expires_in", options.expires_in); !status.ok()) return status;
  if (Status status = check_span("unique_for", options.unique_for); !status.ok()) return status;
  if (options.run_at && options.delay.count() > 0) {
    return Status(Code::bad_time, "delay and run_at exclude each other: give one of them");
  }
  if (options.run_at && options.run_at->time_since_epoch().count() <= 0) {
    return Status(Code::bad_time, "run_at lies before 1970");
  }
  if (options.max_run_time.count() < 0 || options.max_run_time.count() > limits::kRunMsMax) {
    return Status(Code::bad_time,
                  fmt::format("max_run_time is {} ms: it must be from 0 (the queue's) to a week",
                              options.max_run_time.count()));
  }
  return {};
}

Status check_fields(std::string_view body, const EnqueueOptions& options) {
  if (Status status = protocol::check_type(options.type); !status.ok()) return status;
  if (options.priority && (*options.priority < 0 || *options.priority > limits::kPriorityMax)) {
    return Status(Code::bad_priority,
                  fmt::format("priority is {}: it must be from 0 to {}, {} first", *options.priority,
                              limits::kPriorityMax, limits::kPriorityMax));
  }
  if (options.max_attempts > limits::kMaxAttemptsMax) {
    return Status(Code::bad_argument, fmt::format("max_attempts is {}: it must be from 0 (the queue's) to {}",
                                                  options.max_attempts, limits::kMaxAttemptsMax));
  }
  if (options.unique_key.size() > limits::kUniqueKeyBytesMax) {
    return Status(Code::bad_unique_key,
                  fmt::format("the unique key has {} bytes: at most {}; take a hash of it",
                              options.unique_key.size(), limits::kUniqueKeyBytesMax));
  }
  if (body.size() > limits::kBodyBytesMax) {
    return Status(Code::body_too_large,
                  fmt::format("the body has {} bytes: at most {}; store it elsewhere and "
                              "enqueue where it is",
                              body.size(), limits::kBodyBytesMax));
  }
  return {};
}

}  // namespace

Status make_job(std::string_view body, const EnqueueOptions& options, CheckedJob* made) {
  if (Status status = check_fields(body, options); !status.ok()) return status;
  if (Status status = check_times(options); !status.ok()) return status;
  if (!options.headers.empty()) {
    made->headers = protocol::pack_headers(options.headers);
    if (Status status = protocol::check_headers(made->headers); !status.ok()) return status;
  }
  protocol::EnqueueJob& job = made->fields;
  job.type = options.type;
  job.body = body;
  job.unique_key = options.unique_key;
  if (options.priority) job.priority = static_cast<std::uint8_t>(*options.priority);
  job.delay = to_ms(options.delay);
  if (options.run_at) {
    job.run_at =
        TimeMs{std::chrono::ceil<std::chrono::milliseconds>(options.run_at->time_since_epoch()).count()};
  }
  job.expires_in = to_ms(options.expires_in);
  job.unique_for = to_ms(options.unique_for);
  job.max_attempts = options.max_attempts;
  job.max_run_ms = static_cast<std::uint32_t>(options.max_run_time.count());
  return {};
}

// The broker remembers a producer for 24 h: what is sent again must be within that.
Status check_timeout(std::chrono::milliseconds timeout) {
  if (timeout.count() > 0 && timeout <= std::chrono::hours{12}) return {};
  return Status(Code::bad_argument,
                fmt::format("the timeout is {} ms: it must be over 0 and at most 12 hours", timeout.count()));
}

}  // namespace jobq
