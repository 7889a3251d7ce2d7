// Who is cut off by the guard, and who is not; its sums by themselves.
#include "broker/net/guard.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "broker/net/overrun.hpp"
#include "broker/net/process_memory.hpp"
#include "tests/server/raw_peer.hpp"

using namespace jobq;

namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

// A frame of ZMTP's long form. more: another one follows.
std::string frame(std::size_t bytes, bool more) {
  std::string made{more ? '\3' : '\2'};
  for (int shift = 56; shift >= 0; shift -= 8) made += static_cast<char>(bytes >> shift & 0xFFU);
  return made.append(bytes, 'x');
}

// A message of 8,192 of them that goes on.
const std::string kEmptyFrames = [] {
  std::string frames;
  for (int i = 0; i < 8192; ++i) frames += std::string("\1\0", 2);
  return frames;
}();

// All of it, while the loop turns; whether the peer was not cut off before.
bool sends_all(Listening& listening, const RawPeer& peer, std::string_view bytes) {
  return comes_true([&] {
           bytes.remove_prefix(peer.push(bytes));
           listening.turn();
           return bytes.empty() || peer.is_cut();
         }) &&
         bytes.empty();
}

// The same bytes over and over, until it is cut off; how many went.
std::uint64_t sends_until_cut(Listening& listening, const RawPeer& peer, std::string_view bytes,
                              std::uint64_t most) {
  std::uint64_t sent = 0;
  CHECK(comes_true([&] {
    for (std::size_t went = 1; went > 0 && sent < most;)
      sent += went = peer.push(bytes.substr(sent % bytes.size()));
    listening.turn();
    return peer.is_cut() || sent >= most;
  }));
  return sent;
}

}  // namespace

TEST_CASE("the largest go first, and no more than have to") {
  const std::array<std::uint64_t, 4> amounts{5, 30, 10, 20};
  using Indexes = std::vector<std::size_t>;
  CHECK(largest_beyond(amounts, 65).empty());
  CHECK(largest_beyond(amounts, 64) == Indexes{1});
  CHECK(largest_beyond(amounts, 35) == Indexes{1});
  CHECK(largest_beyond(amounts, 34) == Indexes{1, 3});
  CHECK(largest_beyond(amounts, 0) == Indexes{1, 3, 2, 0});
  CHECK(largest_beyond({}, 0).empty());
}

TEST_CASE("shares are in proportion, however large") {
  using Shares = std::vector<std::uint64_t>;
  const std::array<std::uint64_t, 3> amounts{1, 0, 3};
  CHECK(shares_of(400, amounts) == Shares{100, 0, 300});
  CHECK(shares_of(0, amounts) == Shares{0, 0, 0});
  const std::array<std::uint64_t, 2> nothing{0, 0};
  CHECK(shares_of(400, nothing) == Shares{0, 0});
  const std::array<std::uint64_t, 2> large{std::uint64_t{1} << 40, std::uint64_t{1} << 40};
  CHECK(shares_of(std::uint64_t{1} << 50, large) == Shares{std::uint64_t{1} << 49, std::uint64_t{1} << 49});
}

TEST_CASE("a message of empty frames has swollen; one whose share of another's memory is large has not") {
  CHECK(is_swollen(5 * kMiB, 160 << 10));  // 32 times
  CHECK(is_swollen(20 * kMiB, 2 * kMiB));
  CHECK(is_swollen(3 * kMiB, 96 << 10));
  CHECK_FALSE(is_swollen(3 * kMiB / 2, 48 << 10));  // little
  CHECK_FALSE(is_swollen(5 * kMiB, kMiB));          // five times: honest small frames may be so
  CHECK_FALSE(is_swollen(60 * kMiB, 300));          // more than can have been made of these
  CHECK_FALSE(is_swollen(60 * kMiB, 0));
}

TEST_CASE("what a thread touches first is counted for it, and is the process's own") {
  CHECK_FALSE(thread_named("nobody").has_value());
  CHECK(touched_bytes(std::numeric_limits<pid_t>::max()) == 0);
  const std::uint64_t touched = touched_bytes(::gettid()), own = own_memory_bytes();
  const std::vector<char> much(32 * kMiB, 'x');
  CHECK(touched_bytes(::gettid()) - touched >= 31 * kMiB);
  CHECK(own_memory_bytes() - own >= 31 * kMiB);
}

TEST_CASE("a message that does not end is cut off where no message can be longer") {
  ZmqOptions options;
  options.message_bytes_max = kMiB;
  Listening listening(options);
  RawPeer endless;
  endless.connect(listening.port);
  const std::uint64_t sent = sends_until_cut(listening, endless, frame(64 << 10, true), 48 * kMiB);
  CHECK(sent > 3 * kMiB);
  CHECK(sent < 32 * kMiB);  // and what the kernel keeps, and was on its way
  CHECK(listening.transport->stats().cut_connections == 1);
}

