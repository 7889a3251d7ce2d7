#include "worker/process.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>

using jobq::runner::Descriptor;
using jobq::runner::Process;
using jobq::runner::ProcessEnd;
using jobq::runner::ProcessGroups;
using jobq::runner::spawn_process;
using jobq::runner::SpawnRequest;

namespace {

const Descriptor& null() {
  static const Descriptor fd{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  return fd;
}

SpawnRequest shell(const std::string& line) {
  return {"/bin/sh",    {"sh", "-c", line}, {"PATH=/usr/bin:/bin", "GREETING=hello"},
          null().get(), null().get(),       null().get()};
}

ProcessEnd run(const std::string& line) {
  ProcessGroups groups;
  auto spawned = spawn_process(shell(line));
  REQUIRE(spawned.error == 0);
  groups.add(spawned.pid);
  Process process{std::move(spawned), &groups};
  const ProcessEnd end = process.reap();
  CHECK(groups.size() == 0);
  CHECK_FALSE(process.there());
  return end;
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

std::string output_of(const std::string& line) {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  Descriptor read_end{ends[0]};
  Descriptor write_end{ends[1]};
  SpawnRequest request = shell(line);
  request.out = write_end.get();
  ProcessGroups groups;
  auto spawned = spawn_process(request);
  REQUIRE(spawned.error == 0);
  groups.add(spawned.pid);
  Process process{std::move(spawned), &groups};
  write_end.close();
  std::string text;
  std::array<char, 512> buffer{};
  for (ssize_t got = 0; (got = ::read(read_end.get(), buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  (void)process.reap();
  return text;
}

}  // namespace

TEST_CASE("how a process ends is told") {
  CHECK(run("exit 0").number == 0);
  CHECK(run("exit 75").number == 75);
  CHECK_FALSE(run("exit 75").by_signal);
  const ProcessEnd killed = run("kill -TERM $$");
  CHECK(killed.by_signal);
  CHECK(killed.number == SIGTERM);
}

TEST_CASE("why a process cannot be started is told, and leaves nothing") {
  const std::size_t before = open_descriptors();
  SpawnRequest request = shell("");
  request.path = "/no/such/program";
  CHECK(spawn_process(request).error == ENOENT);
  request.path = "/etc/passwd";
  CHECK(spawn_process(request).error == EACCES);
  request.path = "/bin/sh";
  request.variables.emplace_back("HUGE=" + std::string(4 << 20, 'x'));
  CHECK(spawn_process(request).error == E2BIG);
  CHECK(open_descriptors() == before);
  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
  CHECK(errno == ECHILD);
}

// The signals that this process ignores, as it is written in /proc: nohup and shells hand some down.
std::string ignored_signals() {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("SigIgn:\t")) return "SigIgn:" + line.substr(8) + "\n";
  }
  return "";
}

TEST_CASE("a process leads its own group, has its environment, plain signals and only three descriptors") {
  CHECK(output_of("echo $GREETING") == "hello\n");
  CHECK(output_of("[ $(cut -d' ' -f5 /proc/$$/stat) = $$ ] && echo leads") == "leads\n");
  const Descriptor leaked{::open("/dev/null", O_RDONLY)};  // not close-on-exec
  REQUIRE(leaked.open());
  CHECK(output_of("ls /proc/$$/fd") == "0\n1\n2\n");
  // What whoever started us had decided stays so; what we have decided for ourselves is undone.
  const auto before = ::signal(SIGPIPE, SIG_DFL);
  const std::string inherited = ignored_signals();
  REQUIRE(inherited.starts_with("SigIgn:"));
  ::signal(SIGPIPE, SIG_IGN);
  REQUIRE(ignored_signals() != inherited);
  CHECK(output_of("grep SigIgn /proc/$$/status | tr -d '\\t'") == inherited);
  CHECK(output_of("grep SigBlk /proc/$$/status | tr -d '\\t'") == "SigBlk:0000000000000000\n");
  ::signal(SIGPIPE, before);
}

TEST_CASE("what a process leaves behind in its group is gone when it is reaped") {
  jobq::runner::adopt_orphans();
  const std::string pids = output_of("sleep 300 >/dev/null & echo $!; sleep 300 >/dev/null & echo $!");
  CHECK(pids.size() > 3);
  for (std::size_t at = 0; at < pids.size(); at = pids.find('\n', at) + 1) {
    const pid_t pid = static_cast<pid_t>(std::strtol(pids.c_str() + at, nullptr, 10));
    CHECK(::kill(pid, 0) == -1);
    CHECK(errno == ESRCH);
  }
}

TEST_CASE("all groups are killed at once, and a process that is dropped is killed and reaped") {
  ProcessGroups groups;
  auto spawned = spawn_process(shell("sleep 300"));
  REQUIRE(spawned.error == 0);
  const pid_t pid = spawned.pid;
  groups.add(pid);
  {
    Process process{std::move(spawned), &groups};
    CHECK(groups.holds(pid));
    CHECK_FALSE(process.ended());
    groups.kill_all();
    const ProcessEnd end = process.reap();
    CHECK(end.number == SIGKILL);
  }
  auto other = spawn_process(shell("sleep 300"));
  const pid_t dropped = other.pid;
  groups.add(dropped);
  { const Process process{std::move(other), &groups}; }
  CHECK(::kill(dropped, 0) == -1);
  CHECK(groups.size() == 0);
}
