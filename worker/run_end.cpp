#include "worker/run_end.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/duration.hpp"

namespace jobq::runner {

RunEnd::RunEnd(const Context* job, const Workshop* shop, Time begun) : job_(job), shop_(shop) {
  if (shop->options.max_run.count() > 0) run_until_ = begun + shop->options.max_run;
}

void RunEnd::look(Time now) {
  const StopCause cause = cause_of(job_->stop_reason());
  if (cause != StopCause::none) {
    escalation_.ask(cause, now, cause == StopCause::drain ? shop_->drain_grace() : shop_->options.kill_after);
  }
  if (run_until_ && now >= *run_until_) {
    run_until_.reset();
    limit_ = fmt::format("{} (--max-run)", cli::write_duration(shop_->options.max_run.count()));
    escalation_.ask(StopCause::time_limit, now, shop_->options.kill_after);
  }
}

int RunEnd::wait_ms(Time now, std::optional<Time> sooner) const {
  std::optional<Time> next = escalation_.next();
  for (const std::optional<Time>& other : {run_until_, sooner}) {
    if (other) next = next ? std::min(*next, *other) : *other;
  }
  if (!next) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(std::max(*next, now) - now);
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
}

Verdict RunEnd::verdict(std::string_view errors) const {
  return judge_stopped(escalation_.cause(), limit_, escalation_.killed(), errors);
}

}  // namespace jobq::runner