TEST_CASE("the largest message, and many small ones, are not cut off") {
  ZmqOptions options;
  options.message_bytes_max = 8 * kMiB;
  options.guard.unread_bytes = 16 * kMiB;
  Listening listening(options);
  RawPeer peer;
  peer.connect(listening.port);
  CHECK(sends_all(listening, peer, frame(8 * kMiB, false)));
  std::string small;
  for (int i = 0; i < 1000; ++i) small += frame(20, false);
  for (int i = 0; i < 300; ++i) CHECK(sends_all(listening, peer, small));
  CHECK(sends_all(listening, peer, frame(8 * kMiB, false)));
  CHECK_FALSE(peer.is_cut());
  CHECK(listening.transport->stats().cut_connections == 0);
}

// Two bytes each, of which ZeroMQ makes 64: half of the limit's bytes would be sixteen times the limit.
TEST_CASE("empty frames cost what they take in memory") {
  ZmqOptions options;
  options.guard.unread_bytes = 16 * kMiB;
  Listening listening(options);
  const std::uint64_t before = own_memory_bytes();
  RawPeer peer;
  peer.connect(listening.port);
  const std::uint64_t sent = sends_until_cut(listening, peer, kEmptyFrames, 8 * kMiB);
  CHECK(sent < 8 * kMiB);
  CHECK(own_memory_bytes() < before + 80 * kMiB);
}

TEST_CASE("empty frames are cut off long before they cost what a message may, and nobody with them") {
  ZmqOptions options;
  options.guard.unread_bytes = 1024 * kMiB;
  Listening listening(options);
  RawPeer honest;
  honest.connect(listening.port);
  const std::string message = frame(100 << 10, false);
  std::string_view rest = message;
  for (int times = 0; times < 4; ++times) {
    RawPeer peer;
    peer.connect(listening.port);
    std::uint64_t sent = 0;
    CHECK(comes_true([&] {
      if (rest.size() > 1024) rest.remove_prefix(honest.push(rest.substr(0, 256)));
      sent += peer.push(std::string_view(kEmptyFrames).substr(sent % kEmptyFrames.size()));
      listening.turn();
      return peer.is_cut() || sent >= 8 * kMiB;
    }));
    CHECK(peer.is_cut());
  }
  CHECK(sends_all(listening, honest, rest));
  CHECK(comes_true([&] {
    listening.turn();
    return listening.messages == 1;
  }));
  CHECK(listening.transport->stats().cut_connections == 4);
}

TEST_CASE("all together are above the limit: the furthest ahead goes") {
  ZmqOptions options;
  options.message_bytes_max = 8 * kMiB;
  options.guard.unread_bytes = options.guard.unread_total_bytes = 16 * kMiB;
  Listening listening(options);
  std::array<RawPeer, 4> peers;
  const std::string message = frame(5 * kMiB, false), largest = frame(8 * kMiB, false);
  const std::array<std::size_t, 4> begun{4 * kMiB, 3 * kMiB, 7 * kMiB, 4 * kMiB};
  for (std::size_t i = 0; i < peers.size(); ++i) {
    peers.at(i).connect(listening.port);
    CHECK(sends_all(listening, peers.at(i),
                    std::string_view(i == 2 ? largest : message).substr(0, begun.at(i))));
  }
  CHECK(comes_true([&] {
    listening.turn();
    return peers[2].is_cut();
  }));
  std::size_t whole = 0;
  for (const std::size_t i : {0U, 1U, 3U}) {
    CHECK(sends_all(listening, peers.at(i), std::string_view(message).substr(begun.at(i))));
    ++whole;  // taken before the next one comes: what waits counts as well
    CHECK(comes_true([&] {
      listening.turn();
      return listening.messages == whole;
    }));
  }
  CHECK(listening.transport->stats().cut_connections == 1);
}

TEST_CASE("all together leave too much unread: whoever leaves most goes") {
  ZmqOptions options;
  options.guard.unsent_bytes = 16 * kMiB;
  options.guard.unsent_total_bytes = 24 * kMiB;
  Listening listening(options);
  std::array<RawPeer, 3> deaf;
  std::array<PeerId, 3> ids;
  for (std::size_t i = 0; i < deaf.size(); ++i) {
    deaf.at(i).connect(listening.port);
    deaf.at(i).send("hello");
    ids.at(i) = listening.message("hello");
  }
  const std::string much(256 << 10, 'x');
  const auto sends = [&](std::size_t to, std::uint64_t bytes) {
    for (std::uint64_t sent = 0; sent < bytes; sent += much.size()) {
      if (!listening.transport->send(ids.at(to), much)) return false;
    }
    return true;
  };
  CHECK(sends(0, 8 * kMiB));
  CHECK(sends(1, 14 * kMiB));
  CHECK(sends(2, 8 * kMiB));  // together 30
  CHECK(comes_true([&] { return listening.transport->stats().cut_connections == 1; }));
  CHECK(comes_true([&] {
    listening.turn();
    return !listening.transport->send(ids[1], "more");
  }));
  CHECK(listening.transport->send(ids[0], "more"));
  CHECK(listening.transport->send(ids[2], "more"));
}
