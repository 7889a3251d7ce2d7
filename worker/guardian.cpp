#include "worker/guardian.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>

namespace jobq::runner {

namespace {

constexpr std::size_t kMessageBytes = 1 + sizeof(pid_t);

bool read_message(int fd, char* message) {
  std::size_t have = 0;
  while (have < kMessageBytes) {
    const ssize_t got = ::read(fd, message + have, kMessageBytes - have);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    have += static_cast<std::size_t>(got);
  }
  return true;
}

// In the guardian. Ends with its worker: the pipe's other end is closed then, however it died.
[[noreturn]] void guard(int fd) {
  ::setsid();  // Ctrl-C is for the worker
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) ::signal(number, SIG_IGN);
  ::prctl(PR_SET_NAME, "jobq-guardian");
  const int null = ::open("/dev/null", O_RDWR);
  for (int standard = 0; standard <= 2; ++standard) ::dup2(null, standard);
  ::dup2(fd, 3);
  ::syscall(SYS_close_range, 4U, ~0U, 0U);
  std::set<pid_t> groups;
  char message[kMessageBytes];
  while (read_message(3, message)) {
    pid_t group = 0;
    std::memcpy(&group, message + 1, sizeof group);
    if (message[0] == '+') {
      groups.insert(group);
    } else {
      groups.erase(group);
    }
  }
  for (const pid_t group : groups) ::kill(-group, SIGKILL);
  ::_exit(0);
}

}  // namespace

Guardian::Guardian() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return;
  const Descriptor read_end{ends[0]};
  write_end_ = Descriptor{ends[1]};
  pid_ = ::fork();
  if (pid_ == 0) guard(read_end.get());
  if (pid_ < 0) write_end_.close();
}

Guardian::~Guardian() {
  write_end_.close();
  while (pid_ > 0 && ::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;
}

}  // namespace jobq::runner
