// Makes every kind of message with random contents, for property tests, mutation tests and the fuzzer's
// corpus. The same seed makes the same message.
//
// The views in the messages point into the maker, which therefore outlives them. Not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "libjobq/base/prng.hpp"
#include "libjobq/protocol/message.hpp"

namespace jobq::protocol {

class MessageMaker {
 public:
  explicit MessageMaker(std::uint64_t seed) : prng_(seed) {}

  static constexpr std::uint64_t kRequestKinds = 7;
  static constexpr std::uint64_t kReplyKinds = 13;
  // REQUIRES: kind below the number of kinds.
  RequestMessage request(std::uint64_t kind);
  ReplyMessage reply(std::uint64_t kind);

 private:
  bool coin() { return prng_.below(2) == 0; }
  std::uint64_t number();  // all widths are likely
  std::uint32_t small_number() { return static_cast<std::uint32_t>(number()); }
  std::int64_t signed_number();
  std::string_view bytes(std::size_t most);
  std::string_view name();
  std::string_view headers();
  std::array<std::uint8_t, 16> id16();
  JobId job_id() { return JobId{number() | 1}; }
  LeaseRef lease() { return {job_id(), small_number()}; }
  std::vector<LeaseRef> leases();
  Outcome outcome();
  std::vector<Outcome> outcomes();
  EnqueueJob job();
  Enqueue enqueue();
  Register register_worker();
  Admin admin();
  ClaimResult claim() { return static_cast<ClaimResult>(prng_.below(4)); }
  std::vector<ClaimResult> claims();
  EnqueueResult result();
  Delivery delivery();
  template <typename Make>
  auto many(Make make) {
    std::vector<decltype(make())> list;
    // Mostly short; now and then beyond the 15 that fit into msgpack's short header.
    for (std::uint64_t n = prng_.below(8) == 0 ? prng_.below(40) : prng_.below(4); n > 0; --n)
      list.push_back(make());
    return list;
  }

  Prng prng_;
  std::deque<std::string> strings_;
};

}  // namespace jobq::protocol
