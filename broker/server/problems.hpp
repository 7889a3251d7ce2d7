// What an operator should know first: the list at the top of `jobq stats`. Each problem names the queue, says what is so
// and what to do. Worked out when somebody asks, from what the engine, the store and the rates show; kept nowhere.
//
// Thread-safety: a function without state.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "broker/config.hpp"
#include "broker/engine/engine.hpp"
#include "broker/server/clock.hpp"
#include "broker/server/rates.hpp"
#include "broker/store/store.hpp"

namespace jobq {

struct Problem {
  const char* kind;      // "no_worker", ...: docs/protocol.md
  const char* severity;  // "critical" or "warning"
  std::optional<std::string> queue;
  std::string text;
  std::string remedy;
};

struct ObservedQueue {
  const QueueView* view;
  QueueRates rates;
};

// Those of the broker first, then queue by queue in the order given.
std::vector<Problem> find_problems(const Config& config, const std::vector<ObservedQueue>& queues,
                                   const StoreHealth& store, const Admission& admission,
                                   const std::optional<ClockJump>& jump, const Now& now);

}  // namespace jobq
