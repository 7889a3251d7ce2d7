#include "tests/sim/campaign.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "libjobq/base/check.hpp"

namespace jobq::sim {
namespace {

std::string violated(const faults::Verdict& verdict) {
  std::set<std::string> names;
  for (const faults::Violation& one : verdict.violations) names.insert(one.invariant);
  return fmt::format("{}", fmt::join(names, " "));
}

// What the child has to say, on the pipe. What it prints before it aborts comes the same way.
void run_in_child(const RunOptions& options, int to) {
  dup2(to, STDERR_FILENO);
  const RunResult result = run_once(options);
  const nlohmann::json answer{{"ok", result.verdict.ok()},
                              {"invariants", violated(result.verdict)},
                              {"text", result.verdict.ok() ? "" : tell(result)},
                              {"fingerprint", result.fingerprint},
                              {"events", result.history.size()},
                              {"turns", result.turns},
                              {"took_ms", result.took_ms}};
  const std::string line = "\n{" + answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  for (std::size_t done = 0; done < line.size();) {
    const ssize_t written = ::write(to, line.data() + done, line.size() - done);
    if (written <= 0) _exit(3);
    done += static_cast<std::size_t>(written);
  }
}

class Progress {
 public:
  explicit Progress(const Campaign& campaign) : campaign_(campaign) {}

  [[nodiscard]] bool go_on() const {
    return failed_ < campaign_.failures_max && begun_ < campaign_.seeds &&
           (campaign_.seconds_max == 0 || seconds() < campaign_.seconds_max);
  }
  std::uint64_t next_seed() { return campaign_.first + begun_++; }
  void take(std::uint64_t seed, const ChildRun& run) {
    ++done_;
    events_ += run.events;
    turns_ += run.turns;
    virtual_ms_ += run.took_ms;
    if (campaign_.fingerprints) fmt::print("{} {:016x}\n", seed, run.fingerprint);
    if (!run.ok) {
      ++failed_;
      fmt::print("FAILED: seed {} of {} operations: {}\n{}\n", seed, campaign_.operations, run.invariants,
                 run.text);
    }
    std::fflush(stdout);
    if (!campaign_.quiet && isatty(STDERR_FILENO) == 1)
      fmt::print(stderr, "\r{} of {} runs, {} failed, {} s ", done_, campaign_.seeds, failed_, seconds());
  }
  int finish() const {
    if (!campaign_.quiet && isatty(STDERR_FILENO) == 1) fmt::print(stderr, "\n");
    fmt::print(
        "{} runs (seeds {} to {}) of {} operations: {} failed; {} events, {} turns, {} h of virtual time, {} "
        "s\n",
        done_, campaign_.first, campaign_.first + begun_ - 1, campaign_.operations, failed_, events_, turns_,
        virtual_ms_ / 3'600'000, seconds());
    return failed_ == 0 ? 0 : 1;
  }

 private:
  [[nodiscard]] std::uint64_t seconds() const {
    const auto since = std::chrono::steady_clock::now() - begin_;
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(since).count());
  }
  const Campaign& campaign_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::uint64_t begun_ = 0, done_ = 0, failed_ = 0, events_ = 0, turns_ = 0;
  std::int64_t virtual_ms_ = 0;
};

}  // namespace

RunOptions options_of(const Campaign& campaign, std::uint64_t seed) {
  RunOptions options;
  options.seed = seed;
  options.mix = draw_mix(seed, campaign.operations);
  options.invariants_every = campaign.invariants_every;
  options.forgetful_store = campaign.forgetful_store;
  for (const std::string& fault : campaign.without) switch_off(fault, &options.mix);
  return options;
}

Child::Child(const RunOptions& options) : seed_(options.seed) {
  int ends[2];
  JOBQ_CHECK(pipe(ends) == 0);
  std::fflush(stdout);
  const pid_t parent = getpid();
  pid_ = fork();
  JOBQ_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);  // it died before the line above
    close(ends[0]);
    run_in_child(options, ends[1]);
    _exit(0);
  }
  close(ends[1]);
  from_ = ends[0];
}

Child::Child(Child&& other) noexcept
    : seed_(other.seed_), pid_(std::exchange(other.pid_, -1)), from_(std::exchange(other.from_, -1)) {}

Child::~Child() {
  if (from_ >= 0) close(from_);
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
}

ChildRun Child::wait() {
  std::string said;
  char buffer[65536];
  for (;;) {
    const ssize_t size = read(from_, buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    said.append(buffer, static_cast<std::size_t>(size));
  }
  int status = 0;
  waitpid(std::exchange(pid_, -1), &status, 0);
  ChildRun run;
  const std::size_t answer = said.rfind("\n{{");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || answer == std::string::npos) {
    run.invariants = WIFSIGNALED(status) ? fmt::format("died of signal {}", WTERMSIG(status))
                                         : fmt::format("ended with {}", WEXITSTATUS(status));
    run.text = said;
    return run;
  }
  const auto document = nlohmann::json::parse(said.substr(answer + 2));
  document.at("ok").get_to(run.ok);
  document.at("invariants").get_to(run.invariants);
  document.at("text").get_to(run.text);
  document.at("fingerprint").get_to(run.fingerprint);
  document.at("events").get_to(run.events);
  document.at("turns").get_to(run.turns);
  document.at("took_ms").get_to(run.took_ms);
  return run;
}

int run_campaign(const Campaign& campaign) {
  Progress progress{campaign};
  std::vector<Child> children;
  for (;;) {
    while (children.size() < campaign.processes && progress.go_on())
      children.emplace_back(options_of(campaign, progress.next_seed()));
    if (children.empty()) return progress.finish();
    // In the order in which they were begun, so that the output is the same in every campaign.
    const ChildRun run = children.front().wait();
    progress.take(children.front().seed(), run);
    std::vector<Child> rest;
    for (std::size_t i = 1; i < children.size(); ++i) rest.push_back(std::move(children[i]));
    children.swap(rest);
  }
}

}  // namespace jobq::sim
