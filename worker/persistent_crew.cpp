#include "worker/persistent_crew.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "jobq/error.hpp"
#include "libjobq/base/utf8.hpp"
#include "worker/line_protocol.hpp"
#include "worker/log.hpp"

namespace jobq::runner {

namespace {

constexpr std::size_t kReadAtOnce = std::size_t{1} << 16;
constexpr milliseconds kEndsByItself{1'000};  // after the end of its input, before SIGTERM
constexpr milliseconds kPauseMin{100};
constexpr milliseconds kPauseMax{10'000};

// 0, 100 ms, 200 ms, ... 10 s.
milliseconds pause_after(std::uint64_t failures) {
  if (failures == 0) return milliseconds{0};
  return std::min(kPauseMax, kPauseMin * (std::int64_t{1} << std::min<std::uint64_t>(failures - 1, 10)));
}

std::string first_line(std::string_view text) { return valid_utf8(text.substr(0, text.find('\n'))); }

bool make_pipe(Descriptor* ours, Descriptor* theirs, bool we_write) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return false;
  *ours = Descriptor{ends[we_write ? 1 : 0]};
  *theirs = Descriptor{ends[we_write ? 0 : 1]};
  ::fcntl(ours->get(), F_SETFL, O_NONBLOCK);
  return true;
}

}  // namespace

PersistentCrew::PersistentCrew(Workshop* shop)
    : shop_(shop), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!wake_.open()) throw Error(Code::io_error, fmt::format("eventfd: {}", std::strerror(errno)));
}

void PersistentCrew::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

PersistentCrew::Member PersistentCrew::take(const std::stop_token& stop, Time deadline) {
  std::unique_lock lock(mutex_);
  (void)idle_comes_.wait_until(lock, stop, deadline, [this] { return !idle_.empty(); });
  if (idle_.empty() || stop.stop_requested()) return nullptr;
  Member member = std::move(idle_.back());
  idle_.pop_back();
  return member;
}

void PersistentCrew::give_back(Member member) {
  const bool recycle = shop_->options.recycle_after != 0 && member->jobs >= shop_->options.recycle_after;
  if (recycle) return retire(std::move(member));
  member->output.begin(fmt::format("[{}] ", member->process.pid()));
  {
    const std::lock_guard lock(mutex_);
    failures_ = 0;
    idle_.push_back(std::move(member));
  }
  idle_comes_.notify_one();
  wake();  // to be watched
}

void PersistentCrew::retire(Member member) {
  {
    const std::lock_guard lock(mutex_);
    count_end(member->jobs > 0, std::chrono::steady_clock::now());
    begin_end(std::move(member), std::chrono::steady_clock::now());
  }
  wake();
}

void PersistentCrew::lost(bool answered) {
  {
    const std::lock_guard lock(mutex_);
    count_end(answered, std::chrono::steady_clock::now());
  }
  wake();
}

void PersistentCrew::count_end(bool answered, Time now) {
  --alive_;
  failures_ = answered ? 0 : failures_ + 1;
  start_at_ = now + pause_after(failures_);
}

void PersistentCrew::begin_end(Member member, Time now) {
  member->in.close();
  member->out.close();
  member->end_by = now + kEndsByItself;
  ending_.push_back(std::move(member));
}

void PersistentCrew::tend(Time now) {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &count, sizeof count);
  const std::lock_guard lock(mutex_);
  tend_idle(now);
  tend_ending(now);
  if (!closing_) start_missing(now);
}

void PersistentCrew::tend_idle(Time now) {
  for (std::size_t i = 0; i < idle_.size();) {
    PersistentProcess& member = *idle_[i];
    if (member.err.open() && !read_available(member.err.get(), &member.output, kReadAtOnce))
      member.err.close();
    std::array<char, 256> said{};
    const ssize_t got = ::read(member.out.get(), said.data(), said.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR) && !member.process.ended()) {
      ++i;
      continue;
    }
    if (got > 0) {
      log::warning("the persistent process {} wrote to stdout without a job and is replaced: {}",
                   member.process.pid(), first_line({said.data(), static_cast<std::size_t>(got)}));
    }
    Member gone = std::move(idle_[i]);
    idle_.erase(idle_.begin() + static_cast<std::ptrdiff_t>(i));
    count_end(gone->jobs > 0, now);
    begin_end(std::move(gone), now);
  }
}

