// The other end of a state machine in tests: reads what it sends and hands it replies, in virtual time.
//
// Thread-safety: one thread. Ownership: a Sent keeps the bytes that its message points into.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "libjobq/link.hpp"
#include "libjobq/protocol/codec.hpp"

namespace jobq::test {

struct Sent {
  std::unique_ptr<std::string> bytes;
  protocol::RequestMessage message;

  template <typename T>
  const T& as() const {
    REQUIRE(std::holds_alternative<T>(message.body));
    return std::get<T>(message.body);
  }
};

inline std::vector<Sent> take_sent(PeerCore& core) {
  std::vector<Sent> all;
  for (Frame& frame : core.link().take_frames()) {
    auto bytes = std::make_unique<std::string>(std::move(frame).take());
    std::uint64_t id = 0;
    auto message = protocol::decode_request(*bytes, {limits::kMessageBytesMax}, &id);
    REQUIRE_MESSAGE(message.ok(), message.status().text());
    all.push_back({std::move(bytes), *std::move(message)});
  }
  return all;
}

inline void answer(PeerCore& core, std::uint64_t request_id, protocol::Reply body, TimeMs now) {
  std::string bytes;
  protocol::encode(protocol::ReplyMessage{request_id, std::move(body)}, &bytes);
  core.receive(bytes, now);
}

// A new connection, up to the greeting; what follows it is left to take_sent() after the next tick.
inline void greet(PeerCore& core, TimeMs now, std::uint8_t store = 1) {
  core.connected(now);
  const std::vector<Sent> sent = take_sent(core);
  REQUIRE(sent.size() == 1);
  sent.front().as<protocol::Hello>();
  protocol::Welcome welcome;
  welcome.incarnation.fill(store);
  welcome.broker = "test";
  welcome.body_bytes_max = 1 << 20;
  welcome.message_bytes_max = 8 << 20;
  welcome.jobs_per_message_max = 10'000;
  welcome.heartbeat_ms = 5000;
  answer(core, sent.front().message.request_id, welcome, now);
  core.tick(now);
}

}  // namespace jobq::test
