// One peer under the load that bench_broker puts on jobq: the same bodies, window and limit of jobs in flight, a producer
// and a worker process, the server started by run.py beforehand.
//
//   peer_redis --mode cycle|enqueue|deliver|sync|latency --port N --server-pid N [--window N] [--json] ...
#include <fmt/format.h>
#include <poll.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <vector>

#include "bench/measurement.hpp"
#include "bench/peers/peer.hpp"
#include "libjobq/base/check.hpp"

namespace jobq::bench {
namespace {

// Counts confirmations and keeps when each job was sent.
class Ledger final : public Confirmations {
 public:
  Ledger(SharedState* shared, std::size_t window) : shared_(shared), slots_(2 * window + 64) {}
  void sent(std::int64_t now, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      ++last_sent_;
      slots_[last_sent_ % slots_.size()] = now;
    }
  }
  void one(std::uint64_t number) override { confirm(number, now_ns()); }
  void up_to(std::uint64_t number) override {
    const std::int64_t now = now_ns();
    for (; first_open_ <= number; ++first_open_) confirm(first_open_, now);
  }
  [[nodiscard]] std::uint64_t last_sent() const { return last_sent_; }
  [[nodiscard]] std::uint64_t open() const { return last_sent_ - confirmed_.load(std::memory_order_acquire); }

 private:
  void confirm(std::uint64_t number, std::int64_t now) {
    std::int64_t& sent = slots_[number % slots_.size()];
    if (sent == 0) return;  // confirmed out of order before
    if (shared_->measuring.load(std::memory_order_relaxed)) shared_->confirm_latency.add(now - sent);
    sent = 0;
    shared_->confirmed.fetch_add(1, std::memory_order_relaxed);
    confirmed_.fetch_add(1, std::memory_order_release);
  }

