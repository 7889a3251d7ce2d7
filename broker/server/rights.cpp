#include "broker/server/rights.hpp"

#include <algorithm>
#include <array>

namespace jobq {

const char* to_string(Right right) {
  switch (right) {
    case Right::enqueue:
      return "enqueue";
    case Right::work:
      return "work";
    case Right::observe:
      return "observe";
    case Right::operate:
      return "operate";
  }
  return "?";
}

Principal local_principal() {
  return {"local", static_cast<std::uint8_t>(Right::enqueue) | static_cast<std::uint8_t>(Right::work) |
                       static_cast<std::uint8_t>(Right::observe) | static_cast<std::uint8_t>(Right::operate)};
}

Right right_for_verb(std::string_view verb) {
  // dead.export gives out bodies, as job.show does.
  static constexpr std::array<std::string_view, 14> kReading = {
      "ping",        "stats", "queue.ls", "queue.show", "job.show",    "job.why", "dead.ls",
      "dead.export", "task",  "task.ls",  "worker.ls",  "worker.show", "events",  "backup.show"};
  return std::find(kReading.begin(), kReading.end(), verb) != kReading.end() ? Right::observe
                                                                             : Right::operate;
}

std::optional<Right> right_for(const protocol::Request& request) {
  if (const auto* admin = std::get_if<protocol::Admin>(&request)) return right_for_verb(admin->verb);
  if (std::holds_alternative<protocol::Enqueue>(request)) return Right::enqueue;
  if (std::holds_alternative<protocol::Hello>(request) ||
      std::holds_alternative<protocol::Goodbye>(request)) {
    return std::nullopt;
  }
  return Right::work;
}

}  // namespace jobq
