#include "bench/bench_server.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <utility>

#include "jobq/client.hpp"
#include "jobq/msgpack_body.hpp"
#include "libjobq/admin.hpp"
#include "libjobq/base/check.hpp"

namespace jobq::bench {
namespace {

using namespace std::chrono_literals;

struct StoreStats {
  std::uint64_t commits = 0;
  MSGPACK_DEFINE_MAP(commits)
};
struct Stats {
  StoreStats store;
  MSGPACK_DEFINE_MAP(store)
};

}  // namespace

Broker::Broker(std::string program, const std::string& transport, const std::string& directory)
    : program_(std::move(program)), directory_(directory) {
  endpoint_ = transport == "ipc" ? "ipc://" + directory_.path() + "/socket"
                                 : fmt::format("tcp://127.0.0.1:{}", free_port());
  start();
}

void Broker::start() {
  started_ns_ = now_ns();
  process_ = Child::exec(
      {program_, "--data", directory_.path() + "/data", "--listen", endpoint_, "--log-level", "warning"},
      directory_.path() + "/log");
}

void Broker::kill_9() { process_.end(SIGKILL); }

void Broker::check_alive() {
  JOBQ_CHECK(
      process_.runs(),
      "the broker has ended, or '{}' (--broker) is not there; what it said is in the directory (--dir)",
      program_);
}

std::uint64_t Broker::commits(Client* client) {
  const Result<std::string> document = admin(*client, "stats", {}, 30s);
  JOBQ_CHECK(document.ok(), "{}", document.status().text());
  return unpack_body<Stats>(*document).store.commits;
}

double Broker::disk_mb() const {
  double bytes = 0;
  std::error_code gone;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory_.path() + "/data", gone)) {
    struct stat status {};
    if (stat(entry.path().c_str(), &status) == 0 && S_ISREG(status.st_mode))
      bytes += 512.0 * static_cast<double>(status.st_blocks);
  }
  return bytes / 1e6;
}

}  // namespace jobq::bench
