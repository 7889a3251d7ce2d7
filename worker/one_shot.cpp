#include "worker/one_shot.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string_view>
#include <utility>

#include "worker/error_output.hpp"
#include "worker/run_end.hpp"
#include "worker/stop_watch.hpp"

namespace jobq::runner {

namespace {

using Clock = std::chrono::steady_clock;

// What is read of stderr after the end: a process outside of the group may hold the pipe and write for ever.
constexpr std::size_t kLeftOverBytes = std::size_t{1} << 20;
constexpr std::size_t kReadAtOnce = std::size_t{1} << 16;

struct Pipe {
  Descriptor read_end;
  Descriptor write_end;
};

std::optional<Pipe> error_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return std::nullopt;
  Pipe pipe{Descriptor{ends[0]}, Descriptor{ends[1]}};
  // Only our end: to the command a full pipe is a reason to wait, not an error.
  ::fcntl(pipe.read_end.get(), F_SETFL, O_NONBLOCK);
  return pipe;
}

// A file without a name that holds the body, at its beginning. Not open: errno says why.
Descriptor body_file(std::string_view body) {
  Descriptor file{::memfd_create("jobq-body", MFD_CLOEXEC)};
  while (file.open() && !body.empty()) {
    const ssize_t written = ::write(file.get(), body.data(), body.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const int error = errno;
      file.close();
      errno = error;
      break;
    }
    body.remove_prefix(static_cast<std::size_t>(written));
  }
  if (file.open()) ::lseek(file.get(), 0, SEEK_SET);
  return file;
}

// Watches one process to its end.
class Run {
 public:
  Run(Context* job, Workshop* shop)
      : job_(job),
        shop_(shop),
        begun_(Clock::now()),
        stop_(job->stop_token()),
        output_(fmt::format("[{}] ", job->id()), shop->options.pass_stderr),
        end_(job, shop, begun_) {}

  void start_and_settle() {
    const int error = start();
    if (error != 0) return settle_not_started(job_, error, variables_bytes_, shop_);
    watch();
    const ProcessEnd end = process_.reap();
    if (errors_.open()) read_available(errors_.get(), &output_, kLeftOverBytes);
    output_.flush();
    settle(job_, verdict(end), std::chrono::duration_cast<milliseconds>(Clock::now() - begun_), shop_);
  }

 private:
  // 0, or errno of what failed.
  int start() {
    if (!stop_.open()) return EMFILE;
    SpawnRequest request{shop_->options.path, shop_->options.command, shop_->inherited};
    const std::vector<std::string> own = job_variables(facts_of(*job_, shop_->options.max_run));
    request.variables.insert(request.variables.end(), own.begin(), own.end());
    variables_bytes_ = environment_bytes(request.variables);
    const Descriptor body = body_file(job_->body());
    if (!body.open()) return errno;
    std::optional<Pipe> pipe = error_pipe();
    if (!pipe) return errno;
    request.in = body.get();
    request.out = shop_->options.pass_stdout ? STDOUT_FILENO : shop_->null.get();
    request.err = pipe->write_end.get();
    Spawned spawned = shop_->spawner.spawn(request);
    if (spawned.error != 0) return spawned.error;
    process_ = Process{std::move(spawned), &shop_->groups};
    errors_ = std::move(pipe->read_end);
    return 0;
  }

  void watch() {
    while (!process_.ended()) {
      if (const std::optional<int> signal = end_.due(Clock::now())) process_.signal_group(*signal);
      pollfd fds[3] = {{process_.pidfd(), POLLIN, 0}, {errors_.get(), POLLIN, 0}, {stop_.fd(), POLLIN, 0}};
      if (::poll(fds, 3, end_.wait_ms(Clock::now())) < 0) continue;
      if (fds[1].revents != 0 && !read_available(errors_.get(), &output_, kReadAtOnce)) errors_.close();
      if (fds[0].revents != 0) return;  // It ended before we asked it to: what it says counts.
      if (fds[2].revents != 0) stop_.take();
      end_.look(Clock::now());
    }
  }

  [[nodiscard]] Verdict verdict(const ProcessEnd& end) const {
    if (shop_->handing_back.load()) return {Settle::release, {}};
    return end_.cause() == StopCause::none ? judge(end, output_.end()) : end_.verdict(output_.end());
  }

  Context* job_;
  Workshop* shop_;
  Clock::time_point begun_;
  StopWatch stop_;
  ErrorOutput output_;
  RunEnd end_;
  Process process_;
  Descriptor errors_;
  std::size_t variables_bytes_ = 0;
};

}  // namespace

void run_one_shot(Context* job, Workshop* shop) {
  ++shop->totals.running;
  Run{job, shop}.start_and_settle();
  --shop->totals.running;
}

}  // namespace jobq::runner
