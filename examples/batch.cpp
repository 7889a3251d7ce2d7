// Many jobs in one call: each has a result of its own, or all are stored or none.
//
//   build/examples/batch tcp://127.0.0.1:7710 1000
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <vector>

#include "examples/receipt_job.hpp"
#include "jobq/client.hpp"

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::fprintf(stderr, "usage: batch ENDPOINT COUNT\n");
    return 64;
  }
  jobq::Client client{argv[1]};

  std::vector<jobq::NewJob> jobs;
  const std::uint64_t count = std::strtoull(argv[2], nullptr, 10);
  for (std::uint64_t order = 1; order <= count; ++order) {
    jobs.emplace_back(SendReceipt{"customer@example.org", 1000 + order});
  }
  std::size_t accepted = 0;
  for (const jobq::EnqueueResult& result : client.enqueue_many("receipts", jobs)) {
    if (result.ok()) {
      ++accepted;
    } else {
      std::printf("%s\n", result.status().text().c_str());
    }
  }
  std::printf("%zu of %zu accepted\n", accepted, jobs.size());

  // A pair that belongs together: the second is not valid, so the first is not stored either.
  const std::vector<jobq::NewJob> pair = {{"monthly", {.type = "report"}}, {"yearly", {.priority = 99}}};
  for (const jobq::EnqueueResult& result : client.enqueue_many("reports", pair, {.all_or_nothing = true})) {
    std::printf("%s: %s\n", jobq::to_string(result.code()).c_str(), result.status().text().c_str());
  }
  return accepted == jobs.size() ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "batch: %s\n", error.what());
  return 70;
}
