// A little program under test: a checkout that enqueues a receipt, and the handler that mails it. It takes Client and Worker
// as they come, so that a test can give it those of its own.
#pragma once

#include <chrono>
#include <string>

#include "examples/receipt_job.hpp"
#include "jobq/client.hpp"
#include "jobq/worker.hpp"

namespace receipts {

inline constexpr const char* kQueue = "receipts";

// Where the mails go; tests have their own.
class Mailer {
 public:
  virtual ~Mailer() = default;
  // Throws std::runtime_error with the mail server's words.
  virtual void send(const std::string& to, std::uint64_t order) = 0;
};

enum class Answer { accepted, come_again };

// An order answered twice makes one receipt. The mail goes out ten minutes later: orders are often changed at once.
inline Answer checkout(jobq::Client& client, const std::string& to, std::uint64_t order) {
  const jobq::EnqueueResult result = client.try_enqueue(
      kQueue, SendReceipt{to, order},
      {.delay = std::chrono::minutes{10}, .unique_key = "receipt:" + std::to_string(order)});
  return result.ok() ? Answer::accepted : Answer::come_again;
}

inline void serve(jobq::Worker& worker, Mailer& mailer) {
  worker.on<SendReceipt>([&mailer](const SendReceipt& receipt, jobq::Context& job) {
    if (receipt.to.empty()) return job.reject("an order without an address");
    mailer.send(receipt.to, receipt.order);
  });
}

}  // namespace receipts
