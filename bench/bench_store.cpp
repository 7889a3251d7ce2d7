// How fast the store is, alone, without engine and network: jobs per second through their whole life (enqueued, leased,
// read for delivery, acked: three durable steps), with what real life adds: acks in any order, many queues, expiry,
// unique keys, large bodies in an old file, backlogs, restarts.
//
//   bench_store [--quick] [--large] [--only TEXT] [--dir DIRECTORY]
//
// Prints one line per case. CPU is that of the process, bodies are random bytes. --large: backlogs of ten million.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "broker/store/lmdb_env.hpp"
#include "broker/store/lmdb_options.hpp"
#include "broker/store/store_files.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/prng.hpp"

namespace jobq {
namespace {

struct Arguments {
  bool quick = false, large = false;
  std::string only;
  std::string directory = std::filesystem::temp_directory_path().string();
};

struct Shape {
  std::size_t batch = 1000;
  std::size_t in_flight = 0;  // 0: acked in order, one batch later
  std::uint32_t queues = 1;
  std::uint32_t priorities = 1;
  std::size_t body_bytes = 256;
  bool expiry = false;
  bool unique = false;
  std::size_t backlog = 0;  // jobs that stay ready in front of the traffic's own queue
};

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

// A store in a directory of its own, driven as an engine would: counters and lane rows of all that was touched.
class Driver {
 public:
  explicit Driver(const std::string& parent, std::uint32_t blocks_max = LmdbOptions{}.cached_blocks_max)
      : path_(parent + "/jobq-bench-XXXXXX"), prng_(7) {
    JOBQ_CHECK(mkdtemp(path_.data()) != nullptr, "cannot make {}", path_);
    options_.path = path_;
    options_.cached_blocks_max = blocks_max;
    open();
    mark_.now = {.engine = TimeMs{1'000'000}, .wall = TimeMs{1'000'000}};
  }
  ~Driver() {
    store_ = nullptr;
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  Store& store() { return *store_; }
  double open() {
    const double begun = seconds_now();
    auto opened = open_lmdb_store(options_);
    JOBQ_CHECK(opened.ok(), "{}", opened.status().text());
    store_ = std::move(*opened);
    JOBQ_CHECK(store_->recover().ok());
    return seconds_now() - begun;
  }
  void close() { store_ = nullptr; }

  void prepare(const Shape& shape) {
    shape_ = shape;
    while (mark_.next_queue <= shape.queues) {
      changes_.emplace_back(change::PutQueue{
          .queue = mark_.next_queue, .name = fmt::format("q{}", mark_.next_queue), .settings = {}});
      counters_.resize(mark_.next_queue + 1);
      ++mark_.next_queue;
    }
    body_.resize(shape.body_bytes);
    for (char& c : body_) c = static_cast<char>(prng_.next());
  }

  JobMeta enqueue(const Lane& lane, TimeMs due = {}) {
    change::Enqueue enqueue;
    enqueue.meta.id = mark_.next_job;
    ++mark_.next_job.value;
    enqueue.meta.lane = lane;
    enqueue.meta.bytes = static_cast<std::uint32_t>(body_.size());
    enqueue.meta.enqueued_at = mark_.now.engine;
    enqueue.meta.due = due;
    if (shape_.expiry) enqueue.meta.expires_at = mark_.now.engine + DurationMs{3'600'000};
    enqueue.body = body_;
    if (shape_.unique) {
      enqueue.meta.has_unique_key = true;
      keys_.push_back(fmt::format("order-{:016x}", enqueue.meta.id.value * 0x9E3779B97F4A7C15ULL));
      enqueue.unique_key = keys_.back();
    }
    const JobMeta meta = enqueue.meta;
    changes_.emplace_back(enqueue);
    ++counters_[lane.queue].enqueued_total;
    touched_.push_back(lane);
    return meta;
  }
  void lease(JobId job) {
    changes_.emplace_back(
        change::Lease{.job = job, .lease_no = 1, .session = SessionNo{1}, .granted_at = mark_.now.engine});
  }
  void finish(const JobMeta& meta) {
    changes_.emplace_back(
        change::Finish{.meta = meta, .from = JobState::leased, .exit = Exit::acked, .unique_hold_until = {}});
    touched_.push_back(meta.lane);
  }
  void commit() {
    std::sort(touched_.begin(), touched_.end());
    touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
    QueueNo last = 0;
    for (const Lane& lane : touched_) {
      changes_.emplace_back(change::PutLane{.lane = lane, .ready = 1});
      if (lane.queue != last)
        changes_.emplace_back(change::PutCounters{.queue = lane.queue, .counters = counters_[lane.queue]});
      last = lane.queue;
    }
    touched_.clear();
    mark_.next_session = SessionNo{2};
    mark_.now.engine.ms += 3;
    const auto done = store_->submit(changes_, mark_);
    JOBQ_CHECK(done.ok(), "{}", done.status().text());
    changes_.clear();
    keys_.clear();
  }
  Lane lane() {
    return {.queue = static_cast<QueueNo>(1 + prng_.below(shape_.queues)),
            .type = 0,
            .priority = static_cast<std::uint8_t>(prng_.below(shape_.priorities))};
  }

  // Jobs through their whole life.
  void cycle(std::size_t jobs) {
    std::vector<JobId> ids;
    for (std::size_t done = 0; done < jobs; done += shape_.batch) {
      ids.clear();
      std::size_t acks = held_.size() > shape_.in_flight ? held_.size() - shape_.in_flight : 0;
      if (shape_.in_flight == 0) {
        for (const JobMeta& meta : held_) finish(meta);
        held_.clear();
      }
      for (; acks > 0 && !held_.empty(); --acks) {
        const std::size_t at = prng_.below(held_.size());
        finish(held_[at]);
        held_[at] = held_.back();
        held_.pop_back();
      }
      for (const JobMeta& meta : fresh_) {
        lease(meta.id);
        ids.push_back(meta.id);
        held_.push_back(meta);
      }
      fresh_.clear();
      for (std::size_t i = 0; i < shape_.batch; ++i) fresh_.push_back(enqueue(lane()));
      commit();
      std::uint64_t sum = 0;
      const Status read = store_->visit_jobs(ids, [&](std::size_t, const StoredJob* job) {
        JOBQ_CHECK(job != nullptr);
        sum += job->body.size();
      });
      JOBQ_CHECK(read.ok() && sum == ids.size() * body_.size(), "{}", read.text());
    }
  }
  void fill(std::size_t jobs, std::int64_t due_in_ms) {
    constexpr std::size_t kFillBatch = 5'000;
    for (std::size_t done = 0; done < jobs;) {
      for (std::size_t i = 0; i < kFillBatch && done < jobs; ++i, ++done) {
        TimeMs due{};
        if (due_in_ms > 0)
          due = mark_.now.engine + DurationMs{due_in_ms + static_cast<std::int64_t>(prng_.below(3'600'000))};
        enqueue(lane(), due);
      }
      commit();
    }
  }
  // As many pages as possible are read from the disk again.
  void drop_page_cache() const {
    const lmdb::Fd fd(::open(lmdb::data_file(path_).c_str(), O_RDONLY | O_CLOEXEC));
    JOBQ_CHECK(fd.open() && fdatasync(fd.get()) == 0 &&
               posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED) == 0);
  }
  // REQUIRES: closed.
  std::uint64_t rows(lmdb::Table table) const {
    lmdb::Env env(lmdb::data_file(path_), std::uint64_t{1} << 40, lmdb::Env::Mode::read_only);
    const lmdb::Txn txn(&env, lmdb::Txn::Kind::read);
    return txn.stat(table).entries;
  }
  [[nodiscard]] const std::vector<JobMeta>& held() const { return held_; }
  [[nodiscard]] const Mark& mark() const { return mark_; }

