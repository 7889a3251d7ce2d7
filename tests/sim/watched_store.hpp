// The store as one life of the simulated broker sees it: the real one below, with slow, failed and interrupted commits, a
// disk that fills up, and every durable batch entered in the ledger.
//
// A batch is durable when its time has passed (FaultMix::commit_ms): if the broker is killed before, it is lost, all of
// it. Reads see durable batches only. Throws BrokerKilled. Not thread-safe. Does not own what it is given.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/store/store.hpp"
#include "libjobq/base/prng.hpp"
#include "tests/sim/fault_mix.hpp"
#include "tests/sim/ledger.hpp"
#include "tests/store/faulty_store.hpp"

namespace jobq::sim {

// kill -9, wherever the broker is.
struct BrokerKilled {};

// Faults that others switch on and off, and what has happened; outlives the broker's lives.
struct StoreFaults {
  bool disk_full = false;
  bool healed = false;
  std::uint64_t failed_commits = 0, crashes = 0;
};

class WatchedStore final : public Store {
 public:
  struct Parts {
    Store* below;
    Ledger* ledger;
    const FaultMix* mix;
    StoreFaults* faults;
    Prng* prng;
    std::uint64_t seed;
    std::function<void(DurationMs)> pass;  // lets time pass for everybody; throws BrokerKilled
  };
  explicit WatchedStore(Parts parts) : parts_(std::move(parts)) {}

  // With an identity of the seed: a store on disk draws its own.
  Result<Recovered> recover() override;
  Result<BatchNo> submit(std::span<const Change> changes, const Mark& mark) override;
  Result<BatchNo> completed(bool wait) override;

  Result<LanePage> read_lane(const Lane& lane, JobId after, std::size_t limit) override {
    return parts_.below->read_lane(lane, after, limit);
  }
  Result<TimerPage> read_timers(Clock clock, const TimerKey& after, std::size_t limit) override {
    return parts_.below->read_timers(clock, after, limit);
  }
  Result<DeadPage> read_dead(QueueNo queue, JobId after, std::size_t limit) override {
    return parts_.below->read_dead(queue, after, limit);
  }
  Result<JobFact> read_job(JobId job) override { return parts_.below->read_job(job); }
  Result<UniqueFact> read_unique(QueueNo queue, std::string_view key) override {
    return parts_.below->read_unique(queue, key);
  }
  Result<std::vector<AttemptRecord>> read_attempts(JobId job) override {
    return parts_.below->read_attempts(job);
  }
  Result<std::optional<FinishedJob>> read_finished(JobId job) override {
    return parts_.below->read_finished(job);
  }
  Status visit_jobs(std::span<const JobId> jobs, const Visit& visit) override {
    return parts_.below->visit_jobs(jobs, visit);
  }
  Status visit_piece(JobId job, BodyPiece piece, const Visit& visit) override {
    return parts_.below->visit_piece(job, piece, visit);
  }
  // What the machine says of itself must not decide what happens in a run.
  StoreHealth health() override;
  Status backup(const std::string& path) override { return parts_.below->backup(path); }
  void stop_backup() override { parts_.below->stop_backup(); }

 private:
  void maybe_die();
  Status write(OwnedBatch* batch);

  Parts parts_;
  Status failed_;
  std::deque<OwnedBatch> waiting_;
  BatchNo completed_ = 0;
};

}  // namespace jobq::sim
