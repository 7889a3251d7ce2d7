// The thread behind Runtime: drives any number of state machines (PeerCore), each with a channel of its own,
// and sleeps until the next frame, wake-up or deadline. Only those that have something to do cost anything: a program
// with a thousand clients on one runtime is no slower than one with one. Its time is the system's monotonic clock.
//
// While the thread sleeps, other threads may give a peer the half of a turn that sends (drive()): what was submitted is
// then on its way without waking anybody here. Whoever turns holds turn_mutex_; the thread lets go of it to sleep.
//
// Thread-safety and ownership: io_driver.hpp.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
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
  void drive(const IoPeer* peer) override;
  [[nodiscard]] bool is_real_time() const override { return true; }
  [[nodiscard]] TimeMs now() const override { return monotonic_now(); }
  [[nodiscard]] TimeMs deadline_base(bool many) const override;

 private:
  struct Driven {
    std::shared_ptr<IoPeer> peer;
    std::unique_ptr<Channel> channel;
    TimeMs reopen_at{};  // 0: open
    std::int64_t reopen_ms = 0;
    bool up = false;  // the transport is connected
    bool was_greeted = false;
    bool due = false;                // it is in due_
    bool has_frames = true;          // frames may wait in the channel
    bool has_events = true;          // and events of its connection
    std::optional<TimeMs> deadline;  // as it is in deadlines_
  };
  struct Removal {
    const IoPeer* peer = nullptr;
    int linger_ms = 0;
  };

  void loop();
  bool drive_now(const IoPeer* peer) noexcept;  // throwing in a turn ends the process, whoever turns
  // False when the thread is to end.
  bool take_orders();
  void begin(std::unique_ptr<Driven> driven);
  void end(const Removal& removal);
  void mark_due(Driven* driven);
  void mark_deadlines(TimeMs now);
  void turn(Driven* driven, TimeMs now);
  void read(Driven* driven, TimeMs now);
  void write(Driven* driven, TimeMs now);
  void keep_deadline(Driven* driven);
  void lost(Driven* driven, TimeMs now);
  void close(Driven* driven, int linger_ms);
  void reopen(Driven* driven, TimeMs now);
  void signal();
  [[nodiscard]] std::int64_t wait_ms(TimeMs now) const;

  ChannelContext context_;
  int wake_fd_ = -1;
  std::atomic<bool> signalled_{false};

  // Of the thread, or of one that drives.
  std::mutex turn_mutex_;
  TimeMs sleeps_until_{};  // 0: it does not
  ChannelPoll poll_;
  std::unordered_map<const IoPeer*, std::unique_ptr<Driven>> driven_;
  std::vector<Driven*> due_, turns_;                // who gets a turn in the next round, and in this one
  std::set<std::pair<TimeMs, Driven*>> deadlines_;  // when each gets its next turn at the latest
  // The thread's own.
  std::vector<ChannelPoll::Ready> ready_;  // reported by poll_
  bool wake_reported_ = false;             // wake_fd_ was among them

  std::mutex mutex_;
  std::condition_variable removed_;
  std::vector<std::unique_ptr<Driven>> added_;
  std::vector<Removal> removals_;
  std::unordered_set<const IoPeer*> woken_;
  std::size_t removals_done_ = 0;
  std::size_t removals_asked_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace jobq
