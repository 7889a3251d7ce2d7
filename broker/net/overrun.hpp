// Sums over connections and who has to go when they are too large. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace jobq {

// Which of these have to go so that the others are at most `most` together: the largest first, as few as possible in that
// order. Indexes, the largest first; empty when the sum is not above `most`.
std::vector<std::size_t> largest_beyond(std::span<const std::uint64_t> amounts, std::uint64_t most);

// Whose are `bytes` that came while these amounts did: shares in proportion, rounded down. All 0 when nothing came.
std::vector<std::uint64_t> shares_of(std::uint64_t bytes, std::span<const std::uint64_t> amounts);

// ZeroMQ makes 64 bytes of memory of an empty frame, which is two: kSwellsFrom times as much as came is made of nothing whole,
// and more than kSwellsAtMost times of nothing at all.
inline constexpr std::uint64_t kSwellsFrom = 8, kSwellsAtMost = 32;

// Whether so much memory (`overhead`, a share of what all take) has been made of `begun` bytes of one message that it has to
// end before it costs what a message may: ZeroMQ takes apart what it has made, of 64 MiB a million frames, and serves nobody
// meanwhile. What can't have been made of these bytes is another one's and does not count.
bool is_swollen(std::uint64_t overhead, std::uint64_t begun);

}  // namespace jobq
