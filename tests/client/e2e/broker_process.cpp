#include "tests/client/e2e/broker_process.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "libjobq/admin.hpp"

namespace jobq::test {

using namespace std::chrono_literals;

std::chrono::milliseconds patient(std::chrono::milliseconds time) {
  const char* factor = std::getenv("JOBQ_TEST_PATIENCE");
  return time * (factor == nullptr ? 1 : std::max(1, static_cast<int>(std::strtol(factor, nullptr, 10))));
}

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds within) {
  const auto until = std::chrono::steady_clock::now() + patient(within);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

namespace {

// A port that is free now: bound and let go.
int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(fd >= 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  REQUIRE(::bind(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0);
  REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

}  // namespace

BrokerProcess::BrokerProcess(Transport transport) {
  std::string pattern = (std::filesystem::temp_directory_path() / "jobq-client-e2e.XXXXXX").string();
  REQUIRE(::mkdtemp(pattern.data()) != nullptr);
  directory_ = pattern;
  endpoint_ = transport == Transport::ipc ? "ipc://" + directory_ + "/broker"
                                          : "tcp://127.0.0.1:" + std::to_string(free_port());
}

BrokerProcess::~BrokerProcess() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    reap();
  }
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void BrokerProcess::start() {
  const char* program = std::getenv("JOBQ_BROKER");
  REQUIRE_MESSAGE(program != nullptr, "JOBQ_BROKER is not set: run the test with `meson test`");
  std::vector<std::string> words = {program, "--data", directory_ + "/data", "--listen", endpoint_};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string log = directory_ + "/broker.log";
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  REQUIRE(pid_ >= 0);
  if (pid_ > 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);  // it died before the line above
  const int fd = ::open(log.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
  ::dup2(fd, STDOUT_FILENO);
  ::dup2(fd, STDERR_FILENO);
  ::execv(program, argv.data());
  ::_exit(127);
}

void BrokerProcess::reap() {
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void BrokerProcess::kill() {
  REQUIRE(pid_ > 0);
  ::kill(pid_, SIGKILL);
  reap();
}

void BrokerProcess::freeze() { ::kill(pid_, SIGSTOP); }
void BrokerProcess::thaw() { ::kill(pid_, SIGCONT); }

int BrokerProcess::stop() {
  REQUIRE(pid_ > 0);
  ::kill(pid_, SIGTERM);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return status;
}

namespace {

struct Stats {
  std::vector<QueueRow> queues;
  MSGPACK_DEFINE_MAP(queues)
};

}  // namespace

QueueRow queue_row(Client& client, const std::string& queue) {
  const Result<std::string> document = admin(client, "stats", {}, patient(10s));
  REQUIRE_MESSAGE(document.ok(), document.status().text());
  const Stats stats = unpack_body<Stats>(*document);
  for (const QueueRow& row : stats.queues) {
    if (row.name == queue) return row;
  }
  return {};
}

void set_queue(Client& client, const std::string& queue, const std::string& setting, std::int64_t value) {
  const Result<std::string> done =
      admin(client, "queue.set", {{"queue", queue}, {setting, value}}, patient(10s));
  REQUIRE_MESSAGE(done.ok(), done.status().text());
}

}  // namespace jobq::test
