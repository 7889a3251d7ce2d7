// The measurements that are about time and about the file: a long run in slices, a backlog that comes, goes and comes
// again, and a broker with nothing to do.
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <span>

#include "bench/bench_cases.hpp"
#include "libjobq/base/check.hpp"

namespace jobq::bench {
namespace {

struct Slice {
  double jobs_per_s = 0, broker_cpu_us = 0, disk_mb = 0, rss_anon_mb = 0;
  double bare_jobs_per_s = 0;  // measured after it; 0: not
};

// The bare loop's rate now, packed as the library packs.
double bare_rate(const Timing& timing) {
  const std::string command = fmt::format(
      "'{}' --mode cycle --jobs-per-message 100 --window 10000 --credit 10000 --seconds 2 --warm-up 0.5 "
      "--json --dir "
      "'{}'",
      timing.bare, timing.directory);
  FILE* output = popen(command.c_str(), "r");
  JOBQ_CHECK(output != nullptr, "cannot run {}", timing.bare);
  std::string text(64 << 10, '\0');
  text.resize(fread(text.data(), 1, text.size(), output));
  JOBQ_CHECK(pclose(output) == 0, "{} failed", timing.bare);
  return nlohmann::json::parse(text).at("jobs_per_s").get<double>();
}

double mean(std::span<const Slice> slices, double Slice::*field) {
  double sum = 0;
  for (const Slice& slice : slices) sum += slice.*field;
  return sum / static_cast<double>(slices.size());
}

Row row_of(const std::vector<Slice>& slices) {
  const std::size_t part = std::max<std::size_t>(1, slices.size() / 6);  // ten minutes of an hour
  const std::span all(slices);
  const auto first = all.first(part), last = all.last(part);
  Row row;
  row.jobs_per_s = mean(last, &Slice::jobs_per_s);
  row.broker_cpu_us = mean(last, &Slice::broker_cpu_us);
  row.rss_anon_mb = mean(last, &Slice::rss_anon_mb);
  row.more = {{"broker_cpu_us_first", mean(first, &Slice::broker_cpu_us)},
              {"cpu_last_to_first", mean(last, &Slice::broker_cpu_us) / mean(first, &Slice::broker_cpu_us)},
              {"jobs_per_s_first", mean(first, &Slice::jobs_per_s)},
              {"disk_mb_first", first.front().disk_mb},
              {"disk_mb_last", last.back().disk_mb}};
  if (last.back().bare_jobs_per_s > 0) {
    const auto to_bare = [](std::span<const Slice> part_of_all) {
      return mean(part_of_all, &Slice::jobs_per_s) / mean(part_of_all, &Slice::bare_jobs_per_s);
    };
    row.more.emplace_back("ratio_to_bare_first", to_bare(first));
    row.more.emplace_back("ratio_to_bare_last", to_bare(last));
  }
  return row;
}

}  // namespace

Row measure_churn(const Case& what, const Timing& timing, Broker* broker, const Load& load) {
  SharedState* shared = load.shared;
  Child worker = start_worker(what, load);
  Child producer = Child::run([&] { run_producer(load); });
  wait_until_ready(shared, 2, broker);
  sleep_ms(static_cast<std::int64_t>(timing.warm_up * 1000));
  const double total_s = timing.minutes * 60;
  const auto count = static_cast<std::size_t>(std::max(6.0, timing.minutes));
  const auto jobs = [&] { return shared->done.load(); };
  std::vector<Slice> slices;
  Row counted;
  for (std::size_t i = 0; i < count; ++i) {
    Stopwatch watch(shared, broker->pid(), producer.pid(), worker.pid());
    watch.begin(jobs(), 0);
    watch.let_pass(total_s / static_cast<double>(count), jobs);
    broker->check_alive();
    watch.read(jobs(), 0, &counted);
    Slice slice{counted.jobs_per_s, counted.broker_cpu_us, broker->disk_mb(), counted.rss_anon_mb, 0};
    if (!timing.bare.empty()) {
      shared->paused = true;  // heartbeats go on
      sleep_ms(200);
      slice.bare_jobs_per_s = bare_rate(timing);
      shared->paused = false;
      sleep_ms(500);
    }
    slices.push_back(slice);
    fmt::print(stderr,
               "slice {:>3} of {}: {:.0f} jobs/s, broker {:.2f} us a job, store {:.0f} MB, RssAnon {:.0f} "
               "MB, bare loop "
               "{:.0f} jobs/s\n",
               i + 1, count, slice.jobs_per_s, slice.broker_cpu_us, slice.disk_mb, slice.rss_anon_mb,
               slice.bare_jobs_per_s);
  }
  shared->stop = true;
  producer.end(SIGKILL);
  worker.wait(20'000);
  Row row = row_of(slices);
  row.seconds = total_s;
  row.jobs = jobs();
  row.refused = shared->refused;
  return row;
}

Row measure_refill(const Case& what, Broker* broker, const Load& load) {
  SharedState* shared = load.shared;
  Row row;
  preload(what, *broker, shared);
  row.more.emplace_back("disk_mb_full", broker->disk_mb());
  {
    Child worker = start_worker(what, load);
    const std::int64_t until = now_ns() + 600'000'000'000;
    while (shared->done < what.backlog) {
      broker->check_alive();
      JOBQ_CHECK(now_ns() < until, "the backlog was not drained");
      sleep_ms(5);
    }
    shared->stop = true;
    worker.wait(20'000);
    shared->stop = false;
  }
  row.jobs = shared->done;
  row.more.emplace_back("disk_mb_drained", broker->disk_mb());
  preload(what, *broker, shared);
  row.more.emplace_back("disk_mb_refilled", broker->disk_mb());
  return row;
}

Row measure_idle(const Case& what, const Timing& timing, Broker* broker, const Load& load) {
  SharedState* shared = load.shared;
  Child worker = start_worker(what, load);
  wait_until_ready(shared, 1, broker);
  sleep_ms(static_cast<std::int64_t>(timing.warm_up * 1000));
  Stopwatch watch(shared, broker->pid(), -1, worker.pid());
  watch.begin(0, 0);
  sleep_ms(static_cast<std::int64_t>(timing.seconds * 1000));
  broker->check_alive();
  Row row;
  watch.read(0, 0, &row);
  row.broker_cpu_us = row.worker_cpu_us = 0;                            // there are no jobs to divide it by
  row.more.emplace_back("broker_cpu_percent", row.broker_cpu_percent);  // zero too
  shared->stop = true;
  worker.wait(20'000);
  return row;
}

}  // namespace jobq::bench
