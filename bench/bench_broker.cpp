// The broker end to end: starts one in a directory of its own, lets producers and workers made of the real library at it,
// and says what came of it: rate, CPU per job of broker, producer and worker, commits, memory, latencies.
//
//   bench_broker --broker build/broker/jobq-broker --case packed [--seconds 3] [--json]
//   bench_broker --list
//
// Everything is as a user gets it: every OK after an fsync, every check on, default settings.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "bench/bench_load.hpp"
#include "bench/measurement.hpp"
#include "jobq/client.hpp"
#include "jobq/msgpack_body.hpp"
#include "libjobq/admin.hpp"
#include "libjobq/base/check.hpp"

namespace jobq::bench {
namespace {

using namespace std::chrono_literals;

struct Arguments {
  std::string broker = "jobq-broker";
  std::string name = "packed";
  std::string transport = "tcp";
  std::string directory = std::filesystem::temp_directory_path().string();
  double seconds = 3, warm_up = 1;
  std::uint64_t backlog = 0;
  bool backlog_given = false;
  std::size_t body_bytes = 0, window = 0, credit = 0;
  std::uint64_t in_flight = 0;
  double rate = 0;
  std::uint32_t peers = 0;
  std::size_t held = 0;
  bool json = false, list = false;
};

struct Case {
  std::string name;
  std::string meaning;
  Load load;
  std::uint64_t backlog = 0;            // jobs that wait before anything is measured
  std::int64_t backlog_delay_ms = 0;    // they are scheduled, spread over this time
  bool producer = true, worker = true;  // who takes part
  bool loose = false;                   // which worker
  bool restart = false;                 // measure a restart after kill -9 instead
};

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

std::vector<Case> all_cases() {
  constexpr std::int64_t kDayMs = 24LL * 3600 * 1000;
  const auto held = [](std::size_t jobs) {
    return but(packed(), [jobs](Load* load) {
      load->workers = jobs > 0 ? static_cast<std::uint32_t>(1 + jobs / 8'000) : 1;
      load->held = jobs;
      load->in_flight = 20'000 + 2 * jobs;
    });
  };
  std::vector<Case> cases = {
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
       .meaning = "1,000 producers and 1,000 workers",
       .load = but(packed(),
                   [](Load* load) {
                     load->producers = load->workers = 1000;
                     load->credit = 10;
                   }),
       .loose = true},
      {.name = "restart",
       .meaning = "kill -9, start, first delivery; over a backlog",
       .load = packed(),
       .backlog = 1'000'000,
       .producer = false,
       .restart = true},
  };
  return cases;
}

// ---- the broker under test --------------------------------------------------------------------

struct StoreStats {
  std::uint64_t commits = 0;
  MSGPACK_DEFINE_MAP(commits)
};
struct Stats {
  StoreStats store;
  MSGPACK_DEFINE_MAP(store)
};

class Broker {
 public:
  explicit Broker(const Arguments& arguments) : program_(arguments.broker), directory_(arguments.directory) {
    endpoint_ = arguments.transport == "ipc" ? "ipc://" + directory_.path() + "/socket"
                                             : fmt::format("tcp://127.0.0.1:{}", free_port());
    start();
  }
  void start() {
    started_ns_ = now_ns();
    process_ = Child::exec(
        {program_, "--data", directory_.path() + "/data", "--listen", endpoint_, "--log-level", "warning"},
        directory_.path() + "/log");
  }
  void kill_9() { process_.end(SIGKILL); }
  // REQUIRES: nothing is forked while it runs; it makes threads and ends them.
  std::uint64_t commits() {
    Client client(endpoint_);
    return commits(&client);
  }
  static std::uint64_t commits(Client* client) {
    const Result<std::string> document = admin(*client, "stats", {}, 30s);
    JOBQ_CHECK(document.ok(), "{}", document.status().text());
    return unpack_body<Stats>(*document).store.commits;
  }
  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }
  [[nodiscard]] pid_t pid() const { return process_.pid(); }
  [[nodiscard]] std::int64_t started_ns() const { return started_ns_; }
  void check_alive() { JOBQ_CHECK(process_.runs(), "the broker has ended: see --dir and {}", program_); }

