#include "worker/process.hpp"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

namespace jobq::runner {

namespace {

// What processes are started with when it is not ours. Set once, before the first of them.
std::optional<rlimit> descriptor_limit_before;

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> all;
  all.reserve(texts.size() + 1);
  for (const std::string& text : texts) all.push_back(const_cast<char*>(text.c_str()));
  all.push_back(nullptr);
  return all;
}

// In the child, between vfork and exec: system calls only, the memory is the parent's.
[[noreturn]] void become(const SpawnRequest& request, char* const* argv, char* const* envp, pid_t parent,
                         int failure_fd) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);  // it died before the line above
  if (::dup2(request.in, 0) >= 0 && ::dup2(request.out, 1) >= 0 && ::dup2(request.err, 2) >= 0) {
    // All of ours are close-on-exec already; this is for those that a library opened otherwise.
    ::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
    if (descriptor_limit_before) ::setrlimit(RLIMIT_NOFILE, &*descriptor_limit_before);
    struct sigaction plain = {};
    plain.sa_handler = SIG_DFL;
    ::sigaction(SIGPIPE, &plain, nullptr);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::execve(request.path.c_str(), argv, envp);
  }
  const int failure = errno;
  [[maybe_unused]] const ssize_t told = ::write(failure_fd, &failure, sizeof failure);
  ::_exit(127);
}

// What the child says of its exec: 0 when it succeeded and so closed the pipe.
int failure_from(int fd) {
  int failure = 0;
  for (;;) {
    const ssize_t got = ::read(fd, &failure, sizeof failure);
    if (got < 0 && errno == EINTR) continue;
    return got == static_cast<ssize_t>(sizeof failure) ? failure : 0;
  }
}

void wait_for(pid_t pid, siginfo_t* about) {
  while (::waitid(P_PID, static_cast<id_t>(pid), about, WEXITED) < 0 && errno == EINTR) continue;
}

// What the leader has started and left behind in its group was killed with it and is our child now (adopt_orphans()).
// Not for ever: a process may hang in the kernel. Duty::bury() sees to those.
void bury_group(pid_t group) {
  for (int i = 0; i < 1000; ++i) {
    siginfo_t about = {};
    if (::waitid(P_PGID, static_cast<id_t>(group), &about, WEXITED | WNOHANG) < 0 && errno != EINTR) return;
    if (about.si_pid == 0) ::poll(nullptr, 0, 1);
  }
}

}  // namespace

std::size_t raise_descriptor_limit(std::size_t needed) {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return needed;
  if (limit.rlim_cur >= needed) return limit.rlim_cur;
  const rlimit before = limit;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, needed);
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return before.rlim_cur;
  descriptor_limit_before = before;
  return limit.rlim_cur;
}

void adopt_orphans() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }

Spawned spawn_process(const SpawnRequest& request) {
  const std::vector<char*> argv = pointers(request.arguments);
  const std::vector<char*> envp = pointers(request.variables);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return {-1, {}, errno};
  Descriptor read_end{ends[0]};
  Descriptor write_end{ends[1]};
  const pid_t parent = ::getpid();
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // no handler of ours may run in the child's borrowed memory
  const pid_t pid = ::vfork();
  if (pid == 0) become(request, argv.data(), envp.data(), parent, write_end.get());
  const int fork_error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return {-1, {}, fork_error};
  write_end.close();
  int failure = failure_from(read_end.get());
  Spawned spawned{pid, Descriptor{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))}, 0};
  if (failure == 0 && !spawned.pidfd.open()) failure = errno;
  if (failure == 0) return spawned;
  ::kill(-pid, SIGKILL);
  siginfo_t about = {};
  wait_for(pid, &about);
  return {-1, {}, failure};
}

void ProcessGroups::tell(char what, pid_t group) const {
  if (guardian_fd_ < 0) return;
  char message[1 + sizeof group];
  message[0] = what;
  __builtin_memcpy(message + 1, &group, sizeof group);
  [[maybe_unused]] const ssize_t told = ::write(guardian_fd_, message, sizeof message);
}

void ProcessGroups::add(pid_t group) {
  const std::lock_guard lock(mutex_);
  groups_.insert(group);
  tell('+', group);
}

void ProcessGroups::reap(pid_t group, siginfo_t* about) {
  // Under the lock: whoever asks holds() must not find a zombie that belongs to nobody.
  const std::lock_guard lock(mutex_);
  // As long as it is not reaped its number, and so the group's, is nobody else's.
  ::kill(-group, SIGKILL);
  tell('-', group);
  wait_for(group, about);
  groups_.erase(group);
}

void ProcessGroups::kill_all() {
  const std::lock_guard lock(mutex_);
  for (const pid_t group : groups_) ::kill(-group, SIGKILL);
}

bool ProcessGroups::holds(pid_t group) const {
  const std::lock_guard lock(mutex_);
  return groups_.contains(group);
}

std::size_t ProcessGroups::size() const {
  const std::lock_guard lock(mutex_);
  return groups_.size();
}

Process::Process(Spawned spawned, ProcessGroups* groups)
    : pid_(spawned.pid), pidfd_(std::move(spawned.pidfd)), groups_(groups) {}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)), groups_(other.groups_) {}

Process& Process::operator=(Process&& other) noexcept {
  if (this != &other) {
    if (there()) {
      signal_group(SIGKILL);
      (void)reap();
    }
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
    groups_ = other.groups_;
  }
  return *this;
}

Process::~Process() {
  if (!there()) return;
  signal_group(SIGKILL);
  (void)reap();
}

bool Process::ended() const {
  pollfd poll_for{pidfd_.get(), POLLIN, 0};
  return ::poll(&poll_for, 1, 0) > 0;
}

void Process::signal_group(int number) const { ::kill(-pid_, number); }

ProcessEnd Process::reap() {
  pollfd poll_for{pidfd_.get(), POLLIN, 0};
  while (::poll(&poll_for, 1, -1) < 0 && errno == EINTR) continue;
  siginfo_t about = {};
  groups_->reap(pid_, &about);
  bury_group(pid_);
  pid_ = -1;
  pidfd_.close();
  ProcessEnd end;
  end.by_signal = about.si_code != CLD_EXITED;
  end.number = about.si_status;
  end.core_dumped = about.si_code == CLD_DUMPED;
  return end;
}

}  // namespace jobq::runner
