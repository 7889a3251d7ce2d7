// The processes of --persistent: one per slot, started before their first job, started again when they end (with a
// growing pause when they do so before they have done anything), replaced after --recycle-after jobs.
//
// A slot takes a process, has it do one job (persistent_run.hpp) and gives it back. Idle ones are looked after by the
// main thread: what they write to stderr goes on, one that ends or speaks unasked is replaced.
//
// Thread-safety: take(), give_back(), retire(), lost() from the slots' threads; the others from the main thread.
// Ownership: a process belongs to whoever holds its PersistentProcess.
#pragma once

#include <poll.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "worker/descriptor.hpp"
#include "worker/error_output.hpp"
#include "worker/escalation.hpp"
#include "worker/process.hpp"
#include "worker/workshop.hpp"

namespace jobq::runner {

struct PersistentProcess {
  Process process;
  Descriptor in;   // where jobs go; not open: nothing more is to come
  Descriptor out;  // where answers come from
  Descriptor err;
  ErrorOutput output{"", false};
  std::string unread;      // what came from `out` and is not yet a whole line
  std::uint64_t jobs = 0;  // answered
  // When it has to end: time to do so by itself until then, afterwards by signals.
  std::optional<Escalation::Time> end_by;
  Escalation ending;
};

class PersistentCrew {
 public:
  using Time = Escalation::Time;
  using Member = std::unique_ptr<PersistentProcess>;

  // Throws Error (io_error) without descriptors.
  explicit PersistentCrew(Workshop* shop);

  // Waits for an idle one until `deadline` or the stop; null: there was none.
  Member take(const std::stop_token& stop, Time deadline);
  void give_back(Member member);
  // It gets the end of its input, then signals, and is replaced. `ending`: what it was told already.
  void retire(Member member);
  // It ended and is reaped. `answered`: it had answered a job at any time.
  void lost(bool answered);

  // ---- the main thread
  void tend(Time now);
  void add_descriptors(std::vector<pollfd>* fds);
  std::optional<Time> next_deadline();
  // No slot will take any more: ends all.
  void close(Time now);
  bool closed();

 private:
  Member start(std::string* error);
  void start_missing(Time now);
  void tend_idle(Time now);
  void tend_ending(Time now);
  void begin_end(Member member, Time now);
  void count_end(bool answered, Time now);
  void wake() const;

  Workshop* shop_;
  Descriptor wake_;
  std::mutex mutex_;
  std::condition_variable_any idle_comes_;
  std::vector<Member> idle_;
  std::vector<Member> ending_;
  std::size_t alive_ = 0;       // idle or with a slot
  std::uint64_t failures_ = 0;  // in a row, without one answered job between them
  std::optional<Time> start_at_;
  bool closing_ = false;
};

}  // namespace jobq::runner
