#include "broker/net/guard.hpp"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <tuple>
#include <utility>

#include "broker/net/heap.hpp"
#include "broker/net/overrun.hpp"
#include "broker/net/process_memory.hpp"
#include "libjobq/base/check.hpp"

namespace jobq {
namespace {

using std::chrono::milliseconds;

// A peer on the same machine sends 30 MB in 10 ms.
constexpr milliseconds kLookEvery{10};
// While the process grows, or somebody is too far ahead, or new: memory has to stay near the limit.
constexpr milliseconds kLookClosely{1};
constexpr milliseconds kIsNewFor{50};
constexpr std::uint64_t kGrowingBytes = std::uint64_t{2} << 20;  // between two passes
// All connections are looked at this often; in between only when the process has grown, which costs one small read
// instead of a system call per connection, and never for more than a tenth of the time, until it has grown a lot.
constexpr milliseconds kLookAtAllEvery{2000};
constexpr std::uint64_t kGrowthBytes = std::uint64_t{1} << 20, kMuchGrowthBytes = std::uint64_t{32} << 20;
constexpr int kLooksShare = 10;
constexpr std::uint64_t kEmergencyFactor = 4;
// Who says nothing whole for so long, or stops in the middle of a large frame, keeps a connection and what it has begun
// from the others. docs/protocol.md says so.
constexpr std::chrono::seconds kSpeaksWithin{10};
constexpr std::uint64_t kLargeHalf = 64 << 10;
constexpr std::uint64_t kGreetingBytes = 4096;
constexpr std::uint64_t kHeartbeatBytesPerSecond = 256;
constexpr std::uint64_t kAsGoodAsRead = std::uint64_t{1}
                                        << 20;  // unread, but no reason to refuse a larger message
// What the loop has in hand is there up to so many times: as it came, in the store's transaction, and on its way out.
constexpr std::uint64_t kCopiesInHand = 3;
// What peers had sent lies in ZeroMQ's heaps, which malloc keeps when they are freed. Soon, because who fills
// them again is not seen to touch anything; not at every cut, because it goes through all of them, and holds up who allocates.
constexpr milliseconds kGiveBackAfter{4};
constexpr milliseconds kGiveBackEvery{25};

// Which socket a descriptor's number means just now; 0: none.
std::uint64_t socket_of(int descriptor) {
  struct stat status {};
  return fstat(descriptor, &status) == 0 ? status.st_ino : 0;
}

std::optional<tcp_info> tcp_counters(int descriptor) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
  return info;
}

// What has come and is still the kernel's.
std::uint64_t waiting_in_kernel(int descriptor) {
  int bytes = 0;
  return ioctl(descriptor, SIOCINQ, &bytes) == 0 && bytes > 0 ? static_cast<std::uint64_t>(bytes) : 0;
}

// Without what still lies in the kernel's buffers: after a mere shutdown() ZeroMQ would read on to their end, six MiB of empty
// frames for example, of which it makes 200. The peer gets a reset. The descriptor stays ZeroMQ's, which sees an error.
void end_at_once(int descriptor) {
  sockaddr nobody{};
  nobody.sa_family = AF_UNSPEC;
  if (::connect(descriptor, &nobody, sizeof nobody) != 0) ::shutdown(descriptor, SHUT_RDWR);
}

// What one may have, all may.
GuardLimits with_totals(GuardLimits limits) {
  limits.unread_total_bytes = std::max(limits.unread_total_bytes, limits.unread_bytes);
  limits.unsent_total_bytes = std::max(limits.unsent_total_bytes, limits.unsent_bytes);
  return limits;
}

}  // namespace

Guard::Guard(const GuardLimits& limits)
    : limits_(with_totals(limits)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  JOBQ_CHECK(wake_ >= 0, "{}", std::strerror(errno));
  thread_ = std::thread([this] { run(); });
}

Guard::~Guard() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
  ::close(wake_);
}

std::shared_ptr<Guard::Account> Guard::added(int descriptor) {
  auto account = std::make_shared<Account>();
  account->descriptor = descriptor;
  account->socket = socket_of(descriptor);
  account->since = std::chrono::steady_clock::now();
  bool dozing = false;
  {
    const std::lock_guard lock(mutex_);
    moves_.push_back({descriptor, account});
    last_added_ = account->since;
    dozing = std::exchange(dozing_, false);
  }
  if (dozing) changed_.notify_all();  // thousands come at once: one call wakes it
  return account;
}

