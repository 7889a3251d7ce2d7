// The ROUTER socket against connections made by hand.
#include "broker/net/zmq_transport.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "libjobq/base/tcp_liveness.hpp"
#include "libjobq/channel.hpp"

using namespace jobq;
using namespace std::chrono_literals;

namespace {

// Until it holds, or far longer than it should take.
bool comes_true(const std::function<bool()>& what) {
  const auto end = std::chrono::steady_clock::now() + 60s;
  while (!what()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

// A peer that speaks ZMTP 3.0 (https://rfc.zeromq.org/spec/23/) over a socket of its own.
class RawPeer {
 public:
  RawPeer() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    REQUIRE(socket_ >= 0);
    const int kept = 64 << 10;  // by the kernel, of what we do not read
    REQUIRE(::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &kept, sizeof kept) == 0);
  }
  ~RawPeer() { ::close(socket_); }
  RawPeer(const RawPeer&) = delete;
  RawPeer& operator=(const RawPeer&) = delete;

  // name: a routing id of its own choice.
  void connect(std::uint16_t port, const std::string& name = "") {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    socklen_t size = sizeof address;
    REQUIRE(::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = address.sin_port;
    std::string greeting("\xff\0\0\0\0\0\0\0\0\x7f\x03\0NULL", 16);
    greeting.resize(64);
    write(greeting);
    std::string ready(
        "\x05READY\x0bSocket-Type\0\0\0\x06"
        "DEALER",
        28);
    if (!name.empty()) {
      ready += std::string("\x08Identity\0\0\0", 12);
      ready += static_cast<char>(name.size()) + name;
    }
    write(std::string{'\x04', static_cast<char>(ready.size())} + ready);
    std::array<char, 64> theirs{};  // their greeting: the connection has been accepted
    REQUIRE(::recv(socket_, theirs.data(), theirs.size(), MSG_WAITALL) ==
            static_cast<ssize_t>(theirs.size()));
  }
  void send(std::string_view frame) {
    write(std::string{'\0', static_cast<char>(frame.size())} + std::string(frame));
  }
  // Whether these bytes come, behind whatever else does.
  [[nodiscard]] bool hears(std::string_view frame) {
    std::string heard;
    std::array<char, 256> some{};
    while (heard.find(frame) == std::string::npos) {
      const ssize_t bytes = ::recv(socket_, some.data(), some.size(), 0);
      if (bytes <= 0) return false;
      heard.append(some.data(), static_cast<std::size_t>(bytes));
    }
    return true;
  }
  // The other side sees the end; the number of our descriptor stays taken.
  void hang_up() { REQUIRE(::shutdown(socket_, SHUT_RDWR) == 0); }
  [[nodiscard]] bool is(int descriptor) const { return descriptor == socket_; }
  // Whether a descriptor of this process is the broker's end of this connection.
  [[nodiscard]] bool is_served_by(int descriptor) const {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    return ::getpeername(descriptor, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
           address.sin_family == AF_INET && address.sin_port == port_;
  }

 private:
  void write(const std::string& bytes) const {
    REQUIRE(::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
  }
  int socket_;
  in_port_t port_ = 0;
};

int descriptor_serving(const RawPeer& peer) {
  for (int descriptor = 3; descriptor < 1024; ++descriptor) {
    if (peer.is_served_by(descriptor)) return descriptor;
  }
  return -1;
}

int option_of(int descriptor, int level, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  CHECK(::getsockopt(descriptor, level, option, &value, &size) == 0);
  return value;
}

// The kernel asks after the peer, and gives it up when what was sent is not acknowledged.
void check_watched(int descriptor) {
  CHECK(option_of(descriptor, SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(option_of(descriptor, IPPROTO_TCP, TCP_KEEPIDLE) == tcp_liveness::kIdleSeconds);
  CHECK(option_of(descriptor, IPPROTO_TCP, TCP_KEEPINTVL) == tcp_liveness::kBetweenSeconds);
  CHECK(option_of(descriptor, IPPROTO_TCP, TCP_KEEPCNT) == tcp_liveness::kQuestions);
  CHECK(option_of(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT) == tcp_liveness::kUnacknowledgedMs);
}

// Whether it is a connection to that port of this machine.
bool leads_to(int descriptor, std::uint16_t port) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  return ::getpeername(descriptor, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
         address.sin_family == AF_INET && address.sin_port == htons(port);
}

struct Listening {
  std::unique_ptr<ZmqTransport> transport;
  std::uint16_t port = 0;

  explicit Listening(ZmqOptions options = {}) {
    options.listen = {"tcp://127.0.0.1:*"};
    auto opened = ZmqTransport::open(options);
    REQUIRE(opened.ok());
    transport = *std::move(opened);
    const std::string endpoint = transport->endpoints().at(0);
    port = static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1)));
  }
  // The next message; other events are passed over.
  PeerId message(std::string_view expected) {
    PeerId from{};
    const bool came = comes_true([&] {
      transport->wait(DurationMs{10});
      TransportEvent event;
      while (transport->next(&event)) {
        if (event.kind != TransportEventKind::message) continue;
        CHECK(event.bytes == expected);
        from = event.peer;
      }
      return from.value != 0;
    });
    CHECK_MESSAGE(came, "no message: ", expected);
    return from;
  }
};

}  // namespace

// The loop hears of an end at its next wait(). Until then it may want to send to a peer that is gone, and ZeroMQ may have
// given the number of its descriptor to somebody else: he was cut off, and what he had sent was lost.
TEST_CASE("who has the descriptor of a peer that is gone is not cut off in its place") {
  Listening listening;
  RawPeer gone, successor;
  gone.connect(listening.port);
  gone.send("hello");
  const PeerId peer = listening.message("hello");
  const int descriptor = descriptor_serving(gone);
  REQUIRE(descriptor >= 0);

  gone.hang_up();
  REQUIRE(comes_true([&] { return !gone.is_served_by(descriptor); }));
  successor.connect(listening.port);
  REQUIRE(successor.is_served_by(descriptor));
  // At first it may still be taken for sent.
  CHECK(comes_true([&] { return !listening.transport->send(peer, "a job"); }));

  successor.send("good morning");
  CHECK(listening.message("good morning").value != peer.value);
}

TEST_CASE("who comes under the name of another takes nothing from him") {
  Listening listening;
  RawPeer first, thief, witness;
  first.connect(listening.port, "worker-1");
  first.send("mine");
  const PeerId peer = listening.message("mine");
  thief.connect(listening.port, "worker-1");
  thief.send("stolen");
  // Its greeting takes another round of ZeroMQ's thread than what the thief has sent before.
  witness.connect(listening.port);
  witness.send("seen");
  listening.message("seen");
  REQUIRE(listening.transport->send(peer, "for worker-1"));
  CHECK(first.hears("for worker-1"));
}

TEST_CASE("both sides notice a peer that vanished without a word") {
  Listening listening;
  RawPeer peer;
  peer.connect(listening.port);
  peer.send("hello");
  listening.message("hello");
  check_watched(descriptor_serving(peer));

  ChannelContext context;
  Channel channel(&context, "tcp://127.0.0.1:" + std::to_string(listening.port));
  REQUIRE(channel.open().ok());
  REQUIRE(channel.send(Frame("good morning")).ok());
  listening.message("good morning");
  int watched = 0;
  for (int descriptor = 3; descriptor < 1024; ++descriptor) {
    if (!leads_to(descriptor, listening.port) || peer.is(descriptor)) continue;
    check_watched(descriptor);
    ++watched;
  }
  CHECK(watched == 1);
}

TEST_CASE("a peer that does not read is cut off") {
  ZmqOptions options;
  options.guard.unsent_bytes = 4 << 20;
  Listening listening(options);
  RawPeer deaf;
  deaf.connect(listening.port);
  deaf.send("hello");
  const PeerId peer = listening.message("hello");
  const std::string much(64 << 10, 'x');
  std::size_t taken = 0;
  CHECK(comes_true([&] {
    const bool sent = listening.transport->send(peer, much);
    if (sent) taken += much.size();
    return !sent;
  }));
  // The limit and what the kernel keeps, however much is handed over in one go.
  CHECK(taken < (24 << 20));
  CHECK(comes_true([&] { return listening.transport->stats().cut_connections == 1; }));
}
