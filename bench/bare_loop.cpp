// The limit that the broker is measured against: the same loop with nothing in it. A ROUTER socket, group commit to LMDB
// in the product's layout (docs/storage_format.md: records appended under one sequence, leases and finished bits in
// blocks of 256, finished blocks removed later), replies and deliveries only after the commit. No engine, no sessions,
// priorities, timers, resend identity, validation or statistics; producer and worker are a few lines around a DEALER
// socket.
//
//   bare_loop --mode cycle|enqueue|sync|latency|idle [--jobs-per-message N] [--window N] [--rate N] ...
//
// Prints one row (bench/measurement.hpp). Three processes; the measuring one does nothing meanwhile.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "bench/bare_loop.hpp"

namespace jobq::bench {
namespace {

Row measure_idle(const BareArguments& arguments, const std::string& endpoint, SharedState* shared) {
  Child broker = Child::run([&] { echo_bare(arguments, endpoint, shared); });
  while (shared->ready < 1) sleep_ms(1);
  const Child clients = Child::run([&] { idle_bare(arguments, endpoint, shared); });
  while (shared->ready < 2) sleep_ms(1);
  sleep_ms(static_cast<std::int64_t>(arguments.warm_up * 1000));
  Stopwatch watch(shared, broker.pid(), -1, clients.pid());
  watch.begin(0, 0);
  sleep_ms(static_cast<std::int64_t>(arguments.seconds * 1000));
  JOBQ_CHECK(broker.runs(), "the server of mode idle has ended");
  Row row;
  watch.read(0, 0, &row);
  row.broker_cpu_us = row.worker_cpu_us = 0;                            // there are no jobs to divide it by
  row.more.emplace_back("broker_cpu_percent", row.broker_cpu_percent);  // zero too
  row.name = arguments.mode;
  row.program = "bare_loop";
  return row;
}

Row measure(const BareArguments& arguments) {
  const ScratchDirectory directory(arguments.directory);
  const std::string endpoint = arguments.transport == "ipc" ? "ipc://" + directory.path() + "/socket"
                                                            : fmt::format("tcp://127.0.0.1:{}", free_port());
  SharedState* shared = SharedState::make();
  if (arguments.mode == "idle") return measure_idle(arguments, endpoint, shared);
  Child broker = Child::run([&] { serve_bare(arguments, directory.path(), endpoint, shared); });
  while (shared->ready < 1) sleep_ms(1);
  const bool worked = arguments.mode == "cycle" || arguments.mode == "latency";
  Child worker;
  if (worked) worker = Child::run([&] { work_bare(arguments, endpoint, shared); });
  Child producer = Child::run([&] { produce_bare(arguments, endpoint, shared); });
  sleep_ms(static_cast<std::int64_t>(arguments.warm_up * 1000));
  const auto jobs = [&] { return worked ? shared->done.load() : shared->confirmed.load(); };
  Stopwatch watch(shared, broker.pid(), producer.pid(), worker.pid());
  watch.begin(jobs(), shared->commits);
  watch.let_pass(arguments.seconds, jobs);
  Row row;
  row.name = arguments.name.empty() ? arguments.mode : arguments.name;
  row.program = "bare_loop";
  watch.read(jobs(), shared->commits, &row);
  row.body_bytes = arguments.body_bytes;
  shared->stop = true;
  producer.wait(2000);
  if (worked) worker.wait(2000);
  return row;
}

}  // namespace
}  // namespace jobq::bench

int main(int argc, char** argv) {
  using namespace jobq::bench;
  BareArguments arguments;
  CLI::App app{"bare_loop: the limit, the broker's loop without the broker in it"};
  app.add_option("--mode", arguments.mode)
      ->check(CLI::IsMember({"cycle", "enqueue", "sync", "latency", "idle"}));
  app.add_option("--name", arguments.name, "what the row is called");
  app.add_option("--transport", arguments.transport)->check(CLI::IsMember({"tcp", "ipc"}));
  app.add_option("--dir", arguments.directory, "where the store lies meanwhile");
  app.add_option("--jobs-per-message", arguments.jobs_per_message);
  app.add_option("--jobs-per-delivery", arguments.jobs_per_delivery);
  app.add_option("--window", arguments.window, "jobs without a confirmation");
  app.add_option("--in-flight", arguments.in_flight, "jobs that no worker is through with");
  app.add_option("--credit", arguments.credit);
  app.add_option("--body", arguments.body_bytes)->check(CLI::Range(8, 64 << 20));
  app.add_option("--rate", arguments.rate, "jobs per second of mode latency");
  app.add_option("--peers", arguments.peers, "clients of mode idle");
  app.add_option("--seconds", arguments.seconds);
  app.add_option("--warm-up", arguments.warm_up);
  app.add_option("--io-threads", arguments.io_threads);
  app.add_flag("--json", arguments.json);
  CLI11_PARSE(app, argc, argv);
  const Row row = measure(arguments);
  std::puts((arguments.json ? to_json(row) : to_line(row)).c_str());
  return 0;
}
