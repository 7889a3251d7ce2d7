// What the end-to-end benchmarks have in common: processes that count in shared memory, what the kernel says of each of
// them (CPU, memory), a histogram of latencies, and the result as one JSON object.
//
// The measuring process forks broker, producer and worker before it has a thread of its own; they end with it. CPU is
// counted over all threads of a process, in nanoseconds (/proc/PID/task/*/schedstat), so that a machine that is busy with
// something else changes rates more than CPU per job.
//
// Thread-safety: SharedState's members are atomic; everything else belongs to one thread. Units are in the names.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "libjobq/base/latency_histogram.hpp"

namespace jobq::bench {

// Nanoseconds of the monotonic clock, which all processes of a machine share.
std::int64_t now_ns();
void sleep_ms(std::int64_t milliseconds);

// Lies in memory that is shared by all processes of a run.
struct SharedState {
  std::atomic<bool> stop{false};
  std::atomic<bool> measuring{false};   // latencies count
  std::atomic<bool> paused{false};      // producers send nothing
  std::atomic<std::uint32_t> ready{0};  // processes that have begun
  std::atomic<std::uint64_t> enqueued{0};
  std::atomic<std::uint64_t> confirmed{0};
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> done{0};  // jobs that their worker is through with
  std::atomic<std::uint64_t> failed{0};
  std::atomic<std::uint64_t> commits{0};  // the bare loop's; the product says its own in `stats`
  std::atomic<std::int64_t> first_delivery_ns{0};
  LatencyHistogram confirm_latency, delivery_latency;

  static SharedState* make();  // lives as long as the process
};

// A child process that dies with this one.
class Child {
 public:
  Child() = default;
  static Child run(const std::function<void()>& body);
  static Child exec(const std::vector<std::string>& command, const std::string& log_file);
  ~Child();
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool runs();
  // Sends the signal and waits; kills it when it takes longer than this.
  void end(int signal, std::int64_t patience_ms = 10'000);
  // Waits for its own end; false when it takes longer or ends with a failure.
  bool wait(std::int64_t patience_ms);

 private:
  pid_t pid_ = -1;
};

struct ProcessUsage {
  double cpu_s = 0;
  double rss_anon_mb = 0;
};
ProcessUsage usage_of(pid_t pid);

// One row of the table. What does not apply is left at its default and is not printed.
struct Row {
  std::string name;
  std::string program;
  double seconds = 0;
  std::uint64_t jobs = 0;
  double jobs_per_s = 0;
  double broker_cpu_us = 0, producer_cpu_us = 0, worker_cpu_us = 0;  // per job
  double commits_per_s = 0;
  double jobs_per_commit = 0;
  double broker_cpu_percent = 0;  // of one core
  double rss_anon_mb = 0;
  std::uint64_t backlog = 0;
  std::size_t body_bytes = 256;
  double first_delivery_ms = 0, stats_ms = 0;
  std::uint64_t failed = 0, refused = 0;
  double confirm_us[3] = {0, 0, 0}, delivery_us[3] = {0, 0, 0};  // p50, p99, p999
  std::vector<std::pair<std::string, double>> more;  // what only this case has, by the name of its figure
  void take_latencies(const SharedState& shared);
  void set_commits(std::uint64_t commits);
  [[nodiscard]] double mb_per_s() const { return jobs_per_s * static_cast<double>(body_bytes) / 1e6; }
};
std::string to_json(const Row& row);
std::string to_line(const Row& row);

// A port of 127.0.0.1 that is free now.
int free_port();

// A directory of its own under `parent`, removed at the end.
class ScratchDirectory {
 public:
  explicit ScratchDirectory(const std::string& parent);
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// What is counted of a case between two moments.
class Stopwatch {
 public:
  Stopwatch(SharedState* shared, pid_t broker, pid_t producer, pid_t worker);
  // Fills in rate, CPU and memory for what `done` counted since.
  void read(std::uint64_t jobs_now, std::uint64_t commits_now, Row* row) const;
  void begin(std::uint64_t jobs_now, std::uint64_t commits_now);
  // Lets the time pass, or so many jobs be done. On a machine so busy that nothing was done: up to half a minute more.
  void let_pass(double seconds, const std::function<std::uint64_t()>& jobs,
                std::uint64_t most = UINT64_MAX) const;

 private:
  SharedState* shared_;
  pid_t broker_, producer_, worker_;
  std::int64_t begun_ns_ = 0;
  std::uint64_t jobs_ = 0, commits_ = 0;
  ProcessUsage broker_usage_, producer_usage_, worker_usage_;
};

}  // namespace jobq::bench