void PersistentCrew::tend_ending(Time now) {
  for (std::size_t i = 0; i < ending_.size();) {
    PersistentProcess& member = *ending_[i];
    if (member.err.open() && !read_available(member.err.get(), &member.output, kReadAtOnce))
      member.err.close();
    if (member.process.ended()) {
      const pid_t pid = member.process.pid();
      const ProcessEnd end = member.process.reap();
      member.output.flush();
      const bool polite = !end.by_signal && end.number == 0;
      log::write(polite || closing_ || member.ending.cause() != StopCause::none ? log::Level::debug
                                                                                : log::Level::warning,
                 fmt::format("the persistent process {} has ended after {} jobs: {}", pid, member.jobs,
                             describe(end)));
      ending_.erase(ending_.begin() + static_cast<std::ptrdiff_t>(i));
      continue;
    }
    if (now >= *member.end_by) member.ending.ask(StopCause::drain, now, shop_->options.kill_after);
    if (const std::optional<int> signal = member.ending.due(now)) member.process.signal_group(*signal);
    ++i;
  }
}

void PersistentCrew::start_missing(Time now) {
  while (alive_ < shop_->options.concurrency && (!start_at_ || now >= *start_at_)) {
    std::string error;
    Member member = start(&error);
    ++alive_;
    if (!member) {
      count_end(false, now);
      log::error("{}; next try in {} ms", error, pause_after(failures_).count());
      return;
    }
    log::debug("the persistent process {} has started", member->process.pid());
    idle_.push_back(std::move(member));
    idle_comes_.notify_one();
  }
}

PersistentCrew::Member PersistentCrew::start(std::string* error) {
  auto member = std::make_unique<PersistentProcess>();
  Descriptor in, out, err;
  if (!make_pipe(&member->in, &in, true) || !make_pipe(&member->out, &out, false) ||
      !make_pipe(&member->err, &err, false)) {
    *error = start_error(shop_->options.path, errno);
    return nullptr;
  }
  SpawnRequest request{
      shop_->options.path, shop_->options.command, shop_->inherited, in.get(), out.get(), err.get()};
  request.variables.push_back(fmt::format("JOBQ_PROTOCOL={}", kLineProtocol));
  Spawned spawned = shop_->spawner.start(request);
  if (spawned.error != 0) {
    *error = start_error(shop_->options.path, spawned.error);
    return nullptr;
  }
  member->output = ErrorOutput(fmt::format("[{}] ", spawned.pid), shop_->options.pass_stderr);
  member->process = Process{std::move(spawned), &shop_->groups};
  return member;
}

void PersistentCrew::add_descriptors(std::vector<pollfd>* fds) {
  fds->push_back({wake_.get(), POLLIN, 0});
  const std::lock_guard lock(mutex_);
  for (const Member& member : idle_) {
    fds->push_back({member->process.pidfd(), POLLIN, 0});
    fds->push_back({member->out.get(), POLLIN, 0});
    fds->push_back({member->err.get(), POLLIN, 0});
  }
  for (const Member& member : ending_) {
    fds->push_back({member->process.pidfd(), POLLIN, 0});
    fds->push_back({member->err.get(), POLLIN, 0});
  }
}

std::optional<PersistentCrew::Time> PersistentCrew::next_deadline() {
  const std::lock_guard lock(mutex_);
  std::optional<Time> next;
  const auto consider = [&next](Time time) { next = next ? std::min(*next, time) : time; };
  if (!closing_ && alive_ < shop_->options.concurrency && start_at_) consider(*start_at_);
  for (const Member& member : ending_) {
    if (member->ending.cause() == StopCause::none) consider(*member->end_by);
    if (const auto due = member->ending.next()) consider(*due);
  }
  return next;
}

void PersistentCrew::close(Time now) {
  const std::lock_guard lock(mutex_);
  closing_ = true;
  for (Member& member : idle_) begin_end(std::move(member), now);
  alive_ -= idle_.size();
  idle_.clear();
}

bool PersistentCrew::closed() {
  const std::lock_guard lock(mutex_);
  return closing_ && ending_.empty();
}

}  // namespace jobq::runner
