// Points in time as people write and read them: RFC 3339 ("2026-11-23T14:30:00Z", "…+01:00"), or the same without an
// offset, or a date alone, both then in the local time zone (TZ, else /etc/localtime, else UTC). Nothing relative:
// "in five minutes" is a --delay, and "tomorrow" depends on when it is read.
//
// Thread-safety: functions without state of their own. Errors: bad_argument with the remedy.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "jobq/status.hpp"
#include "libjobq/base/time.hpp"

namespace jobq::cli {

struct Instant {
  TimeMs at{};             // wall clock, Unix milliseconds
  std::string understood;  // "2026-11-23 14:30:00 CET (2026-11-23T13:30:00Z)": what is echoed to the user
};

// zone: an IANA name ("Europe/Berlin"); empty: the local one.
Result<Instant> parse_instant(std::string_view text, const std::string& zone = {});

// "2026-11-23 14:30:00 CET" in the given (local) zone; UTC when the zone cannot be found. Zero: "-".
std::string format_instant(TimeMs at, const std::string& zone = {});
// "14:30:00.250" only, in the same zone.
std::string format_clock(TimeMs at, const std::string& zone = {});
// "2026-11-23" only.
std::string format_date(TimeMs at, const std::string& zone = {});

// The wall clock of this machine.
TimeMs wall_now();

}  // namespace jobq::cli
