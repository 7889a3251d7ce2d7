#include "bench/bench_cases.hpp"

namespace jobq::bench {
namespace {

Load packed() {
  Load load;
  load.window = load.credit = 10'000;
  return load;
}
Load one_per_message() {
  Load load;
  load.pack = false;
  return load;
}
template <typename Change>
Load but(Load load, Change change) {
  change(&load);
  return load;
}

Load held(std::size_t jobs) {
  return but(packed(), [jobs](Load* load) {
    load->workers = workers_for(jobs);
    load->held = jobs;
    load->in_flight = 20'000 + 2 * jobs;
  });
}

// A thousand of each, with so many jobs in hand.
Load peers(std::size_t jobs) {
  return but(packed(), [jobs](Load* load) {
    load->producers = load->workers = 1000;
    load->credit = jobs;
    load->window = 1000 * jobs;
    load->in_flight = 2000 * jobs;
  });
}

// What the others are measured against.
std::vector<Case> plain_cases() {
  return {
      {.name = "packed", .meaning = "full cycle, the library packs what waits", .load = packed()},
      {.name = "single",
       .meaning = "full cycle, packing off: one enqueue a message",
       .load = one_per_message()},
      {.name = "enqueue", .meaning = "enqueue alone", .load = packed(), .worker = false},
      {.name = "deliver",
       .meaning = "deliver and ack alone",
       .load = packed(),
       .backlog = 1'500'000,
       .producer = false},
      {.name = "sync",
       .meaning = "blocking enqueues, one at a time",
       .load = but(one_per_message(), [](Load* load) { load->one_at_a_time = true; }),
       .worker = false},
      {.name = "latency",
       .meaning = "a paced load, to the confirmation and to the handler",
       .load = but(packed(),
                   [](Load* load) { load->rate = 1000, load->credit = 1000, load->time_deliveries = true; })},
      {.name = "ordered",
       .meaning = "full cycle with the loose worker, acked in order",
       .load = held(0),
       .loose = true},
      {.name = "random-20k",
       .meaning = "20,000 in flight, acked in any order",
       .load = held(20'000),
       .loose = true},
      {.name = "random-200k",
       .meaning = "200,000 in flight, acked in any order",
       .load = held(200'000),
       .loose = true},
  };
}

// What real life adds.
std::vector<Case> disorder_cases() {
  constexpr std::int64_t kDayMs = 24LL * 3600 * 1000;
  return {
      {.name = "retry",
       .meaning = "one job in ten fails the first time",
       .load = but(packed(),
                   [](Load* load) {
                     load->fail_percent = 10;
                     load->in_flight = 200'000;
                   })},
      {.name = "delays",
       .meaning = "each job is delayed up to 2 s, over 200,000 that are due within a day",
       .load = but(packed(),
                   [](Load* load) {
                     load->delay_max_ms = 2'000;
                     load->in_flight = 400'000;
                   }),
       .backlog = 200'000,
       .backlog_delay_ms = kDayMs},
      {.name = "priorities",
       .meaning = "ten priorities",
       .load = but(packed(), [](Load* load) { load->priorities = 10; })},
      {.name = "queues",
       .meaning = "1,000 queues",
       .load = but(packed(), [](Load* load) { load->queues = 1000; })},
      {.name = "unique",
       .meaning = "a unique key on every job, about 20,000 live",
       .load = but(packed(), [](Load* load) { load->unique_live = 20'000; })},
      {.name = "unique-1m",
       .meaning = "a unique key on every job, a million live",
       .load = but(packed(), [](Load* load) { load->unique_live = 1'000'000; }),
       .backlog = 1'000'000},
      {.name = "peers",
       .meaning = "1,000 producers with up to 100 unconfirmed jobs each, 1,000 workers with as many in hand",
       .load = peers(100),
       .loose = true},
      {.name = "peers-10", .meaning = "the same with 10 jobs each", .load = peers(10), .loose = true},
      {.name = "stopped",
       .meaning = "a second worker takes 1,000 jobs and stops reading (SIGSTOP)",
       .load = but(held(0), [](Load* load) { load->credit = 1'000; }),
       .loose = true,
       .stopped_worker = true},
  };
}

// What is not measured as a rate.
std::vector<Case> special_cases() {
  return {
      {.name = "idle",
       .meaning = "1,000 workers wait for jobs and none comes",
       .load = but(packed(),
                   [](Load* load) {
                     load->workers = 1000;
                     load->credit = 10;
                   }),
       .producer = false,
       .loose = true,
       .measure = Measure::idle},
      {.name = "churn",
       .meaning = "a long run of --minutes, 20,000 in flight acked in any order: CPU per job and size, last "
                  "to first",
       .load = held(20'000),
       .loose = true,
       .measure = Measure::churn},
      {.name = "refill",
       .meaning = "the size of the store: with a backlog, drained, and with the same backlog again",
       .load = packed(),
       .backlog = 1'000'000,
       .producer = false,
       .loose = true,
       .measure = Measure::refill},
      {.name = "restart",
       .meaning = "kill -9, start, first delivery; over a backlog",
       .load = packed(),
       .backlog = 1'000'000,
       .producer = false,
       .measure = Measure::restart},
  };
}

}  // namespace

std::vector<Case> all_cases() {
  std::vector<Case> cases = plain_cases();
  for (const auto& more : {disorder_cases(), special_cases()})
    cases.insert(cases.end(), more.begin(), more.end());
  return cases;
}

}  // namespace jobq::bench
