#include "cli/queue_params.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "cli/duration.hpp"
#include "cli/table.hpp"

namespace jobq::cli {
namespace {

// People leave the _ms away when they write a unit.
constexpr std::array<std::string_view, 8> kDurations{"backoff_min",   "backoff_max",   "lease",
                                                     "session_grace", "max_run",       "history_age",
                                                     "target_wait",   "dead_retention"};

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc{} || read.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

// 10k, 5M, 2GiB, 512MB: counts by thousands, bytes by 1024.
std::optional<std::int64_t> scaled_number(std::string_view text, bool bytes) {
  const std::size_t split = text.find_first_not_of("0123456789");
  if (split == 0 || split == std::string_view::npos) return std::nullopt;
  const auto number = whole_number(text.substr(0, split));
  std::string_view unit = text.substr(split);
  if (bytes) {
    for (const std::string_view end : {"iB", "B"}) {
      if (ends_with(unit, end)) {
        unit.remove_suffix(end.size());
        break;
      }
    }
  }
  constexpr std::string_view kPrefixes = "KMGT";
  std::size_t power = 0;
  if (!unit.empty()) {
    const char letter = unit == "k" ? 'K' : unit.front();
    power = kPrefixes.find(letter) + 1;
    if (unit.size() != 1 || power == 0) return std::nullopt;
  }
  std::int64_t value = number.value_or(-1);
  for (; value >= 0 && power > 0; --power) {
    if (__builtin_mul_overflow(value, bytes ? std::int64_t{1024} : std::int64_t{1000}, &value))
      return std::nullopt;
  }
  return value >= 0 ? std::optional{value} : std::nullopt;
}

Status bad(std::string_view name, std::string_view value, std::string_view want) {
  return {Code::bad_argument, fmt::format("{}={}: {}", printable(name), printable(value), want)};
}

}  // namespace

Result<std::pair<std::string, std::int64_t>> parse_setting(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return Status{Code::bad_argument,
                  fmt::format("'{}' is not NAME=VALUE, like lease=30s or max_attempts=5", printable(text))};
  }
  std::string name{text.substr(0, equals)};
  std::replace(name.begin(), name.end(), '-', '_');
  const std::string_view value = text.substr(equals + 1);
  if (std::find(kDurations.begin(), kDurations.end(), name) != kDurations.end()) name += "_ms";
  const auto made = [&name](std::int64_t number) { return std::pair{name, number}; };

  if (value == "off" || value == "none") return made(0);
  if (const auto number = whole_number(value)) {
    if (ends_with(name, "_ms") && !ends_with(text.substr(0, equals), "ms") && *number != 0) {
      return bad(text.substr(0, equals), value,
                 fmt::format("{} of what? Write a unit, like {}s or {}ms", value, value, value));
    }
    return made(*number);
  }
  if (ends_with(name, "_ms")) {
    const Result<DurationMs> span = parse_duration(value);
    if (!span.ok()) return bad(name, value, span.status().text());
    return made(span->ms);
  }
  if (name == "paused") {
    if (value == "yes" || value == "true" || value == "on") return made(1);
    if (value == "no" || value == "false") return made(0);
    return bad(name, value, "it is yes or no");
  }
  if (const auto number = scaled_number(value, ends_with(name, "bytes"))) return made(*number);
  return bad(name, value,
             ends_with(name, "bytes") ? "it is a size, like 500MB or 2GiB"
                                      : "it takes a whole number, if there is such a setting: `jobq queue "
                                        "show QUEUE` lists them");
}

std::string setting_text(const std::string& name, const Json& value) {
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (!value.is_number()) return printable(value.is_string() ? value.get<std::string>() : value.dump());
  const auto number = value.get<std::int64_t>();
  if (name == "paused") return number != 0 ? "yes" : "no";
  if (number == 0 && name != "default_priority" && name != "session_grace_ms") return "0 (off)";
  if (ends_with(name, "_ms")) return write_duration(number);
  if (ends_with(name, "bytes")) return format_bytes(number);
  return group_digits(number);
}

}  // namespace jobq::cli
