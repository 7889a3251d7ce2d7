// When a failed attempt is tried again: a pure function of the settings, the count and the generator.
//
// Full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS architecture blog, 2015), in integers:
// uniform between backoff_min and backoff_min * factor^failures, the latter never above backoff_max.
#pragma once

#include <cstdint>

#include "broker/engine/types.hpp"
#include "libjobq/base/prng.hpp"
#include "libjobq/base/time.hpp"

namespace jobq {

// REQUIRES: failures >= 1.
DurationMs backoff(const QueueSettings& settings, std::uint32_t failures, Prng* prng);

}  // namespace jobq
