// Watches how far a connection's bytes have run ahead of the loop, and cuts it. ZeroMQ's own limits are per frame and
// per message count: one message of endless frames would be gathered in memory for ever, and so would answers that a
// peer never reads. The kernel's counters (TCP_INFO) tell; the descriptor belongs to ZeroMQ, so it is only ever shut
// down here, never closed.
//
// A peer is cut when it is `unread_bytes` ahead although the loop has since emptied the socket (so that what is there
// is no whole message), or four times as far ahead in any case; when `unsent_bytes` of answers lie unread; and when it has
// not said anything whole within ten seconds of its connection, or has stopped for as long in the middle of a large frame.
//
// Only TCP has these counters. Peers on ipc:// are local users who may open the socket's file; they are not watched.
//
// Thread-safety: everything here is called by the loop; a thread of the guard's own looks.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

namespace jobq {

struct GuardLimits {
  std::uint64_t unread_bytes = std::uint64_t{64} << 20;   // at least one message of the largest size
  std::uint64_t unsent_bytes = std::uint64_t{256} << 20;  // answers and deliveries that a peer does not read
};

class Guard {
 public:
  // One connection's account. The loop writes the counters; the thread only reads them.
  struct Account {
    int descriptor = -1;
    std::uint64_t socket = 0;                // its inode: the descriptor's number may be used again
    std::atomic<std::uint64_t> received{0};  // bytes of frames that the loop has taken
    std::atomic<std::uint64_t> sent{0};      // bytes of frames that the loop has handed over
    std::chrono::steady_clock::time_point since{};
    std::uint64_t acked = 0;         // the loop's: what the kernel said last
    bool cannot_be_watched = false;  // the loop's: not TCP
    std::uint64_t arrived = 0;       // the thread's: bytes that had come at its last look,
    std::chrono::steady_clock::time_point arrived_at{};  // and when that was more than before
    std::uint64_t suspected_at = 0;  // the thread's: emptied_ when it was first seen ahead; 0: it is not
    std::chrono::steady_clock::time_point suspected_since{};
    bool is_cut = false;  // the thread's
  };

  explicit Guard(const GuardLimits& limits);
  ~Guard();
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

  std::shared_ptr<Account> added(int descriptor);
  // As soon as its end is known.
  void removed(int descriptor);
  // Whether so many more bytes may be handed over. The thread alone would be too late: one turn may hand over thousands of
  // large jobs. Asks the kernel only when what it said last is not enough; whoever has read all may be sent anything.
  bool has_room(Account* account, std::uint64_t bytes) const;
  // The loop has taken every whole message that there was.
  void emptied() { emptied_.fetch_add(1, std::memory_order_relaxed); }
  // The loop sleeps until a whole message comes; or has woken.
  void asleep(bool sleeps) { asleep_.store(sleeps, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t cut() const { return cut_.load(std::memory_order_relaxed); }

 private:
  void run();
  void look_at_all();
  void look_at_suspects();
  void look_at(Account* account);

  const GuardLimits limits_;
  std::atomic<std::uint64_t> emptied_{1};
  std::atomic<bool> asleep_{false};
  std::atomic<std::uint64_t> cut_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::unordered_map<int, std::shared_ptr<Account>> accounts_;
  std::vector<std::shared_ptr<Account>> suspects_;  // the thread's
  std::thread thread_;
};

}  // namespace jobq
