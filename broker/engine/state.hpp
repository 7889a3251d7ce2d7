// The inside of the engine: its tables, and its functions grouped by the file that holds them. Private to
// broker/engine.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "broker/engine/engine.hpp"
#include "broker/engine/lease_table.hpp"
#include "broker/engine/producer_table.hpp"
#include "broker/engine/queue_table.hpp"
#include "broker/engine/session_table.hpp"
#include "broker/engine/timer_window.hpp"
#include "libjobq/base/hash.hpp"
#include "libjobq/base/prng.hpp"

namespace jobq {

// A piece of work over many jobs, done page by page between the other commands: what is stored of it while it runs, and
// what it needs besides.
struct Task : change::PutTask {
  using Kind = TaskKind;
  bool dry_run = false;
  TimeMs ended_at{};
  TaskState state = TaskState::running;
  bool read_asked = false;
  bool stored = false;  // goes on after a restart
  // What the rate is counted from: a broker that was down does not make up for it in a rush.
  TimeMs rate_from{};
  std::uint64_t moved_before = 0;
  std::vector<Lane> lanes;  // purge_queue: still to do, the first one now
  std::vector<Clock> clocks;
  TimerKey timer_after{};
};

struct Engine::State {
  State(const EngineLimits& engine_limits, const Recovered& recovered, std::uint64_t seed);

  // ---- tables
  EngineLimits limits;
  QueueTable queues;
  SessionTable sessions;
  LeaseTable leases;
  ProducerTable producers;
  RefusedRequests refused_requests;
  TimerWindow engine_timers{Clock::engine};
  TimerWindow wall_timers{Clock::wall};
  std::vector<std::string> types;
  std::map<std::string, TypeNo, std::less<>> type_numbers;
  std::map<std::uint64_t, Task> tasks;
  Admission admission;
  Prng prng;
  std::uint64_t secret = 0;
  Mark mark;
  std::uint64_t next_task = 1;
  std::uint64_t window_jobs = 0;    // ready jobs in memory, over all lanes
  std::uint64_t finished_jobs = 0;  // remembered, over all queues
  std::set<QueueNo> ready_queues;   // with at least one ready job
  TimeMs next_retention_check{};
  bool started = false;

  // ---- the turn
  Now now{};
  Output* out = nullptr;
  std::vector<Queue*> touched_queues;
  std::vector<LaneState*> touched_lanes;
  std::vector<JobId> touched_jobs;  // whose facts from the store are out of date in this turn
  std::unordered_set<JobId> touched_set;
  std::size_t touched_in_set = 0;
  // Their bytes are the commands', which outlive the turn: what is stored of them is read from there too.
  struct QueueKey {
    QueueNo queue = 0;
    std::string_view key;
    bool operator==(const QueueKey&) const = default;
  };
  struct QueueKeyHash {
    std::size_t operator()(const QueueKey& key) const { return hash64(key.key, key.queue); }
  };
  struct KeyMade {
    JobId job;
    JobState state;
    std::string_view body;
  };
  std::vector<Code> enqueue_codes;                                // of the request at hand, one per job
  std::unordered_map<QueueKey, KeyMade, QueueKeyHash> keys_made;  // unique keys taken in this turn
  std::map<ProducerId, change::PutProducer> producer_puts;
  std::map<SessionNo, std::vector<protocol::LeaseRef>> revoked;
  std::unordered_map<JobId, LeaseNo>
      finished_index;  // over the finished jobs still remembered; made when needed
  bool finished_indexed = false;
  bool large_held = false;
  bool work_left = false;  // a cap was reached: the next turn is due at once
  std::optional<TimeMs> avoided_until;

  // engine.cpp
  void begin(const Now& reading, Output* output);
  [[nodiscard]] bool apply(const Command& command, const Facts& facts);
  void set_queue(const Command& command, const command::SetQueue& set);
  void end_turn();
  void reply(const Command& command, MessageBody body);
  void refuse(const Command& command, Code code, std::string text, std::uint32_t retry_after_ms = 0);
  [[nodiscard]] bool touched(JobId job);
  Queue* create_queue(std::string_view name);
  TypeNo type_number(std::string_view type);

  // transitions.cpp: the only places where a job changes its state.
  void touch(Queue* queue);
  void set_lane_ready(LaneState* lane, bool up);
  void enter_ready(const JobMeta& meta, SessionNo avoid, TimeMs avoid_until);
  void leave_ready(const JobMeta& meta);
  void enter_scheduled(const JobMeta& meta);
  void leave_scheduled(const JobMeta& meta);
  Leased* grant(const JobMeta& meta, Session* session);
  void drop_lease(Leased* leased);
  void finish_leased(Leased* leased, Exit exit);
  void finish_waiting(const JobMeta& meta, JobState from, Exit exit);
  void become_due(const JobMeta& meta);
  void reschedule(const JobMeta& meta, JobState from, TimeMs due, Clock clock);
  void redrive(const JobMeta& meta);
  enum class Offer : std::uint8_t { to_anyone, to_others_first };  // for a second
  void give_back(Leased* leased, Offer offer = Offer::to_anyone);  // ready again, counts nothing
  [[nodiscard]] TimeMs hold_key(const JobMeta& meta);
  void retry_later(Leased* leased, TimeMs due, std::optional<AttemptRecord> attempt);
  void bury(Leased* leased, DeadReason reason, std::optional<AttemptRecord> attempt);
  void finished(Queue* queue, const JobMeta& meta, Exit exit, LeaseNo lease_no, const std::string& worker);
  [[nodiscard]] TimeMs lease_end(const Queue& queue, const JobMeta& meta, TimeMs granted_at,
                                 std::int64_t* list) const;
  [[nodiscard]] AttemptRecord attempt(Leased* leased, AttemptOutcome outcome, std::string_view error);

