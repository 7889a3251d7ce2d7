#include "bench/measurement.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "libjobq/base/check.hpp"

namespace jobq::bench {

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void sleep_ms(std::int64_t milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds{milliseconds});
}

SharedState* SharedState::make() {
  void* memory =
      mmap(nullptr, sizeof(SharedState), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  JOBQ_CHECK(memory != MAP_FAILED);
  return new (memory) SharedState;
}

// ---- Child ------------------------------------------------------------------------------------

Child Child::run(const std::function<void()>& body) {
  Child child;
  const pid_t parent = getpid();
  child.pid_ = fork();
  JOBQ_CHECK(child.pid_ >= 0);
  if (child.pid_ > 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  child.pid_ = -1;
  body();
  _exit(0);
}

Child Child::exec(const std::vector<std::string>& command, const std::string& log_file) {
  return run([&] {
    const int fd = open(log_file.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    std::vector<char*> arguments;
    std::vector<std::string> words = command;
    arguments.reserve(words.size() + 1);
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    execv(arguments.front(), arguments.data());
    _exit(127);
  });
}

Child::~Child() {
  if (pid_ > 0) end(SIGKILL);
}
Child::Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
Child& Child::operator=(Child&& other) noexcept {
  std::swap(pid_, other.pid_);
  return *this;
}

bool Child::runs() {
  if (pid_ <= 0) return false;
  if (waitpid(pid_, nullptr, WNOHANG) == 0) return true;
  pid_ = -1;
  return false;
}

void Child::end(int signal, std::int64_t patience_ms) {
  if (pid_ <= 0) return;
  kill(pid_, signal);
  if (signal != SIGKILL) wait(patience_ms);
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

bool Child::wait(std::int64_t patience_ms) {
  const std::int64_t until = now_ns() + patience_ms * 1'000'000;
  while (pid_ > 0 && now_ns() < until) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    sleep_ms(1);
  }
  return false;
}

ProcessUsage usage_of(pid_t pid) {
  ProcessUsage usage;
  if (pid <= 0) return usage;
  std::error_code ended;
  for (const auto& task : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid), ended)) {
    std::ifstream file(task.path() / "schedstat");
    double ns = 0;
    if (file >> ns) usage.cpu_s += ns / 1e9;
  }
  std::ifstream status(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) usage.rss_anon_mb = std::strtod(line.c_str() + 8, nullptr) / 1024;
  }
  return usage;
}

// ---- Row --------------------------------------------------------------------------------------

void Row::take_latencies(const SharedState& shared) {
  constexpr double kFractions[] = {0.5, 0.99, 0.999};
  for (int i = 0; i < 3; ++i) {
    confirm_us[i] = shared.confirm_latency.percentile_us(kFractions[i]);
    delivery_us[i] = shared.delivery_latency.percentile_us(kFractions[i]);
  }
}

void Row::set_commits(std::uint64_t commits) {
  commits_per_s = static_cast<double>(commits) / seconds;
  jobs_per_commit = commits > 0 ? static_cast<double>(jobs) / static_cast<double>(commits) : 0;
}

std::string to_json(const Row& row) {
  nlohmann::ordered_json json = {{"name", row.name}, {"program", row.program}};
  const auto add = [&](const char* name, double value) {
    if (value != 0) json[name] = value;
  };
  add("seconds", row.seconds);
  json["jobs"] = row.jobs;
  add("jobs_per_s", row.jobs_per_s);
  add("broker_cpu_us", row.broker_cpu_us);
  add("producer_cpu_us", row.producer_cpu_us);
  add("worker_cpu_us", row.worker_cpu_us);
  add("commits_per_s", row.commits_per_s);
  add("jobs_per_commit", row.jobs_per_commit);
  add("broker_cpu_percent", row.broker_cpu_percent);
  add("rss_anon_mb", row.rss_anon_mb);
  add("backlog", static_cast<double>(row.backlog));
  json["body_bytes"] = row.body_bytes;
  add("mb_per_s", row.mb_per_s());
  add("first_delivery_ms", row.first_delivery_ms);
  add("stats_ms", row.stats_ms);
  add("failed", static_cast<double>(row.failed));
  add("refused", static_cast<double>(row.refused));
  const char* names[] = {"p50", "p99", "p999"};
  for (int i = 0; i < 3; ++i) {
    add(fmt::format("confirm_{}_us", names[i]).c_str(), row.confirm_us[i]);
    add(fmt::format("delivery_{}_us", names[i]).c_str(), row.delivery_us[i]);
  }
  for (const auto& [name, value] : row.more) json[name] = value;
  return json.dump();
}

