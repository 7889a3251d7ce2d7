// A worker's state machine and the broker's part of the talk, in virtual time; for the tests of the worker.
#pragma once

#include <doctest/doctest.h>

#include "libjobq/worker/worker_core.hpp"
#include "tests/client/wire.hpp"

namespace jobq::test {

inline constexpr protocol::LeaseRef kOne{JobId{11}, 1};
inline constexpr protocol::LeaseRef kTwo{JobId{12}, 4};
inline constexpr std::int64_t kLease = 30'000;
inline constexpr std::int64_t kHeartbeat = 5'000;

struct WorkerCoreFixture {
  WorkerCore core{{"tcp://127.0.0.1:7710", "test", "host", 1}, setup()};
  std::vector<WorkerEvent> events;

  static WorkerSetup setup() {
    WorkerSetup made;
    made.queues = {{"mail", 3}, "reports"};
    made.types = {"SendReceipt"};
    made.credit_jobs = 4;
    made.name = "w1";
    return made;
  }

  std::vector<Sent> tick(TimeMs now) {
    core.tick(now);
    for (WorkerEvent& event : core.take_events()) events.push_back(std::move(event));
    return take_sent(core);
  }

  template <typename T>
  std::vector<T> take() {
    std::vector<T> found;
    for (const WorkerEvent& event : std::exchange(events, {})) {
      if (const auto* wanted = std::get_if<T>(&event)) found.push_back(*wanted);
    }
    return found;
  }

  // Greeted and registered; what it claimed is answered as given.
  Sent start(TimeMs now, std::vector<protocol::ClaimResult> held = {},
             std::vector<protocol::ClaimResult> outcomes = {}) {
    greet(core, now);
    auto sent = tick_sent(now);
    REQUIRE(sent.size() == 1);
    const bool resumed = sent[0].as<protocol::Register>().session.is_set();
    protocol::Registered reply;
    reply.session = SessionNo{77};
    reply.secret.fill(9);
    reply.resumed = resumed;
    reply.heartbeat_ms = kHeartbeat;
    reply.held = std::move(held);
    reply.outcomes = std::move(outcomes);
    answer(core, sent[0].message.request_id, reply, now);
    return std::move(sent[0]);
  }

  std::vector<Sent> tick_sent(TimeMs now) {
    auto already = take_sent(core);
    auto more = tick(now);
    for (Sent& sent : more) already.push_back(std::move(sent));
    return already;
  }

  void deliver(protocol::LeaseRef lease, TimeMs now, std::uint32_t max_run_ms = 0,
               std::uint64_t session = 77) {
    protocol::Deliver push;
    push.session = SessionNo{session};
    protocol::Delivery job;
    job.lease = lease;
    job.queue = "mail";
    job.type = "SendReceipt";
    job.body = "body";
    job.max_attempts = 25;
    job.lease_ms = kLease;
    job.max_run_ms = max_run_ms;
    push.jobs.push_back(job);
    answer(core, 0, push, now);
    tick(now);
  }
};

}  // namespace jobq::test
