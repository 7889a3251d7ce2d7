#include "worker/duty.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>
#include <vector>

#include "cli/duration.hpp"
#include "jobq/error.hpp"
#include "worker/log.hpp"
#include "worker/persistent_crew.hpp"

namespace jobq::runner {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kStatusEvery{5'000};
constexpr milliseconds kBuryAgain{100};
constexpr milliseconds kNoBrokerNotice{3'000};

// What somebody has asked us to ignore is not heard: a shell's background job of Ctrl-C, `nohup` of a hang-up. (A blocked
// signal would come through.)
sigset_t heard() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) {
    struct sigaction now = {};
    ::sigaction(number, nullptr, &now);
    if (number == SIGTERM || number == SIGCHLD || now.sa_handler != SIG_IGN) sigaddset(&set, number);
  }
  return set;
}

}  // namespace

void block_signals() {
  // Whoever started us may have ignored it; then the kernel would take ended commands away from under us.
  ::signal(SIGCHLD, SIG_DFL);
  const sigset_t set = heard();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

Duty::Duty(Workshop* shop, Worker* worker, PersistentCrew* crew, pid_t guardian)
    : shop_(shop),
      worker_(worker),
      crew_(crew),
      guardian_(guardian),
      feed_at_(Clock::now()),
      notice_at_(Clock::now() + kNoBrokerNotice) {
  const sigset_t set = heard();
  signals_ = Descriptor{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
  finished_ = Descriptor{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!signals_.open() || !finished_.open()) {
    throw Error(Code::io_error, fmt::format("signalfd, eventfd: {}", std::strerror(errno)));
  }
}

void Duty::finished() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(finished_.get(), &one, sizeof one);
}

void Duty::loop() {
  for (;;) {
    const auto now = Clock::now();
    if (now >= feed_at_) feed(now);
    if (notice_at_ && now >= *notice_at_) notice_missing_broker();
    if (crew_ != nullptr) crew_->tend(now);
    std::vector<pollfd> fds{
        {signals_.get(), POLLIN, 0}, {finished_.get(), POLLIN, 0}, {shop_->spawner.fd(), POLLIN, 0}};
    if (crew_ != nullptr) crew_->add_descriptors(&fds);
    if (::poll(fds.data(), fds.size(), wait_ms(now)) < 0) continue;
    if (fds[0].revents != 0) hear_signals();
    if (burying_) bury();
    if (fds[2].revents != 0) shop_->spawner.serve();
    if (fds[1].revents != 0) {
      if (crew_ == nullptr) return;
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t got = ::read(finished_.get(), &count, sizeof count);
      crew_->close(Clock::now());
      run_over_ = true;
    }
    if (run_over_ && crew_->closed()) return;
  }
}

void Duty::notice_missing_broker() {
  notice_at_.reset();
  if (worker_->registered() || stops_.count() > 0) return;
  log::warning(
      "no broker has answered at {} yet: is jobq-broker running, and does it listen there? Waiting for it",
      shop_->options.endpoint);
}

int Duty::wait_ms(Clock::time_point now) const {
  std::optional<Clock::time_point> next;
  if (supervisor_.there()) next = feed_at_;
  if (notice_at_) next = next ? std::min(*next, *notice_at_) : *notice_at_;
  if (burying_) next = next ? std::min(*next, now + kBuryAgain) : now + kBuryAgain;
  if (crew_ != nullptr) {
    if (const auto crews = crew_->next_deadline()) next = next ? std::min(*next, *crews) : *crews;
  }
  if (!next) return -1;
  const auto left = std::chrono::ceil<milliseconds>(std::max(*next, now) - now);
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
}

void Duty::hear_signals() {
  signalfd_siginfo about = {};
  while (::read(signals_.get(), &about, sizeof about) == static_cast<ssize_t>(sizeof about)) {
    if (static_cast<int>(about.ssi_signo) == SIGCHLD) {
      burying_ = true;
      continue;
    }
    stop();
  }
}

void Duty::stop() {
  if (!stops_.hear(Clock::now())) return;
  if (stops_.count() == 1) {
    log::info(
        "stopping: {} running commands may end within {}; a second signal hands their jobs back at once",
        shop_->totals.running.load(), cli::write_duration(shop_->options.drain_timeout.count()));
    supervisor_.stopping();
  }
  if (stops_.count() == 2) {
    log::warning("stopping at once: {} running commands are killed, their jobs handed back",
                 shop_->totals.running.load());
    // In this order: nobody else gets a job while its command still runs here.
    shop_->handing_back.store(true);
    shop_->spawner.close();
    if (crew_ != nullptr) crew_->close(Clock::now());
    shop_->groups.kill_all();
  }
  if (stops_.count() <= 2) worker_->stop();
}

void Duty::feed(Clock::time_point now) {
  const std::optional<DurationMs> every = supervisor_.alive_every();
  feed_at_ = now + (every ? std::min(milliseconds{std::max<std::int64_t>(every->ms / 2, 1)}, kStatusEvery)
                          : kStatusEvery);
  const auto turned = worker_->last_turn();
  // This thread turns, as can be seen; the one that speaks with the broker has to as well.
  const bool alive =
      turned == Clock::time_point::min() || !every || now - turned < milliseconds{2 * every->ms};
  if (alive)
    supervisor_.alive(TimeMs{std::chrono::duration_cast<milliseconds>(now.time_since_epoch()).count()});
  const Totals& totals = shop_->totals;
  std::string status =
      fmt::format("{}; {} of {} slots busy; {} acked, {} failed, {} rejected, {} handed back",
                  worker_->registered() ? "registered at " + shop_->options.endpoint
                                        : "waits for the broker at " + shop_->options.endpoint,
                  totals.running.load(), shop_->options.concurrency, totals.acked.load(),
                  totals.failed.load(), totals.rejected.load(), totals.handed_back.load());
  if (status == status_) return;
  status_ = std::move(status);
  supervisor_.status(status_);
}

void Duty::bury() {
  burying_ = false;
  for (;;) {
    siginfo_t about = {};
    if (::waitid(P_ALL, 0, &about, WEXITED | WNOHANG | WNOWAIT) < 0 || about.si_pid == 0) return;
    if (shop_->groups.holds(about.si_pid) || about.si_pid == guardian_) {
      burying_ = true;  // Its own thread reaps it; then comes what is behind it.
      return;
    }
    ::waitpid(about.si_pid, nullptr, WNOHANG);
  }
}

}  // namespace jobq::runner
