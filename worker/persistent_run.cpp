#include "worker/persistent_run.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "cli/duration.hpp"
#include "worker/line_protocol.hpp"
#include "worker/log.hpp"
#include "worker/run_end.hpp"
#include "worker/stop_watch.hpp"

namespace jobq::runner {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kReadAtOnce = std::size_t{1} << 16;
constexpr milliseconds kWaitForProcess{10'000};
constexpr milliseconds kTryAgain{5'000};
constexpr milliseconds kMayEnd{2'000};
constexpr int kProcessesToTry = 5;

// One job with one process.
class Exchange {
 public:
  Exchange(Context* job, Workshop* shop, PersistentCrew* crew, PersistentCrew::Member member)
      : job_(job),
        shop_(shop),
        crew_(crew),
        member_(std::move(member)),
        begun_(Clock::now()),
        stop_(job->stop_token()),
        unsent_(job_line(facts_of(*job, shop->options.max_run), job->body())),
        end_(job, shop, begun_) {
    member_->output.begin(fmt::format("[{}] ", job->id()));
  }

  // False: the process had ended before it read anything of the job, which is as it was.
  bool run() {
    if (!stop_.open()) {
      crew_->give_back(std::move(member_));
      settle_not_started(job_, EMFILE, 0, shop_);
      return true;
    }
    std::string_view left = unsent_;
    while (!answered_ && problem_.empty() && !member_->process.ended()) {
      if (const auto signal = end_.due(Clock::now())) member_->process.signal_group(*signal);
      pollfd fds[5] = {{member_->process.pidfd(), POLLIN, 0},
                       {member_->out.get(), POLLIN, 0},
                       {member_->err.get(), POLLIN, 0},
                       {stop_.fd(), POLLIN, 0},
                       {left.empty() || closed_ ? -1 : member_->in.get(), POLLOUT, 0}};
      if (::poll(fds, 5, end_.wait_ms(Clock::now(), mute_until_)) < 0) continue;
      if (fds[4].revents != 0) send(&left);
      if (fds[1].revents != 0) read_answer();
      if (fds[2].revents != 0) read_errors();
      if (fds[0].revents != 0) break;
      if (fds[3].revents != 0) stop_.take();
      look_at_the_end(Clock::now());
    }
    // It may have answered with its last breath.
    if (!answered_ && problem_.empty()) read_answer();
    if (!answered_ && problem_.empty() && end_.cause() == StopCause::none && !shop_->handing_back.load() &&
        unread_bytes() == unsent_.size() - left.size()) {
      (void)end_member();
      crew_->lost(member_->jobs > 0);
      return false;
    }
    conclude();
    return true;
  }

 private:
  void send(std::string_view* left) {
    const ssize_t sent = ::write(member_->in.get(), left->data(), left->size());
    if (sent >= 0) {
      left->remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno != EAGAIN && errno != EINTR) {
      closed_ = true;  // It has closed its stdin: it ends, or answers without having read all.
    }
  }

  // Of what was sent to it. The pipe keeps it beyond the reader's end.
  [[nodiscard]] std::size_t unread_bytes() const {
    int bytes = 0;
    return ::ioctl(member_->in.get(), FIONREAD, &bytes) == 0 ? static_cast<std::size_t>(bytes) : 1;
  }

  void read_errors() {
    if (!read_available(member_->err.get(), &member_->output, kReadAtOnce)) member_->err.close();
  }

  void read_answer() {
    if (!member_->out.open()) return;
    std::array<char, 16384> buffer{};
    std::string& unread = member_->unread;
    for (;;) {
      const ssize_t got = ::read(member_->out.get(), buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return;
      if (got == 0) {
        // Mostly it is just ending: its descriptors go before it does.
        member_->out.close();
        mute_until_ = Clock::now() + kMayEnd;
        return;
      }
      unread.append(buffer.data(), static_cast<std::size_t>(got));
      const std::size_t end = unread.find('\n');
      if (end != std::string::npos) return take_answer(end);
      if (unread.size() > kAnswerBytesMax) {
        problem_ = fmt::format("sent more than {} bytes that are no line", kAnswerBytesMax);
        return;
      }
    }
  }

  void take_answer(std::size_t end) {
    Result<Answer> answer = parse_answer(std::string_view{member_->unread}.substr(0, end), job_->id());
    member_->unread.erase(0, end + 1);
    if (answer.ok()) {
      answered_ = *std::move(answer);
    } else {
      problem_ = "answered wrongly: " + answer.status().text();
    }
  }

  void look_at_the_end(Clock::time_point now) {
    if (mute_until_ && now >= *mute_until_) problem_ = "closed its stdout without an answer";
    end_.look(now);
  }

  void conclude() {
    const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - begun_);
    if (answered_ && !shop_->handing_back.load()) {
      settle_answer(took);
    } else if (!problem_.empty()) {
      member_->process.signal_group(SIGKILL);
      (void)end_member();
      settle(job_, {Settle::nack, error_text("the persistent process " + problem_, member_->output.end())},
             took, shop_);
    } else {
      const ProcessEnd end = end_member();
      settle(job_, verdict(end), took, shop_);
    }
    if (member_) keep_or_replace();
  }

  ProcessEnd end_member() {
    const ProcessEnd end = member_->process.reap();
    if (member_->err.open()) read_errors();
    member_->output.flush();
    return end;
  }

  [[nodiscard]] Verdict verdict(const ProcessEnd& end) const {
    if (shop_->handing_back.load()) return {Settle::release, {}};
    if (end_.cause() == StopCause::none) {
      return {Settle::nack, error_text("the persistent process ended without an answer: " + describe(end),
                                       member_->output.end())};
    }
    return end_.verdict(member_->output.end());
  }

  // What it says explicitly of this job counts, also after it was asked to stop.
  void settle_answer(milliseconds took) {
    ++member_->jobs;
    const Answer& answer = *answered_;
    switch (answer.outcome) {
      case AnswerOutcome::ack:
        return settle(job_, {Settle::ack, {}}, took, shop_);
      case AnswerOutcome::nack:
        if (answer.delay.count() > 0) job_->fail(error_text("", answer.error), answer.delay);
        return settle(job_, {Settle::nack, error_text("", answer.error)}, took, shop_);
      case AnswerOutcome::reject:
        return settle(job_, {Settle::reject, error_text("", answer.error)}, took, shop_);
      case AnswerOutcome::release:
        return settle(job_, {Settle::release, {}}, took, shop_);
      case AnswerOutcome::snooze:
        ++shop_->totals.handed_back;
        job_->snooze(answer.delay);
        return log::debug("{} snoozed for {}", name_of(*job_), cli::format_duration(answer.delay.count()));
    }
  }

  void keep_or_replace() {
    if (!member_->process.there()) return crew_->lost(member_->jobs > 0);
    if (end_.cause() != StopCause::none || !member_->unread.empty()) {
      if (!member_->unread.empty()) {
        log::warning("the persistent process {} wrote more than its answer to stdout and is replaced",
                     member_->process.pid());
      }
      member_->ending = end_.escalation();
      return crew_->retire(std::move(member_));
    }
    crew_->give_back(std::move(member_));
  }

  Context* job_;
  Workshop* shop_;
  PersistentCrew* crew_;
  PersistentCrew::Member member_;
  Clock::time_point begun_;
  std::optional<Clock::time_point> mute_until_;  // it can say nothing any more, and has until then to end
  StopWatch stop_;
  std::string unsent_;
  bool closed_ = false;
  RunEnd end_;
  std::optional<Answer> answered_;
  std::string problem_;  // what the process did that ends it
};

}  // namespace

void run_persistent(Context* job, Workshop* shop, PersistentCrew* crew) {
  const auto deadline = Clock::now() + kWaitForProcess;
  // A process may end by itself while it is idle, at the very moment that the job comes: then it is the next one's.
  for (int tries = 0; tries < kProcessesToTry; ++tries) {
    PersistentCrew::Member member = crew->take(job->stop_token(), deadline);
    if (!member) break;
    ++shop->totals.running;
    const bool settled = Exchange{job, shop, crew, std::move(member)}.run();
    --shop->totals.running;
    if (settled) return;
  }
  ++shop->totals.handed_back;
  if (job->stop_requested()) return job->release();
  job->snooze(kTryAgain);
  log::error("{} waits {}: no persistent process takes it", name_of(*job),
             cli::format_duration(kTryAgain.count()));
}

}  // namespace jobq::runner
