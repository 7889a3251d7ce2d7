// One side of one connection, pure: the greeting, request ids, and the frames that wait to be sent. What the
// client's and the worker's state machines have in common; they own one each and put their own protocol on
// top.
//
// A connection begins empty: nothing that was sent on an earlier one is on it, so after `up` everything that
// is still open has to be sent again.
//
// Not thread-safe. Time is an argument: milliseconds of a clock that only goes forward. No I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jobq/status.hpp"
#include "libjobq/base/time.hpp"
#include "libjobq/frame.hpp"
#include "libjobq/protocol/message.hpp"

namespace jobq {

// Who is speaking, for hello and for the texts of errors.
struct LinkIdentity {
  std::string endpoint;
  std::string client = "libjobq";
  std::string host;
  std::uint32_t pid = 0;
};

// What welcome said.
struct BrokerInfo {
  protocol::Incarnation incarnation{};
  std::uint32_t body_bytes_max = 0;
  std::uint32_t message_bytes_max = 0;
  std::uint32_t jobs_per_message_max = 0;
};

class Link {
 public:
  enum class Event : std::uint8_t {
    none,      // not the answer to hello
    up,        // greeted: send what is open
    refused,   // the broker does not want us: see refusal()
    consumed,  // a late answer to an earlier hello
  };

  static constexpr DurationMs kHelloTimeout{3000};
  static constexpr DurationMs kRetryAfterRefusal{2000};

  explicit Link(LinkIdentity identity) : identity_(std::move(identity)) {}

  // The transport has a new connection: says hello.
  void connected(TimeMs now);
  void disconnected();
  Event receive(const protocol::ReplyMessage& message, TimeMs now);
  void tick(TimeMs now);
  [[nodiscard]] std::optional<TimeMs> next_deadline() const;

  [[nodiscard]] bool up() const { return state_ == State::up; }
  // Whether any broker has ever answered.
  [[nodiscard]] bool ever_up() const { return ever_up_; }
  // Why hello was refused the last time; ok once a hello was accepted.
  [[nodiscard]] const Status& refusal() const { return refusal_; }
  [[nodiscard]] const BrokerInfo& broker() const { return broker_; }
  [[nodiscard]] const LinkIdentity& identity() const { return identity_; }

  // Encodes under a fresh request id, which is returned. `bytes`: about how large it will be, when that is known.
  std::uint64_t send(protocol::Request body, std::size_t bytes = 0);
  // The same for what its sender encodes.
  [[nodiscard]] std::uint64_t next_request_id() { return next_request_id_++; }
  void send(Frame frame) { frames_.push_back(std::move(frame)); }
  // Asks the transport for a new connection, now or at a later time.
  void reconnect() { reconnect_ = true; }
  void reconnect_at(TimeMs time) { reconnect_at_ = time; }

  [[nodiscard]] std::vector<Frame> take_frames() { return std::exchange(frames_, {}); }
  [[nodiscard]] bool take_reconnect() { return std::exchange(reconnect_, false); }

 private:
  enum class State : std::uint8_t { down, greeting, up };

  Event refuse(Status why, TimeMs again_at);

  LinkIdentity identity_;
  State state_ = State::down;
  bool ever_up_ = false;
  bool reconnect_ = false;
  TimeMs reconnect_at_{};    // 0: not planned
  TimeMs hello_deadline_{};  // while greeting
  std::uint64_t hello_id_ = 0;
  std::uint64_t next_request_id_ = 1;
  Status refusal_;
  BrokerInfo broker_;
  std::vector<Frame> frames_;
};

// What the library's I/O loop drives, whichever side it is.
class PeerCore {
 public:
  virtual ~PeerCore() = default;
  virtual void connected(TimeMs now) = 0;
  virtual void disconnected(TimeMs now) = 0;
  // Any bytes: what is no message of the protocol is counted and skipped.
  virtual void receive(std::string_view frame, TimeMs now) = 0;
  // Does what time alone makes due, then puts what can be sent into frames. Called after the others in each
  // turn.
  virtual void tick(TimeMs now) = 0;
  // When tick() has work again if nothing else happens.
  [[nodiscard]] virtual std::optional<TimeMs> next_deadline() const = 0;
  [[nodiscard]] virtual Link& link() = 0;
  // Whether many others are driven by the same thread: then what is small waits for the answer to what is on its way,
  // since messages and turns are what that thread is busy with.
  virtual void crowded(bool /*on*/) {}
};

// The earlier of two times that may be absent.
inline std::optional<TimeMs> earlier(std::optional<TimeMs> a, std::optional<TimeMs> b) {
  if (!a) return b;
  if (!b) return a;
  return *a < *b ? a : b;
}

}  // namespace jobq
