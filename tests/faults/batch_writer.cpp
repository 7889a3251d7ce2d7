// batch_writer DIR SEED BATCHES COMPACT: writes the batches of crash_workload.hpp into a store and says on standard
// output when each is durable: "0" when the store is open, then "1", "2", ... one line each. After every COMPACT batches
// (0: never) the store is closed, compacted, and opened again.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "broker/store/offline.hpp"
#include "tests/faults/crash_workload.hpp"

namespace {

void say(std::uint64_t number) {
  const std::string line = fmt::format("{}\n", number);
  if (write(STDOUT_FILENO, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::exit(3);
}

int fail(const jobq::Status& status) {
  std::fprintf(stderr, "batch_writer: %s\n", status.text().c_str());
  return 1;
}

jobq::Result<std::unique_ptr<jobq::Store>> open(const std::string& directory) {
  auto store = jobq::open_lmdb_store(jobq::faults::crash_options(directory));
  if (!store.ok()) return store;
  if (const auto found = (*store)->recover(); !found.ok()) return found.status();
  return store;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: batch_writer DIR SEED BATCHES COMPACT\n");
    return 2;
  }
  auto store = open(argv[1]);
  if (!store.ok()) return fail(store.status());
  say(0);
  jobq::faults::CrashWorkload workload{std::strtoull(argv[2], nullptr, 10)};
  const std::uint64_t batches = std::strtoull(argv[3], nullptr, 10);
  const std::uint64_t compact = std::strtoull(argv[4], nullptr, 10);
  for (std::uint64_t number = 1; number <= batches; ++number) {
    const jobq::LegalBatch batch = workload.next();
    const auto submitted = (*store)->submit(batch.changes, batch.mark);
    if (!submitted.ok()) return fail(submitted.status());
    const auto completed = (*store)->completed(true);
    if (!completed.ok()) return fail(completed.status());
    say(number);
    if (compact > 0 && number % compact == 0) {
      store->reset();
      jobq::OfflineReport report;
      jobq::StoreProblem problem = jobq::StoreProblem::none;
      if (const auto done = jobq::compact_store(argv[1], {}, &report, &problem); !done.ok())
        return fail(done);
      store = open(argv[1]);
      if (!store.ok()) return fail(store.status());
    }
  }
  return 0;
}