void Guard::removed(int descriptor) {
  const std::lock_guard lock(mutex_);
  moves_.push_back({descriptor, nullptr});
}

bool Guard::has_room(Account* account, std::uint64_t bytes) {
  if (account->cannot_be_watched) return true;
  if (unsent_total_.load(std::memory_order_relaxed) + bytes > limits_.unsent_total_bytes) {
    const std::lock_guard looking(looks_);
    take_moves();
    look_at_all(own_memory_bytes());
    // With some room to spare: the next one must not have to look at all of them again. For one message larger than all may
    // have, nobody but the worst has to go.
    const std::uint64_t all = limits_.unsent_total_bytes;
    cut_beyond_totals(all - std::max(all / 8, std::min(bytes, all / 2)));
    if (account->is_cut) return false;
  }
  const std::uint64_t sent = account->sent.load(std::memory_order_relaxed);
  if (sent + bytes <= account->acked + limits_.unsent_bytes) return true;
  const std::optional<tcp_info> info = tcp_counters(account->descriptor);
  account->cannot_be_watched = !info;
  if (!info) return true;
  account->acked = info->tcpi_bytes_acked;
  return sent + bytes <= account->acked + limits_.unsent_bytes || sent <= account->acked + kAsGoodAsRead;
}

void Guard::handed_over(Account* account, std::uint64_t bytes) {
  account->sent.fetch_add(bytes, std::memory_order_relaxed);
  if (!account->cannot_be_watched) unsent_total_.fetch_add(bytes, std::memory_order_relaxed);
}

void Guard::taken(Account* account, std::uint64_t bytes) {
  account->received.fetch_add(bytes, std::memory_order_relaxed);
  in_hand_.fetch_add(bytes, std::memory_order_relaxed);
}

void Guard::wake_loop() const {
  const std::uint64_t one = 1;
  std::ignore = ::write(wake_, &one, sizeof one);  // full: it has been told
}

void Guard::woken() const {
  std::uint64_t times = 0;
  std::ignore = ::read(wake_, &times, sizeof times);
}

void Guard::run() {
  Pace pace;
  while (wait_until_due(pace)) {
    bool gives_back = false;
    {
      const std::lock_guard looking(looks_);
      take_moves();
      if (pace.nobody) {
        begin_anew();
        pace.closely = true;
      } else {
        look(&pace);
      }
      gives_back = gives_back_now();
      pace.nobody = accounts_.empty() && given_back_at_cut_ == cut();
    }
    if (gives_back) heap::give_back();
  }
}

// False: it is over.
bool Guard::wait_until_due(const Pace& pace) {
  std::unique_lock lock(mutex_);
  const bool dozes = pace.nobody || !pace.closely;
  dozing_ = dozes && moves_.empty();  // whoever comes ends it
  const auto due = [&] { return stopping_ || (dozes && !dozing_); };
  if (pace.nobody) {
    changed_.wait(lock, due);
  } else {
    changed_.wait_for(lock, pace.closely ? kLookClosely : kLookEvery, due);
  }
  dozing_ = false;
  return !stopping_;
}

void Guard::take_moves() {
  std::vector<Move> moves;
  {
    const std::lock_guard lock(mutex_);
    moves.swap(moves_);
    newest_ = last_added_;
  }
  for (Move& move : moves) {
    if (move.account) {
      accounts_[move.descriptor] = std::move(move.account);
    } else {
      accounts_.erase(move.descriptor);
    }
  }
}

void Guard::look(Pace* pace) {
  const std::uint64_t memory = own_memory_bytes();
  const auto now = std::chrono::steady_clock::now();
  pace->closely = memory > pace->memory_before + (pace->closely ? 0 : kGrowingBytes) || !suspects_.empty() ||
                  now - newest_ < kIsNewFor;
  pace->memory_before = memory;
  pace->memory_then = std::min(pace->memory_then, memory);
  const std::uint64_t enough =
      now - pace->all_then < kLooksShare * pace->look_took ? kMuchGrowthBytes : kGrowthBytes;
  if (memory - pace->memory_then < enough && now - pace->all_then < kLookAtAllEvery) {
    look_at_suspects();  // at every pass, however little has been added since
    return;
  }
  look_at_all(memory);
  pace->look_took = std::chrono::steady_clock::now() - now;
  pace->all_then = now;
  pace->memory_then = memory;
}

