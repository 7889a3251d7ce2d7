// Puts one job into a queue and says what became of it.
//
//   build/examples/enqueue tcp://127.0.0.1:7710 a@example.org 42
//
// Run it twice: the unique key makes the second call answer with the job of the first.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "examples/receipt_job.hpp"
#include "jobq/client.hpp"

int main(int argc, char** argv) try {
  if (argc != 4) {
    std::fprintf(stderr, "usage: enqueue ENDPOINT ADDRESS ORDER\n");
    return 64;
  }
  const SendReceipt receipt{argv[2], std::strtoull(argv[3], nullptr, 10)};

  jobq::Client client{argv[1]};
  const jobq::EnqueueResult made =
      client.try_enqueue("receipts", receipt, {.unique_key = "receipt:" + std::to_string(receipt.order)});

  switch (made.outcome()) {
    case jobq::Outcome::accepted:  // It is on disk at the broker.
      std::printf("%s %s\n", made->duplicate ? "was there already:" : "accepted:", made->id.c_str());
      return 0;
    case jobq::Outcome::refused:  // Nothing was stored: tell the user, or try again later.
      std::printf("refused: %s\n", made.status().text().c_str());
      return 1;
    case jobq::Outcome::unknown:  // Sent, no answer: with the unique key it is safe to enqueue it again.
      std::printf("unknown: %s\n", made.status().text().c_str());
      return 2;
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "enqueue: %s\n", error.what());
  return 70;
}
