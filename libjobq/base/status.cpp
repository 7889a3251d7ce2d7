#include "jobq/status.hpp"

#include <fmt/format.h>

#include "jobq/export.hpp"

namespace jobq {

JOBQ_API std::string to_string(Code code) {
  switch (code) {
    case Code::ok:
      return "ok";
    case Code::bad_message:
      return "bad_message";
    case Code::unsupported_version:
      return "unsupported_version";
    case Code::too_large:
      return "too_large";
    case Code::not_greeted:
      return "not_greeted";
    case Code::unknown_verb:
      return "unknown_verb";
    case Code::bad_argument:
      return "bad_argument";
    case Code::forbidden:
      return "forbidden";
    case Code::not_owner:
      return "not_owner";
    case Code::no_such_queue:
      return "no_such_queue";
    case Code::queue_full:
      return "queue_full";
    case Code::queue_bytes_full:
      return "queue_bytes_full";
    case Code::store_full:
      return "store_full";
    case Code::disk_full:
      return "disk_full";
    case Code::body_too_large:
      return "body_too_large";
    case Code::headers_too_large:
      return "headers_too_large";
    case Code::bad_queue_name:
      return "bad_queue_name";
    case Code::bad_type:
      return "bad_type";
    case Code::bad_priority:
      return "bad_priority";
    case Code::bad_time:
      return "bad_time";
    case Code::bad_unique_key:
      return "bad_unique_key";
    case Code::too_many_queues:
      return "too_many_queues";
    case Code::too_many_types:
      return "too_many_types";
    case Code::not_done:
      return "not_done";
    case Code::unknown_producer:
      return "unknown_producer";
    case Code::resend_mismatch:
      return "resend_mismatch";
    case Code::shutting_down:
      return "shutting_down";
    case Code::too_many_open:
      return "too_many_open";
    case Code::stale_lease:
      return "stale_lease";
    case Code::gone:
      return "gone";
    case Code::no_such_job:
      return "no_such_job";
    case Code::wrong_state:
      return "wrong_state";
    case Code::unknown_session:
      return "unknown_session";
    case Code::extend_limit:
      return "extend_limit";
    case Code::internal:
      return "internal";
    case Code::corruption:
      return "corruption";
    case Code::io_error:
      return "io_error";
    case Code::not_supported:
      return "not_supported";
    case Code::timed_out:
      return "timed_out";
    case Code::buffer_full:
      return "buffer_full";
    case Code::closed:
      return "closed";
    case Code::bad_endpoint:
      return "bad_endpoint";
    case Code::bad_body:
      return "bad_body";
    case Code::unreachable:
      return "unreachable";
  }
  return fmt::format("code_{}", static_cast<int>(code));
}

JOBQ_API bool is_retryable(Code code) {
  switch (code) {
    case Code::queue_full:
    case Code::queue_bytes_full:
    case Code::store_full:
    case Code::disk_full:
    case Code::shutting_down:
    case Code::too_many_open:
    case Code::timed_out:
    case Code::buffer_full:
    case Code::unreachable:
      return true;
    default:
      return false;
  }
}

}  // namespace jobq