bool Guard::gives_back_now() {
  const auto now = std::chrono::steady_clock::now();
  if (given_back_at_cut_ == cut() || now - last_cut_ < kGiveBackAfter || now - given_back_ < kGiveBackEvery)
    return false;
  given_back_at_cut_ = cut();
  given_back_ = now;
  return true;
}

// What the process had before is nobody's who comes now.
void Guard::begin_anew() {
  unexplained_then_ = static_cast<std::int64_t>(own_memory_bytes());
  touched_then_ = touched_by_reader();
}

std::uint64_t Guard::touched_by_reader() {
  if (!reader_) reader_ = thread_named(limits_.reading_thread);  // it gives itself its name
  return reader_ ? touched_bytes(*reader_) : 0;
}

void Guard::look_at_all(std::uint64_t memory) {
  suspects_.clear();
  for (const auto& [descriptor, account] : accounts_) measure(account.get());
  charge_overhead(memory);
  for (const auto& [descriptor, account] : accounts_) {
    judge(account.get());
    if (account->suspected_at != 0 && !account->is_cut) suspects_.push_back(account);
  }
  cut_beyond_totals(limits_.unsent_total_bytes);
  if (!suspects_.empty()) wake_loop();
}

void Guard::look_at_suspects() {
  std::erase_if(suspects_, [this](const std::shared_ptr<Account>& account) {
    const auto known = accounts_.find(account->descriptor);
    if (known == accounts_.end() || known->second != account) return true;  // its end is known
    measure(account.get());
    judge(account.get());
    return account->suspected_at == 0 || account->is_cut;
  });
  if (!suspects_.empty()) wake_loop();
}

// The counters of the loop are read before the kernel's: the difference can only come out too large by what arrives
// in between, never too small.
void Guard::measure(Account* account) {
  account->taken = account->received.load(std::memory_order_relaxed);
  const std::optional<tcp_info> info = tcp_counters(account->descriptor);
  if (!info) return;
  const std::uint64_t sent = account->sent.load(std::memory_order_relaxed);
  const auto now = std::chrono::steady_clock::now();
  if (info->tcpi_bytes_received != account->arrived) {
    account->arrived = info->tcpi_bytes_received;
    account->arrived_at = now;
  }
  // Greeting and ZMTP heartbeats are received, but never taken by the loop.
  const auto age = std::chrono::duration_cast<std::chrono::seconds>(now - account->since);
  account->taken += kGreetingBytes + kHeartbeatBytesPerSecond * static_cast<std::uint64_t>(age.count());
  account->ahead = account->arrived > account->taken ? account->arrived - account->taken : 0;
  // Asked after what had arrived: what came in between makes it too small, never too large.
  const std::uint64_t waits = account->ahead > 0 ? waiting_in_kernel(account->descriptor) : 0;
  account->read = account->arrived - std::min(account->arrived, waits);
  account->unsent = sent > info->tcpi_bytes_acked ? sent - info->tcpi_bytes_acked : 0;
}

// Memory that has grown although no bytes on their way explain it, and that the thread which reads was the first to touch:
// ZeroMQ keeps it for those of whom it has read since, and who have nothing whole. What they have sent is not seen in it,
// so that each is charged by how much it was.
void Guard::charge_overhead(std::uint64_t memory) {
  std::uint64_t explained = kCopiesInHand * in_hand_.load(std::memory_order_relaxed), unsent = 0, held = 0;
  std::vector<std::uint64_t> came, overheads;
  for (const auto& [descriptor, account] : accounts_) {
    const std::uint64_t taken = account->received.load(std::memory_order_relaxed);
    const bool something_whole = taken != account->taken_then;
    const bool counts = !something_whole && !account->is_cut && account->read > account->read_then;
    explained += account->read > account->taken ? account->read - account->taken : 0;
    unsent += account->unsent;
    if (something_whole) account->overhead = 0;
    came.push_back(counts ? account->read - account->read_then : 0);
    held += came.back();
    overheads.push_back(account->overhead);
    account->taken_then = taken;
    account->read_then = account->read;
  }
  unsent_total_.store(unsent, std::memory_order_relaxed);
  const auto unexplained = static_cast<std::int64_t>(memory) - static_cast<std::int64_t>(explained + unsent);
  const std::int64_t grown = unexplained - std::exchange(unexplained_then_, unexplained);
  const std::uint64_t touched_by_now = touched_by_reader();
  const std::uint64_t touched = touched_by_now - std::exchange(touched_then_, touched_by_now);
  const auto shares =
      grown > 0
          ? shares_of(std::min(static_cast<std::uint64_t>(grown), touched - std::min(touched, held)), came)
          : shares_of(static_cast<std::uint64_t>(-grown), overheads);
  const std::uint64_t charged = std::accumulate(shares.begin(), shares.end(), std::uint64_t{0});
  const bool swells = grown > 0 && charged >= kGrowthBytes && charged / held >= kSwellsFrom;
  swelling_ = swells ? std::min(charged / held, kSwellsAtMost) : 0;
  std::size_t i = 0;
  for (const auto& [descriptor, account] : accounts_) {
    const std::uint64_t share = shares[i++];
    account->overhead =
        grown > 0 ? account->overhead + share : account->overhead - std::min(account->overhead, share);
  }
}

