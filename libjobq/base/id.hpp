// Names of things that are numbers: strong types so that two of them cannot be swapped.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace jobq {

// A job, in arrival order over all queues. Never reused. 0 is "no job".
// Users see it as text: 'j' and the number in Crockford's base 32, lower case, without leading zeros
// ("j1a7").
struct JobId {
  std::uint64_t value = 0;
  auto operator<=>(const JobId&) const = default;
  [[nodiscard]] constexpr bool is_set() const { return value != 0; }
};

// The fence: every grant of a job gets the next one, for ever. 0 is "never granted".
using LeaseNo = std::uint32_t;

// A worker's session as the broker numbers it; never reused within a store. 0 is "none".
struct SessionNo {
  std::uint64_t value = 0;
  auto operator<=>(const SessionNo&) const = default;
  [[nodiscard]] constexpr bool is_set() const { return value != 0; }
};

// A random 16-byte identity made by a producer object: names the window of its resends.
using ProducerId = std::array<std::uint8_t, 16>;

inline constexpr std::size_t kJobIdTextBytesMax = 14;

std::string to_text(JobId id);
// The same without a string of its own: writes into `room`.
std::string_view to_text(JobId id, std::array<char, kJobIdTextBytesMax>* room);
// nullopt for anything that to_text() would not have written.
std::optional<JobId> parse_job_id(std::string_view text);

}  // namespace jobq

template <>
struct std::hash<jobq::JobId> {
  std::size_t operator()(const jobq::JobId& id) const noexcept {
    // Ids are dense: a multiplicative mix spreads neighbours over the buckets.
    return static_cast<std::size_t>(id.value * 0x9E3779B97F4A7C15ULL);
  }
};
