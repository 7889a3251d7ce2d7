// The per-queue settings by name: one table that the wire, the command line, the configuration file and the
// documents share.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "broker/engine/types.hpp"
#include "jobq/status.hpp"

namespace jobq {

enum class SettingUnit : std::uint8_t { count, milliseconds, bytes, flag };

struct SettingInfo {
  const char* name;  // "max_attempts", "lease_ms", ...
  SettingUnit unit;
  std::int64_t min, max;
  const char* meaning;  // one line: what it does and what zero means
};

// In the order in which they are shown.
std::span<const SettingInfo> queue_setting_table();

// bad_argument for an unknown name (the text lists the known ones) or a value out of range (it says the
// range).
Status apply_setting(QueueSettings* settings, std::string_view name, std::int64_t value);
// REQUIRES: a name of the table.
std::int64_t read_setting(const QueueSettings& settings, std::string_view name);
// The first broken relation between settings ("backoff_max_ms must be at least backoff_min_ms").
Status validate(const QueueSettings& settings);

}  // namespace jobq
