// The ROUTER socket against connections made by hand.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <string>

#include "libjobq/base/tcp_liveness.hpp"
#include "libjobq/channel.hpp"
#include "tests/server/raw_peer.hpp"

using namespace jobq;

namespace {

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

// False when another thread's file has got the number of the descriptor first.
bool a_successor_is_not_cut_off() {
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
  if (!successor.is_served_by(descriptor)) return false;
  // At first it may still be taken for sent.
  CHECK(comes_true([&] { return !listening.transport->send(peer, "a job"); }));

  successor.send("good morning");
  CHECK(listening.message("good morning").value != peer.value);
  return true;
}

}  // namespace

// The loop hears of an end at its next wait(). Until then it may want to send to a peer that is gone, and ZeroMQ may have
// given the number of its descriptor to somebody else: he was cut off, and what he had sent was lost.
TEST_CASE("who has the descriptor of a peer that is gone is not cut off in its place") {
  int tries = 1;
  while (tries < 100 && !a_successor_is_not_cut_off()) ++tries;
  CHECK(tries < 100);
}

// ZeroMQ's thread reads all that the kernel has of one connection before it looks at the next: by its own rules the kernel
// lets that grow to many megabytes.
TEST_CASE("of no connection more than a part of a message is read at once") {
  Listening listening;
  RawPeer peer;
  peer.connect(listening.port);
  peer.send("hello");
  (void)listening.message("hello");
  const int descriptor = descriptor_serving(peer);
  REQUIRE(descriptor >= 0);
  CHECK(option_of(descriptor, SOL_SOCKET, SO_RCVBUF) ==
        2 * (128 << 10));  // fixed; the kernel doubles what it is told
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
