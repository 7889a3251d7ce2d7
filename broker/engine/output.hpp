// What a turn of the engine produces.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "broker/engine/change.hpp"
#include "broker/engine/command.hpp"

namespace jobq {

// A job to hand over. The server fills in what is stored (type, headers, body) when it sends.
struct PlannedDelivery {
  protocol::LeaseRef lease;
  QueueNo queue = 0;
  std::uint32_t attempt = 1;
  std::uint32_t max_attempts = 0;
  std::uint32_t max_run_ms = 0;
  std::uint32_t lease_ms = 0;
};
struct DeliverPlan {
  SessionNo session;
  std::vector<PlannedDelivery> jobs;
  std::uint64_t bytes = 0;  // of their bodies and headers
};

// The answer to an administrative command.
enum class TaskState : std::uint8_t { running = 0, done = 1, cancelled = 2 };
struct TaskReply {
  std::uint64_t task = 0;
  const char* kind = "";  // "redrive", "dead.purge", "queue.purge", "dead.retention"
  QueueNo queue = 0;
  TaskState state = TaskState::running;
  std::uint64_t to_scan = 0;  // how many there were to look at when it began
  std::uint64_t scanned = 0;  // looked at
  std::uint64_t moved = 0;    // redriven or removed; with dry_run: would be
  std::uint64_t skipped_expired = 0;
  std::uint64_t limit = 0;       // 0: all
  std::uint32_t rate_per_s = 0;  // 0: as fast as it goes
  bool dry_run = false;
  TimeMs started_at{};
  TimeMs ended_at{};  // zero: it runs
};
// What an operator's verb made of one job. After a cancel, leased: the worker is asked to stop, the job is not
// cancelled yet.
struct JobReply {
  JobId job;
  JobState was = JobState::gone;
  JobState state = JobState::gone;
  TimeMs run_at{};  // scheduled: when it becomes ready
};
struct DrainReply {
  SessionNo session;
  bool told = false;  // false: its library knows nothing of being asked; it gets no more jobs all the same
  std::uint32_t busy = 0;
};
struct RemoveQueueReply {
  std::string queue;
};
struct SetQueueReply {
  QueueNo queue = 0;
  bool created = false;
};
using AdminAnswer = std::variant<TaskReply, JobReply, SetQueueReply, RemoveQueueReply, DrainReply>;

using MessageBody =
    std::variant<protocol::Registered, protocol::Enqueued, protocol::OutcomesReply, protocol::HeartbeatReply,
                 protocol::GoodbyeReply, protocol::Error, protocol::Bye, protocol::Revoked,
                 protocol::CancelRequested, protocol::DrainRequested, DeliverPlan, AdminAnswer>;

struct Message {
  PeerId to;
  std::uint64_t request_id = 0;
  MessageBody body;
};

// Reads that do not hold up the turn: answered after its commit, in this order, as the first commands of the
// next turn.
struct ReadLane {
  Lane lane;
  std::uint64_t task = 0;
  JobId after;
  std::uint32_t limit = 0;
};
struct ReadTimers {
  Clock clock = Clock::engine;
  std::uint64_t task = 0;
  TimerKey after;
  std::uint32_t limit = 0;
};
struct ReadDead {
  QueueNo queue = 0;
  std::uint64_t task = 0;
  JobId after;
  std::uint32_t limit = 0;
};
// One job as it stands: before a waiting job is expired.
struct ReadJob {
  JobId job;
};
using Read = std::variant<ReadLane, ReadTimers, ReadDead, ReadJob>;

// THE RULE: messages may be sent, and reads done, only when changes are durable.
struct Output {
  std::vector<Change> changes;
  std::vector<Message> messages;
  std::vector<Read> reads;

  void clear() {
    changes.clear();
    messages.clear();
    reads.clear();
  }
};

}  // namespace jobq