 private:
  std::string program_;
  ScratchDirectory directory_;
  std::string endpoint_;
  Child process_;
  std::int64_t started_ns_ = 0;
};

void preload(const Case& what, const Broker& broker, SharedState* shared) {
  if (what.backlog == 0) return;
  Load load = what.load;
  load.endpoint = broker.endpoint();
  load.shared = shared;
  load.window = 20'000;
  load.pack = true;
  load.in_flight = 0;
  load.rate = 0;
  load.producers = 1;
  load.count = what.backlog;
  load.delay_max_ms = what.backlog_delay_ms;
  load.body_bytes = std::min<std::size_t>(load.body_bytes, 256);
  Child filler = Child::run([&] { run_producer(load); });
  JOBQ_CHECK(filler.wait(600'000), "the backlog was not enqueued");
  JOBQ_CHECK(shared->confirmed == what.backlog, "{} of {} jobs were accepted", shared->confirmed.load(),
             what.backlog);
  shared->confirmed = 0;
  shared->ready = 0;
}

Child start_worker(const Case& what, const Load& load) {
  return Child::run([&] { what.loose ? run_loose_worker(load) : run_worker(load); });
}

void wait_until_ready(SharedState* shared, std::uint32_t processes, Broker* broker) {
  const std::int64_t until = now_ns() + 60'000'000'000;
  while (shared->ready < processes) {
    broker->check_alive();
    JOBQ_CHECK(now_ns() < until, "producer or worker did not begin");
    sleep_ms(1);
  }
}

// From the start of the process to the first job in a handler's hands; then how long `stats` takes.
Row measure_restart(const Case& what, Broker* broker, Load load) {
  SharedState* shared = load.shared;
  broker->kill_9();
  broker->start();
  Child worker = start_worker(what, load);
  while (shared->first_delivery_ns == 0) {
    broker->check_alive();
    std::this_thread::sleep_for(200us);
  }
  Row row;
  row.first_delivery_ms = static_cast<double>(shared->first_delivery_ns - broker->started_ns()) / 1e6;
  shared->stop = true;
  worker.wait(20'000);
  row.rss_anon_mb = usage_of(broker->pid()).rss_anon_mb;
  Client client(broker->endpoint());
  Broker::commits(&client);
  Histogram answers;
  for (int i = 0; i < 20; ++i) {
    const std::int64_t begun = now_ns();
    Broker::commits(&client);
    answers.add(now_ns() - begun);
  }
  row.stats_ms = answers.percentile_us(0.5) / 1e3;
  return row;
}

Row measure_traffic(const Case& what, const Arguments& arguments, Broker* broker, Load load) {
  SharedState* shared = load.shared;
  Child worker, producer;
  if (what.worker) worker = start_worker(what, load);
  if (what.producer) producer = Child::run([&] { run_producer(load); });
  wait_until_ready(shared, (what.worker ? 1U : 0U) + (what.producer ? 1U : 0U), broker);
  sleep_ms(static_cast<std::int64_t>(arguments.warm_up * 1000));
  const auto jobs = [&] { return what.worker ? shared->done.load() : shared->confirmed.load(); };
  Row row;
  {
    Client client(broker->endpoint());
    const std::uint64_t commits_before = Broker::commits(&client);
    Stopwatch watch(shared, broker->pid(), producer.pid(), worker.pid());
    watch.begin(jobs(), commits_before);
    watch.let_pass(arguments.seconds, jobs, what.producer ? UINT64_MAX : what.backlog);
    broker->check_alive();
    watch.read(jobs(), 0, &row);
    row.set_commits(Broker::commits(&client) - commits_before);
  }
  shared->stop = true;
  producer.end(SIGKILL);  // what it has open does not matter any more
  worker.wait(20'000);
  row.failed = shared->failed;
  row.refused = shared->refused;
  return row;
}

Row measure(Case what, const Arguments& arguments) {
  if (arguments.backlog_given) what.backlog = arguments.backlog;
  if (arguments.body_bytes > 0) what.load.body_bytes = arguments.body_bytes;
  if (arguments.window > 0) what.load.window = arguments.window;
  if (arguments.credit > 0) what.load.credit = arguments.credit;
  if (arguments.in_flight > 0) what.load.in_flight = arguments.in_flight;
  if (arguments.rate > 0) what.load.rate = arguments.rate;
  if (arguments.peers > 0 && what.load.producers > 1)
    what.load.producers = what.load.workers = arguments.peers;
  if (arguments.held > 0 && what.load.held > 0) {
    what.load.held = arguments.held;
    what.load.workers = 1;
  }
  SharedState* shared = SharedState::make();
  Broker broker(arguments);
  preload(what, broker, shared);
  Load load = what.load;
  load.endpoint = broker.endpoint();
  load.shared = shared;
  if (!what.worker) load.in_flight = 0;
  Row row =
      what.restart ? measure_restart(what, &broker, load) : measure_traffic(what, arguments, &broker, load);
  row.name = what.name;
  row.program = "jobq";
  row.backlog = what.backlog;
  row.body_bytes = load.body_bytes;
  return row;
}

}  // namespace
}  // namespace jobq::bench

int main(int argc, char** argv) {
  using namespace jobq::bench;
  Arguments arguments;
  CLI::App app{"bench_broker: the broker end to end, with the real library on both sides"};
  app.add_option("--broker", arguments.broker, "the program jobq-broker");
  app.add_option("--case", arguments.name, "what to measure: see --list");
  app.add_option("--transport", arguments.transport)->check(CLI::IsMember({"tcp", "ipc"}));
  app.add_option("--dir", arguments.directory, "where the store lies meanwhile");
  app.add_option("--seconds", arguments.seconds);
  app.add_option("--warm-up", arguments.warm_up);
  app.add_option_function<std::uint64_t>(
      "--backlog",
      [&](const std::uint64_t& jobs) { arguments.backlog = jobs, arguments.backlog_given = true; },
      "jobs that wait before anything is measured");
  app.add_option("--body", arguments.body_bytes, "bytes of a body")->check(CLI::Range(8, 64 << 20));
  app.add_option("--window", arguments.window, "jobs without a confirmation");
  app.add_option("--credit", arguments.credit, "jobs in the hands of a worker");
  app.add_option("--in-flight", arguments.in_flight,
                 "jobs that no worker is through with, beside the backlog");
  app.add_option("--rate", arguments.rate, "jobs per second");
  app.add_option("--peers", arguments.peers, "producers and workers of the case peers");
  app.add_option("--held", arguments.held, "jobs in flight of the cases with random acks");
  app.add_flag("--json", arguments.json);
  app.add_flag("--list", arguments.list, "the cases");
  CLI11_PARSE(app, argc, argv);
  const std::vector<Case> cases = all_cases();
  if (arguments.list) {
    for (const Case& one : cases) fmt::print("{:<12} {}\n", one.name, one.meaning);
    return 0;
  }
  const auto found = std::ranges::find(cases, arguments.name, &Case::name);
  if (found == cases.end()) {
    fmt::print(stderr, "bench_broker: no case is called '{}'; see --list\n", arguments.name);
    return 64;
  }
  const Row row = measure(*found, arguments);
  fmt::print("{}\n", arguments.json ? to_json(row) : to_line(row));
  return 0;
}
