// NAME=VALUE of `jobq queue set` as parameters of the wire: durations, sizes and switches as people write them.
//
// Thread-safety: functions without state. Errors: bad_argument with the remedy; names are the broker's to know, so an
// unknown one is refused by the broker, which lists those there are.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "cli/document.hpp"
#include "jobq/status.hpp"

namespace jobq::cli {

// "lease=30s", "lease_ms=30s" and "lease_ms=30000" give {"lease_ms", 30000}; "max_bytes=2GiB", "max_jobs=10k" are read
// too; "paused=yes" gives 1; "off" and "none" give 0.
Result<std::pair<std::string, std::int64_t>> parse_setting(std::string_view text);

// A setting's value for people: "30s" for a *_ms, "2.0 GiB" for *_bytes, "yes"/"no" for paused, else digits.
std::string setting_text(const std::string& name, const Json& value);

}  // namespace jobq::cli
