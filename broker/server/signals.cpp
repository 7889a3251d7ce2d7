#include "broker/server/signals.hpp"

#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>

#include "libjobq/base/check.hpp"

namespace jobq {

Signals::Signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  JOBQ_CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
  descriptor_ = ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  JOBQ_CHECK(descriptor_ >= 0);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

Signals::~Signals() { ::close(descriptor_); }

std::optional<int> Signals::next() {
  signalfd_siginfo info{};
  if (::read(descriptor_, &info, sizeof(info)) != static_cast<ssize_t>(sizeof(info))) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

}  // namespace jobq
