// Works on the library's state machine of a worker, below the public Worker, because the history needs the
// lease numbers and what was answered to each outcome.
#include <fmt/format.h>

#include <atomic>
#include <map>

#include "jobq/runtime.hpp"
#include "libjobq/base/prng.hpp"
#include "libjobq/identity.hpp"
#include "libjobq/io_thread.hpp"
#include "libjobq/worker/worker_core.hpp"
#include "tests/faults/load.hpp"

namespace jobq::faults {
namespace {

using protocol::LeaseRef;
using protocol::OutcomeKind;

constexpr std::uint32_t kCredit = 20;

const char* op_of(OutcomeKind kind) {
  switch (kind) {
    case OutcomeKind::ack:
      return "ack";
    case OutcomeKind::nack:
      return "nack";
    case OutcomeKind::release:
    case OutcomeKind::no_handler:
      return "release";
    case OutcomeKind::reject:
      return "reject";
    case OutcomeKind::snooze:
      return "snooze";
  }
  return "?";
}

WorkerSetup setup_of(const LoadOptions& load) {
  WorkerSetup setup;
  setup.queues = {load.queue};
  setup.credit_jobs = kCredit;
  setup.name = load.name;
  return setup;
}

class HistoryWorker final : public IoPeer {
 public:
  HistoryWorker(const LoadOptions& load, HistoryWriter* history)
      : history_(history), prng_(load.seed), core_(this_process(load.endpoint), setup_of(load)) {}

  void drain() { draining_ = true; }
  [[nodiscard]] bool done() const { return done_; }

  PeerCore& core() override { return core_; }
  void before_turn(TimeMs now) override {
    if (draining_ && !core_.draining()) core_.drain(now, now + DurationMs{5'000}, DurationMs{1'000});
    while (!running_.empty() && running_.begin()->first <= now) {
      const JobOutcome outcome = running_.begin()->second;
      running_.erase(running_.begin());
      Event event = about(op_of(outcome.kind), EventType::invoke, outcome.lease);
      event.seq = ++seq_;
      asked_[outcome.lease] = {event.seq, registrations_};
      event.delay_ms = outcome.delay.ms;
      event.err = outcome.text;
      history_->write(event);
      core_.finish(outcome, now);
    }
  }
  bool after_turn(TimeMs now) override {
    for (const WorkerEvent& event : core_.take_events()) {
      if (std::holds_alternative<worker_event::Registered>(event)) ++registrations_;
      if (const auto* run = std::get_if<worker_event::Run>(&event)) start(*run, now);
      if (const auto* settled = std::get_if<worker_event::Settled>(&event)) answered(*settled);
      if (const auto* extended = std::get_if<worker_event::Extended>(&event)) lengthened(*extended, now);
      if (const auto* stop = std::get_if<worker_event::Stop>(&event)) stopped(*stop, now);
    }
    done_ = core_.done();
    return false;
  }
  void log(std::string_view) override {}

 private:
  static Event about(const char* op, EventType type, const LeaseRef& lease) {
    Event event;
    event.op = op;
    event.type = type;
    event.job = to_text(lease.job);
    event.token = lease.lease_no;
    return event;
  }

  void start(const worker_event::Run& run, TimeMs now) {
    Event event = about("deliver", EventType::ok, run.job.lease);
    event.attempt = run.job.attempt;
    event.max_attempts = run.job.max_attempts;
    event.queue = run.job.queue;
    event.prio = run.job.priority;
    event.hash = hash_text(run.job.body);
    event.lease_ms = (run.owned_until - now).ms;
    event.slots = kCredit;
    history_->write(event);
    core_.started(run.job.lease, now);
    JobOutcome outcome{
        .lease = run.job.lease, .kind = OutcomeKind::ack, .text = "", .delay = {}, .ran_for = {}};
    const std::uint64_t fate = prng_.below(200);
    if (fate < 14) {
      outcome.kind = OutcomeKind::nack;
      outcome.text = fmt::format("attempt {} failed", run.job.attempt);
      outcome.delay = DurationMs{prng_.between(1, 40)};
    } else if (fate < 20) {
      outcome.kind = OutcomeKind::release;
    } else if (fate < 24) {
      outcome.kind = OutcomeKind::snooze;
      outcome.delay = DurationMs{prng_.between(1, 40)};
    } else if (fate < 25) {
      outcome.kind = OutcomeKind::reject;
      outcome.text = "never again";
    }
    // Most are quick; some last, so that a kill finds jobs in the middle of their run.
    const std::int64_t takes_ms = prng_.below(16) == 0 ? prng_.between(20, 300) : prng_.between(0, 4);
    running_.emplace(now + DurationMs{takes_ms}, outcome);
  }

  // An outcome that was sent again after a reconnect may have been carried out at its first sending, whose
  // answer got lost: then "gone" or "stale" says only that the lease is over. A first sending is refused for
  // sure.
  void answered(const worker_event::Settled& settled) {
    const Asked asked = asked_[settled.lease];
    asked_.erase(settled.lease);
    EventType type = EventType::ok;
    if (settled.result != protocol::ClaimResult::settled)
      type = asked.registrations == registrations_ ? EventType::fail : EventType::info;
    Event event = about(op_of(settled.kind), type, settled.lease);
    event.seq = asked.seq;
    event.err = settled.result == protocol::ClaimResult::stale ? "stale" : "";
    history_->write(event);
  }

  // The library asks by itself, and says so with the answer, which may have lain unread while this process was frozen.
  void lengthened(const worker_event::Extended& extended, TimeMs now) {
    Event event = about("extend", EventType::invoke, extended.lease);
    event.t = HistoryWriter::now_ms() - (now - extended.asked_at).ms;
    event.seq = ++seq_;
    history_->write(event);
    event.t = 0;
    event.type = EventType::ok;
    event.lease_ms = (extended.owned_until - extended.asked_at).ms;
    history_->write(event);
  }

  void stopped(const worker_event::Stop& stop, TimeMs) {
    if (!stop.lost) return;
    history_->write(about("revoked", EventType::ok, stop.lease));
    std::erase_if(running_, [&](const auto& run) { return run.second.lease == stop.lease; });
  }

  HistoryWriter* history_;
  Prng prng_;
  WorkerCore core_;
  std::multimap<TimeMs, JobOutcome> running_;  // by the time at which they end
  struct Asked {
    std::uint64_t seq = 0;
    std::uint64_t registrations = 0;
  };
  std::map<LeaseRef, Asked> asked_;  // outcomes without an answer
  std::uint64_t registrations_ = 0;
  std::uint64_t seq_ = 0;
  std::atomic<bool> draining_{false}, done_{false};
};

}  // namespace

int run_worker(const LoadOptions& load, HistoryWriter* history) {
  Runtime runtime;
  const auto worker = std::make_shared<HistoryWorker>(load, history);
  const Status added = runtime.driver().add(worker, load.endpoint);
  if (!added.ok()) {
    std::fprintf(stderr, "load: %s\n", added.text().c_str());
    return 1;
  }
  constexpr std::int64_t kTurnMs = 2;
  while (!worker->done()) {
    if (asked_to_stop(kTurnMs)) worker->drain();
    runtime.driver().wake(worker.get());
  }
  runtime.driver().remove(worker.get(), 500);
  return 0;
}

}  // namespace jobq::faults
