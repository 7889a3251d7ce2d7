// What carries the state machines (PeerCore) of clients and workers: gives them turns, time and a connection. Two of
// them exist: IoThread (io_thread.hpp), with sockets and the system's clock, and the one of the testing library, with
// a broker in this process and a clock that the test moves.
//
// A turn for a peer: its inbox (before_turn), frames and connection events, time (tick), its outputs (after_turn),
// frames out. All turns happen on one thread, so cores need no locks.
//
// Thread-safety: add, remove, wake and now from any thread. Ownership: peers are shared with whoever added them.
// Units: milliseconds of the driver's own clock, which only goes forward; never 0.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "jobq/status.hpp"
#include "libjobq/base/time.hpp"
#include "libjobq/link.hpp"

namespace jobq {

// What threads of the program do with a peer just now. A clock that a test moves stands still while a handler runs,
// and moves by itself while nothing but its moving can end a blocking call.
struct PeerUse {
  std::size_t handlers = 0;          // handlers that run, or that a free thread is about to run
  std::size_t blocked_handlers = 0;  // handlers among all that wait in a blocking call of this peer
  bool waited_for = false;           // a thread is blocked until this peer has done something
  bool unread = false;  // the next turn has something to take in, whether or not wake() has been called yet
};

class IoPeer {
 public:
  IoPeer() = default;
  virtual ~IoPeer() = default;
  IoPeer(const IoPeer&) = delete;
  IoPeer& operator=(const IoPeer&) = delete;

  // All on the driver's thread, but those of a turn that drive() gives: before_turn, turn_ended and has_outputs may then be
  // called on another one. Never on two at once.
  virtual PeerCore& core() = 0;
  virtual void before_turn(TimeMs now) = 0;
  // True when it has given the core something to do.
  virtual bool after_turn(TimeMs now) = 0;
  // The turn is over: what threads of the program leave to the next one is decided by how things are now. True when
  // something has come in meanwhile that wants one at once.
  virtual bool turn_ended() { return false; }
  // Whether after_turn() has something to do.
  [[nodiscard]] virtual bool has_outputs() { return true; }
  virtual void log(std::string_view line) = 0;
  [[nodiscard]] virtual PeerUse use() { return {}; }
};

class IoDriver {
 public:
  IoDriver() = default;
  virtual ~IoDriver() = default;
  IoDriver(const IoDriver&) = delete;
  IoDriver& operator=(const IoDriver&) = delete;

  // Starts to drive it. bad_endpoint or io_error when the connection cannot be made.
  virtual Status add(const std::shared_ptr<IoPeer>& peer, const std::string& endpoint) = 0;
  // Returns when it is driven no more. What it has sent may still go out for `linger_ms`.
  virtual void remove(const IoPeer* peer, int linger_ms) = 0;
  // Gives the peer a turn soon.
  virtual void wake(const IoPeer* peer) = 0;
  // Has it send what it can send at once, on this thread if the driver has nothing else to do just now. Reads nothing, and
  // runs no callback of the program. REQUIRES: nothing is locked that a turn of the peer needs.
  virtual void drive(const IoPeer* peer) { wake(peer); }
  // Whether time goes on by itself: then a peer need not say each time that something waits for the next turn.
  [[nodiscard]] virtual bool is_real_time() const { return false; }
  // The time of the cores that it drives.
  [[nodiscard]] virtual TimeMs now() const = 0;
  // What a deadline counts from so that nothing is given up early: not before now. `many`: one of thousands a second, which
  // does not read the exact clock for each. It is some milliseconds late then; a machine that stood still for so long may
  // make it as much too early.
  [[nodiscard]] virtual TimeMs deadline_base(bool /*many*/) const { return now(); }
};

}  // namespace jobq
