// beanstalkd, whose protocol is its interface: puts pipelined; a worker reserves as many at a time as it got the last
// time, twice over, and deletes them with the commands that reserve the next.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "bench/peers/peer.hpp"
#include "libjobq/base/check.hpp"

namespace jobq::bench {
namespace {

class Connection {
 public:
  explicit Connection(const PeerArguments& arguments) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(arguments.port));
    inet_pton(AF_INET, arguments.host.c_str(), &address.sin_addr);
    JOBQ_CHECK(connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0,
               "beanstalkd does not listen on port {}", arguments.port);
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ~Connection() { close(fd_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  void append(std::string_view bytes) { out_.append(bytes); }
  // Sends all that was appended; what comes meanwhile is read, so that neither side waits for the other.
  void flush() {
    std::size_t sent = 0;
    while (sent < out_.size()) {
      const ssize_t bytes = ::send(fd_, out_.data() + sent, out_.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (bytes > 0) {
        sent += static_cast<std::size_t>(bytes);
        continue;
      }
      wait_for_socket(fd_, true, 100);
      read_some(MSG_DONTWAIT);
    }
    out_.clear();
  }
  void read_some(int flags) {
    if (at_ > 0) in_.erase(0, at_);
    at_ = 0;
    const std::size_t had = in_.size();
    in_.resize(had + (std::size_t{256} << 10));
    const ssize_t bytes = recv(fd_, in_.data() + had, in_.size() - had, flags);
    JOBQ_CHECK(bytes != 0, "beanstalkd closed the connection");
    in_.resize(had + static_cast<std::size_t>(std::max<ssize_t>(bytes, 0)));
  }
  // A whole line that is there already, without its end; false when there is none.
  bool line(std::string_view* found) {
    const std::size_t end = in_.find("\r\n", at_);
    if (end == std::string::npos) return false;
    *found = std::string_view(in_).substr(at_, end - at_);
    at_ = end + 2;
    return true;
  }
  std::string wait_line() {
    std::string_view found;
    while (!line(&found)) read_some(0);
    return std::string(found);
  }
  std::string_view wait_bytes(std::size_t count) {
    while (in_.size() - at_ < count) read_some(0);
    at_ += count;
    return std::string_view(in_).substr(at_ - count, count);
  }

 private:
  int fd_;
  std::string out_, in_;
  std::size_t at_ = 0;
};

class Producer final : public PeerProducer {
 public:
  Producer(const PeerArguments& arguments, Confirmations* confirmations)
      : connection_(arguments), confirmations_(confirmations) {}
  void send(std::string_view body, std::size_t count) override {
    for (std::size_t i = 0; i < count; ++i) {
      connection_.append("put 5 0 60 " + std::to_string(body.size()) + "\r\n");
      connection_.append(body);
      connection_.append("\r\n");
    }
  }
  void receive(int timeout_ms) override {
    connection_.flush();
    const std::uint64_t before = confirmed_;
    take_lines();
    if (confirmed_ == before && wait_for_socket(connection_.fd(), false, timeout_ms)) {
      connection_.read_some(0);
      take_lines();
    }
    if (confirmed_ > before) confirmations_->up_to(confirmed_);
  }

 private:
  void take_lines() {
    for (std::string_view line; connection_.line(&line); ++confirmed_)
      JOBQ_CHECK(line.starts_with("INSERTED"), "beanstalkd: {}", line);
  }
  Connection connection_;
  Confirmations* confirmations_;
  std::uint64_t confirmed_ = 0;
};

class Worker final : public PeerWorker {
 public:
  explicit Worker(const PeerArguments& arguments) : connection_(arguments), most_(arguments.window) {}
  std::size_t take(int timeout_ms, const std::function<void(std::string_view)>& handle) override {
    // Only the first one waits, by whole seconds: the server answers a waiting connection nothing else.
    connection_.append(timeout_ms > 0 ? "reserve-with-timeout 1\r\n" : "reserve-with-timeout 0\r\n");
    for (std::size_t i = 1; i < asked_; ++i) connection_.append("reserve-with-timeout 0\r\n");
    connection_.flush();
    for (; deletes_open_ > 0; --deletes_open_) {
      const std::string line = connection_.wait_line();
      JOBQ_CHECK(line == "DELETED", "beanstalkd: {}", line);
    }
    ids_.clear();
    for (std::size_t i = 0; i < asked_; ++i) {
      const std::string line = connection_.wait_line();
      if (line == "TIMED_OUT") continue;
      JOBQ_CHECK(line.starts_with("RESERVED "), "beanstalkd: {}", line);
      const std::size_t space = line.find(' ', 9);
      const std::size_t size = std::strtoull(line.c_str() + space, nullptr, 10);
      handle(connection_.wait_bytes(size + 2).substr(0, size));
      ids_.push_back(line.substr(9, space - 9));
    }
    asked_ = std::clamp<std::size_t>(2 * ids_.size(), 1, most_);
    return ids_.size();
  }
  void ack() override {
    for (const std::string& id : ids_) connection_.append("delete " + id + "\r\n");
    deletes_open_ = ids_.size();
  }

 private:
  Connection connection_;
  const std::size_t most_;
  std::size_t asked_ = 1, deletes_open_ = 0;
  std::vector<std::string> ids_;
};

}  // namespace

// Its server is started anew for each row: there is nothing to clear.
void prepare_peer(const PeerArguments& arguments) { const Connection connection(arguments); }
std::unique_ptr<PeerProducer> connect_producer(const PeerArguments& arguments, Confirmations* confirmations) {
  return std::make_unique<Producer>(arguments, confirmations);
}
std::unique_ptr<PeerWorker> connect_worker(const PeerArguments& arguments) {
  return std::make_unique<Worker>(arguments);
}

}  // namespace jobq::bench
