// One thread, one clock: drives the clients and workers of a test (it is their IoDriver) and the broker that they reach, in
// virtual time. The thread does everything that is due at the present instant, waits for handlers that run, and only then
// moves the clock, to the next instant at which something is due, if somebody waits for that: advance(), a blocking call, a
// worker that drains.
//
// Thread-safety: the members of the first two blocks from any thread; order() and advance() wait for the world's thread, so
// never from it. Time: milliseconds, from kBeginning on.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "jobq/status.hpp"
#include "jobq/testing.hpp"
#include "libjobq/io_driver.hpp"
#include "testing/inner_broker.hpp"
#include "testing/lapse.hpp"
#include "testing/wire.hpp"

namespace jobq::testing {

class World final : public IoDriver {
 public:
  static constexpr TimeMs kBeginning{1'000'000};

  explicit World(const BrokerOptions& options);
  ~World() override;

  // ---- IoDriver
  Status add(const std::shared_ptr<IoPeer>& peer, const std::string& endpoint) override;
  void remove(const IoPeer* peer, int linger_ms) override;
  void wake(const IoPeer* peer) override;
  [[nodiscard]] TimeMs now() const override { return TimeMs{published_now_.load()}; }

  // ---- the test's threads
  // Runs it on the world's thread when nothing is due any more (but handlers may run), and returns then.
  void order(const std::function<void()>& what);
  // timed_out: a handler has run longer than the patience.
  Status advance(DurationMs span);
  // False: the stop token was triggered first. REQUIRES: called by a handler.
  bool sleep(DurationMs span, const std::stop_token& stop);
  // Waits until one more peer than `count` has been added, or `given_up` says so. False: not within the patience.
  [[nodiscard]] std::uint64_t peers_added() const;
  bool wait_for_peer(std::uint64_t count, const std::function<bool()>& given_up);
  void look_again();  // what `given_up` says may have changed

  // ---- within order()
  InnerBroker& broker() { return broker_; }
  Wire& wire() { return wire_; }
  LapseFilter& lapse() { return lapse_; }
  void unreachable(bool on);
  void restart();

 private:
  struct Driven {
    std::shared_ptr<IoPeer> peer;
    PeerId line{};  // 0: not connected
    TimeMs connect_at{};
    std::int64_t pause_ms = 0;
    bool due = true;
  };
  struct Order {
    const std::function<void()>* what = nullptr;
    bool done = false;
  };
  struct Wait {  // of advance()
    TimeMs until;
    bool done = false;
    Status status;
  };
  struct Sleeper {
    TimeMs until;
    bool awake = false;
    bool stopped = false;
  };

  void loop();
  void take_orders();
  bool do_what_is_due();
  bool turn_if_due(Driven* driven);
  void turn(Driven* driven);
  void connection_lost(Driven* driven);
  bool run_one_order();
  struct Survey {
    std::size_t handlers_running = 0;  // and are not asleep or blocked
    bool somebody_waits = false;       // for time to pass
    bool unread = false;               // a peer has something to take in; it is due now
  };
  Survey survey();
  bool end_waits();
  bool move_time(bool somebody_waits);
  [[nodiscard]] std::optional<TimeMs> next_instant();
  void wait_for_signal(bool for_handlers);
  void signal();

  const std::chrono::milliseconds patience_;

  // The thread's own.
  TimeMs now_ = kBeginning;
  Wire wire_{&now_};
  LapseFilter lapse_;
  InnerBroker broker_;
  std::vector<Driven> driven_;
  bool unreachable_ = false;

  std::atomic<std::int64_t> published_now_{kBeginning.ms};
  mutable std::mutex mutex_;
  std::condition_variable for_world_, for_others_;
  std::vector<Driven> added_;
  std::uint64_t added_total_ = 0;
  std::vector<const IoPeer*> removals_, woken_;
  std::uint64_t removals_asked_ = 0, removals_done_ = 0;
  std::list<Order*> orders_;
  std::list<Wait*> waits_;
  std::list<Sleeper*> sleepers_;
  bool signalled_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace jobq::testing
