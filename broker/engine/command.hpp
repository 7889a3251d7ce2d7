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
struct CancelJob {
  JobId job;
};
// The filters of tasks over dead jobs. All that are set must match.
struct DeadFilter {
  JobId job{};  // this one
  std::string type;
  bool has_type = false;
  std::string error_contains;
  std::int64_t min_age_ms = 0;  // dead at least this long
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
                 command::Damaged, command::SetQueue, command::CancelJob, command::RedriveDead,
                 command::PurgeDead, command::PurgeQueue, command::ShowTask, command::LaneRead,
                 command::TimersRead, command::DeadRead, command::JobRead>;

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
