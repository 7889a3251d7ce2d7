// Who plays in a simulated run: producers, workers and operators, on the library's own state machines. Each writes down
// what it asks and what it is told.
//
// Not thread-safe. They are Processes: destroying one is killing it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "libjobq/client/client_core.hpp"
#include "libjobq/worker/worker_core.hpp"
#include "tests/sim/ledger.hpp"
#include "tests/sim/process.hpp"

namespace jobq::sim {

// Shared by everybody in a run.
struct Script {
  std::uint64_t operations_left = 0;
  std::uint64_t next_body = 1;
  std::int64_t wall_offset_ms = 0;  // of the machines' clocks against the time of the run
  bool healed = false;
};
inline constexpr std::int64_t kWallAtBegin = 1'700'000'000'000;

std::string queue_name(std::uint64_t number);
// The queues of a run, the one that operators remove among them; it is the last.
std::uint64_t queues_of(const FaultMix& mix);

class SimProducer final : public Process {
 public:
  SimProducer(const Stage& stage, std::string name, Prng prng, Script* script);
  [[nodiscard]] bool finished() const override { return open_.empty(); }

 protected:
  PeerCore& core() override { return core_; }
  void before_turn(TimeMs now) override;
  void after_turn(TimeMs now) override;
  [[nodiscard]] TimeMs wants_turn_at() const override;

 private:
  struct Asked {
    std::uint64_t first_seq = 0;
    std::size_t jobs = 0;
  };
  void enqueue(TimeMs now);
  OwnedJob make_job(faults::Event* event);
  void answer(const Completion& completion);

  Script* script_;
  ClientCore core_;
  TimeMs next_at_{};
  std::uint64_t next_token_ = 1, next_seq_ = 1;
  std::map<std::uint64_t, Asked> open_;  // by token
};

class SimWorker final : public Process {
 public:
  SimWorker(const Stage& stage, std::string name, Prng prng, Script* script);
  // Finishes or hands back what it holds, and is done.
  void leave();
  [[nodiscard]] bool finished() const override { return core_.done(); }

 protected:
  PeerCore& core() override { return core_; }
  void before_turn(TimeMs now) override;
  void after_turn(TimeMs now) override;
  [[nodiscard]] TimeMs wants_turn_at() const override;

 private:
  struct Asked {
    std::uint64_t seq = 0;
    std::uint64_t registrations = 0;
  };
  void run(const worker_event::Run& run, TimeMs now);
  void settled(const worker_event::Settled& settled);
  void extended(const worker_event::Extended& extended);
  void stopped(const worker_event::Stop& stop, TimeMs now);
  JobOutcome outcome_of(const worker_event::Run& run);

  Script* script_;
  WorkerCore core_;
  std::multimap<TimeMs, JobOutcome> running_;  // by the time at which they end
  std::map<protocol::LeaseRef, Asked> asked_;
  std::uint64_t registrations_ = 0, next_seq_ = 1;
};

class SimOperator final : public Process {
 public:
  SimOperator(const Stage& stage, std::string name, Prng prng, Script* script, const Ledger* ledger);
  // Asks for something that has to be done, again and again until it is.
  void insist(std::string verb, std::vector<AdminParam> params);
  // The last word of the run: what the broker counts in each queue.
  void count_at_the_end();
  // Once healed, it waits for the tasks that are running, and cancels the slow ones.
  [[nodiscard]] bool finished() const override {
    return open_.empty() && insisted_.empty() && (!script_->healed || tasks_over_);
  }

 protected:
  PeerCore& core() override { return core_; }
  void before_turn(TimeMs now) override;
  void after_turn(TimeMs now) override;
  [[nodiscard]] TimeMs wants_turn_at() const override;

 private:
  struct Asked {
    std::uint64_t seq = 0;
    std::string op;  // empty: not for the history
    AdminCall call;
    bool insists = false, final_count = false;
  };
  // What it may ask for, each with its share: fills in the question.
  struct Verb {
    std::uint64_t share;
    void (SimOperator::*choose)(Asked*, faults::Event*);
  };
  [[nodiscard]] std::vector<Verb> verbs() const;
  void choose_pause(Asked* asked, faults::Event* event);
  void choose_resume(Asked* asked, faults::Event* event);
  void choose_cancel(Asked* asked, faults::Event* event);
  void choose_redrive(Asked* asked, faults::Event* event);
  void choose_purge(Asked* asked, faults::Event* event);
  void choose_settings(Asked* asked, faults::Event* event);
  void choose_look(Asked* asked, faults::Event* event);
  void choose_retry(Asked* asked, faults::Event* event);
  void choose_put_off(Asked* asked, faults::Event* event);
  void choose_removal(Asked* asked, faults::Event* event);
  void choose_drain(Asked* asked, faults::Event* event);
  void choose_task_cancel(Asked* asked, faults::Event* event);
  void about_job(const char* op, const char* verb, JobId job, Asked* asked, faults::Event* event);
  [[nodiscard]] JobId any_job();
  [[nodiscard]] JobId job_in(std::initializer_list<JobState> states);
  void learn(const Asked& asked, const std::string& document, faults::Event* event);
  void see_tasks_end(const std::string& document);
  void ask_something(TimeMs now);
  void ask(Asked asked, faults::Event event, TimeMs now);
  void answer(const AdminCompletion& completion, TimeMs now);
  void write_counts(const std::string& document, bool final_count);

  Script* script_;
  const Ledger* ledger_;
  ClientCore core_;
  TimeMs next_at_{};
  std::uint64_t next_token_ = 1;
  std::map<std::uint64_t, Asked> open_;  // by token
  std::vector<Asked> insisted_;          // to be asked in the next turn
  std::vector<std::uint64_t> sessions_;  // of workers that were there when it last looked
  std::vector<std::uint64_t> tasks_;     // those that it has begun
  bool tasks_over_ = false;
};

}  // namespace jobq::sim
