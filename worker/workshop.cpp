#include "worker/workshop.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "cli/duration.hpp"
#include "jobq/error.hpp"
#include "worker/log.hpp"

namespace jobq::runner {

namespace {

constexpr milliseconds kTryAgain{5'000};  // a job whose command could not be started

// How long before its end a drain wants every job back (worker.hpp's library keeps this much for the answers).
milliseconds handed_back_at(milliseconds drain_timeout) {
  return drain_timeout - std::min(milliseconds{1'000}, drain_timeout / 5);
}

}  // namespace

Workshop::Workshop(Options its_options, int guardian_fd)
    : options(std::move(its_options)),
      inherited(inherited_variables(environ, options.endpoint)),
      groups(guardian_fd),
      spawner(&groups),
      null(::open("/dev/null", O_RDWR | O_CLOEXEC)) {
  if (!null.open()) throw Error(Code::io_error, fmt::format("/dev/null: {}", std::strerror(errno)));
}

milliseconds Workshop::stop_grace() const {
  return std::min(options.kill_after + milliseconds{1'000}, handed_back_at(options.drain_timeout));
}

milliseconds Workshop::drain_grace() const {
  const milliseconds grace = stop_grace();
  return std::min(options.kill_after, grace - std::min(milliseconds{1'000}, grace / 5));
}

std::string name_of(const Context& job) {
  return fmt::format("{} ({}{}{}) attempt {}", job.id(), job.queue(), job.type().empty() ? "" : ", ",
                     job.type(), job.attempt());
}

std::int64_t unix_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

JobFacts facts_of(const Context& job, milliseconds max_run) {
  JobFacts facts;
  facts.id = job.id();
  facts.queue = job.queue();
  facts.type = job.type();
  facts.attempt = job.attempt();
  facts.max_attempts = job.max_attempts();
  facts.priority = job.priority();
  facts.enqueued_at_s =
      std::chrono::duration_cast<std::chrono::seconds>(job.enqueued_at().time_since_epoch()).count();
  facts.headers = job.headers();
  const auto now = std::chrono::steady_clock::now();
  auto deadline = job.deadline();
  if (max_run.count() > 0) deadline = std::min(deadline, now + max_run);
  if (deadline != std::chrono::steady_clock::time_point::max()) {
    // Rounded up: not a second less than there is.
    facts.deadline_s = unix_seconds() + std::chrono::ceil<std::chrono::seconds>(deadline - now).count();
  }
  return facts;
}

StopCause cause_of(StopReason reason) {
  switch (reason) {
    case StopReason::none:
      return StopCause::none;
    case StopReason::drain:
      return StopCause::drain;
    case StopReason::lost_lease:
      return StopCause::lost_lease;
    case StopReason::max_run_time:
      return StopCause::time_limit;
    case StopReason::cancel:
      return StopCause::cancelled;
  }
  return StopCause::none;
}

void settle(Context* job, const Verdict& verdict, milliseconds took, Workshop* shop) {
  // In one line of the log: the error's first line.
  const std::string_view first = std::string_view{verdict.error}.substr(0, verdict.error.find('\n'));
  const std::string after = cli::format_duration(took.count());
  switch (verdict.settle) {
    case Settle::ack:
      ++shop->totals.acked;
      return log::debug("{} done after {}", name_of(*job), after);
    case Settle::nack:
      ++shop->totals.failed;
      job->fail(verdict.error);
      return log::warning("{} failed after {}: {}", name_of(*job), after, first);
    case Settle::reject:
      ++shop->totals.rejected;
      job->reject(verdict.error);
      return log::warning("{} rejected after {}: {}", name_of(*job), after, first);
    case Settle::release:
      ++shop->totals.handed_back;
      job->release();
      return log::info("{} handed back after {}{}{}", name_of(*job), after, first.empty() ? "" : ": ", first);
  }
}

std::string start_error(const std::string& path, int error) {
  const char* remedy = error == ENOENT
                           ? " (it was there at the start; of a script, also its interpreter has to be)"
                       : error == ENOEXEC ? " (a script begins with #! and its interpreter)"
                       : error == EMFILE  ? " (raise LimitNOFILE= or `ulimit -n`, or lower --concurrency)"
                       : error == EAGAIN  ? " (raise TasksMax= or `ulimit -u`, or lower --concurrency)"
                                          : "";
  return fmt::format("'{}' cannot be started: {}{}", path, std::strerror(error), remedy);
}

void settle_not_started(Context* job, int error, std::size_t variables_bytes, Workshop* shop) {
  if (error == E2BIG) {
    return settle(job,
                  {Settle::nack,
                   fmt::format("'{}' cannot be started: its environment, {} bytes with the job's headers, "
                               "is more than the system takes: shrink what jobq-worker is started with",
                               shop->options.path, variables_bytes)},
                  {}, shop);
  }
  ++shop->totals.handed_back;
  if (error == ECANCELED) return job->release();
  job->snooze(kTryAgain);
  log::error("{} waits {}: {}", name_of(*job), cli::format_duration(kTryAgain.count()),
             start_error(shop->options.path, error));
}

}  // namespace jobq::runner
