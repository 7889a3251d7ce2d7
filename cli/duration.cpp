#include "cli/duration.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>

namespace jobq::cli {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t ms;
};
constexpr std::int64_t kSecond = 1000, kMinute = 60 * kSecond, kHour = 60 * kMinute, kDay = 24 * kHour;
constexpr std::array<Unit, 6> kUnits{
    {{"w", 7 * kDay}, {"d", kDay}, {"h", kHour}, {"m", kMinute}, {"s", kSecond}, {"ms", 1}}};

Status malformed(std::string_view text, std::string_view why) {
  return {Code::bad_argument,
          fmt::format("'{}' is not a duration: {}; write it like 250ms, 30s, 5m, 1h30m or 2d", text, why)};
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

Result<DurationMs> parse_duration(std::string_view text) {
  if (text == "0") return DurationMs{0};
  if (text.empty()) return malformed(text, "it is empty");
  std::int64_t total = 0;
  std::size_t next_unit = 0;  // Units come largest first: what is left of the table.
  std::string_view rest = text;
  while (!rest.empty()) {
    if (rest.front() == '-') return malformed(text, "it may not be negative");
    if (!is_digit(rest.front())) return malformed(text, fmt::format("a number was expected at '{}'", rest));
    std::int64_t count = 0;
    const auto read = std::from_chars(rest.data(), rest.data() + rest.size(), count);
    if (read.ec != std::errc{}) return malformed(text, "the number is too large");
    rest.remove_prefix(static_cast<std::size_t>(read.ptr - rest.data()));
    if (!rest.empty() && rest.front() == '.') return malformed(text, "only whole numbers (1h30m, not 1.5h)");

    std::size_t length = 0;
    while (length < rest.size() && !is_digit(rest[length])) ++length;
    const std::string_view name = rest.substr(0, length);
    if (name.empty()) return malformed(text, fmt::format("{} of what? The unit is missing", count));
    std::size_t unit = 0;
    while (unit < kUnits.size() && kUnits[unit].name != name) ++unit;
    if (unit == kUnits.size())
      return malformed(text, fmt::format("'{}' is not a unit (w, d, h, m, s, ms)", name));
    if (unit < next_unit)
      return malformed(text, fmt::format("'{}' comes after a smaller unit, or twice", name));
    next_unit = unit + 1;
    std::int64_t part = 0;
    if (__builtin_mul_overflow(count, kUnits[unit].ms, &part) ||
        __builtin_add_overflow(total, part, &total)) {
      return malformed(text, "it is too long");
    }
    rest.remove_prefix(length);
  }
  return DurationMs{total};
}

std::string format_duration(std::int64_t ms) {
  if (ms < 0) {
    if (ms == std::numeric_limits<std::int64_t>::min()) ++ms;
    return "-" + format_duration(-ms);
  }
  if (ms == 0) return "0s";
  if (ms < kSecond) return fmt::format("{}ms", ms);
  if (ms < 10 * kSecond) {
    const std::int64_t tenths = ms / 100;
    return tenths % 10 == 0 ? fmt::format("{}s", tenths / 10)
                            : fmt::format("{}.{}s", tenths / 10, tenths % 10);
  }
  const auto two = [](std::int64_t big, const char* big_name, std::int64_t small, const char* small_name) {
    return small == 0 ? fmt::format("{}{}", big, big_name)
                      : fmt::format("{}{} {}{}", big, big_name, small, small_name);
  };
  if (ms < kMinute) return fmt::format("{}s", ms / kSecond);
  if (ms < kHour) return two(ms / kMinute, "m", ms % kMinute / kSecond, "s");
  if (ms < kDay) return two(ms / kHour, "h", ms % kHour / kMinute, "m");
  if (ms < 30 * kDay) return two(ms / kDay, "d", ms % kDay / kHour, "h");
  return fmt::format("{}d", ms / kDay);
}

std::string write_duration(std::int64_t ms) {
  if (ms <= 0) return "0s";
  std::string text;
  if (ms % kSecond != 0) return fmt::format("{}ms", ms);
  for (const Unit& unit : kUnits) {
    if (unit.name == "w") continue;  // Weeks are read, but 14d is clearer than 2w.
    if (ms >= unit.ms) text += fmt::format("{}{}", ms / unit.ms, unit.name);
    ms %= unit.ms;
  }
  return text;
}

}  // namespace jobq::cli
