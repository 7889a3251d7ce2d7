// The worker's protocol as a pure state machine: registration, credit, leases and their extension, outcomes
// until they are answered, cancelling, and the drain. Bytes and time in; frames (link().take_frames()) and
// events out.
//
//   WorkerCore worker(identity, {.queues = {{"receipts"}}, .credit_jobs = 8});
//   worker.connected(now); worker.receive(frame, now); worker.tick(now);
//   for (WorkerEvent& event : worker.take_events()) ...      // run this job, stop that one
//   worker.started(lease, now); worker.finish({.lease = lease, .kind = OutcomeKind::ack}, now);
//
// A job is in here from its delivery until the broker has answered its outcome, or has said that the lease is
// lost.
//   * Its lease is surely ours until `owned_until`, counted from the sending of the last extension that was
//     confirmed (from the arrival of the delivery at first). When that passes, the handler is asked to stop,
//     but the job is still claimed and its outcome still reported: while the broker is down no lease runs.
//   * A process that stood still (stopped, swapped out, its machine paused) finds deliveries that may have waited for it all
//     the time: their leases count from when it was last awake, and one that may be over by that is handed back, not run.
//     So is one that comes when it has been silent for so long that the broker may have given it up.
//   * After each reconnect the worker registers again with what it holds and every outcome without an answer.
//
// Not thread-safe. Time: milliseconds of a clock that only goes forward. No I/O.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <memory_resource>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "jobq/job.hpp"
#include "jobq/status.hpp"
#include "libjobq/base/time.hpp"
#include "libjobq/link.hpp"
#include "libjobq/protocol/message.hpp"

