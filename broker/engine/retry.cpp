#include "broker/engine/retry.hpp"

#include <algorithm>

#include "libjobq/base/check.hpp"
#include "libjobq/base/planted.hpp"

namespace jobq {

DurationMs backoff(const QueueSettings& settings, std::uint32_t failures, Prng* prng) {
  JOBQ_CHECK(failures >= 1);
  std::int64_t ceiling = settings.backoff_min_ms;
  for (std::uint32_t n = 0; n < failures && ceiling < settings.backoff_max_ms; ++n) {
    if (__builtin_mul_overflow(ceiling, std::int64_t{settings.backoff_factor}, &ceiling)) {
      ceiling = settings.backoff_max_ms;
    }
    if (settings.backoff_factor <= 1) break;
  }
  if (JOBQ_PLANTED(backoff_in_32_bits)) ceiling = static_cast<std::int32_t>(ceiling);
  ceiling = std::clamp(ceiling, settings.backoff_min_ms,
                       std::max(settings.backoff_min_ms, settings.backoff_max_ms));
  return DurationMs{prng->between(settings.backoff_min_ms, ceiling)};
}

}  // namespace jobq
