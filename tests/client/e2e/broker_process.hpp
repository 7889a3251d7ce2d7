// A real broker for one test: a temporary directory, an endpoint in it, start, kill -9, stop. Ends with the test.
//
// The program is named by JOBQ_BROKER. JOBQ_TEST_PATIENCE stretches every deadline of a test (sanitizers, slow
// machines).
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "jobq/client.hpp"
#include "jobq/msgpack_body.hpp"

namespace jobq::test {

std::chrono::milliseconds patient(std::chrono::milliseconds time);

// Polls until the condition holds; false at the deadline.
bool eventually(const std::function<bool()>& condition,
                std::chrono::milliseconds within = std::chrono::milliseconds{20'000});

class BrokerProcess {
 public:
  enum class Transport : std::uint8_t { ipc, tcp };
  explicit BrokerProcess(Transport transport = Transport::ipc);
  ~BrokerProcess();
  BrokerProcess(const BrokerProcess&) = delete;
  BrokerProcess& operator=(const BrokerProcess&) = delete;

  void start();
  void kill();    // -9
  void freeze();  // SIGSTOP; thaw() before anything else
  void thaw();
  int stop();  // SIGTERM; the exit status of the process
  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }

 private:
  void reap();

  std::string directory_;
  std::string endpoint_;
  pid_t pid_ = -1;
};

// A queue's row of `stats`; all zero when there is none.
struct QueueRow {
  std::string name;
  std::uint64_t ready = 0;
  std::uint64_t leased = 0;
  std::uint64_t scheduled = 0;
  std::uint64_t dead = 0;
  std::uint64_t enqueued_total = 0;
  std::uint64_t acked_total = 0;
  std::uint64_t failed_total = 0;
  std::uint64_t cancelled_total = 0;
  MSGPACK_DEFINE_MAP(name, ready, leased, scheduled, dead, enqueued_total, acked_total, failed_total,
                     cancelled_total)
};
QueueRow queue_row(Client& client, const std::string& queue);
void set_queue(Client& client, const std::string& queue, const std::string& setting, std::int64_t value);

}  // namespace jobq::test