namespace jobq {

struct WorkerSetup {
  std::vector<WorkerQueue> queues;
  std::vector<std::string> types;  // empty: any
  std::uint32_t credit_jobs = 1;
  std::uint64_t credit_bytes = 0;
  bool extend_leases = true;
  std::string name;
  std::string build;
};

// A delivery that owns its bytes.
struct DeliveredJob {
  protocol::LeaseRef lease;
  std::uint32_t attempt = 1;
  std::uint32_t max_attempts = 0;
  int priority = 0;
  std::string queue;
  std::string type;
  std::string headers;  // packed
  std::string body;
  TimeMs enqueued_at{};  // the broker's engine clock
  DurationMs max_run{};  // 0: none
};

struct JobOutcome {
  protocol::LeaseRef lease;
  protocol::OutcomeKind kind = protocol::OutcomeKind::ack;
  std::string text;
  DurationMs delay{};
  DurationMs ran_for{};
};

namespace worker_event {
// Run it; `owned_until` is when its lease ends as far as this side knows.
struct Run {
  DeliveredJob job;
  TimeMs owned_until{};
};
// Ask its handler to stop; one that has not started is to be dropped and, unless it is lost, finished
// (release).
struct Stop {
  protocol::LeaseRef lease;
  StopReason reason = StopReason::none;
  bool lost = false;  // the lease is gone for good: an outcome would be refused and is not wanted
};
// The lease holds longer now, counted from when the broker was asked: the answer may have lain unread for long.
struct Extended {
  protocol::LeaseRef lease;
  TimeMs owned_until{};
  TimeMs asked_at{};
};
// The broker has answered an outcome: settled, or why it was refused.
struct Settled {
  protocol::LeaseRef lease;
  protocol::OutcomeKind kind = protocol::OutcomeKind::ack;
  protocol::ClaimResult result = protocol::ClaimResult::settled;
};
struct Registered {
  SessionNo session;
  bool resumed = false;
};
// The broker does not want this worker as it is: register nothing any more, drain.
struct Refused {
  Status status;
};
// An operator wants this worker to leave: begin the drain.
struct LeaveRequested {};
// Something worth a line in the log.
struct Note {
  std::string text;
};
}  // namespace worker_event
using WorkerEvent = std::variant<worker_event::Run, worker_event::Stop, worker_event::Extended,
                                 worker_event::Settled, worker_event::Registered, worker_event::Refused,
                                 worker_event::LeaveRequested, worker_event::Note>;

class WorkerCore final : public PeerCore {
 public:
  static constexpr std::size_t kOutcomesPerMessage = limits::kJobsPerMessageMax;
  static constexpr std::size_t kOutcomeBytesPerMessage = std::size_t{2} << 20;
  static constexpr std::size_t kOutcomeMessagesInFlight = 2;
  static constexpr DurationMs kAnswerTimeout{15'000};  // silence on a connection that is up: a new one
  static constexpr DurationMs kHeartbeatDefault{5000};
  static constexpr std::size_t kSpareJobs = 1024;   // kept for their memory
  static constexpr std::size_t kSpareBytes = 4096;  // of the body of each, at most
  static constexpr DurationMs kOverslept{500};      // a turn later than it was due by this: it stood still

  WorkerCore(LinkIdentity identity, WorkerSetup setup);
  WorkerCore(const WorkerCore&) = delete;
  WorkerCore& operator=(const WorkerCore&) = delete;

  void connected(TimeMs now) override;
  void disconnected(TimeMs now) override;
  void receive(std::string_view frame, TimeMs now) override;
  void tick(TimeMs now) override;
  [[nodiscard]] std::optional<TimeMs> next_deadline() const override;
  [[nodiscard]] Link& link() override { return link_; }
  void crowded(bool on) override { outcome_messages_max_ = on ? 1 : kOutcomeMessagesInFlight; }

  [[nodiscard]] std::vector<WorkerEvent> take_events() { return std::exchange(events_, {}); }
  // The same into *events, whose memory is used again.
  void take_events(std::vector<WorkerEvent>* events) {
    events->clear();
    events->swap(events_);
  }
  [[nodiscard]] bool has_events() const { return !events_.empty(); }
  // A job that is over: the memory of its strings serves the next ones.
  void recycle(DeliveredJob job);

  // A handler has begun with it: max_run_time counts from here.
  void started(const protocol::LeaseRef& lease, TimeMs now);
  // How it ended. Nothing happens for a lease that is lost or finished already.
  void finish(JobOutcome outcome, TimeMs now);
  // Releases it because of the drain: counted.
  void hand_back(const protocol::LeaseRef& lease, TimeMs now);
  // A full lease from now, please.
  void extend(const protocol::LeaseRef& lease, TimeMs now);

  // Takes no more; asks what runs to stop at `until` - `grace`; hands back what is left shortly before
  // `until`; says goodbye; is done at `until` at the latest. Called again: only an earlier `until` counts.
  void drain(TimeMs now, TimeMs until, DurationMs grace);
  // The same, but what runs is asked to stop and handed back at once.
  void drain_at_once(TimeMs now, TimeMs until);
  [[nodiscard]] bool draining() const { return drain_.has_value(); }
  [[nodiscard]] bool done() const { return done_; }

  [[nodiscard]] bool registered() const { return registered_; }
  // Jobs without an outcome; outcomes without an answer; jobs that went back unspent by the drain.
  [[nodiscard]] std::size_t held() const { return held_.size(); }
  [[nodiscard]] std::size_t unanswered() const { return outcomes_.size(); }
  // Whether an outcome would be sent at once. Otherwise it goes with the next answer of the broker.
  [[nodiscard]] bool wants_outcomes() const { return outcome_messages_ < outcome_messages_max_; }
  [[nodiscard]] std::size_t handed_back() const { return handed_back_; }

 private:
  struct Held {
    DurationMs lease{};
    DurationMs max_run{};
    TimeMs owned_until{};
    TimeMs extend_at{};    // 0: never again
    TimeMs run_until{};    // 0: not started, or no max_run_time
    bool stopped = false;  // its handler was asked to stop
  };
  struct Unanswered {
    JobOutcome outcome;
    bool is_sent = false;  // on this connection; else it is in unsent_
  };
  struct Drain {
    TimeMs until{};
    TimeMs stop_at{};
    TimeMs hand_back_at{};
    bool stopped = false;
    bool handed_back = false;
    std::uint64_t goodbye_id = 0;
  };
  struct Sent {  // a request whose answer is awaited
    TimeMs at{};
    std::vector<protocol::LeaseRef> leases;    // claims or extends
    std::vector<protocol::LeaseRef> outcomes;  // in order
  };
  using Awaited = std::map<std::uint64_t, Sent>;
  struct LeaseHash {  // ids are dense: left as they are, neighbours share cache lines
    std::size_t operator()(const protocol::LeaseRef& lease) const { return lease.job.value; }
  };
  template <typename T>
  using ByLease = std::pmr::unordered_map<protocol::LeaseRef, T, LeaseHash>;

  void welcomed(TimeMs now);
  void send_register(TimeMs now);
  void send_outcomes(TimeMs now);
  void send_heartbeat(TimeMs now);
  void send_drain(TimeMs now);

  void on_registered(const protocol::Registered& reply, const Sent& sent, TimeMs now);
  void on_error(const protocol::Error& error, const Sent& sent, bool of_register, TimeMs now);
  void on_deliver(const protocol::Deliver& message, TimeMs now);
  void on_claims(const std::vector<protocol::ClaimResult>& results, const std::vector<Code>& reasons,
                 const Sent& sent);
  void wait_again(const protocol::LeaseRef& lease, Unanswered* unanswered);
  void on_settled(const std::vector<protocol::ClaimResult>& results, const Sent& sent);
  void on_push(const protocol::ReplyMessage& message, TimeMs now);
  DeliveredJob owned(const protocol::Delivery& delivery);

  void notice_standstill(TimeMs now);
  void stood_still(TimeMs since, TimeMs silent_since);
  // Whether the broker may have given up one that has said nothing since then.
  [[nodiscard]] bool given_up(TimeMs silent_since, TimeMs now) const {
    return silent_since + DurationMs{3 * heartbeat_.ms} <= now;
  }
  void check_leases(TimeMs now);
  // In order, because what is sent and said must not depend on how a table is laid out.
  [[nodiscard]] std::vector<protocol::LeaseRef> held_leases() const;
  void look_again_at(TimeMs time) { next_look_ = earlier(next_look_, time); }
  void look_again_at(const Held& held);
  void stop(const protocol::LeaseRef& lease, Held* held, StopReason reason);
  void lose(const protocol::LeaseRef& lease);
  void lose_everything();
  void send(protocol::Request body, Sent sent, TimeMs now, std::uint64_t* id = nullptr);
  [[nodiscard]] std::size_t outcome_bytes_max() const;
  // Nine tenths after the last message (the broker forgives two that are missing) or a little sooner: at a moment that it
  // shares with the other idle workers of this machine, so that a thousand wake themselves and the broker a few times a
  // second and not each on its own.
  [[nodiscard]] TimeMs heartbeat_at() const {
    const std::int64_t due = last_sent_.ms + heartbeat_.ms - heartbeat_.ms / 10;
    return TimeMs{due - due % std::max<std::int64_t>(heartbeat_.ms / 20, 1)};
  }

  Link link_;
  WorkerSetup setup_;
  SessionNo session_{};
  protocol::Secret secret_{};
  protocol::Incarnation incarnation_{};
  bool registered_ = false;
  bool refused_ = false;
  bool done_ = false;
  bool credit_changed_ = false;
  DurationMs heartbeat_ = kHeartbeatDefault;
  TimeMs last_sent_{};
  TimeMs last_tick_{};
  std::optional<TimeMs> next_tick_;  // when the next was due, as of the last
  // Set: it stood still since then, and what it reads may have waited all the time, up to the reply to `first_awake_`.
  TimeMs asleep_since_{};
  TimeMs silent_since_{};          // while that is set: when it had last said something before
  std::uint64_t first_awake_ = 0;  // the first request sent after that; 0: none yet
  TimeMs register_at_{};           // 0: not planned
  std::uint64_t register_id_ = 0;  // the registration that is not answered yet; 0: none
  std::pmr::unsynchronized_pool_resource
      memory_;  // of the two tables: a job costs no allocation in the long run
  ByLease<Held> held_{&memory_};
  ByLease<Unanswered> outcomes_{&memory_};
  std::vector<protocol::LeaseRef> unsent_;  // of outcomes_, in the order in which they came
  std::optional<TimeMs> next_look_;         // nothing is due among the held ones before this
  Awaited awaited_;
  std::size_t outcome_messages_ = 0;  // of awaited_, those that carry outcomes
  std::size_t outcome_messages_max_ = kOutcomeMessagesInFlight;
  std::optional<Drain> drain_;
  std::size_t handed_back_ = 0;
  std::vector<WorkerEvent> events_;
  std::vector<DeliveredJob> spare_;  // what was given to recycle()
};

}  // namespace jobq
