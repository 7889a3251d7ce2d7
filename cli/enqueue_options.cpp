#include "cli/enqueue_options.hpp"

#include <fmt/format.h>

#include <chrono>

#include "cli/duration.hpp"
#include "cli/instant.hpp"
#include "cli/table.hpp"
#include "libjobq/protocol/limits.hpp"
#include "libjobq/protocol/names.hpp"

namespace jobq::cli {
namespace {

using std::chrono::milliseconds;

Status wrong(const char* option, const std::string& why) {
  return {Code::bad_argument, fmt::format("{}: {}", option, why)};
}

// One duration option; `least`: the smallest that makes sense.
Status take_duration(const char* option, const std::string& text, std::int64_t least, std::int64_t most,
                     milliseconds* target) {
  if (text.empty()) return {};
  const Result<DurationMs> span = parse_duration(text);
  if (!span.ok()) return wrong(option, span.status().text());
  if (span->ms < least || span->ms > most) {
    return wrong(option, fmt::format("{} is out of range; it may be {} to {}", text, write_duration(least),
                                     format_duration(most)));
  }
  *target = milliseconds{span->ms};
  return {};
}

Status take_at(const std::string& text, TimeMs now, EnqueuePlan* plan) {
  const Result<Instant> instant = parse_instant(text);
  if (!instant.ok()) return wrong("--at", instant.status().text());
  plan->options.run_at = WallTime{milliseconds{instant->at.ms}};
  const std::int64_t ahead = instant->at.ms - now.ms;
  plan->notice =
      ahead > 0 ? fmt::format("not before {}, in {}", instant->understood, format_duration(ahead))
                : fmt::format("{} was {} ago: ready at once", instant->understood, format_duration(-ahead));
  return {};
}

Status take_headers(const std::vector<std::string>& texts, Headers* headers) {
  std::size_t bytes = 0;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return wrong("--header", fmt::format("'{}' is not NAME=VALUE", printable(text)));
    }
    bytes += text.size() - 1;
    headers->emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  if (headers->size() > limits::kHeadersMax || bytes > limits::kHeaderBytesMax) {
    return wrong("--header",
                 fmt::format("{} headers of {} bytes are too many; at most {} of {} bytes together",
                             headers->size(), bytes, limits::kHeadersMax, limits::kHeaderBytesMax));
  }
  return {};
}

Status check_names(const EnqueueArgs& args) {
  constexpr const char* kRule = "1 to 64 of [A-Za-z0-9._-], the first a letter or a digit";
  if (!protocol::is_queue_name(args.queue)) {
    return {Code::bad_queue_name,
            fmt::format("'{}' cannot be the name of a queue: {}", printable(args.queue), kRule)};
  }
  if (!protocol::is_type(args.type)) {
    return {Code::bad_type, fmt::format("--type: '{}' cannot be a type: {}", printable(args.type), kRule)};
  }
  return {};
}

Status check_combinations(const EnqueueArgs& args) {
  if (!args.delay.empty() && !args.at.empty()) {
    return {Code::bad_argument, "--delay and --at say the same thing in two ways; give one of them"};
  }
  if (!args.unique_for.empty() && args.key.empty()) {
    return {Code::bad_argument, "--unique-for holds a unique key; give one with --key"};
  }
  if (args.key.size() > limits::kUniqueKeyBytesMax) {
    return wrong("--key", fmt::format("{} bytes are too long; at most {}", args.key.size(),
                                      limits::kUniqueKeyBytesMax));
  }
  return {};
}

}  // namespace

Result<EnqueuePlan> plan_enqueue(const EnqueueArgs& args, TimeMs wall_now) {
  if (Status status = check_names(args); !status.ok()) return status;
  if (Status status = check_combinations(args); !status.ok()) return status;
  EnqueuePlan plan;
  EnqueueOptions& options = plan.options;
  options.type = args.type;
  options.unique_key = args.key;
  options.priority = args.priority;
  options.max_attempts = static_cast<std::uint32_t>(args.max_attempts.value_or(0));
  for (const Status& status :
       {take_duration("--delay", args.delay, 0, limits::kDelayMsMax, &options.delay),
        take_duration("--expires", args.expires, 1, limits::kDelayMsMax, &options.expires_in),
        take_duration("--unique-for", args.unique_for, 0, limits::kDelayMsMax, &options.unique_for),
        take_duration("--max-run", args.max_run, 1, limits::kRunMsMax, &options.max_run_time),
        args.at.empty() ? Status{} : take_at(args.at, wall_now, &plan),
        take_headers(args.headers, &options.headers)}) {
    if (!status.ok()) return status;
  }
  return plan;
}

}  // namespace jobq::cli
