// Watches how far a connection's bytes have run ahead of the loop, and cuts it. ZeroMQ's own limits are per frame and
// per message count: one message of endless frames would be gathered in memory for ever, and so would answers that a
// peer never reads. The kernel's counters (TCP_INFO) tell; the descriptor belongs to ZeroMQ, so it is only ever reset
// here, never closed.
//
// A peer is cut when
// - what it has begun and not ended is longer than any message may be. That nothing in it is whole is proven: ZeroMQ's
//   thread has read on since those bytes were seen, and the loop has then emptied the socket;
// - it costs more than `unread_bytes` although the loop has since emptied the socket, or four times as much in any case.
//   It costs its bytes, and what ZeroMQ makes of them: of an empty frame, two bytes, 64 of memory. While it makes that much
//   of what it reads, what still lies in the kernel is reckoned so too, and what those who were cut have not given back;
// - ZeroMQ has made 4 MiB, and eight times its bytes, of a message that it has not ended (overrun.hpp, is_swollen);
// - it leaves `unsent_bytes` of answers unread;
// - it is the furthest ahead, or behind, when all connections together are above `unread_total_bytes` or
//   `unsent_total_bytes`;
// - it has not said anything whole within ten seconds of its connection, or has stopped for as long in a large frame.
//
// Only TCP has these counters. Peers on ipc:// are local users who may open the socket's file; they are not watched.
//
// Thread-safety: everything here is called by the loop; a thread of the guard's own looks.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace jobq {

struct GuardLimits {
  std::uint64_t unread_bytes = std::uint64_t{64} << 20;   // at least one message of the largest size
  std::uint64_t unsent_bytes = std::uint64_t{256} << 20;  // answers and deliveries that a peer does not read
  std::uint64_t unread_total_bytes = std::uint64_t{256} << 20;  // the same of all connections together
  std::uint64_t unsent_total_bytes = std::uint64_t{1} << 30;
  std::uint64_t unfinished_bytes = std::uint64_t{10} << 20;  // longer than any message with its frame
  // Which thread reads from the connections. If there is none of that name, what ZeroMQ makes of the bytes is not seen.
  std::string reading_thread{};
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
    // What follows is whose that holds looks_: what the last look has seen.
    std::uint64_t taken = 0, ahead = 0, unsent = 0;
    std::uint64_t arrived = 0;                           // bytes that had come,
    std::chrono::steady_clock::time_point arrived_at{};  // and when that was more than before
    std::uint64_t read = 0;  // of that, bytes that ZeroMQ's thread has read: not the kernel's any more
    std::uint64_t taken_then = 0, read_then = 0;  // at the last look at all
    std::uint64_t overhead = 0;      // memory that ZeroMQ is thought to keep for it beyond its bytes
    std::uint64_t suspected_at = 0;  // emptied_ when it was first seen too far ahead; 0: it is not
    std::uint64_t suspected_to = 0;  // what ZeroMQ's thread had read of it by then
    bool read_on = false;            // and that it has read more since
    bool is_cut = false;
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
  bool has_room(Account* account, std::uint64_t bytes);
  void handed_over(Account* account, std::uint64_t bytes);
  // The loop has taken so much of a connection, and still looks at it; and has let go of everything that it had taken.
  void taken(Account* account, std::uint64_t bytes);
  void let_go() { in_hand_.store(0, std::memory_order_relaxed); }
  // The loop has taken every whole message that there was.
  void emptied() { emptied_.fetch_add(1, std::memory_order_relaxed); }
  // Readable when the loop is to look whether there is a whole message although nothing else tells it to.
  [[nodiscard]] int wake_descriptor() const { return wake_; }
  void woken() const;
  [[nodiscard]] std::uint64_t cut() const { return cut_.load(std::memory_order_relaxed); }

 private:
  struct Move {
    int descriptor = -1;
    std::shared_ptr<Account> account;  // none: it has left
  };

  // From one pass of the thread to the next.
  struct Pace {
    bool nobody = true;  // is connected, and nothing is to be given back
    bool closely = false;
    std::uint64_t memory_before = 0;  // at the last pass,
    std::uint64_t memory_then = 0;    // and the least since the last look at all
    std::chrono::steady_clock::time_point all_then = std::chrono::steady_clock::now();
    std::chrono::steady_clock::duration look_took{};
  };

  void run();
  bool wait_until_due(const Pace& pace);
  void take_moves();
  void look(Pace* pace);
  bool gives_back_now();
  void begin_anew();
  std::uint64_t touched_by_reader();
  void look_at_all(std::uint64_t memory);
  void look_at_suspects();
  void measure(Account* account);
  void charge_overhead(std::uint64_t memory);
  [[nodiscard]] std::uint64_t costs(const Account& account) const;
  void judge(Account* account);
  void cut(Account* account);
  void cut_beyond_totals(std::uint64_t unsent_most);
  void wake_loop() const;

  const GuardLimits limits_;
  const int wake_;
  std::atomic<std::uint64_t> emptied_{1};
  std::atomic<std::uint64_t> in_hand_{0};
  std::atomic<std::uint64_t> unsent_total_{0};  // at the last look at all, and what was handed over since
  std::atomic<std::uint64_t> cut_{0};

  // What the loop has told, until the next look: it does not wait for one, which takes milliseconds where thousands are connected.
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  bool dozing_ = false;  // the thread wants to be woken by whoever comes
  std::vector<Move> moves_;
  std::chrono::steady_clock::time_point last_added_{};

  // Held while somebody looks; mutex_ may be locked under it. What follows is his who holds it.
  std::mutex looks_;
  std::unordered_map<int, std::shared_ptr<Account>> accounts_;
  std::vector<std::shared_ptr<Account>> suspects_;
  std::chrono::steady_clock::time_point newest_{};  // when somebody came last
  std::optional<pid_t> reader_;
  std::int64_t unexplained_then_ =
      0;                            // memory beyond what is known to be on its way, at the last look at all,
  std::uint64_t touched_then_ = 0;  // and what the reading thread had touched by then
  std::uint64_t swelling_ = 0;      // what ZeroMQ makes of each byte it reads just now, when that is a lot
  std::uint64_t given_back_at_cut_ = 0;
  std::chrono::steady_clock::time_point last_cut_{}, given_back_{};
  std::thread thread_;
};

}  // namespace jobq
