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
#include <cstdio>
#include <string>
#include <vector>

#include "bench/bench_cases.hpp"

namespace jobq::bench {
namespace {

struct Arguments {
  std::string broker = "jobq-broker";
  std::string name = "packed";
  std::string transport = "tcp";
  Timing timing;
  std::uint64_t backlog = 0;
  bool backlog_given = false;
  std::size_t body_bytes = 0, window = 0, credit = 0;
  std::uint64_t in_flight = 0;
  double rate = 0;
  std::uint32_t peers = 0;
  std::size_t held = 0;
  bool json = false, list = false;
};

Row measured(const Case& what, const Timing& timing, Broker* broker, const Load& load) {
  switch (what.measure) {
    case Measure::traffic:
      return measure_traffic(what, timing, broker, load);
    case Measure::restart:
      return measure_restart(what, broker, load);
    case Measure::churn:
      return measure_churn(what, timing, broker, load);
    case Measure::refill:
      return measure_refill(what, broker, load);
    case Measure::idle:
      return measure_idle(what, timing, broker, load);
  }
  return {};
}

Row measure(Case what, const Arguments& arguments) {
  if (arguments.backlog_given) what.backlog = arguments.backlog;
  if (arguments.body_bytes > 0) what.load.body_bytes = arguments.body_bytes;
  if (arguments.window > 0) what.load.window = arguments.window;
  if (arguments.credit > 0) what.load.credit = arguments.credit;
  if (arguments.in_flight > 0) what.load.in_flight = arguments.in_flight;
  if (arguments.rate > 0) what.load.rate = arguments.rate;
  if (arguments.peers > 0 && what.load.producers > 1) what.load.producers = arguments.peers;
  if (arguments.peers > 0 && what.load.workers > 1 && what.load.held == 0)
    what.load.workers = arguments.peers;
  if (arguments.held > 0 && what.load.held > 0) {
    what.load.held = arguments.held;
    what.load.workers = workers_for(arguments.held);
  }
  SharedState* shared = SharedState::make();
  Broker broker(arguments.broker, arguments.transport, arguments.timing.directory);
  if (what.measure != Measure::refill) preload(what, broker, shared);
  Load load = what.load;
  load.endpoint = broker.endpoint();
  load.shared = shared;
  if (!what.worker) load.in_flight = 0;
  Row row = measured(what, arguments.timing, &broker, load);
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
  app.add_option("--dir", arguments.timing.directory, "where the store lies meanwhile");
  app.add_option("--seconds", arguments.timing.seconds);
  app.add_option("--minutes", arguments.timing.minutes, "of the case churn");
  app.add_option("--bare", arguments.timing.bare, "the program bare_loop, run between the slices of churn");
  app.add_option("--warm-up", arguments.timing.warm_up);
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