  // enqueue.cpp
  [[nodiscard]] bool enqueue(const Command& command, const protocol::Enqueue& request, const Facts& facts);
  [[nodiscard]] Code check_job(const protocol::EnqueueJob& job) const;
  Code check_group(const protocol::Enqueue& request, const protocol::EnqueueGroup& group,
                   std::vector<Code>* codes);
  protocol::EnqueueResult create_job(Queue* queue, const protocol::EnqueueJob& job, const UniqueFact* fact);
  void remember(const protocol::Enqueue& request, const std::vector<protocol::EnqueueResult>& results);
  [[nodiscard]] bool answer_resend(const Command& command, const protocol::Enqueue& request);
  void answer_again(const Command& command, const protocol::Enqueue& request,
                    const change::ProducerAnswer& answer);
  void forget_old_producers();

  // working.cpp
  [[nodiscard]] bool register_worker(const Command& command, const protocol::Register& request,
                                     const Facts& facts);
  [[nodiscard]] Status check_registration(const protocol::Register& request) const;
  void admit_worker(const Command& command, const protocol::Register& request, const Facts& facts);
  [[nodiscard]] protocol::ClaimResult if_gone(protocol::ClaimResult result, const JobFact& fact,
                                              JobId job) const;
  void subscribe(Session* session, const protocol::Register& request);
  void unsubscribe(Session* session);
  protocol::ClaimResult claim(Session* session, const protocol::LeaseRef& ref);
  protocol::ClaimResult settle(Session* session, const protocol::Outcome& outcome);
  void settle_failure(Leased* leased, const protocol::Outcome& outcome);
  void settle_snooze(Leased* leased, DurationMs delay);
  void outcomes(const Command& command, const protocol::Outcomes& request);
  void heartbeat(const Command& command, const protocol::Heartbeat& request);
  void goodbye(const Command& command);
  void set_credit(Session* session, std::optional<std::uint32_t> credit_jobs) const;
  void peer_lost(PeerId peer);
  void send_failed(PeerId peer, const command::SendFailed& failed);
  void lose(Session* session);
  void end_if_idle(Session* session);
  [[nodiscard]] protocol::ClaimResult unknown_lease(const protocol::LeaseRef& ref);
  [[nodiscard]] protocol::Secret session_secret(SessionNo session) const;

  // deadlines.cpp
  void end_leases();
  void end_lease(Leased* leased);
  void count_crash(Leased* leased, AttemptOutcome outcome, std::string_view error);
  void fail(Leased* leased, AttemptOutcome outcome, std::string_view error, DurationMs delay);
  void lose_silent_sessions();
  void fire_timers();
  void fire(const TimerEntry& timer);
  void job_read(const command::JobRead& read);

  // dispatch.cpp
  void dispatch();
  [[nodiscard]] bool give_one(Session* session, std::map<SessionNo, DeliverPlan>* plans,
                              std::uint64_t* bytes_given);
  struct Pick {
    LaneState* lane = nullptr;
    const ReadyEntry* entry = nullptr;
  };
  [[nodiscard]] std::optional<Pick> find_job(Queue* queue, Session* session);
  void refill_lanes();
  void lane_read(const command::LaneRead& read);
  void timers_read(const command::TimersRead& read);

  // tasks.cpp
  void start_task(const Command& command, Task task);
  void redrive_dead(const Command& command, const command::RedriveDead& request);
  void purge_dead(const Command& command, const command::PurgeDead& request);
  void purge_queue(const Command& command, const command::PurgeQueue& request);
  void show_task(const Command& command, const command::ShowTask& request);
  void cancel_task(const Command& command, const command::CancelTask& request);
  void resume_tasks(const std::vector<change::PutTask>& stored);
  void list_lanes(Task* task) const;
  void end_task(Task* task, TaskState state);
  void keep_task(Task* task);
  [[nodiscard]] std::uint64_t allowed_by_rate(const Task& task) const;
  [[nodiscard]] Task* running_task(std::uint64_t number);
  void run_tasks();
  void ask_for_page(Task* task);
  void task_dead_page(Task* task, const DeadPage& page);
  void task_lane_page(Task* task, const LanePage& page);
  void task_timer_page(Task* task, const TimerPage& page);
  [[nodiscard]] bool matches(const Task& task, const DeadJob& job) const;
  [[nodiscard]] TaskReply task_reply(const Task& task) const;
  void check_retention();

  // operate.cpp
  void cancel(const Command& command, const command::CancelJob& request, const Facts& facts);
  void retry(const Command& command, const command::RetryJob& request, const Facts& facts);
  void snooze(const Command& command, const command::SnoozeJob& request, const Facts& facts);
  [[nodiscard]] bool remove_queue(const Command& command, const command::RemoveQueue& request);
  void drain_worker(const Command& command, const command::DrainWorker& request);
  void ask_to_leave(const Session& session);
  void refuse_unknown_job(const Command& command, JobId job);

  // views.cpp
  [[nodiscard]] QueueView view(const Queue& queue, const Now& reading) const;
  [[nodiscard]] LeaseView view(const Leased& leased) const;
};

}  // namespace jobq
