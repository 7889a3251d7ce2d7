// A store that can fail and lose power, around any other store (in tests: MemoryStore).
//
//   FaultyStore store{&memory};
//   store.fail_submit(3, {Code::io_error, "..."});   // the third submit from now fails, and everything after
//   it store.hold();                                    // batches stay incomplete until complete() or
//   completed(wait) store.lose_power();                              // ... or are forgotten: then restart
//   the store below, and
//                                                    // put a new FaultyStore around it
//
// While batches are held, reads see completed batches only, as store.hpp says. Not thread-safe. Does not own
// the store below.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "broker/store/store.hpp"
#include "libjobq/base/check.hpp"

namespace jobq {

// The changes of a batch with the bytes that they point to.
struct OwnedBatch {
  std::vector<Change> changes;
  std::deque<std::string> bytes;  // a deque: its elements stay where they are
  Mark mark;

  OwnedBatch(std::span<const Change> from, const Mark& its_mark)
      : changes(from.begin(), from.end()), mark(its_mark) {
    for (Change& change : changes) {
      auto* enqueue = std::get_if<change::Enqueue>(&change);
      if (enqueue == nullptr) continue;
      for (std::string_view* view : {&enqueue->headers, &enqueue->body, &enqueue->unique_key})
        *view = bytes.emplace_back(*view);
    }
  }
  OwnedBatch(OwnedBatch&&) = default;
  OwnedBatch(const OwnedBatch&) = delete;
};

class FaultyStore : public Store {
 public:
  explicit FaultyStore(Store* below) : below_(below) {}

  void fail_submit(std::uint64_t nth, Status status) {
    JOBQ_CHECK(nth > 0 && !status.ok());
    submits_until_failure_ = nth;
    failure_ = std::move(status);
  }
  // What health() says from now on, whatever the store below does.
  void pretend(const StoreHealth& health) { health_ = health; }
  void hold() { holding_ = true; }
  // What is stored of it does not check from now on.
  void lose_record(JobId job) { lost_record_ = job; }
  // How often jobs were visited.
  [[nodiscard]] std::uint64_t visits() const { return visits_; }
  [[nodiscard]] std::size_t held() const { return held_.size(); }
  // Makes the oldest held batches durable.
  void complete(std::size_t batches) {
    for (; batches > 0 && !held_.empty(); --batches) {
      const Result<BatchNo> done = below_->submit(held_.front().changes, held_.front().mark);
      JOBQ_CHECK(done.ok(), "{}", done.status().text());
      completed_ = *done;
      held_.pop_front();
    }
  }
  // Everything that was not completed is gone, and this store can be used no more.
  void lose_power() {
    held_.clear();
    failed_ = Status{Code::io_error, "power lost"};
  }

  Result<Recovered> recover() override { return below_->recover(); }

  Result<BatchNo> submit(std::span<const Change> changes, const Mark& mark) override {
    if (submits_until_failure_ != 0 && --submits_until_failure_ == 0) failed_ = failure_;
    if (!failed_.ok()) return failed_;
    held_.emplace_back(changes, mark);
    const BatchNo number = completed_ + held_.size();
    if (!holding_) complete(held_.size());
    return number;
  }
  Result<BatchNo> completed(bool wait) override {
    if (!failed_.ok()) return failed_;
    if (wait) complete(held_.size());
    return completed_;
  }

  Result<LanePage> read_lane(const Lane& lane, JobId after, std::size_t limit) override {
    if (!failed_.ok()) return failed_;
    return below_->read_lane(lane, after, limit);
  }
  Result<TimerPage> read_timers(Clock clock, const TimerKey& after, std::size_t limit) override {
    if (!failed_.ok()) return failed_;
    return below_->read_timers(clock, after, limit);
  }
  Result<DeadPage> read_dead(QueueNo queue, JobId after, std::size_t limit) override {
    if (!failed_.ok()) return failed_;
    return below_->read_dead(queue, after, limit);
  }
  Result<JobFact> read_job(JobId job) override {
    if (!failed_.ok()) return failed_;
    return below_->read_job(job);
  }
  Result<UniqueFact> read_unique(QueueNo queue, std::string_view key) override {
    if (!failed_.ok()) return failed_;
    return below_->read_unique(queue, key);
  }
  Result<std::vector<AttemptRecord>> read_attempts(JobId job) override {
    if (!failed_.ok()) return failed_;
    return below_->read_attempts(job);
  }
  Result<std::optional<FinishedJob>> read_finished(JobId job) override {
    if (!failed_.ok()) return failed_;
    return below_->read_finished(job);
  }
  Status visit_jobs(std::span<const JobId> jobs, const Visit& visit) override {
    ++visits_;
    if (!failed_.ok()) return failed_;
    return below_->visit_jobs(jobs, visit);
  }
  Status visit_piece(JobId job, BodyPiece piece, const Visit& visit) override {
    ++visits_;
    if (!failed_.ok()) return failed_;
    if (job != lost_record_) return below_->visit_piece(job, piece, visit);
    visit(0, nullptr);
    return {};
  }
  StoreHealth health() override { return health_ ? *health_ : below_->health(); }
  Status backup(const std::string& path) override {
    if (!failed_.ok()) return failed_;
    return below_->backup(path);
  }
  void stop_backup() override { below_->stop_backup(); }

 private:
  Store* below_;
  std::uint64_t submits_until_failure_ = 0;  // 0: none is to fail
  Status failure_, failed_;
  std::optional<StoreHealth> health_;
  bool holding_ = false;
  std::deque<OwnedBatch> held_;
  BatchNo completed_ = 0;
  std::uint64_t visits_ = 0;
  JobId lost_record_{};
};

}  // namespace jobq
