// Administrative verbs over a Client: what the command line is made of (docs/protocol.md, "Administration").
//
//   jobq::Result<std::string> document = jobq::admin(client, "queue.show", {{"queue", "receipts"}}, 5s);
//
// Thread-safety: as Client; blocks the caller. Units: milliseconds.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "jobq/client.hpp"
#include "jobq/status.hpp"

namespace jobq {

struct AdminParam {
  std::string name;
  std::variant<std::monostate, bool, std::int64_t, std::string> value;
};

// The answer's document, one msgpack map. Otherwise the broker's refusal, or at the deadline: `unreachable`
// (never sent; the text names the endpoint and what to try) or `timed_out` (sent, no answer: a verb that
// changes something may have done it). Sent again by itself after a reconnect only when the verb reads
// (stats, *.ls,
// *.show, ping, task) or may be repeated without harm (queue.set, queue.pause, queue.resume, job.cancel).
Result<std::string> admin(Client& client, std::string_view verb, const std::vector<AdminParam>& params,
                          std::chrono::milliseconds timeout);

}  // namespace jobq
