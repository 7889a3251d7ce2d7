// The thread behind Runtime: drives any number of state machines (PeerCore), each with a channel of its own,
// and sleeps until the next frame, wake-up or deadline.
//
// A turn for a peer: its inbox (before_turn), frames and connection events, time (tick), frames out, its
// outputs (after_turn). Everything of a core happens on this thread, so cores need no locks.
//
// Thread-safety: add, remove and wake from any thread. Ownership: peers are shared with whoever added them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "jobq/status.hpp"
#include "libjobq/base/time.hpp"
#include "libjobq/channel.hpp"
#include "libjobq/link.hpp"

namespace jobq {

class IoPeer {
 public:
  IoPeer() = default;
  virtual ~IoPeer() = default;
  IoPeer(const IoPeer&) = delete;
  IoPeer& operator=(const IoPeer&) = delete;

  // All on the I/O thread.
  virtual PeerCore& core() = 0;
  virtual void before_turn(TimeMs now) = 0;
  // True when it has given the core something to do.
  virtual bool after_turn(TimeMs now) = 0;
  virtual void log(std::string_view line) = 0;
};

// Milliseconds of the monotonic clock, the time of all cores of the library; never 0.
TimeMs monotonic_now();

class IoThread {
 public:
  IoThread();
  ~IoThread();
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  // Starts to drive it. bad_endpoint or io_error when the channel cannot be made.
  Status add(const std::shared_ptr<IoPeer>& peer, const std::string& endpoint);
  // Returns when it is driven no more. What it has sent may still go out for `linger_ms`.
  void remove(const IoPeer* peer, int linger_ms);
  // Gives the peer a turn soon.
  void wake(const IoPeer* peer);

 private:
  struct Driven {
    std::shared_ptr<IoPeer> peer;
    std::unique_ptr<Channel> channel;
    TimeMs reopen_at{};  // 0: open
    std::int64_t reopen_ms = 0;
    bool up = false;  // the transport is connected
    bool was_greeted = false;
    bool due = true;
  };
  struct Removal {
    const IoPeer* peer = nullptr;
    int linger_ms = 0;
  };

  void loop();
  void take_orders();
  void turn(Driven* driven, TimeMs now);
  void read(Driven* driven, TimeMs now);
  void write(Driven* driven, TimeMs now);
  void lost(Driven* driven, TimeMs now);
  void reopen(Driven* driven, TimeMs now);
  void signal();
  [[nodiscard]] std::int64_t wait_ms(TimeMs now) const;

  ChannelContext context_;
  int wake_fd_ = -1;
  std::atomic<bool> signalled_{false};
  std::vector<Driven> driven_;  // the thread's own

  std::mutex mutex_;
  std::condition_variable removed_;
  std::vector<Driven> added_;
  std::vector<Removal> removals_;
  std::vector<const IoPeer*> woken_;
  std::size_t removals_done_ = 0;
  std::size_t removals_asked_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace jobq
