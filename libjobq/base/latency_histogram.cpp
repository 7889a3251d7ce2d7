#include "libjobq/base/latency_histogram.hpp"

#include <algorithm>
#include <bit>

namespace jobq {

std::size_t LatencyHistogram::place(std::uint64_t ns) {
  if (ns < kSteps) return ns;
  const auto exponent = static_cast<std::size_t>(std::bit_width(ns)) - 6;  // ns >> exponent is in [32, 64)
  return std::min((exponent + 1) * kSteps + ((ns >> exponent) - kSteps), std::size_t{48 * kSteps - 1});
}

double LatencyHistogram::value_ns(std::size_t place) {
  if (place < kSteps) return static_cast<double>(place);
  const std::size_t exponent = place / kSteps - 1;
  const std::uint64_t low = (kSteps + place % kSteps) << exponent;
  return static_cast<double>(low) + static_cast<double>(std::uint64_t{1} << exponent) / 2;
}

void LatencyHistogram::add(std::int64_t ns) {
  counts_[place(static_cast<std::uint64_t>(std::max<std::int64_t>(ns, 0)))].fetch_add(
      1, std::memory_order_relaxed);
}

void LatencyHistogram::clear() {
  for (auto& count : counts_) count.store(0, std::memory_order_relaxed);
}

std::uint64_t LatencyHistogram::count() const {
  std::uint64_t total = 0;
  for (const auto& count : counts_) total += count.load(std::memory_order_relaxed);
  return total;
}

double LatencyHistogram::percentile_us(double fraction) const {
  const auto wanted = static_cast<double>(count()) * fraction;
  double seen = 0;
  for (std::size_t at = 0; at < counts_.size(); ++at) {
    seen += static_cast<double>(counts_[at].load(std::memory_order_relaxed));
    if (seen > 0 && seen >= wanted) return value_ns(at) / 1e3;
  }
  return 0;
}

}  // namespace jobq
