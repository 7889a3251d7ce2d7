// Works on the jobs of the other examples until SIGTERM or SIGINT.
//
//   build/examples/worker tcp://127.0.0.1:7710
//
// Ctrl-C: it takes no more jobs, finishes those that run, and says goodbye.
#include <chrono>
#include <cstdio>
#include <exception>
#include <stdexcept>

#include "examples/receipt_job.hpp"
#include "jobq/worker.hpp"

using namespace std::chrono_literals;

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: worker ENDPOINT\n");
    return 64;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);

  jobq::Worker worker{argv[1],
                      {.queues = {{"receipts", 3}, "reports"}, .concurrency = 4, .drain_timeout = 10s}};

  worker.on<SendReceipt>([](const SendReceipt& receipt, jobq::Context& job) {
    if (receipt.to.find('@') == std::string::npos)
      return job.reject("no address: " + receipt.to);                                          // dead at once
    if (receipt.order == 13 && job.attempt() == 1) throw std::runtime_error("451 try again");  // retried
    std::printf("receipt for order %llu to %s (attempt %u)\n", static_cast<unsigned long long>(receipt.order),
                receipt.to.c_str(), job.attempt());
  });
  worker.on_any([](jobq::Context& job) {
    std::printf("%s: %zu bytes\n", std::string{job.queue()}.c_str(), job.body().size());
  });

  const jobq::DrainReport report = worker.run();
  std::printf("done, %zu handed back\n", report.handed_back);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "worker: %s\n", error.what());
  return 70;
}
