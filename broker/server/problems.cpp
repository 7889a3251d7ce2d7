#include "broker/server/problems.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

namespace jobq {
namespace {

constexpr DurationMs kJumpShownFor{600'000};
constexpr std::int64_t kOldReaderMs = 60'000;
constexpr std::uint64_t kNearlyFullPercent = 90;  // of the part that enqueues may use

std::string seconds_text(std::int64_t ms) {
  if (ms < 120'000) return fmt::format("{} s", ms / 1000);
  if (ms < 7'200'000) return fmt::format("{} min", ms / 60'000);
  return fmt::format("{} h", ms / 3'600'000);
}

std::string count_of(std::uint64_t number, const char* one, const char* many) {
  return fmt::format("{} {}", number, number == 1 ? one : many);
}

std::string mib_text(std::uint64_t bytes) { return fmt::format("{} MiB", bytes >> 20); }

void find_store_problems(const Config& config, const StoreHealth& store, const Admission& admission,
                         std::vector<Problem>* problems) {
  const std::uint64_t usable = store.map_bytes / 100 * config.store_full_percent;
  if (admission.refuse == Code::store_full) {
    problems->push_back({"store_full", "critical", std::nullopt,
                         fmt::format("enqueues are refused: the store holds {} of the {} it may use",
                                     mib_text(store.used_bytes), mib_text(usable)),
                         "let workers drain, purge what is not needed, or raise store.max_size and restart"});
  } else if (admission.refuse == Code::disk_full) {
    problems->push_back(
        {"disk_full", "critical", std::nullopt,
         fmt::format("enqueues are refused: the disk has {} left, less than store.min_free = {}",
                     mib_text(store.disk_free_bytes), mib_text(config.store_min_free_bytes)),
         "make room on the disk of the data directory; acks and deletes still work"});
  } else if (usable > 0 && store.used_bytes > usable / 100 * kNearlyFullPercent) {
    problems->push_back(
        {"store_nearly_full", "warning", std::nullopt,
         fmt::format("the store holds {} of the {} it may use", mib_text(store.used_bytes), mib_text(usable)),
         "enqueues will be refused soon: add workers, purge, or raise store.max_size"});
  }
  if (store.damaged_records > 0) {
    problems->push_back({"damaged_record", "critical", std::nullopt,
                         fmt::format("{} not check", count_of(store.damaged_records, "stored record does",
                                                              "stored records do")),
                         "stop the broker and run `jobq check` on the data directory; suspect the disk"});
  }
}

// Not a backup of our own: that one is given up when it holds back too much (store.backup_growth).
void find_old_reader(const StoreHealth& store, std::vector<Problem>* problems) {
  const auto age_ms = static_cast<std::int64_t>(store.oldest_reader_ms);
  if (age_ms < kOldReaderMs || store.oldest_reader_pid == ::getpid()) return;
  problems->push_back(
      {"old_reader", "warning", std::nullopt,
       fmt::format("process {} has been reading the data file for {}, and the file grows meanwhile",
                   store.oldest_reader_pid, seconds_text(age_ms)),
       "let it end, or stop it; `jobq backup` copies a store that serves without this risk"});
}

void find_queue_problems(const ObservedQueue& observed, std::vector<Problem>* problems) {
  const QueueView& queue = *observed.view;
  const std::string name(queue.name);
  const std::uint64_t ready = queue.counters->ready;
  if (queue.settings->paused) {
    if (ready > 0) {
      problems->push_back({"paused_with_jobs", "warning", name,
                           count_of(ready, "ready job in a paused queue", "ready jobs in a paused queue"),
                           fmt::format("`jobq queue resume {}` when it may go on", name)});
    }
  } else if (ready > 0 && queue.workers == 0) {
    problems->push_back({"no_worker", "critical", name,
                         count_of(ready, "ready job and no worker", "ready jobs and no worker"),
                         "start a worker that serves this queue"});
  } else {
    for (const auto& [type, count] : queue.unserved_types) {
      problems->push_back(
          {"no_worker_for_type", "critical", name,
           fmt::format("{} {} that no worker serves", count_of(count, "ready job", "ready jobs"),
                       type.empty() ? "without a type" : fmt::format("of type '{}'", type)),
           "start a worker with a handler for this type"});
    }
  }
  if (queue.starved) {
    problems->push_back({"idle_worker", "critical", name,
                         count_of(ready, "ready job, free workers, and nothing is handed out",
                                  "ready jobs, free workers, and nothing is handed out"),
                         "this is a fault of the broker: please report it; a restart is safe"});
  }
  const std::int64_t target = queue.settings->target_wait_ms;
  if (target > 0 && !queue.settings->paused && queue.oldest_ready_ms && *queue.oldest_ready_ms > target) {
    problems->push_back({"oldest_ready", "warning", name,
                         fmt::format("the oldest ready job waits for {}, above the target of {}",
                                     seconds_text(*queue.oldest_ready_ms), seconds_text(target)),
                         "add workers or slots, or change target_wait_ms of the queue"});
  }
  if (observed.rates.died_recently > 0) {
    problems->push_back(
        {"dead_growing", "warning", name,
         fmt::format("{} in the last ten minutes, {} dead",
                     count_of(observed.rates.died_recently, "job died", "jobs died"),
                     count_of(queue.counters->dead, "is", "are")),
         fmt::format("`jobq dead summary {0}` shows why; `jobq dead redrive {0}` when the cause is gone",
                     name)});
  }
}

}  // namespace

std::vector<Problem> find_problems(const Config& config, const std::vector<ObservedQueue>& queues,
                                   const StoreHealth& store, const Admission& admission,
                                   const std::optional<ClockJump>& jump, const Now& now) {
  std::vector<Problem> problems;
  find_store_problems(config, store, admission, &problems);
  find_old_reader(store, &problems);
  if (jump && now.engine - jump->noticed < kJumpShownFor) {
    problems.push_back(
        {"clock_jump", "warning", std::nullopt,
         fmt::format("the wall clock jumped by {:+.1f} s", static_cast<double>(jump->by.ms) / 1000.0),
         "leases and delays are not affected, dates given with --at are: check the machine's time"});
  }
  for (const ObservedQueue& queue : queues) find_queue_problems(queue, &problems);
  return problems;
}

}  // namespace jobq