// ZeroMQ reads small frames faster than all of many peers can be cut off one after the other: what it makes of a byte is
// foreseen for bytes that it has not read.
std::uint64_t Guard::costs(const Account& account) const {
  return account.ahead + account.overhead + swelling_ * (account.arrived - account.read);
}

void Guard::judge(Account* account) {
  if (account->is_cut) return;
  const auto now = std::chrono::steady_clock::now();
  if (account->unsent > limits_.unsent_bytes ||
      account->ahead + account->overhead > kEmergencyFactor * limits_.unread_bytes) {
    cut(account);
    return;
  }
  const bool silent =
      account->received.load(std::memory_order_relaxed) == 0 && now - account->since >= kSpeaksWithin;
  const bool stopped_half_way = account->ahead > kLargeHalf && now - account->arrived_at >= kSpeaksWithin;
  const std::uint64_t begun = account->read - std::min(account->read, account->taken);
  const bool swollen = is_swollen(account->overhead, begun);
  const bool has_to_go = silent || stopped_half_way || swollen || costs(*account) > limits_.unread_bytes;
  if (!has_to_go && account->ahead <= limits_.unfinished_bytes) {
    account->suspected_at = 0;
    return;
  }
  // What lies in the kernel's buffer, or has just been read by ZeroMQ's thread, may end a message; behind what the thread
  // has read before it read on, nothing does that the loop cannot take.
  const std::uint64_t emptied = emptied_.load(std::memory_order_relaxed);
  if (account->suspected_at == 0) {
    account->suspected_at = emptied;
    account->suspected_to = account->read;
    account->read_on = has_to_go;
  } else if (!account->read_on) {
    account->read_on = has_to_go || account->read > account->suspected_to;
    account->suspected_at = emptied;
  } else if (emptied >= account->suspected_at + 2) {
    // All that was whole has been taken since.
    if (has_to_go || account->suspected_to > account->taken + limits_.unfinished_bytes) {
      cut(account);
    } else {
      account->suspected_at = 0;
    }
  }
}

void Guard::cut(Account* account) {
  // The loop hears of the end of a connection later than the number of its descriptor is used again, and the newcomer
  // must not pay for what his predecessor has not read.
  if (account->is_cut || socket_of(account->descriptor) != account->socket) return;
  account->is_cut = true;
  end_at_once(account->descriptor);
  cut_.fetch_add(1, std::memory_order_relaxed);
  last_cut_ = std::chrono::steady_clock::now();
}

// Whoever costs most goes first: to be cut is a pause for who behaves, and memory without an end is the end for all.
void Guard::cut_beyond_totals(std::uint64_t unsent_most) {
  std::vector<Account*> accounts;
  std::vector<std::uint64_t> unread, unsent;
  std::uint64_t kept_of_the_cut = 0;  // until ZeroMQ's thread comes to their end
  for (const auto& [descriptor, account] : accounts_) {
    if (account->is_cut) {
      if (swelling_ != 0) kept_of_the_cut += account->overhead;
      continue;
    }
    accounts.push_back(account.get());
    unread.push_back(costs(*account));
    unsent.push_back(account->unsent);
  }
  const std::uint64_t unread_most =
      limits_.unread_total_bytes - std::min(limits_.unread_total_bytes / 2, kept_of_the_cut);
  for (const std::size_t i : largest_beyond(unread, unread_most)) cut(accounts[i]);
  for (const std::size_t i : largest_beyond(unsent, unsent_most)) cut(accounts[i]);
}

}  // namespace jobq
