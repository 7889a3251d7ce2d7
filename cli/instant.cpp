#include "cli/instant.hpp"

#include <date/date.h>
#include <date/tz.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <limits>
#include <optional>

namespace jobq::cli {
namespace {

using std::chrono::milliseconds;
using LocalMs = date::local_time<milliseconds>;
using SysMs = date::sys_time<milliseconds>;

// The library's times count nanoseconds in 64 bits, which end in April 2262.
constexpr std::int64_t kLatestMs = std::numeric_limits<std::int64_t>::max() / 1'000'000;

// The date library throws for every zone that it cannot find; a bare machine may have no zones at all.
const date::time_zone* find_zone(const std::string& name, std::string* error) {
  std::string wanted = name;
  if (wanted.empty()) {
    if (const char* tz = std::getenv("TZ"); tz != nullptr && *tz != '\0') wanted = *tz == ':' ? tz + 1 : tz;
  }
  try {
    return wanted.empty() ? date::current_zone() : date::locate_zone(wanted);
  } catch (const std::exception&) {
    if (error != nullptr && !wanted.empty()) *error = wanted;
    return nullptr;
  }
}

Status malformed(std::string_view text, std::string_view why) {
  return {
      Code::bad_argument,
      fmt::format("'{}' is not a time: {}; write it like 2026-11-23T14:30:00Z, 2026-11-23T14:30:00+01:00, or "
                  "'2026-11-23 14:30' for local time (for a relative time: --delay 5m, or --for 5m of `jobq "
                  "job snooze`)",
                  text, why)};
}

// Takes what it recognises from the front of the text. Strict: every field has its exact number of digits.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}
  std::optional<int> digits(std::size_t count) {
    if (rest_.size() < count) return std::nullopt;
    int value = 0;
    for (const char c : rest_.substr(0, count)) {
      if (c < '0' || c > '9') return std::nullopt;
      value = value * 10 + (c - '0');
    }
    rest_.remove_prefix(count);
    return value;
  }
  bool take(std::string_view any_of) {
    if (rest_.empty() || any_of.find(rest_.front()) == std::string_view::npos) return false;
    rest_.remove_prefix(1);
    return true;
  }
  // The fraction of a second after the dot, cut to milliseconds.
  std::optional<int> fraction() {
    int value = 0;
    std::size_t count = 0;
    for (; !rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9'; ++count, rest_.remove_prefix(1)) {
      if (count < 3) value = value * 10 + (rest_.front() - '0');
    }
    if (count == 0 || count > 9) return std::nullopt;
    for (; count < 3; ++count) value *= 10;
    return value;
  }
  [[nodiscard]] bool done() const { return rest_.empty(); }
  [[nodiscard]] std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

struct Fields {
  date::year_month_day day{};
  int hour = 0, minute = 0, second = 0, millisecond = 0;
  std::optional<std::chrono::minutes> offset;
};

Status scan_clock(std::string_view text, Scanner* in, Fields* fields) {
  const auto hour = in->digits(2);
  if (!hour || !in->take(":")) return malformed(text, "the time of day is not HH:MM or HH:MM:SS");
  const auto minute = in->digits(2);
  if (!minute) return malformed(text, "the time of day is not HH:MM or HH:MM:SS");
  int second = 0;
  if (in->take(":")) {
    const auto read = in->digits(2);
    if (!read) return malformed(text, "the time of day is not HH:MM or HH:MM:SS");
    second = *read;
    if (in->take(".,")) {
      const auto fraction = in->fraction();
      if (!fraction) return malformed(text, "the fraction of the second has no digits, or more than nine");
      fields->millisecond = *fraction;
    }
  }
  if (*hour > 23 || *minute > 59 || second > 59) return malformed(text, "there is no such time of day");
  fields->hour = *hour, fields->minute = *minute, fields->second = second;
  return {};
}

Status scan_offset(std::string_view text, Scanner* in, Fields* fields) {
  if (in->take("Zz")) {
    fields->offset = std::chrono::minutes{0};
    return {};
  }
  const bool minus = !in->rest().empty() && in->rest().front() == '-';
  if (!in->take("+-")) return {};
  const auto hours = in->digits(2);
  in->take(":");
  const auto minutes = in->digits(2);
  if (!hours || !minutes || *hours > 23 || *minutes > 59)
    return malformed(text, "the offset is not +HH:MM or -HH:MM");
  const std::chrono::minutes span = std::chrono::hours{*hours} + std::chrono::minutes{*minutes};
  fields->offset = minus ? -span : span;
  return {};
}

Result<Fields> scan(std::string_view text) {
  Scanner in{text};
  Fields fields;
  const auto year = in.digits(4);
  const bool dash1 = year && in.take("-");
  const auto month = dash1 ? in.digits(2) : std::nullopt;
  const bool dash2 = month && in.take("-");
  const auto day = dash2 ? in.digits(2) : std::nullopt;
  if (!day) return malformed(text, "it does not begin with a date YYYY-MM-DD");
  fields.day =
      date::year{*year} / date::month{static_cast<unsigned>(*month)} / date::day{static_cast<unsigned>(*day)};
  if (!fields.day.ok()) return malformed(text, "there is no such date");
  if (in.done()) return fields;
  if (!in.take("Tt ")) return malformed(text, fmt::format("'{}' is left over after the date", in.rest()));
  if (Status status = scan_clock(text, &in, &fields); !status.ok()) return status;
  if (Status status = scan_offset(text, &in, &fields); !status.ok()) return status;
  if (!in.done()) return malformed(text, fmt::format("'{}' is left over at the end", in.rest()));
  return fields;
}

std::string format_with(const char* pattern, TimeMs at, const std::string& zone) {
  if (!at.is_set()) return "-";
  const SysMs time{milliseconds{at.ms}};
  try {
    if (const date::time_zone* found = find_zone(zone, nullptr); found != nullptr) {
      return date::format(pattern, date::make_zoned(found, time));
    }
    return date::format(pattern, date::make_zoned(date::locate_zone("Etc/UTC"), time));
  } catch (const std::exception&) {
    // No zones on this machine at all: %Z is then the only field that needs one, and UTC has a fixed name.
    std::string plain = pattern;
    if (const auto z = plain.find("%Z"); z != std::string::npos) plain.replace(z, 2, "UTC");
    return date::format(plain, time);
  }
}

std::string format_seconds(const char* pattern, TimeMs at, const std::string& zone) {
  return format_with(pattern, TimeMs{at.ms - at.ms % 1000}, zone);
}

std::string without_fraction(std::string text, bool keep) {
  const auto dot = text.find('.');
  if (keep || dot == std::string::npos) return text;
  return text.erase(dot, 4);
}

Result<TimeMs> from_local(std::string_view text, const Fields& fields, const std::string& zone) {
  const LocalMs local = date::local_days{fields.day} + std::chrono::hours{fields.hour} +
                        std::chrono::minutes{fields.minute} + std::chrono::seconds{fields.second} +
                        milliseconds{fields.millisecond};
  if (fields.offset) return TimeMs{(local.time_since_epoch() - *fields.offset).count()};
  std::string unknown;
  const date::time_zone* found = find_zone(zone, &unknown);
  if (found == nullptr && !unknown.empty()) {
    return malformed(text, fmt::format("it has no offset and the time zone '{}' is not known here", unknown));
  }
  if (found == nullptr) return TimeMs{local.time_since_epoch().count()};  // No zone set up: UTC.
  try {
    return TimeMs{found->to_sys(local).time_since_epoch().count()};
  } catch (const date::ambiguous_local_time&) {
    return malformed(text,
                     fmt::format("it comes twice in {} (the clocks go back): give an offset", found->name()));
  } catch (const date::nonexistent_local_time&) {
    return malformed(
        text, fmt::format("it does not exist in {} (the clocks go forward): give an offset", found->name()));
  }
}

}  // namespace

Result<Instant> parse_instant(std::string_view text, const std::string& zone) {
  const Result<Fields> fields = scan(text);
  if (!fields.ok()) return fields.status();
  const Result<TimeMs> at = from_local(text, *fields, zone);
  if (!at.ok()) return at.status();
  if (at->ms <= 0) return malformed(text, "it lies before 1970");
  if (at->ms > kLatestMs) return malformed(text, "it is too far away, 2262-04-11 is the last day");
  Instant instant;
  instant.at = *at;
  const std::string utc =
      without_fraction(date::format("%FT%TZ", SysMs{milliseconds{at->ms}}), at->ms % 1000 != 0);
  instant.understood = fmt::format("{} ({})", format_instant(*at, zone), utc);
  return instant;
}

std::string format_instant(TimeMs at, const std::string& zone) {
  return without_fraction(format_seconds("%F %T %Z", at, zone), false);
}

std::string format_clock(TimeMs at, const std::string& zone) { return format_with("%T", at, zone); }

std::string format_date(TimeMs at, const std::string& zone) { return format_seconds("%F", at, zone); }

TimeMs wall_now() {
  return TimeMs{
      std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count()};
}

}  // namespace jobq::cli