std::string to_line(const Row& row) {
  std::string line = fmt::format("{:<12} {:<24} {:>9.0f} jobs/s", row.program, row.name, row.jobs_per_s);
  if (row.jobs > 0) {
    line += fmt::format("  CPU us/job: broker {:.2f} producer {:.2f} worker {:.2f}", row.broker_cpu_us,
                        row.producer_cpu_us, row.worker_cpu_us);
  }
  if (row.commits_per_s > 0)
    line += fmt::format("  {:.0f} commits/s of {:.0f} jobs", row.commits_per_s, row.jobs_per_commit);
  if (row.rss_anon_mb > 0) line += fmt::format("  RssAnon {:.0f} MB", row.rss_anon_mb);
  if (row.backlog > 0) line += fmt::format("  backlog {}", row.backlog);
  if (row.body_bytes != 256) line += fmt::format("  {} B: {:.0f} MB/s", row.body_bytes, row.mb_per_s());
  if (row.first_delivery_ms > 0)
    line += fmt::format("  first delivery after {:.0f} ms", row.first_delivery_ms);
  if (row.stats_ms > 0) line += fmt::format("  stats answered in {:.1f} ms", row.stats_ms);
  const auto latencies = [&](const char* what, const double(&us)[3]) {
    if (us[0] > 0)
      line += fmt::format("  {} p50/p99/p999 {:.0f}/{:.0f}/{:.0f} us", what, us[0], us[1], us[2]);
  };
  latencies("confirm", row.confirm_us);
  latencies("delivery", row.delivery_us);
  for (const auto& [name, value] : row.more) line += fmt::format("  {} {:.2f}", name, value);
  if (row.failed > 0) line += fmt::format("  {} failed", row.failed);
  if (row.refused > 0) line += fmt::format("  {} refused", row.refused);
  return line;
}

int free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  JOBQ_CHECK(fd >= 0 && bind(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
             getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  close(fd);
  return ntohs(address.sin_port);
}

// ---- ScratchDirectory, Stopwatch --------------------------------------------------------------

ScratchDirectory::ScratchDirectory(const std::string& parent) : path_(parent + "/jobq-bench-XXXXXX") {
  JOBQ_CHECK(mkdtemp(path_.data()) != nullptr, "cannot make a directory in {}", parent);
}
ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Stopwatch::Stopwatch(SharedState* shared, pid_t broker, pid_t producer, pid_t worker)
    : shared_(shared), broker_(broker), producer_(producer), worker_(worker) {}

void Stopwatch::begin(std::uint64_t jobs_now, std::uint64_t commits_now) {
  jobs_ = jobs_now;
  commits_ = commits_now;
  broker_usage_ = usage_of(broker_);
  producer_usage_ = usage_of(producer_);
  worker_usage_ = usage_of(worker_);
  begun_ns_ = now_ns();
  shared_->measuring = true;
}

void Stopwatch::let_pass(double seconds, const std::function<std::uint64_t()>& jobs,
                         std::uint64_t most) const {
  constexpr std::int64_t kMoreNs = 30'000'000'000;
  const std::int64_t end_ns = begun_ns_ + static_cast<std::int64_t>(seconds * 1e9);
  while (jobs() < most && now_ns() < (jobs() == jobs_ ? end_ns + kMoreNs : end_ns)) sleep_ms(5);
}

void Stopwatch::read(std::uint64_t jobs_now, std::uint64_t commits_now, Row* row) const {
  row->seconds = static_cast<double>(now_ns() - begun_ns_) / 1e9;
  row->jobs = jobs_now - jobs_;
  const double jobs = static_cast<double>(std::max<std::uint64_t>(row->jobs, 1));
  row->jobs_per_s = static_cast<double>(row->jobs) / row->seconds;
  const ProcessUsage broker = usage_of(broker_);
  row->broker_cpu_us = (broker.cpu_s - broker_usage_.cpu_s) * 1e6 / jobs;
  row->broker_cpu_percent = 100 * (broker.cpu_s - broker_usage_.cpu_s) / row->seconds;
  row->rss_anon_mb = broker.rss_anon_mb;
  if (producer_ > 0) row->producer_cpu_us = (usage_of(producer_).cpu_s - producer_usage_.cpu_s) * 1e6 / jobs;
  if (worker_ > 0) row->worker_cpu_us = (usage_of(worker_).cpu_s - worker_usage_.cpu_s) * 1e6 / jobs;
  row->set_commits(commits_now >= commits_ ? commits_now - commits_ : 0);
  row->take_latencies(*shared_);
}

}  // namespace jobq::bench