 private:
  std::string path_;
  LmdbOptions options_;
  std::unique_ptr<Store> store_;
  Prng prng_;
  Shape shape_;
  Mark mark_;
  std::string body_;
  std::deque<std::string> keys_;
  std::vector<Change> changes_;
  std::vector<QueueCounters> counters_;
  std::vector<Lane> touched_;
  std::vector<JobMeta> fresh_, held_;
};

bool wanted(const Arguments& arguments, const std::string& name) {
  return arguments.only.empty() || name.find(arguments.only) != std::string::npos;
}

void say(const std::string& name, const std::string& result) {
  std::printf("%-46s %s\n", name.c_str(), result.c_str());
  std::fflush(stdout);
}

std::string megabytes(std::uint64_t bytes) {
  return fmt::format("{:.0f} MB", static_cast<double>(bytes) / 1e6);
}

void measure(const Arguments& arguments, const std::string& name, const Shape& shape, std::size_t jobs,
             std::uint32_t blocks_max = LmdbOptions{}.cached_blocks_max) {
  if (!wanted(arguments, name)) return;
  if (arguments.quick) jobs /= 10;
  Driver driver(arguments.directory, blocks_max);
  driver.prepare(shape);
  driver.cycle(shape.in_flight + 20 * shape.batch);  // until the pool is full
  const double begun = seconds_now();
  const double cpu = cpu_seconds();
  driver.cycle(jobs);
  const double took = seconds_now() - begun;
  const double used = cpu_seconds() - cpu;
  const StoreHealth health = driver.store().health();
  say(name, fmt::format("{:9.0f} jobs/s  {:6.2f} us CPU/job  file {} (used {})",
                        static_cast<double>(jobs) / took, used * 1e6 / static_cast<double>(jobs),
                        megabytes(health.used_bytes + health.free_bytes), megabytes(health.used_bytes)));
}

// Large bodies in a file whose free pages are scattered by a long random life.
void measure_bodies(const Arguments& arguments) {
  struct Case {
    std::size_t bytes, batch, jobs;
  };
  for (const Case& one : {Case{64, 1000, 400'000}, Case{1'000, 1000, 300'000}, Case{4'000, 1000, 100'000},
                          Case{12'000, 200, 40'000}, Case{16'000, 200, 40'000}, Case{16'500, 200, 40'000},
                          Case{65'536, 100, 10'000}, Case{1'048'576, 10, 600}, Case{67'108'864, 1, 8}}) {
    const std::string name = fmt::format("body {} B, old file", one.bytes);
    if (!wanted(arguments, name)) continue;
    const std::size_t jobs = std::max(arguments.quick ? one.jobs / 10 : one.jobs, 4 * one.batch);
    Driver driver(arguments.directory);
    driver.prepare({.batch = 1000, .in_flight = 50'000, .body_bytes = 700});
    driver.cycle(arguments.quick ? 60'000 : 300'000);
    for (const JobMeta& meta : driver.held()) {
      if (meta.id.value % 8 != 0) driver.finish(meta);
    }
    driver.commit();
    driver.prepare({.batch = one.batch, .body_bytes = one.bytes});
    const std::size_t before = driver.mark().next_job.value;
    const double begun = seconds_now();
    const double cpu = cpu_seconds();
    for (std::size_t done = 0; done < jobs; done += one.batch) {
      std::vector<JobMeta> made;
      for (std::size_t i = 0; i < one.batch; ++i) made.push_back(driver.enqueue(driver.lane()));
      driver.commit();
      std::vector<JobId> ids;
      for (const JobMeta& meta : made) {
        driver.lease(meta.id);
        ids.push_back(meta.id);
      }
      driver.commit();
      const Status read = driver.store().visit_jobs(
          ids, [](std::size_t, const StoredJob* job) { JOBQ_CHECK(job != nullptr); });
      JOBQ_CHECK(read.ok());
      for (const JobMeta& meta : made) driver.finish(meta);
      driver.commit();
    }
    const double took = seconds_now() - begun;
    const auto count = static_cast<double>(driver.mark().next_job.value - before);
    const StoreHealth health = driver.store().health();
    say(name,
        fmt::format("{:9.0f} jobs/s  {:6.2f} us CPU/job  {:.0f} MB/s  file {}", count / took,
                    (cpu_seconds() - cpu) * 1e6 / count, count * static_cast<double>(one.bytes) / took / 1e6,
                    megabytes(health.used_bytes + health.free_bytes)));
  }
}

void measure_backlog(const Arguments& arguments, const std::string& what, std::size_t jobs,
                     std::uint32_t queues, std::int64_t due_in_ms) {
  const std::string name = fmt::format("backlog {} x {}", jobs, what);
  if (!wanted(arguments, name)) return;
  if (arguments.quick) jobs /= 10;
  Driver driver(arguments.directory);
  driver.prepare({.queues = queues});
  const double begun = seconds_now();
  driver.fill(jobs, due_in_ms);
  const double filled = seconds_now() - begun;
  const StoreHealth health = driver.store().health();
  driver.close();
  const double warm = driver.open();
  driver.close();
  driver.drop_page_cache();
  const double cold = driver.open();
  const auto refill = [&](std::size_t times) {
    const double at = seconds_now();
    JobId after{};
    TimerKey after_timer{};
    for (std::size_t i = 0; i < times; ++i) {
      if (due_in_ms > 0) {
        const auto page = driver.store().read_timers(Clock::engine, after_timer, 1000);
        JOBQ_CHECK(page.ok() && !page->timers.empty());
        after_timer = page->timers.back().key;
      } else {
        const auto page = driver.store().read_lane({.queue = 1, .type = 0, .priority = 0}, after, 1000);
        JOBQ_CHECK(page.ok());
        after = page->covered_to;
      }
    }
    return (seconds_now() - at) * 1e3 / static_cast<double>(times);
  };
  const double first = refill(1);
  const double next = refill(10);
  say(name,
      fmt::format(
          "{:9.0f} jobs/s in  file {}  restart {:.0f} ms warm, {:.0f} cold  page of 1,000: {:.1f} ms cold, "
          "{:.2f} on average",
          static_cast<double>(jobs) / filled, megabytes(health.used_bytes), warm * 1e3, cold * 1e3, first,
          next));
}

// A backlog is worked off lane by lane while new jobs pass: how far the index of lanes lags behind.
void measure_cleaning(const Arguments& arguments) {
  const std::string name = "lane index, draining 1,000 lanes";
  if (!wanted(arguments, name)) return;
  const std::size_t jobs = arguments.quick ? 100'000 : 1'000'000;
  Driver driver(arguments.directory);
  driver.prepare({.queues = 1000});
  driver.fill(jobs, 0);
  driver.close();
  const std::uint64_t before = driver.rows(lmdb::Table::lane_index);
  driver.open();
  double worst = 0;
  std::size_t drained = 0;
  const double begun = seconds_now();
  for (QueueNo queue = 1; queue <= 1000; ++queue) {
    JobId after{};
    for (bool end = false; !end;) {
      const double at = seconds_now();
      const auto page = driver.store().read_lane({.queue = queue, .type = 0, .priority = 0}, after, 1000);
      JOBQ_CHECK(page.ok());
      worst = std::max(worst, seconds_now() - at);
      after = page->covered_to;
      end = page->end;
      for (const JobMeta& meta : page->jobs) driver.lease(meta.id);
      driver.commit();
      for (const JobMeta& meta : page->jobs) driver.finish(meta);
      driver.commit();
      drained += page->jobs.size();
    }
  }
  const double took = seconds_now() - begun;
  driver.close();
  say(name,
      fmt::format("{:9.0f} jobs/s  rows {} -> {}  worst page {:.1f} ms", static_cast<double>(drained) / took,
                  before, driver.rows(lmdb::Table::lane_index), worst * 1e3));
}

void run(const Arguments& arguments) {
  const std::size_t n = 2'000'000;
  measure(arguments, "ordered, batches of 100", {.batch = 100}, n / 4);
  measure(arguments, "ordered, batches of 1,000", {}, n);
  measure(arguments, "ordered, batches of 5,000", {.batch = 5000}, n);
  measure(arguments, "random acks, 20,000 in flight", {.in_flight = 20'000}, n / 2);
  measure(arguments, "random acks, 200,000 in flight", {.in_flight = 200'000}, n / 2);
  measure(arguments, "random acks, 200,000, 64 cached blocks", {.in_flight = 200'000}, n / 4, 64);
  measure(arguments, "10 priorities, ordered", {.priorities = 10}, n / 2);
  measure(arguments, "10 priorities, random 20,000", {.in_flight = 20'000, .priorities = 10}, n / 2);
  measure(arguments, "1,000 queues, ordered", {.queues = 1000}, n / 2);
  measure(arguments, "1,000 queues, random 20,000", {.in_flight = 20'000, .queues = 1000}, n / 2);
  measure(arguments, "expiry on every job, random 20,000", {.in_flight = 20'000, .expiry = true}, n / 2);
  measure(arguments, "unique keys, random 20,000", {.in_flight = 20'000, .unique = true}, n / 4);
  measure(arguments, "unique keys, 1M live", {.in_flight = 1'000'000, .unique = true}, n / 4);
  measure_bodies(arguments);
  measure_backlog(arguments, "ready, one lane", 1'000'000, 1, 0);
  measure_backlog(arguments, "ready, 1,000 lanes", 1'000'000, 1000, 0);
  measure_backlog(arguments, "scheduled", 1'000'000, 1, 3'600'000);
  measure_cleaning(arguments);
  if (!arguments.large) return;
  measure_backlog(arguments, "ready, one lane", 10'000'000, 1, 0);
  measure_backlog(arguments, "ready, 1,000 lanes", 10'000'000, 1000, 0);
  measure_backlog(arguments, "scheduled", 10'000'000, 1, 3'600'000);
}

}  // namespace
}  // namespace jobq

int main(int argc, char** argv) {
  jobq::Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--quick") {
      arguments.quick = true;
    } else if (argument == "--large") {
      arguments.large = true;
    } else if (argument == "--only" && i + 1 < argc) {
      arguments.only = argv[++i];
    } else if (argument == "--dir" && i + 1 < argc) {
      arguments.directory = argv[++i];
    } else {
      std::fprintf(stderr, "usage: bench_store [--quick] [--large] [--only TEXT] [--dir DIRECTORY]\n");
      return 2;
    }
  }
  jobq::run(arguments);
  return 0;
}
