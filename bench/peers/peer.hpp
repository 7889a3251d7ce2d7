// What the benchmark of a peer has to offer: a producer and a worker made of the peer's own client library, and a
// queue for them. One program a peer (redis.cpp, postgres.cpp, ...) implements the three functions at the end;
// peer_main.cpp drives them with the loop of the bare loop's clients and prints one row as bench_broker does.
//
// Each object belongs to one process and one thread. Errors end the process with what the peer said (JOBQ_CHECK): a
// benchmark has nothing to recover.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace jobq::bench {

struct PeerArguments {
  std::string mode = "cycle";  // cycle, enqueue, deliver, sync, latency
  std::string name;            // of the peer, as the row says it
  std::string host = "127.0.0.1";
  int port = 0;
  std::string variant;        // RabbitMQ: quorum or classic
  int server_pid = 0;         // its CPU and memory count, and its children's
  std::size_t window = 1000;  // jobs without a confirmation, and unacked in a worker's hands
  std::uint64_t in_flight = 20'000;
  std::uint64_t backlog = 0;  // enqueued before anything is measured
  std::size_t body_bytes = 256;
  double rate = 1000;  // of mode latency
  double seconds = 3, warm_up = 1;
  bool json = false;
};

// Jobs are numbered 1, 2, 3, ... in the order in which they were sent. Thread-safe where the peer's client calls back
// from a thread of its own: the two functions may be called by one thread that is not the sender.
class Confirmations {
 public:
  Confirmations() = default;
  virtual ~Confirmations() = default;
  Confirmations(const Confirmations&) = delete;
  Confirmations& operator=(const Confirmations&) = delete;
  virtual void one(std::uint64_t number) = 0;
  virtual void up_to(std::uint64_t number) = 0;
};

class PeerProducer {
 public:
  PeerProducer() = default;
  virtual ~PeerProducer() = default;
  PeerProducer(const PeerProducer&) = delete;
  PeerProducer& operator=(const PeerProducer&) = delete;
  // How many jobs one send() is to carry where there are so many; 1 for a peer whose client pipelines single enqueues.
  [[nodiscard]] virtual std::size_t jobs_per_send() const { return 1; }
  // False while the peer's client can have nothing more on its way.
  [[nodiscard]] virtual bool can_send() const { return true; }
  // So many jobs with this body; may be held back until receive().
  virtual void send(std::string_view body, std::size_t count) = 0;
  // Sends what was held back, waits up to so long for a confirmation and takes all that are there.
  virtual void receive(int timeout_ms) = 0;
};

class PeerWorker {
 public:
  PeerWorker() = default;
  virtual ~PeerWorker() = default;
  PeerWorker(const PeerWorker&) = delete;
  PeerWorker& operator=(const PeerWorker&) = delete;
  // Waits up to so long for jobs and hands over the bodies of those that are there; says how many.
  virtual std::size_t take(int timeout_ms, const std::function<void(std::string_view)>& handle) = 0;
  // Acks all that the last take() handed over; nothing of them may be left in the peer afterwards.
  virtual void ack() = 0;
};

// An empty durable queue.
void prepare_peer(const PeerArguments& arguments);
std::unique_ptr<PeerProducer> connect_producer(const PeerArguments& arguments, Confirmations* confirmations);
std::unique_ptr<PeerWorker> connect_worker(const PeerArguments& arguments);

// Waits until the socket can be read, or written too; false when the time is up.
bool wait_for_socket(int fd, bool write_too, int timeout_ms);

}  // namespace jobq::bench
