// Starting and ending processes: each in a process group of its own, with nothing of ours open in it, and killed by the
// kernel when jobq-worker dies.
//
// Thread-safety: spawn_process() from one thread for the whole life of the program, and that thread has to live as long as
// the processes: the kernel's death signal is tied to it (spawner.hpp brings the others' wishes there).
// ProcessGroups: any thread. A Process belongs to one thread at a time.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "worker/descriptor.hpp"
#include "worker/verdict.hpp"

namespace jobq::runner {

struct SpawnRequest {
  std::string path;
  std::vector<std::string> arguments;  // argv, the command's name first
  std::vector<std::string> variables;  // the whole environment
  // What becomes its stdin, stdout and stderr. Stay the caller's.
  int in = -1;
  int out = -1;
  int err = -1;
};

struct Spawned {
  pid_t pid = -1;
  Descriptor pidfd;  // readable when it has ended
  int error = 0;     // errno of what failed; then there is no process
};

// Raises our own limit of open descriptors as far as `needed` and the hard limit allow; processes get back the one that was
// (programs that select() break above 1024). The limit that holds now. From the main thread, before the first spawn.
std::size_t raise_descriptor_limit(std::size_t needed);

// Processes whose parents have died become this process's children, so that it can wait for whole groups to be gone.
void adopt_orphans();

// Returns when the program runs, or why it does not: also a failed exec is known here.
Spawned spawn_process(const SpawnRequest& request);

// The groups that live, so that all can be killed at once. A group is in it until its leader is reaped, so that its number
// cannot be another's meanwhile.
class ProcessGroups {
 public:
  // `guardian_fd`: where to tell the guardian (guardian.hpp), or -1.
  explicit ProcessGroups(int guardian_fd = -1) : guardian_fd_(guardian_fd) {}
  void add(pid_t group);
  // REQUIRES: its leader has ended. Takes it off the process table.
  void reap(pid_t group, siginfo_t* about);
  void kill_all();
  [[nodiscard]] bool holds(pid_t group) const;
  [[nodiscard]] std::size_t size() const;

 private:
  void tell(char what, pid_t group) const;

  int guardian_fd_;
  mutable std::mutex mutex_;
  std::set<pid_t> groups_;
};

// One living process and its group. Whoever holds it ends it: the destructor kills and reaps what is left.
class Process {
 public:
  Process() = default;
  // `groups` outlives it.
  Process(Spawned spawned, ProcessGroups* groups);
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  [[nodiscard]] bool there() const { return pid_ > 0; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }
  [[nodiscard]] bool ended() const;
  void signal_group(int number) const;

  // Waits for its end, kills what is left of its group, and takes all of it off the process table.
  ProcessEnd reap();

 private:
  pid_t pid_ = -1;
  Descriptor pidfd_;
  ProcessGroups* groups_ = nullptr;
};

}  // namespace jobq::runner
