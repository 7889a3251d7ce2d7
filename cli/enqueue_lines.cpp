#include "cli/enqueue_lines.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "cli/broker_link.hpp"
#include "cli/duration.hpp"
#include "cli/exit_codes.hpp"
#include "cli/interrupt.hpp"
#include "cli/job_line.hpp"
#include "cli/line_reader.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"
#include "jobq/client.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/protocol/limits.hpp"

namespace jobq::cli {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kWindowLines = 20'000;
constexpr std::size_t kWindowBytes = std::size_t{48} << 20;
// A job of the largest size, its body as base64 or with every character escaped.
constexpr std::size_t kJobLineBytes = 2 * limits::kBodyBytesMax + 65'536;
constexpr std::size_t kReadBytes = std::size_t{256} << 10;
constexpr milliseconds kBackoffMin{50}, kBackoffMax{2'000};
constexpr milliseconds kAfterInterrupt{5'000};  // how long open lines are still waited for
constexpr std::size_t kComplaintsMax = 5;

// Where the callbacks of the I/O thread leave results for the main thread. Outlives whichever ends last.
class Mailbox {
 public:
  Mailbox() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { JOBQ_CHECK(fd_ >= 0); }
  ~Mailbox() { ::close(fd_); }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;
  void put(std::uint64_t line, EnqueueResult result) {
    {
      const std::lock_guard lock(mutex_);
      results_.emplace_back(line, std::move(result));
    }
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(fd_, &one, sizeof one);
  }
  std::vector<std::pair<std::uint64_t, EnqueueResult>> take() {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto read = ::read(fd_, &count, sizeof count);
    const std::lock_guard lock(mutex_);
    return std::exchange(results_, {});
  }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
  std::mutex mutex_;
  std::vector<std::pair<std::uint64_t, EnqueueResult>> results_;
};

struct OpenLine {
  std::string text;
  Clock::time_point deadline;
  std::optional<EnqueueResult> result;  // set: waits for its turn to be printed
};

class LineSender {
 public:
  LineSender(const Globals& globals, std::string queue, EnqueueOptions options, LineForm form)
      : json_(globals.json),
        form_(form),
        queue_(std::move(queue)),
        options_(std::move(options)),
        link_(globals, kLinesTimeout),
        reader_(form == LineForm::body ? limits::kBodyBytesMax : kJobLineBytes) {}

  int run(int fd);

 private:
  void wait(int fd);
  void read_some(int fd);
  void fill_window();
  void submit(std::uint64_t number, OpenLine* line);
  void take_results();
  void retry();
  void print_front();
  void print_line(std::uint64_t number, const EnqueueResult& result);
  void show_progress();
  void note_outage();
  int finish();
  OpenLine& line(std::uint64_t number) { return open_[number - first_]; }
  [[nodiscard]] bool more() const { return !eof_ || !reader_.empty(); }
  [[nodiscard]] bool stopping() const { return fatal_.has_value() || interrupted_at_.has_value(); }
  [[nodiscard]] bool window_open() const { return open_.size() < kWindowLines && open_bytes_ < kWindowBytes; }

  bool json_;
  LineForm form_;
  std::string queue_;
  EnqueueOptions options_;
  BrokerLink link_;
  LineReader reader_;
  std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>();
  bool eof_ = false;
  int read_error_ = 0;

  std::deque<OpenLine> open_;  // lines first_, first_ + 1, ...
  std::uint64_t first_ = 1;
  std::size_t open_bytes_ = 0;
  std::vector<std::uint64_t> refused_for_now_;
  milliseconds backoff_ = kBackoffMin;
  Clock::time_point retry_at_{};
  Status last_refusal_;

  std::uint64_t created_ = 0, duplicates_ = 0, refused_ = 0, unknown_ = 0;
  std::optional<std::pair<std::uint64_t, Status>> fatal_;  // the line that ended the reading
  std::optional<Clock::time_point> interrupted_at_;
  std::optional<Clock::time_point> away_since_;
  bool outage_noted_ = false;
  Clock::time_point started_ = Clock::now();
  Progress progress_;
};

int LineSender::run(int fd) {
  if (link_.client() == nullptr) return link_.fail(link_.opened());
  while ((more() && !stopping()) || !open_.empty()) {
    wait(fd);
    take_results();
    retry();
    fill_window();
    print_front();
    show_progress();
    note_outage();
    if (interrupted() && !interrupted_at_) interrupted_at_ = Clock::now();
    if (interrupted_at_ && Clock::now() - *interrupted_at_ > kAfterInterrupt) break;
  }
  return finish();
}

// Until there is something to do, and reads what the stream has when the window has room for it.
void LineSender::wait(int fd) {
  std::array<pollfd, 3> waiting{{{mailbox_->fd(), POLLIN, 0}, {interrupt_fd(), POLLIN, 0}, {fd, POLLIN, 0}}};
  const bool reading = !eof_ && !stopping() && window_open() && reader_.empty() && refused_for_now_.empty();
  if (interrupted_at_) waiting[1].fd = -1;  // Known: it would be readable for ever.
  if (!reading) waiting[2].fd = -1;
  milliseconds timeout{progress_.on() || interrupted_at_ ? 200 : 1'000};
  if (!refused_for_now_.empty()) {
    timeout = std::min(
        timeout, std::chrono::ceil<milliseconds>(std::max(retry_at_ - Clock::now(), Clock::duration{0})));
  } else if (!reader_.empty() && window_open() && !stopping()) {
    timeout = milliseconds{0};
  }
  ::poll(waiting.data(), waiting.size(), static_cast<int>(timeout.count()));
  if (reading && waiting[2].revents != 0) read_some(fd);
}

void LineSender::read_some(int fd) {
  std::string buffer(kReadBytes, '\0');
  const ssize_t got = ::read(fd, buffer.data(), buffer.size());
  if (got > 0) {
    reader_.feed(std::string_view{buffer}.substr(0, static_cast<std::size_t>(got)));
  } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
    if (got < 0) read_error_ = errno;
    eof_ = true;
    reader_.end();
  }
}

void LineSender::fill_window() {
  while (!stopping() && window_open() && refused_for_now_.empty()) {
    std::optional<Line> next = reader_.next();
    if (!next) return;
    const std::uint64_t number = first_ + open_.size();
    open_bytes_ += next->text.size();
    open_.push_back({std::move(next->text), Clock::now() + milliseconds{link_.timeout().ms}, std::nullopt});
    if (next->too_long) {
      line(number).result = EnqueueResult{
          Outcome::refused,
          {Code::body_too_large,
           fmt::format("{} bytes are more than any job may have ({})", next->bytes, limits::kBodyBytesMax)}};
    } else {
      submit(number, &open_.back());
    }
  }
}

void LineSender::submit(std::uint64_t number, OpenLine* line) {
  const auto left = std::chrono::ceil<milliseconds>(line->deadline - Clock::now());
  options_.timeout = std::max(left, milliseconds{1});
  const auto done = [number, mailbox = mailbox_](EnqueueResult result) {
    mailbox->put(number, std::move(result));
  };
  if (form_ == LineForm::body) {
    link_.client()->enqueue_async(queue_, Bytes{line->text}, options_, done);
    return;
  }
  const Result<JobLine> job = parse_job_line(line->text, options_);
  if (!job.ok()) {  // Says nothing about the other lines.
    line->result = EnqueueResult{Outcome::refused, job.status()};
    return;
  }
  link_.client()->enqueue_async(queue_, Bytes{job->body}, job->options, done);
}

void LineSender::take_results() {
  for (auto& [number, result] : mailbox_->take()) {
    if (result.retryable() && result.code() != Code::unreachable && Clock::now() < line(number).deadline &&
        !stopping()) {
      last_refusal_ = result.status();
      if (refused_for_now_.empty()) {
        const milliseconds wait = std::max(backoff_, std::min(result.retry_after(), milliseconds{30'000}));
        retry_at_ = Clock::now() + wait;
        backoff_ = std::min(backoff_ * 2, kBackoffMax);
      }
      refused_for_now_.push_back(number);
      continue;
    }
    if (result.ok()) backoff_ = kBackoffMin;
    // A body that is too large says nothing about the other lines; every other refusal would meet them too.
    if (!result.ok() && result.code() != Code::body_too_large && (!fatal_ || number < fatal_->first)) {
      fatal_.emplace(number, result.status());
    }
    line(number).result = std::move(result);
  }
}

void LineSender::retry() {
  if (refused_for_now_.empty() || Clock::now() < retry_at_) return;
  std::vector<std::uint64_t> again = std::exchange(refused_for_now_, {});
  std::sort(again.begin(), again.end());  // Jobs keep the order of the lines as far as refusals allow.
  for (const std::uint64_t number : again) {
    if (stopping()) {
      line(number).result = EnqueueResult{Outcome::refused, last_refusal_};
    } else {
      submit(number, &line(number));
    }
  }
}

void LineSender::print_front() {
  bool printed = false;
  while (!open_.empty() && open_.front().result) {
    if (!printed) progress_.clear();
    printed = true;
    print_line(first_, *open_.front().result);
    open_bytes_ -= open_.front().text.size();
    open_.pop_front();
    ++first_;
  }
  if (printed) std::fflush(stdout);
}

// One line of output for each line of input, so that the two can be pasted together: "-" where there is no job.
void LineSender::print_line(std::uint64_t number, const EnqueueResult& result) {
  if (result.ok()) {
    ++(result->duplicate ? duplicates_ : created_);
  } else {
    ++(result.outcome() == Outcome::unknown ? unknown_ : refused_);
    if (refused_ + unknown_ <= kComplaintsMax) {
      complain(fmt::format("line {}: {}: {}", number, to_string(result.outcome()), result.status().text()));
    }
  }
  if (!json_) {
    std::fputs(((result.ok() ? result->id : "-") + "\n").c_str(), stdout);
    return;
  }
  Json row = {
      {"line", number},
      {"outcome", result.ok() ? (result->duplicate ? "duplicate" : "created") : to_string(result.outcome())}};
  if (result.ok()) {
    row["id"] = result->id;
  } else {
    row["error"] = {{"code", to_string(result.code())}, {"text", result.status().text()}};
  }
  std::fputs((to_json_text(row, false) + "\n").c_str(), stdout);
}

void LineSender::show_progress() {
  if (!progress_.due()) return;
  const auto done = static_cast<std::int64_t>(created_ + duplicates_);
  const double seconds = std::chrono::duration<double>(Clock::now() - started_).count();
  std::string text = fmt::format("{} lines confirmed, {} wait, {}/s", group_digits(done),
                                 group_digits(static_cast<std::int64_t>(open_.size())),
                                 format_rate(static_cast<double>(done) / std::max(seconds, 0.001)));
  if (!refused_for_now_.empty()) {
    text += fmt::format("; the broker says {}, trying again", to_string(last_refusal_.code()));
  } else if (!open_.empty() && !link_.client()->connected()) {
    text += fmt::format("; no broker at {}, waiting (nothing is lost)", link_.endpoint());
  }
  progress_.show(text);
}

// Where nobody sees the progress line, a log should say why nothing happens: once for each outage.
void LineSender::note_outage() {
  if (open_.empty() || link_.client()->connected()) {
    away_since_.reset();
  } else if (!away_since_) {
    away_since_ = Clock::now();
    outage_noted_ = false;
  } else if (!outage_noted_ && !progress_.on() &&
             Clock::now() - *away_since_ > milliseconds{kDefaultTimeout.ms}) {
    outage_noted_ = true;
    complain(fmt::format("no broker at {}; {} lines wait for it (nothing is lost)", link_.endpoint(),
                         group_digits(static_cast<std::int64_t>(open_.size()))));
  }
}

int LineSender::finish() {
  progress_.clear();
  const std::uint64_t open = open_.size();
  const auto seconds = std::chrono::duration_cast<milliseconds>(Clock::now() - started_);
  const auto jobs = static_cast<std::int64_t>(created_ + duplicates_);
  std::string text = fmt::format("{} in '{}' now ({})", count_of(jobs, "line is a job", "lines are jobs"),
                                 queue_, format_duration(seconds.count()));
  if (duplicates_ > 0)
    text +=
        fmt::format("; {} of them were there already", group_digits(static_cast<std::int64_t>(duplicates_)));
  if (refused_ > 0) text += fmt::format("; {} refused", group_digits(static_cast<std::int64_t>(refused_)));
  if (unknown_ + open > 0) {
    text += fmt::format("; of {} it is not known whether they were stored (lines from {} on)",
                        group_digits(static_cast<std::int64_t>(unknown_ + open)),
                        unknown_ > 0 ? fatal_->first : first_);
  }
  if (fatal_) text += fmt::format("; stopped at line {}, what follows was not read", fatal_->first);
  if (read_error_ != 0)
    text += fmt::format("; reading stopped: {}", std::generic_category().message(read_error_));
  const bool clean = refused_ + unknown_ + open == 0 && read_error_ == 0 && !interrupted_at_;
  if (!clean || stderr_is_terminal()) complain(text);
  if (interrupted_at_) return kExitInterrupted;
  if (unknown_ + open > 0) return kExitTryAgain;
  if (fatal_) return exit_code_for(fatal_->second.code());
  if (read_error_ != 0) return kExitNoInput;
  return refused_ > 0 ? kExitRefused : kExitOk;
}

}  // namespace

int enqueue_lines(const Globals& globals, const std::string& queue, const EnqueueOptions& options,
                  LineForm form, int fd) {
  catch_interrupts();
  // An outage later is waited for; but where no broker ever was, ten minutes of silence help nobody.
  BrokerLink probe(globals);
  const Result<Json> there = probe.ask("ping");
  if (there.code() == Code::unreachable || there.code() == Code::bad_endpoint)
    return probe.fail(there.status());
  LineSender sender(globals, queue, options, form);
  return sender.run(fd);
}

}  // namespace jobq::cli
