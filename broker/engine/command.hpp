// What the engine is given: one request of one peer, an event of the transport, or the answer of the store to
// a read that the engine asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "broker/engine/types.hpp"
#include "broker/store/store.hpp"
#include "libjobq/protocol/message.hpp"

namespace jobq {

// One connection, as the transport numbers it; never reused while the process lives.
struct PeerId {
  std::uint64_t value = 0;
  auto operator<=>(const PeerId&) const = default;
};

namespace command {

// The transport has lost the connection: its session waits for its worker to come back.
struct PeerLost {};
// A message with these deliveries could not be handed to the transport: they go back uncounted, and the peer
// is lost.
struct SendFailed {
  std::vector<protocol::LeaseRef> leases;
};
// A delivery found the stored record damaged or missing.
struct Damaged {
  protocol::LeaseRef lease;
};

// Settings to change; what is unset stays. `settings` is applied by field name, so that this struct does not
// repeat them: see apply_setting() in queue_settings.hpp.
struct SetQueue {
  std::string_view queue;
  std::vector<std::pair<std::string, std::int64_t>> settings;
  bool create = true;
};
// The queue goes, with its settings and counters. Refused while it has jobs or workers.
struct RemoveQueue {
  std::string_view queue;
};
struct CancelJob {
  JobId job;
};
// A scheduled or dead job becomes ready now.
struct RetryJob {
  JobId job;
};
// A ready or scheduled job becomes ready later: after `delay`, or at `run_at` by the wall clock when that is set.
struct SnoozeJob {
  JobId job;
  DurationMs delay{};
  TimeMs run_at{};
};
// The worker gets no more jobs; with `tell` it is asked to finish what it has and leave.
struct DrainWorker {
  SessionNo session;
  bool tell = false;
};
// Begins a task; the reply is a TaskReply, then Admin "task" asks how it goes.
struct RedriveDead {
  std::string_view queue;
  DeadFilter filter;
  std::uint64_t limit = 0;       // 0: all
  std::uint32_t rate_per_s = 0;  // 0: as fast as it goes
  bool dry_run = false;          // count only
};
struct PurgeDead {
  std::string_view queue;
  DeadFilter filter;
};
struct PurgeQueue {  // ready and scheduled jobs enqueued before now
  std::string_view queue;
};
struct ShowTask {
  std::uint64_t task = 0;
};
struct CancelTask {  // what it did stays done
  std::uint64_t task = 0;
};

// The answers to Output::reads.
struct LaneRead {
  Lane lane;
  std::uint64_t task = 0;  // 0: a refill of the window
  LanePage page;
};
struct TimersRead {
  Clock clock = Clock::engine;
  std::uint64_t task = 0;
  TimerPage page;
};
struct DeadRead {
  QueueNo queue = 0;
  std::uint64_t task = 0;
  DeadPage page;
};

struct JobRead {
  JobId job;
  JobFact fact;
};

}  // namespace command

using CommandBody =
    std::variant<protocol::Hello, protocol::Register, protocol::Enqueue, protocol::Outcomes,
                 protocol::Heartbeat, protocol::Goodbye, command::PeerLost, command::SendFailed,
                 command::Damaged, command::SetQueue, command::RemoveQueue, command::CancelJob,
                 command::RetryJob, command::SnoozeJob, command::DrainWorker, command::RedriveDead,
                 command::PurgeDead, command::PurgeQueue, command::ShowTask, command::CancelTask,
                 command::LaneRead, command::TimersRead, command::DeadRead, command::JobRead>;

struct Command {
  PeerId peer;
  std::uint64_t request_id = 0;
  CommandBody body;
};

// What the engine wants to know from the store before it can carry out a command: asked by Engine::lookups(),
// answered into Facts in the same order, valid for the command in this turn.
struct UniqueLookup {
  std::string_view queue;  // by name: the engine resolves it; an unknown queue needs no lookup
  QueueNo queue_no = 0;
  std::string_view key;
};
struct Lookups {
  std::vector<JobId> jobs;
  std::vector<UniqueLookup> keys;
  [[nodiscard]] bool empty() const { return jobs.empty() && keys.empty(); }
};
struct Facts {
  std::vector<JobFact> jobs;
  std::vector<UniqueFact> keys;
};

}  // namespace jobq