  SharedState* shared_;
  std::vector<std::int64_t> slots_;
  std::uint64_t last_sent_ = 0, first_open_ = 1;
  std::atomic<std::uint64_t> confirmed_{0};
};

struct Task {
  PeerArguments arguments;
  SharedState* shared = nullptr;
  std::uint64_t count = 0;  // enqueue so many, then end; 0: until stop
  bool paced = false, consumed = false;
};

// How many jobs may be sent now, at once.
std::size_t room(const Task& task, const Ledger& ledger, std::size_t wanted, std::int64_t begun) {
  const PeerArguments& arguments = task.arguments;
  std::uint64_t most = wanted;
  if (task.count > 0) most = std::min(most, task.count - ledger.last_sent());
  if (task.paced) {
    const auto due = static_cast<std::uint64_t>(static_cast<double>(now_ns() - begun) / 1e9 * arguments.rate);
    most = std::min(most, due - std::min(due, ledger.last_sent()));
  }
  if (ledger.open() + most > arguments.window) return 0;
  if (task.consumed &&
      ledger.last_sent() - task.shared->done.load(std::memory_order_relaxed) >= arguments.in_flight)
    return 0;
  return most;
}

void produce(const Task& task) {
  Ledger ledger(task.shared, task.arguments.window);
  const auto producer = connect_producer(task.arguments, &ledger);
  std::string body(task.arguments.body_bytes, 'x');
  const std::size_t wanted = std::min(producer->jobs_per_send(), task.arguments.window);
  ++task.shared->ready;
  const std::int64_t begun = now_ns();
  while (!task.shared->stop && (task.count == 0 || ledger.last_sent() < task.count || ledger.open() > 0)) {
    while (producer->can_send()) {
      const std::size_t count = room(task, ledger, wanted, begun);
      if (count == 0) break;
      const std::int64_t now = now_ns();
      std::memcpy(body.data(), &now, sizeof now);
      ledger.sent(now, count);
      producer->send(body, count);
    }
    producer->receive(task.paced || task.consumed ? 1 : 100);
  }
}

void work(const Task& task) {
  SharedState* shared = task.shared;
  const auto worker = connect_worker(task.arguments);
  ++shared->ready;
  const auto handle = [shared, timed = task.paced](std::string_view body) {
    if (!timed || !shared->measuring.load(std::memory_order_relaxed)) return;
    std::int64_t sent = 0;
    std::memcpy(&sent, body.data(), sizeof sent);
    shared->delivery_latency.add(now_ns() - sent);
  };
  while (!shared->stop) {
    const std::size_t count = worker->take(100, handle);
    if (count == 0) continue;
    worker->ack();
    shared->done.fetch_add(count, std::memory_order_relaxed);
  }
}

// The server and all its descendants, as PostgreSQL has a process for each connection.
std::vector<pid_t> tree_of(pid_t root) {
  std::vector<pid_t> tree{root};
  for (std::size_t at = 0; at < tree.size(); ++at) {
    std::ifstream children(fmt::format("/proc/{0}/task/{0}/children", tree[at]));
    for (pid_t child = 0; children >> child;) tree.push_back(child);
  }
  return tree;
}

ProcessUsage usage_of_server(pid_t root) {
  ProcessUsage total;
  if (root <= 0) return total;
  for (const pid_t pid : tree_of(root)) {
    const ProcessUsage usage = usage_of(pid);
    total.cpu_s += usage.cpu_s;
    total.rss_anon_mb += usage.rss_anon_mb;
  }
  return total;
}

void preload(const Task& task) {
  if (task.arguments.backlog == 0) return;
  Task filling = task;
  filling.count = task.arguments.backlog;
  filling.paced = filling.consumed = false;
  Child filler = Child::run([&] { produce(filling); });
  JOBQ_CHECK(filler.wait(600'000), "{}: the backlog was not enqueued", task.arguments.name);
  task.shared->confirmed = 0;
  task.shared->ready = 0;
}

Row measure(const PeerArguments& arguments) {
  const std::string& mode = arguments.mode;
  SharedState* shared = SharedState::make();
  Task task{.arguments = arguments, .shared = shared};
  task.paced = mode == "latency";
  task.consumed = mode == "cycle" || mode == "latency";
  const bool produced = mode != "deliver", worked = task.consumed || mode == "deliver";
  // In a process of its own: the clients' libraries make threads, and this one forks.
  JOBQ_CHECK(Child::run([&] { prepare_peer(arguments); }).wait(60'000), "{}: the queue was not made",
             arguments.name);
  preload(task);
  if (mode == "sync") task.arguments.window = 1;
  Child worker, producer;
  if (worked) worker = Child::run([&] { work(task); });
  if (produced) producer = Child::run([&] { produce(task); });
  const std::int64_t until = now_ns() + 30'000'000'000;
  while (shared->ready < (worked ? 1U : 0U) + (produced ? 1U : 0U)) {
    JOBQ_CHECK(now_ns() < until, "{}: producer or worker did not begin", arguments.name);
    sleep_ms(1);
  }
  sleep_ms(static_cast<std::int64_t>(arguments.warm_up * 1000));
  const auto jobs = [&] { return worked ? shared->done.load() : shared->confirmed.load(); };
  Stopwatch watch(shared, -1, producer.pid(), worker.pid());
  const ProcessUsage before = usage_of_server(arguments.server_pid);
  watch.begin(jobs(), 0);
  watch.let_pass(arguments.seconds, jobs, produced ? UINT64_MAX : arguments.backlog);
  JOBQ_CHECK((!produced || producer.runs()) && (!worked || worker.runs()), "{}: a client has ended",
             arguments.name);
  Row row;
  watch.read(jobs(), 0, &row);
  const ProcessUsage after = usage_of_server(arguments.server_pid);
  row.broker_cpu_us =
      (after.cpu_s - before.cpu_s) * 1e6 / static_cast<double>(std::max<std::uint64_t>(row.jobs, 1));
  row.broker_cpu_percent = 100 * (after.cpu_s - before.cpu_s) / row.seconds;
  row.rss_anon_mb = after.rss_anon_mb;
  row.name = mode;
  row.program = arguments.name;
  row.backlog = arguments.backlog;
  row.body_bytes = arguments.body_bytes;
  shared->stop = true;
  producer.end(SIGKILL);
  worker.end(SIGKILL);
  return row;
}

}  // namespace

bool wait_for_socket(int fd, bool write_too, int timeout_ms) {
  pollfd item{fd, static_cast<short>(write_too ? POLLIN | POLLOUT : POLLIN), 0};
  return poll(&item, 1, timeout_ms) > 0;
}

}  // namespace jobq::bench

int main(int argc, char** argv) {
  using namespace jobq::bench;
  PeerArguments arguments;
  CLI::App app{"a peer of jobq under the same load; bench/peers.sh starts its server and this"};
  app.add_option("--mode", arguments.mode)
      ->check(CLI::IsMember({"cycle", "enqueue", "deliver", "sync", "latency"}));
  app.add_option("--name", arguments.name);
  app.add_option("--host", arguments.host);
  app.add_option("--port", arguments.port)->required();
  app.add_option("--variant", arguments.variant);
  app.add_option("--server-pid", arguments.server_pid);
  app.add_option("--window", arguments.window);
  app.add_option("--in-flight", arguments.in_flight);
  app.add_option("--backlog", arguments.backlog);
  app.add_option("--body", arguments.body_bytes)->check(CLI::Range(8, 64 << 20));
  app.add_option("--rate", arguments.rate);
  app.add_option("--seconds", arguments.seconds);
  app.add_option("--warm-up", arguments.warm_up);
  app.add_flag("--json", arguments.json);
  CLI11_PARSE(app, argc, argv);
  const Row row = measure(arguments);
  std::puts((arguments.json ? to_json(row) : to_line(row)).c_str());
  return 0;
}
