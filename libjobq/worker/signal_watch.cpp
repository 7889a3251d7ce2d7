#include "libjobq/worker/signal_watch.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>

namespace jobq {

namespace {

constexpr std::size_t kWatchesMax = 64;

// Read by the signal handler: the descriptors of the living watches plus one; 0 where there is none.
// Initialised before any code runs.
std::array<std::atomic<int>, kWatchesMax> watched{};

std::mutex mutex;
int living = 0;
struct sigaction old_term;
struct sigaction old_int;

void on_signal(int /*number*/) {
  const int saved = errno;
  for (const std::atomic<int>& slot : watched) {
    const int target = slot.load() - 1;
    const std::uint64_t one = 1;
    if (target >= 0 && ::write(target, &one, sizeof(one)) < 0)
      continue;  // Full: it has been told often enough.
  }
  errno = saved;
}

}  // namespace

SignalWatch::SignalWatch() {
  const std::lock_guard lock(mutex);
  for (std::atomic<int>& slot : watched) {
    if (slot.load() != 0) continue;
    fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd_ >= 0) slot.store(fd_ + 1);
    break;
  }
  if (fd_ < 0 || living++ > 0) return;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGTERM, &action, &old_term);
  ::sigaction(SIGINT, &action, &old_int);
}

SignalWatch::~SignalWatch() {
  const std::lock_guard lock(mutex);
  if (fd_ < 0) return;
  if (--living == 0) {
    ::sigaction(SIGTERM, &old_term, nullptr);
    ::sigaction(SIGINT, &old_int, nullptr);
  }
  for (std::atomic<int>& slot : watched) {
    if (slot.load() == fd_ + 1) slot.store(0);
  }
  ::close(fd_);
}

int SignalWatch::take(StopWishes::Clock::time_point now) {
  std::uint64_t count = 0;
  if (::read(fd_, &count, sizeof(count)) != static_cast<ssize_t>(sizeof(count))) return 0;
  return wishes_.hear(now) ? 1 : 0;
}

}  // namespace jobq
