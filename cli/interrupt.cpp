#include "cli/interrupt.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <csignal>

#include "libjobq/base/check.hpp"

namespace jobq::cli {
namespace {

std::atomic<bool> g_interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "set in a signal handler");
int g_pipe[2] = {-1, -1};

void on_signal(int /*signal*/) {
  g_interrupted.store(true);
  const char byte = 1;
  // The pipe is never read, so one byte is enough; a full pipe cannot be, and there is nobody to tell.
  [[maybe_unused]] const auto written = ::write(g_pipe[1], &byte, 1);
}

}  // namespace

void catch_interrupts() {
  JOBQ_CHECK(g_pipe[0] == -1);
  JOBQ_CHECK(::pipe2(g_pipe, O_CLOEXEC | O_NONBLOCK) == 0);
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // The second one ends the process.
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() { return g_interrupted.load(); }

int interrupt_fd() { return g_pipe[0]; }

void wait_interruptible(DurationMs span) {
  pollfd waiting{g_pipe[0], POLLIN, 0};
  ::poll(&waiting, 1, static_cast<int>(std::clamp<std::int64_t>(span.ms, 0, INT_MAX)));
}

}  // namespace jobq::cli
