#include "broker/net/overrun.hpp"

#include <algorithm>
#include <numeric>

namespace jobq {
namespace {

constexpr std::uint64_t kSwollenBytes = std::uint64_t{2} << 20;

}  // namespace

std::vector<std::size_t> largest_beyond(std::span<const std::uint64_t> amounts, std::uint64_t most) {
  std::uint64_t sum = std::accumulate(amounts.begin(), amounts.end(), std::uint64_t{0});
  if (sum <= most) return {};
  std::vector<std::size_t> order(amounts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return amounts[a] > amounts[b]; });
  std::size_t gone = 0;
  while (sum > most) sum -= amounts[order[gone++]];
  order.resize(gone);
  return order;
}

std::vector<std::uint64_t> shares_of(std::uint64_t bytes, std::span<const std::uint64_t> amounts) {
  const std::uint64_t sum = std::accumulate(amounts.begin(), amounts.end(), std::uint64_t{0});
  std::vector<std::uint64_t> shares(amounts.size(), 0);
  if (sum == 0) return shares;
  std::ranges::transform(amounts, shares.begin(), [&](std::uint64_t amount) {
    // In two steps: a product of two sizes may not fit.
    return bytes / sum * amount + bytes % sum * amount / sum;
  });
  return shares;
}

bool is_swollen(std::uint64_t overhead, std::uint64_t begun) {
  return overhead > kSwellsFrom * begun && std::min(overhead, kSwellsAtMost * begun) > kSwollenBytes;
}

}  // namespace jobq
