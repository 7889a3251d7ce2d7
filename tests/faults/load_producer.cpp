// Enqueues as fast as answers come, a hundred at a time: plain, delayed, with keys that repeat, in groups.
#include <fmt/format.h>

#include <condition_variable>
#include <mutex>

#include "jobq/client.hpp"
#include "libjobq/base/prng.hpp"
#include "tests/faults/load.hpp"

namespace jobq::faults {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kInFlightMax = 100;
// Longer than any restart, so that what ends without an answer is rare.
constexpr milliseconds kDeadline{30'000};

Event asked(const LoadOptions& load, std::uint64_t seq, std::string_view body,
            const EnqueueOptions& options) {
  Event event;
  event.op = "enqueue";
  event.type = EventType::invoke;
  event.seq = seq;
  event.queue = load.queue;
  event.prio = options.priority.value_or(-1);
  event.key = options.unique_key;
  event.hash = hash_text(body);
  event.delay_ms = options.delay.count();
  return event;
}

Event answered(std::uint64_t seq, const EnqueueResult& result) {
  Event event;
  event.op = "enqueue";
  event.seq = seq;
  if (result.ok()) {
    event.type = EventType::ok;
    event.job = result->id;
    event.duplicate = result->duplicate;
  } else {
    event.type = result.outcome() == Outcome::refused ? EventType::fail : EventType::info;
    event.err = to_string(result.code());
  }
  return event;
}

}  // namespace

int run_producer(const LoadOptions& load, HistoryWriter* history) {
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t in_flight = 0;
  Client client{load.endpoint, {.timeout = kDeadline}};
  Prng prng{load.seed};
  std::uint64_t seq = 0;
  const auto next_body = [&] { return fmt::format("{}-{}-{:016x}", load.name, ++seq, prng.next()); };
  while (!asked_to_stop(0)) {
    if (prng.below(100) == 0) {  // a group: all or nothing
      std::vector<NewJob> jobs;
      const std::uint64_t first = seq + 1;
      for (std::uint64_t n = 2 + prng.below(5); n > 0; --n) {
        jobs.emplace_back(next_body());
        Event event = asked(load, seq, jobs.back().body, {});
        event.group = std::to_string(first);
        history->write(event);
      }
      const auto results =
          client.enqueue_many(load.queue, jobs, {.all_or_nothing = true, .timeout = kDeadline});
      for (std::size_t i = 0; i < results.size(); ++i) history->write(answered(first + i, results[i]));
      continue;
    }
    const std::string body = next_body();
    EnqueueOptions options;
    if (prng.below(3) == 0) options.priority = static_cast<int>(prng.below(10));
    if (prng.below(10) == 0) options.delay = milliseconds{prng.between(1, 60)};
    if (prng.below(10) == 0) options.unique_key = fmt::format("key-{}", seq / 20);
    {
      std::unique_lock lock{mutex};
      changed.wait(lock, [&] { return in_flight < kInFlightMax; });
      ++in_flight;
    }
    history->write(asked(load, seq, body, options));
    client.enqueue_async(load.queue, body, options, [&, number = seq](const EnqueueResult& result) {
      history->write(answered(number, result));
      const std::lock_guard lock{mutex};
      --in_flight;
      changed.notify_one();
    });
  }
  std::unique_lock lock{mutex};
  changed.wait(lock, [&] { return in_flight == 0; });
  return 0;
}

}  // namespace jobq::faults
