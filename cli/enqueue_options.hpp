// The options of `jobq enqueue` from text to what the library takes, checked before anything is sent.
//
// Thread-safety: plain values. Errors: a sentence that names the option, its value and the remedy.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "jobq/options.hpp"
#include "jobq/status.hpp"
#include "libjobq/base/time.hpp"

namespace jobq::cli {

// As given on the command line; empty or unset: not given.
struct EnqueueArgs {
  std::string queue, type, delay, at, expires, key, unique_for, max_run;
  std::optional<int> priority;
  std::optional<int> max_attempts;
  std::vector<std::string> headers;  // "name=value"
};

struct EnqueuePlan {
  EnqueueOptions options;
  std::string notice;  // for --at: the time as it was understood, and what follows when it lies in the past
};

// bad_argument and its neighbours: nothing was sent. wall_now: to tell whether --at lies in the past.
Result<EnqueuePlan> plan_enqueue(const EnqueueArgs& args, TimeMs wall_now);

}  // namespace jobq::cli
