// The thread behind Runtime: drives any number of state machines (PeerCore), each with a channel of its own,
// and sleeps until the next frame, wake-up or deadline. Its time is the system's monotonic clock.
//
// Thread-safety and ownership: io_driver.hpp.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "jobq/status.hpp"
#include "libjobq/base/time.hpp"
#include "libjobq/channel.hpp"
#include "libjobq/io_driver.hpp"

namespace jobq {

// Milliseconds of the monotonic clock; never 0.
TimeMs monotonic_now();

class IoThread final : public IoDriver {
 public:
  IoThread();
  ~IoThread() override;

  Status add(const std::shared_ptr<IoPeer>& peer, const std::string& endpoint) override;
  void remove(const IoPeer* peer, int linger_ms) override;
  void wake(const IoPeer* peer) override;
  [[nodiscard]] TimeMs now() const override { return monotonic_now(); }

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
