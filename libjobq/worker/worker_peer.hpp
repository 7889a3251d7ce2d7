// What stands between the worker's state machine on the I/O thread and the threads that run handlers.
//
// Thread-safety: the members of the first block may be called from many threads; the others on the I/O
// thread. Ownership: shared by the Worker, the I/O thread and the pool's threads.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "jobq/runtime.hpp"
#include "jobq/worker.hpp"
#include "libjobq/io_driver.hpp"
#include "libjobq/worker/job_pool.hpp"
#include "libjobq/worker/worker_core.hpp"

namespace jobq {

class WorkerPeer final : public IoPeer, public std::enable_shared_from_this<WorkerPeer> {
 public:
  // `changed_fd`: an eventfd that is written when `done`, `refusal` or `asked_to_leave` may have changed.
  WorkerPeer(LinkIdentity identity, WorkerSetup setup, std::shared_ptr<JobPool> pool,
             std::weak_ptr<Runtime> runtime, LogSink log, int changed_fd);

  void started(const protocol::LeaseRef& lease);
  void finished(JobOutcome outcome);
  void extend(const protocol::LeaseRef& lease);
  void drain(std::chrono::milliseconds total, std::chrono::milliseconds grace, bool at_once);
  [[nodiscard]] bool registered() const { return registered_.load(); }
  // When the I/O thread last turned; asks it to turn again.
  [[nodiscard]] std::chrono::steady_clock::time_point last_turn();
  [[nodiscard]] bool done() const { return done_.load(); }
  [[nodiscard]] Status refusal() const;
  // Whether the broker has asked this worker to leave.
  [[nodiscard]] bool asked_to_leave() const { return asked_to_leave_.load(); }
  void log(std::string_view line) override;

  PeerCore& core() override { return core_; }
  void before_turn(TimeMs now) override;
  bool after_turn(TimeMs now) override;
  bool turn_ended() override;
  [[nodiscard]] bool has_outputs() override { return core_.has_events() || (core_.done() && !done_.load()); }
  [[nodiscard]] PeerUse use() override;
  // REQUIRES: no longer driven.
  [[nodiscard]] const WorkerCore& idle_core() const { return core_; }

 private:
  struct Inbox {
    std::vector<protocol::LeaseRef> started;
    std::vector<JobOutcome> finished;
    std::vector<protocol::LeaseRef> extends;
    struct Drain {
      TimeMs until{};
      DurationMs grace{};
      bool at_once = false;
    };
    std::optional<Drain> drain;
    [[nodiscard]] bool empty() const {
      return started.empty() && finished.empty() && extends.empty() && !drain;
    }
  };

  void wake();
  void forget(const protocol::LeaseRef& lease);
  void take(worker_event::Run event, TimeMs now);
  void take(const worker_event::Stop& event, TimeMs now);
  void take(const worker_event::Extended& event, TimeMs now);
  void take(const worker_event::Settled& /*event*/, TimeMs /*now*/) {}  // nobody waits for it
  void take(const worker_event::Registered& event, TimeMs now);
  void take(const worker_event::Refused& event, TimeMs now);
  void take(const worker_event::LeaveRequested& event, TimeMs now);
  void take(const worker_event::Note& event, TimeMs now);

  const std::shared_ptr<JobPool> pool_;
  const std::weak_ptr<Runtime> runtime_;
  const LogSink log_;
  const int changed_fd_;
  std::atomic<bool> registered_{false};
  std::atomic<bool> done_{false};
  std::atomic<std::chrono::steady_clock::rep> turned_at_{0};
  std::atomic<bool> asked_to_leave_{false};

  // The I/O thread's own.
  WorkerCore core_;
  struct LeaseHash {
    std::size_t operator()(const protocol::LeaseRef& lease) const { return lease.job.value; }
  };
  std::pmr::unsynchronized_pool_resource memory_;
  std::pmr::unordered_map<protocol::LeaseRef, std::shared_ptr<JobRun>, LeaseHash> runs_{&memory_};
  std::shared_ptr<const JobRun::Extend> extend_;  // made with the first job
  std::vector<JobPool::Run> fresh_;               // of this turn, on their way to the pool
  std::vector<JobOutcome> finished_before_;       // these two are empty: kept for their memory
  std::vector<WorkerEvent> events_before_;
  std::vector<JobPool::Run> spare_;  // runs that are over, and whose memory serves the next ones
  bool fed_ = false;
  bool draining_ = false;

  mutable std::mutex mutex_;
  Inbox inbox_;
  // The broker owes answers, and what is finished goes out with the next one: no need to wake the I/O thread for it.
  bool outcomes_can_wait_ = false;
  Status refusal_;
};

}  // namespace jobq
