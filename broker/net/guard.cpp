#include "broker/net/guard.hpp"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <optional>

namespace jobq {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLookEvery{20};
// While the process grows: a peer on the same machine sends 60 MB in 20 ms, and memory has to stay near the limit.
constexpr milliseconds kLookWhileGrowing{2};
constexpr std::uint64_t kGrowingBytes = std::uint64_t{4} << 20;  // between two passes
// All connections are looked at this often; in between only when the process has grown, which costs one small read
// instead of a system call per connection.
constexpr milliseconds kLookAtAllEvery{1000};
constexpr std::uint64_t kGrowthBytes = std::uint64_t{16} << 20;
// The loop may be about to wake for whole messages, and wait for a processor.
constexpr milliseconds kWakesWithin{20};
constexpr std::uint64_t kEmergencyFactor = 4;
// Who says nothing whole for so long, or stops in the middle of a large frame, keeps a connection and what it has begun
// from the others. docs/protocol.md says so.
constexpr std::chrono::seconds kSpeaksWithin{10};
constexpr std::uint64_t kLargeHalf = 64 << 10;
constexpr std::uint64_t kGreetingBytes = 4096;
constexpr std::uint64_t kHeartbeatBytesPerSecond = 256;
constexpr std::uint64_t kAsGoodAsRead = std::uint64_t{1}
                                        << 20;  // unread, but no reason to refuse a larger message

// Memory that is the process's own: without the pages of mapped files, the store's above all.
std::uint64_t own_memory_bytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  unsigned long size = 0, resident = 0, shared = 0;
  const int fields = std::fscanf(file, "%lu %lu %lu", &size, &resident, &shared);
  std::fclose(file);
  if (fields != 3 || resident < shared) return 0;
  return static_cast<std::uint64_t>(resident - shared) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

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

}  // namespace

Guard::Guard(const GuardLimits& limits) : limits_(limits), thread_([this] { run(); }) {}

Guard::~Guard() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

std::shared_ptr<Guard::Account> Guard::added(int descriptor) {
  auto account = std::make_shared<Account>();
  account->descriptor = descriptor;
  account->socket = socket_of(descriptor);
  account->since = std::chrono::steady_clock::now();
  {
    const std::lock_guard lock(mutex_);
    accounts_[descriptor] = account;
  }
  changed_.notify_all();
  return account;
}

void Guard::removed(int descriptor) {
  const std::lock_guard lock(mutex_);
  accounts_.erase(descriptor);
}

bool Guard::has_room(Account* account, std::uint64_t bytes) const {
  const std::uint64_t sent = account->sent.load(std::memory_order_relaxed);
  if (account->cannot_be_watched || sent + bytes <= account->acked + limits_.unsent_bytes) return true;
  const std::optional<tcp_info> info = tcp_counters(account->descriptor);
  account->cannot_be_watched = !info;
  if (!info) return true;
  account->acked = info->tcpi_bytes_acked;
  return sent + bytes <= account->acked + limits_.unsent_bytes || sent <= account->acked + kAsGoodAsRead;
}

void Guard::run() {
  std::uint64_t memory_then = 0, memory_before = 0;
  bool growing = false;
  auto all_then = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (accounts_.empty()) {
      changed_.wait(lock, [this] { return stopping_ || !accounts_.empty(); });
      continue;
    }
    changed_.wait_for(lock, growing ? kLookWhileGrowing : kLookEvery, [this] { return stopping_; });
    if (stopping_) break;
    const std::uint64_t memory = own_memory_bytes();
    growing = memory > memory_before + (growing ? 0 : kGrowingBytes);
    memory_before = memory;
    const auto now = std::chrono::steady_clock::now();
    if (memory < memory_then) memory_then = memory;
    if (memory - memory_then < kGrowthBytes && now - all_then < kLookAtAllEvery) {
      look_at_suspects();  // at every pass, however little has been added since
      continue;
    }
    look_at_all();
    all_then = now;
    memory_then = memory;
  }
}

void Guard::look_at_all() {
  suspects_.clear();
  for (const auto& [descriptor, account] : accounts_) {
    look_at(account.get());
    if (account->suspected_at != 0 && !account->is_cut) suspects_.push_back(account);
  }
}

void Guard::look_at_suspects() {
  std::erase_if(suspects_, [this](const std::shared_ptr<Account>& account) {
    const auto known = accounts_.find(account->descriptor);
    if (known == accounts_.end() || known->second != account) return true;  // its end is known
    look_at(account.get());
    return account->suspected_at == 0 || account->is_cut;
  });
}

// The counters of the loop are read before the kernel's: the difference can only come out too large by what arrives
// in between, never too small.
void Guard::look_at(Account* account) {
  const std::uint64_t taken = account->received.load(std::memory_order_relaxed);
  const std::optional<tcp_info> info = tcp_counters(account->descriptor);
  if (!info) return;
  const std::uint64_t sent = account->sent.load(std::memory_order_relaxed);
  // Greeting and ZMTP heartbeats are received, but never taken by the loop.
  const auto now = std::chrono::steady_clock::now();
  const auto age = std::chrono::duration_cast<std::chrono::seconds>(now - account->since);
  const std::uint64_t expected =
      taken + kGreetingBytes + kHeartbeatBytesPerSecond * static_cast<std::uint64_t>(age.count());
  const std::uint64_t ahead = info->tcpi_bytes_received > expected ? info->tcpi_bytes_received - expected : 0;
  const std::uint64_t unread = sent > info->tcpi_bytes_acked ? sent - info->tcpi_bytes_acked : 0;

  if (info->tcpi_bytes_received != account->arrived) {
    account->arrived = info->tcpi_bytes_received;
    account->arrived_at = now;
  }
  const bool silent = taken == 0 && age >= kSpeaksWithin;
  const bool stopped_half_way = ahead > kLargeHalf && now - account->arrived_at >= kSpeaksWithin;

  bool cut = unread > limits_.unsent_bytes || ahead > kEmergencyFactor * limits_.unread_bytes;
  if (ahead <= limits_.unread_bytes && !silent && !stopped_half_way) {
    account->suspected_at = 0;
  } else if (account->suspected_at == 0) {
    account->suspected_at = emptied_.load(std::memory_order_relaxed);
    account->suspected_since = now;
  } else if ((asleep_.load(std::memory_order_relaxed) && now - account->suspected_since >= kWakesWithin) ||
             emptied_.load(std::memory_order_relaxed) >= account->suspected_at + 2) {
    cut = true;  // all whole messages have been taken since, and what is ahead is still there
  }
  if (!cut || account->is_cut) return;
  // The loop hears of the end of a connection later than the number of its descriptor is used again, and the newcomer
  // must not pay for what his predecessor has not read.
  if (socket_of(account->descriptor) != account->socket) return;
  account->is_cut = true;
  ::shutdown(account->descriptor, SHUT_RDWR);
  cut_.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace jobq
