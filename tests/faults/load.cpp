// load produce|work|count ENDPOINT NAME SEED
//   produce, work  a producer or a worker whose history goes to standard output, line by line as it happens.
//                  Ends at SIGTERM: a producer when all its questions have ended, a worker after its drain.
//   count          prints what the broker counts in the queue, as one JSON object
#include "tests/faults/load.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>

#include "jobq/client.hpp"
#include "jobq/msgpack_body.hpp"
#include "libjobq/admin.hpp"
#include "libjobq/base/hash.hpp"

namespace jobq::faults {

bool asked_to_stop(std::int64_t wait_ms) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  const timespec wait{wait_ms / 1'000, (wait_ms % 1'000) * 1'000'000};
  static bool asked = false;
  asked = sigtimedwait(&signals, nullptr, &wait) > 0 || asked;
  return asked;
}

std::string hash_text(std::string_view body) { return fmt::format("{:016x}", hash64(body)); }

}  // namespace jobq::faults

namespace {

struct QueueRow {
  std::string name;
  std::uint64_t ready = 0, scheduled = 0, leased = 0, dead = 0;
  MSGPACK_DEFINE_MAP(name, ready, scheduled, leased, dead)
};
struct StatsDocument {
  std::vector<QueueRow> queues;
  MSGPACK_DEFINE_MAP(queues)
};

}  // namespace

namespace jobq::faults {

int print_counts(const LoadOptions& options) {
  Client client{options.endpoint};
  const Result<std::string> document = admin(client, "stats", {}, std::chrono::milliseconds{2'000});
  if (!document.ok()) {
    std::fprintf(stderr, "load: %s\n", document.status().text().c_str());
    return 1;
  }
  QueueRow found;
  for (const QueueRow& row : unpack_body<StatsDocument>(*document).queues)
    if (row.name == options.queue) found = row;
  std::printf("{\"ready\":%llu,\"scheduled\":%llu,\"leased\":%llu,\"dead\":%llu}\n",
              static_cast<unsigned long long>(found.ready), static_cast<unsigned long long>(found.scheduled),
              static_cast<unsigned long long>(found.leased), static_cast<unsigned long long>(found.dead));
  return 0;
}

}  // namespace jobq::faults

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: load produce|work|count ENDPOINT NAME SEED\n");
    return 2;
  }
  sigset_t signals;  // Blocked before the library starts its threads: asked_to_stop() takes them.
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  const std::string kind = argv[1];
  jobq::faults::LoadOptions options;
  options.endpoint = argv[2];
  options.name = argv[3];
  options.seed = std::strtoull(argv[4], nullptr, 10);
  jobq::faults::HistoryWriter history{STDOUT_FILENO, options.name};
  try {
    if (kind == "count") return print_counts(options);
    return kind == "produce" ? run_producer(options, &history) : run_worker(options, &history);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "load: %s\n", problem.what());
    return 1;
  }
}
