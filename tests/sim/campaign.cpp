#include "tests/sim/campaign.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "libjobq/base/check.hpp"

namespace jobq::sim {
namespace {

constexpr std::uint64_t kTwiceEvery =
    100;  // one seed in a hundred is run twice, and has to give the same (I22)

std::string violated(const faults::Verdict& verdict) {
  std::set<std::string> names;
  for (const faults::Violation& one : verdict.violations) names.insert(one.invariant);
  return fmt::format("{}", fmt::join(names, " "));
}

// What the child has to say, on the pipe. What it prints before it aborts comes the same way.
void run_in_child(const RunOptions& options, int to) {
  dup2(to, STDERR_FILENO);
  RunResult result = run_once(options);
  const bool twice = options.seed % kTwiceEvery == 0 && result.verdict.ok();
  if (twice) {
    const RunResult again = run_once(options);
    if (again.fingerprint != result.fingerprint)
      result.verdict.violations.push_back(
          {"I22", "",
           fmt::format("the run was {:016x}, and {:016x} when it was made again", result.fingerprint,
                       again.fingerprint)});
  }
  const nlohmann::json answer{{"ok", result.verdict.ok()},
                              {"invariants", violated(result.verdict)},
                              {"text", result.verdict.ok() ? "" : tell(result)},
                              {"fingerprint", result.fingerprint},
                              {"events", result.history.size()},
                              {"turns", result.turns},
                              {"twice", twice},
                              {"took_ms", result.took_ms}};
  const std::string line = "\n{" + answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  for (std::size_t done = 0; done < line.size();) {
    const ssize_t written = ::write(to, line.data() + done, line.size() - done);
    if (written <= 0) _exit(3);
    done += static_cast<std::size_t>(written);
  }
}

// Whoever stops a campaign hears how far it was: no run is begun any more, and those that go on end.
volatile std::sig_atomic_t stopped = 0;

class Progress {
 public:
  explicit Progress(const Campaign& campaign) : campaign_(campaign) {}

  [[nodiscard]] bool go_on() const {
    return stopped == 0 && failed_ < campaign_.failures_max && begun_ < campaign_.seeds &&
           (campaign_.seconds_max == 0 || seconds() < campaign_.seconds_max);
  }
  std::uint64_t next_seed() { return campaign_.first + begun_++; }
  void take(std::uint64_t seed, const ChildRun& run) {
    ++done_;
    events_ += run.events;
    turns_ += run.turns;
    virtual_ms_ += run.took_ms;
    twice_ += run.twice ? 1U : 0U;
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
        "s; {} run twice\n",
        done_, campaign_.first, campaign_.first + begun_ - 1, campaign_.operations, failed_, events_, turns_,
        virtual_ms_ / 3'600'000, seconds(), twice_);
    return failed_ == 0 ? 0 : 1;
  }

 private:
  [[nodiscard]] std::uint64_t seconds() const {
    const auto since = std::chrono::steady_clock::now() - begin_;
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(since).count());
  }
  const Campaign& campaign_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::uint64_t begun_ = 0, done_ = 0, failed_ = 0, events_ = 0, turns_ = 0, twice_ = 0;
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
    for (const int number : {SIGINT, SIGTERM}) std::signal(number, SIG_IGN);  // the campaign's to decide
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
    : said_(std::move(other.said_)),
      seed_(other.seed_),
      pid_(std::exchange(other.pid_, -1)),
      from_(std::exchange(other.from_, -1)) {}

Child::~Child() {
  if (from_ >= 0) close(from_);
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
}

bool Child::read_some() {
  char buffer[65536];
  ssize_t size = 0;
  do {
    size = read(from_, buffer, sizeof buffer);
  } while (size < 0 && errno == EINTR);
  if (size <= 0) return false;
  said_.append(buffer, static_cast<std::size_t>(size));
  return true;
}

ChildRun Child::wait() {
  while (read_some()) {
  }
  const std::string& said = said_;
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
  document.at("twice").get_to(run.twice);
  return run;
}

// A new run is begun as soon as one ends; they are told in the order of their seeds, so that the output is the same in every
// campaign.
int run_campaign(const Campaign& campaign) {
  for (const int number : {SIGINT, SIGTERM}) std::signal(number, [](int) { stopped = 1; });
  Progress progress{campaign};
  std::vector<Child> children;
  std::map<std::uint64_t, ChildRun> ended;  // by seed
  std::uint64_t next = campaign.first;
  for (;;) {
    while (children.size() < campaign.processes && progress.go_on())
      children.emplace_back(options_of(campaign, progress.next_seed()));
    if (children.empty()) return progress.finish();
    std::vector<pollfd> descriptors;
    for (const Child& child : children) descriptors.push_back({child.descriptor(), POLLIN, 0});
    if (poll(descriptors.data(), descriptors.size(), -1) < 0 && errno != EINTR) return 3;
    std::vector<Child> rest;
    for (std::size_t i = 0; i < children.size(); ++i) {
      if (descriptors[i].revents == 0 || children[i].read_some()) {
        rest.push_back(std::move(children[i]));
      } else {
        ended.emplace(children[i].seed(), children[i].wait());
      }
    }
    children.swap(rest);
    for (auto run = ended.begin(); run != ended.end() && run->first == next; run = ended.erase(run), ++next)
      progress.take(run->first, run->second);
  }
}

}  // namespace jobq::sim
