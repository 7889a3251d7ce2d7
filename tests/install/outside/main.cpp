// A program outside of jobq, as its users write them: built by install_test.py against the installed copy. Enqueues a typed
// and a raw job, works both off, and says what it saw.
#include <atomic>
#include <cstdio>
#include <string>
#include <thread>

#include "jobq/jobq.hpp"

struct SendReceipt {
  std::string to;
  unsigned order = 0;
  MSGPACK_DEFINE_MAP(to, order)
};

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: outside ENDPOINT\n");
    return 64;
  }
  jobq::Client client{argv[1]};
  const jobq::Enqueued first =
      client.enqueue("receipts", SendReceipt{"a@example.org", 42}, {.unique_key = "receipt:42"});
  const jobq::Enqueued again =
      client.enqueue("receipts", SendReceipt{"a@example.org", 42}, {.unique_key = "receipt:42"});
  if (!again.duplicate || again.id != first.id) return 1;
  client.enqueue("receipts", "raw bytes", {.type = "Raw"});

  jobq::Worker worker{argv[1],
                      {.queues = {"receipts"}, .handle_signals = false, .log = [](std::string_view) {}}};
  std::atomic<int> left{2};
  const auto done = [&] {
    if (--left == 0) worker.stop();
  };
  worker.on<SendReceipt>([&](const SendReceipt& receipt, jobq::Context& job) {
    std::printf("%s: order %u for %s, attempt %u\n", std::string{job.type()}.c_str(), receipt.order,
                receipt.to.c_str(), job.attempt());
    done();
  });
  worker.on("Raw", [&](jobq::Context& job) {
    std::printf("%s: %s\n", std::string{job.type()}.c_str(), std::string{job.body()}.c_str());
    done();
  });
  const jobq::DrainReport report = worker.run();
  std::printf("unanswered %zu, version %s\n", report.unanswered, JOBQ_VERSION);

  try {
    client.enqueue("no queue has such a name", "x");
    return 2;
  } catch (const jobq::Error& error) {  // thrown inside the library
    std::printf("%s\n", jobq::to_string(error.code()).c_str());
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "outside: %s\n", error.what());
  return 70;
}
