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

}  // namespace jobq
