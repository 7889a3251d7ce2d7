#include <csignal>
#include <memory>
#include <thread>

#include "bench/bench_cases.hpp"
#include "jobq/client.hpp"
#include "libjobq/base/check.hpp"

namespace jobq::bench {

using namespace std::chrono_literals;

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
Row measure_restart(const Case& what, Broker* broker, const Load& load) {
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
  LatencyHistogram answers;
  for (int i = 0; i < 20; ++i) {
    const std::int64_t begun = now_ns();
    Broker::commits(&client);
    answers.add(now_ns() - begun);
  }
  row.stats_ms = answers.percentile_us(0.5) / 1e3;
  return row;
}

Row measure_traffic(const Case& what, const Timing& timing, Broker* broker, const Load& load) {
  SharedState* shared = load.shared;
  Child worker, producer, stopped;
  if (what.stopped_worker) {
    stopped = start_worker(what, load);
    wait_until_ready(shared, 1, broker);
    shared->ready = 0;
  }
  if (what.worker) worker = start_worker(what, load);
  if (what.producer) producer = Child::run([&] { run_producer(load); });
  wait_until_ready(shared, (what.worker ? 1U : 0U) + (what.producer ? 1U : 0U), broker);
  sleep_ms(static_cast<std::int64_t>(timing.warm_up * 500));
  if (what.stopped_worker) kill(stopped.pid(), SIGSTOP);  // with what it holds by now
  sleep_ms(static_cast<std::int64_t>(timing.warm_up * 500));
  const auto jobs = [&] { return what.worker ? shared->done.load() : shared->confirmed.load(); };
  Row row;
  {
    Client client(broker->endpoint());
    const std::uint64_t commits_before = Broker::commits(&client);
    Stopwatch watch(shared, broker->pid(), producer.pid(), worker.pid());
    watch.begin(jobs(), commits_before);
    watch.let_pass(timing.seconds, jobs, what.producer ? UINT64_MAX : what.backlog);
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

}  // namespace jobq::bench
