// Sentences for people: each names the thing, the value and the remedy.
#include <fmt/format.h>

#include "libjobq/client/producer_core.hpp"
#include "libjobq/protocol/limits.hpp"

namespace jobq {

const char* to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::accepted:
      return "accepted";
    case Outcome::refused:
      return "refused";
    case Outcome::unknown:
      return "unknown";
  }
  return "unknown";
}

std::string refusal_text(Code code, std::string_view queue, std::string_view endpoint) {
  switch (code) {
    case Code::no_such_queue:
      return fmt::format(
          "no queue is called '{}' at {} and auto_create is off: create it with `jobq queue set {} "
          "paused=false`",
          queue, endpoint, queue);
    case Code::queue_full:
      return fmt::format(
          "queue '{}' holds max_jobs already: retry later, or raise it with `jobq queue set {} "
          "max_jobs=N`",
          queue, queue);
    case Code::queue_bytes_full:
      return fmt::format(
          "queue '{}' holds max_bytes already: retry later, or raise it with `jobq queue set {} "
          "max_bytes=N`",
          queue, queue);
    case Code::store_full:
      return fmt::format(
          "the store of the broker at {} is full (store.max_size): retry when workers have drained "
          "some of it",
          endpoint);
    case Code::disk_full:
      return fmt::format("the disk of the broker at {} is full: make room, then retry", endpoint);
    case Code::body_too_large:
      return fmt::format("the body is larger than the broker at {} allows (body limit: `jobq stats`)",
                         endpoint);
    case Code::headers_too_large:
      return fmt::format("the headers are over {} bytes or over {}", limits::kHeaderBytesMax,
                         limits::kHeadersMax);
    case Code::not_done:
      return "another job of the same group was refused, so this one was not stored";
    case Code::shutting_down:
      return fmt::format("the broker at {} is stopping: retry", endpoint);
    case Code::bad_time:
      return "delay, run_at or expires_in lies more than ten years ahead, or two of them contradict each "
             "other";
    case Code::bad_queue_name:
      return fmt::format(
          "'{}' is no name for a queue: 1 to {} of [A-Za-z0-9._-], the first a letter or a digit", queue,
          limits::kQueueNameBytesMax);
    default:
      return fmt::format("queue '{}' at {} refused the job: {}", queue, endpoint, to_string(code));
  }
}

std::string unreachable_text(const Link& link, DurationMs waited) {
  const std::string& endpoint = link.identity().endpoint;
  if (link.up()) {
    return fmt::format(
        "the broker at {} is too slow: after {} ms in line nothing was sent and nothing is stored", endpoint,
        waited.ms);
  }
  std::string text = fmt::format("no broker answered at {} within {} ms", endpoint, waited.ms);
  if (!link.refusal().ok()) return text + fmt::format(" (last: {})", link.refusal().text());
  return text + (link.ever_up() ? ": the connection was lost; is jobq-broker still running?"
                                : "; is jobq-broker running? is the endpoint right?");
}

}  // namespace jobq
