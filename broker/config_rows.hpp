// The rows behind config_table(): a setting and how to reach its field. For the files of config only.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "broker/config.hpp"

namespace jobq {

struct ConfigRow {
  ConfigSetting setting;
  std::function<std::int64_t(const Config&)> get;  // numbers and flags; texts and lists are handled by key
  std::function<void(Config*, std::int64_t)> set;
};

const std::vector<ConfigRow>& config_rows();

// "64MiB" -> 67108864, "30s" -> 30000, "12" -> 12; nullopt: not a number with a unit of this kind.
std::optional<std::int64_t> parse_quantity(ConfigKind kind, std::string_view text);
// The inverse, in the largest unit that is exact.
std::string quantity_text(ConfigKind kind, std::int64_t value);

}  // namespace jobq
