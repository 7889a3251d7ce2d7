// Spans of time as people write and read them: "250ms", "90s", "5m", "1h30m", "2d", "1w".
//
// Thread-safety: functions without state. Errors: bad_argument with a sentence that shows how to write it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "jobq/status.hpp"
#include "libjobq/base/time.hpp"

namespace jobq::cli {

// Numbers with units, the largest unit first, each at most once, without spaces: w d h m s ms. A bare number is
// refused (five of what?), except 0.
Result<DurationMs> parse_duration(std::string_view text);

// The two units that matter: "0s", "250ms", "1.2s", "42s", "2m 10s", "3h 12m", "2d 4h", "400d". Negative: "-2m 10s".
std::string format_duration(std::int64_t ms);

// Exactly what parse_duration() reads back as the same number: "1h30m", "30s", "1500ms", "0s". For settings.
std::string write_duration(std::int64_t ms);

}  // namespace jobq::cli
