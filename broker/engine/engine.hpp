// Decides everything that happens to jobs. Deterministic: the same calls in the same order give the same
// output, byte for byte. Owns no thread, socket, file or clock, and draws no randomness but from its seed.
//
//   for each frame:  engine.lookups(command, &lookups); store answers; engine.apply(command, facts, now,
//   &out); once per turn:   engine.tick(now, &out); store.submit(out.changes, engine.mark()); then send
//   out.messages,
//                    do out.reads and give their answers to the next turn's first apply().
//
// Not thread-safe; the server's loop is its only caller.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/engine/command.hpp"
#include "broker/engine/output.hpp"
#include "broker/engine/types.hpp"
#include "broker/store/store.hpp"

namespace jobq {

struct EngineLimits {
  std::uint32_t body_bytes_max = limits::kBodyBytesDefault;
  std::uint32_t queues_max = 10'000;
  std::uint32_t types_max = 10'000;
  std::uint32_t producers_max = 10'000;
  std::uint64_t open_requests_max = 1'000'000;  // over all producers
  std::uint32_t window_jobs_max = 500'000;      // ready jobs kept in memory, over all lanes
  std::uint32_t lane_window = 65'536;           // and per lane
  std::uint32_t timer_window = 524'288;         // soonest timers kept in memory
  std::uint32_t due_per_tick_max = 5'000;       // timers fired in one turn
  std::uint32_t dispatch_per_tick_max = 5'000;
  std::int64_t heartbeat_ms = 5'000;       // what sessions are told; lost after three of them
  std::int64_t stop_grace_ms = 5'000;      // how long after max_run_time a handler may take to stop
  std::uint32_t large_job_bytes = 65'536;  // larger ones take their time to be handed over. Not in the file
  std::uint32_t finished_kept = 1'000;     // finished jobs remembered per queue, in memory
  bool auto_create = true;
  QueueSettings defaults;  // of queues that come into being
};

// Refused early, while acks and deletes still work: set by the server from the store's health.
struct Admission {
  Code refuse = Code::ok;  // ok, store_full, disk_full or shutting_down
  std::uint32_t retry_after_ms = 0;
};

// ---- what can be seen of the engine (const, O(queues) or less) --------------------------------

struct QueueView {
  QueueNo number = 0;
  std::string_view name;
  const QueueSettings* settings = nullptr;
  const QueueCounters* counters = nullptr;
  std::optional<std::int64_t> oldest_ready_ms;
  std::uint32_t workers = 0;  // sessions that serve it
  std::uint64_t slots = 0;    // their credit
  std::uint64_t busy = 0;     // of it, in use for this queue
  std::vector<std::pair<std::string, std::uint64_t>>
      unserved_types;    // ready jobs of types that no worker serves
  bool starved = false;  // ready jobs, free slots, and nothing handed out for a while: a fault of ours
};

struct SessionView {
  SessionNo session;
  std::string_view worker;  // "name@host:pid"
  std::string_view build;
  bool connected = false;
  std::uint32_t credit = 0;
  std::uint32_t busy = 0;
  std::int64_t silent_ms = 0;
  PeerId peer{};                                                   // REQUIRES connected
  bool draining = false;                                           // an operator wants it to leave
  std::vector<std::pair<std::string_view, std::uint32_t>> queues;  // with weights
  std::vector<std::string_view> types;
};

struct LeaseView {
  LeaseNo lease_no = 0;
  SessionNo session;
  std::string_view worker;
  TimeMs granted_at, lease_until;
  bool cancel_requested = false;
  bool lost = false;  // its worker is away: lease_until is how long it may take to come back
  Lane lane;
  std::uint32_t attempt = 1;
};

// What stands between a ready job and a worker.
struct WaitView {
  bool paused = false;
  std::uint32_t workers = 0;   // connected ones that serve its queue
  std::uint32_t serving = 0;   // of them, those that take its type
  std::uint32_t draining = 0;  // of those, how many take nothing any more
  std::uint64_t slots = 0;     // of those that serve it: how many jobs they may hold, over all their queues
  std::uint64_t busy = 0;      // and how many they hold
  std::uint32_t with_room = 0;
  bool given_back = false;  // the only ones with room have given it back a moment ago
  std::uint64_t ahead = 0;  // ready jobs that go before it to those workers
  bool ahead_more = false;  // at least so many: its place in a long backlog is not known exactly
};

struct FinishedView {
  QueueNo queue = 0;
  Exit exit = Exit::acked;
  TimeMs enqueued_at, finished_at;
  std::uint32_t failures = 0;
};

class Engine {
 public:
  // REQUIRES: recovered comes from the store that will be given the changes.
  // The recovered leases get the grace of semantics 11: call start() with the first reading of the clock.
  Engine(const EngineLimits& limits, const Recovered& recovered, std::uint64_t seed);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Begins: gives recovered leases their grace and asks for the heads of lanes and timers. Once, before
  // apply(). REQUIRES: now.engine >= the engine clock of the recovered mark.
  void start(const Now& now, Output* out);

  // What apply() has to know from the store. Appends.
  void lookups(const Command& command, Lookups* lookups) const;

  // Carries out one command. Returns false when a fact is out of date because an earlier command of the same
  // turn changed the same job: nothing was done, look up and apply again in the next turn, before anything
  // else. REQUIRES: now not before that of any earlier call; facts answer lookups(command) of this turn.
  [[nodiscard]] bool apply(const Command& command, const Facts& facts, const Now& now, Output* out);

  // All that time alone makes due, then matches ready jobs with credit, then closes the turn (counters).
  void tick(const Now& now, Output* out);

  // When tick() next has work if no command comes; nullopt: never. On the engine clock; a wall-clock timer is
  // translated with the difference of `now`.
  [[nodiscard]] std::optional<TimeMs> next_deadline(const Now& now) const;

  // Whether any job waits for a worker, paused queues included.
  [[nodiscard]] bool has_ready_jobs() const;

  // What has to be written with the batch of this turn.
  [[nodiscard]] Mark mark(const Now& now) const;

  void set_admission(const Admission& admission);
  // While held, jobs of more than large_job_bytes are not handed out, nor what stands behind them in their lanes.
  void hold_large_jobs(bool held);
  void set_limits(const EngineLimits& limits);  // after SIGHUP: what may change live

  [[nodiscard]] std::vector<QueueView> queues(const Now& now) const;  // by name
  [[nodiscard]] std::optional<QueueView> queue(std::string_view name, const Now& now) const;
  [[nodiscard]] std::string_view queue_name(QueueNo queue) const;
  [[nodiscard]] std::string_view type_name(TypeNo type) const;
  [[nodiscard]] std::vector<SessionView> sessions(const Now& now) const;
  [[nodiscard]] std::optional<LeaseView> lease(JobId job) const;
  // What a session holds, by id; at most `limit`.
  [[nodiscard]] std::vector<std::pair<JobId, LeaseView>> held_by(SessionNo session, std::size_t limit) const;
  // REQUIRES: meta is that of a job that is waiting.
  [[nodiscard]] WaitView waiting(const JobMeta& meta, const Now& now) const;
  [[nodiscard]] std::vector<TaskReply> tasks() const;  // by number
  [[nodiscard]] std::optional<FinishedView> finished(JobId job) const;
  // Peers that the server should tell that the broker stops.
  [[nodiscard]] std::vector<PeerId> session_peers() const;

  // The slow walk: every relation between the parts. For tests, the simulator and debug builds; aborts on a
  // breach.
  void check_invariants() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace jobq
