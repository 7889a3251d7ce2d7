// Administrative requests in flight, pure: each is sent once per connection until it is answered or its
// deadline is reached; one that must not be done twice is sent once at all.
//
// Not thread-safe. Time: milliseconds of a clock that only goes forward. No I/O.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "jobq/status.hpp"
#include "libjobq/admin.hpp"
#include "libjobq/link.hpp"

namespace jobq {

struct AdminCall {
  std::uint64_t token = 0;
  std::string verb;
  std::vector<AdminParam> params;
  TimeMs deadline{};
  DurationMs timeout{};
};

struct AdminCompletion {
  std::uint64_t token = 0;
  Result<std::string> document;
};

class AdminCalls {
 public:
  explicit AdminCalls(Link* link) : link_(link) {}

  void submit(AdminCall call);
  void welcomed();  // a new connection is up
  void refused();   // link.refusal() says why
  void disconnected();
  bool receive(const protocol::ReplyMessage& message, TimeMs now);
  void tick(TimeMs now);
  [[nodiscard]] std::optional<TimeMs> next_deadline() const;
  [[nodiscard]] std::vector<AdminCompletion> take_completions() { return std::exchange(completions_, {}); }
  [[nodiscard]] bool has_completions() const { return !completions_.empty(); }
  void close();

 private:
  struct Open {
    AdminCall call;
    std::uint64_t request_id = 0;  // on this connection; 0: to be sent
    bool sent = false;
    TimeMs hold_until{};
  };
  using Calls = std::map<std::uint64_t, Open>;  // by token

  Calls::iterator complete(Calls::iterator call, Result<std::string> document);

  Link* link_;
  Calls open_;
  std::vector<AdminCompletion> completions_;
};

}  // namespace jobq
