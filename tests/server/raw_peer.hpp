// A peer of ZMTP made by hand and a transport that listens, for the tests of the ROUTER socket.
#pragma once

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "broker/net/zmq_transport.hpp"

namespace jobq {

// Until it holds, or far longer than it should take.
inline bool comes_true(const std::function<bool()>& what) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
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
  // As much of these bytes as goes without waiting; how much that was, 0 too when it has been cut off.
  std::size_t push(std::string_view bytes) const {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent > 0 ? static_cast<std::size_t>(sent) : 0;
  }
  // Whether the other side has ended it. What it says is thrown away.
  [[nodiscard]] bool is_cut() const {
    std::array<char, 4096> some{};
    ssize_t bytes = 0;
    do bytes = ::recv(socket_, some.data(), some.size(), MSG_DONTWAIT);
    while (bytes > 0);
    return bytes == 0 || (errno != EAGAIN && errno != EINTR);
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

struct Listening {
  std::unique_ptr<ZmqTransport> transport;
  std::uint16_t port = 0;
  std::size_t messages = 0;

  explicit Listening(ZmqOptions options = {}) {
    options.listen = {"tcp://127.0.0.1:*"};
    auto opened = ZmqTransport::open(options);
    REQUIRE(opened.ok());
    transport = *std::move(opened);
    const std::string endpoint = transport->endpoints().at(0);
    port = static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1)));
  }
  // One turn; messages are counted.
  void turn() {
    transport->wait(DurationMs{1});
    TransportEvent event;
    while (transport->next(&event)) messages += event.kind == TransportEventKind::message ? 1U : 0U;
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

}  // namespace jobq
