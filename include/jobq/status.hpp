// What can go wrong, as values: Code (stable numbers, the same on the wire, in the library and in the command
// line), Status (a code and a sentence for people) and Result<T> (a value or a Status).
//
//   jobq::Result<jobq::Enqueued> made = client.try_enqueue("receipts", "hello");
//   if (!made.ok()) log(made.status().text());
//
// Thread-safety: plain values; const members may be called from many threads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace jobq {

// DO NOT RENUMBER: these numbers are on the wire and in users' scripts. docs/protocol.md lists them with
// remedies.
enum class Code : std::uint16_t {
  ok = 0,

  // 1xx: the message itself.
  bad_message = 100,          // not a message of this protocol, or beyond its limits
  unsupported_version = 101,  // no common wire version
  too_large = 102,            // message over the broker's size limit
  not_greeted = 103,          // anything before hello
  unknown_verb = 104,         // a request type or admin verb that this broker does not know
  bad_argument = 105,         // a field that is out of its range; the text names it
  forbidden = 106,            // the principal lacks the right
  not_owner = 107,            // reserved: another broker owns the queue

  // 2xx: an enqueue was refused. Nothing was stored.
  no_such_queue = 200,     // and auto_create is off
  queue_full = 201,        // max_jobs of the queue reached; retry later
  queue_bytes_full = 202,  // max_bytes of the queue reached; retry later
  store_full = 203,        // the store's quota is reached; retry later
  disk_full = 204,         // the disk has no room; retry later
  body_too_large = 205,
  headers_too_large = 206,
  bad_queue_name = 207,
  bad_type = 208,
  bad_priority = 209,
  bad_time = 210,  // delay, run_at or expiry out of range
  bad_unique_key = 211,
  too_many_queues = 212,
  too_many_types = 213,
  not_done = 214,  // another job of the same group was refused, so this one was not stored
  unknown_producer =
      215,  // the broker has forgotten this producer: whether the first send was stored is unknown
  resend_mismatch = 216,  // the same sequence number with another content
  shutting_down = 217,    // the broker is stopping; retry later
  too_many_open = 218,    // more unanswered requests than a producer may have

  // 3xx: a job or a lease.
  stale_lease = 300,      // the job is not, or no longer, leased under this number
  gone = 301,             // the job has left the broker (acked, expired, cancelled, purged)
  no_such_job = 302,      // never heard of it, or forgotten since
  wrong_state = 303,      // the verb does not apply to the state the job is in
  unknown_session = 304,  // register again
  extend_limit = 305,     // max_run_time does not allow it

  // 5xx: this side.
  internal = 500,
  corruption = 501,  // bytes on disk that do not check
  io_error = 502,
  not_supported = 503,

  // 9xx: made by the client library; never on the wire.
  timed_out = 900,    // the deadline passed; whether the broker did it is unknown
  buffer_full = 901,  // the client's own bounded buffer is full; nothing was sent
  closed = 902,       // the client was closed
  bad_endpoint = 903,
  bad_body = 904,     // a body that does not decode as the asked type
  unreachable = 905,  // no broker was reached before the deadline; nothing was sent, nothing is stored
};

// "stale_lease", ...; "code_<n>" for a number this version does not know.
std::string to_string(Code code);

// Whether the same request may succeed later without being changed.
bool is_retryable(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  Status(Code code, std::string text) : code_(code), text_(std::move(text)) {}

  [[nodiscard]] bool ok() const { return code_ == Code::ok; }
  [[nodiscard]] Code code() const { return code_; }
  // A sentence that names the thing, the value and the remedy. Empty when ok.
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  Code code_ = Code::ok;
  std::string text_;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}          // NOLINT(google-explicit-constructor)
  Result(Status status) : status_(std::move(status)) {}  // NOLINT(google-explicit-constructor)
  Result(Code code, std::string text) : status_(code, std::move(text)) {}

  [[nodiscard]] bool ok() const { return value_.has_value(); }
  [[nodiscard]] const Status& status() const { return status_; }
  [[nodiscard]] Code code() const { return ok() ? Code::ok : status_.code(); }
  // REQUIRES: ok().
  [[nodiscard]] const T& operator*() const& { return *value_; }
  [[nodiscard]] T& operator*() & { return *value_; }
  [[nodiscard]] T&& operator*() && { return *std::move(value_); }
  [[nodiscard]] const T* operator->() const { return &*value_; }
  [[nodiscard]] T* operator->() { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace jobq
