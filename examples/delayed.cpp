// Jobs that wait: for a while, or until a date; and one that expires when nobody has started it by then.
//
//   build/examples/delayed tcp://127.0.0.1:7710
//
// Shows the three forms as well: blocking, future and callback.
#include <chrono>
#include <cstdio>
#include <exception>
#include <future>
#include <semaphore>

#include "examples/receipt_job.hpp"
#include "jobq/client.hpp"

using namespace std::chrono_literals;

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: delayed ENDPOINT\n");
    return 64;
  }
  jobq::Client client{argv[1]};

  const jobq::Enqueued soon = client.enqueue("receipts", SendReceipt{"later@example.org", 1}, {.delay = 1s});
  std::printf("in a second: %s\n", soon.id.c_str());

  const jobq::WallTime tomorrow = std::chrono::system_clock::now() + 24h;
  std::future<jobq::EnqueueResult> at_a_date =
      client.enqueue_async("receipts", SendReceipt{"future@example.org", 2}, {.run_at = tomorrow});

  std::binary_semaphore called{0};
  client.enqueue_async("receipts", SendReceipt{"never@example.org", 3}, {.delay = 1h, .expires_in = 2h},
                       [&called](const jobq::EnqueueResult& result) {
                         std::printf("or never: %s\n",
                                     result.ok() ? "accepted" : result.status().text().c_str());
                         called.release();
                       });
  called.acquire();

  const jobq::EnqueueResult dated = at_a_date.get();
  std::printf("tomorrow: %s\n", dated.ok() ? "accepted" : dated.status().text().c_str());
  return dated.ok() ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "delayed: %s\n", error.what());
  return 70;
}
