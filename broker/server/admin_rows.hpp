// What several documents of administration share.
//
// Thread-safety: functions without state.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "libjobq/base/time.hpp"
#include "libjobq/protocol/codec.hpp"

namespace jobq {

inline nlohmann::ordered_json time_or_nil(TimeMs time) {
  return time.is_set() && time < kNever ? nlohmann::ordered_json(time.ms) : nlohmann::ordered_json();
}

// Of a name that stands twice, the last.
inline nlohmann::ordered_json headers_row(std::string_view packed_headers) {
  nlohmann::ordered_json row = nlohmann::ordered_json::object();
  const Result<protocol::Headers> headers = protocol::unpack_headers(packed_headers);
  if (!headers.ok()) return row;
  for (const auto& [name, value] : *headers) row[name] = value;
  return row;
}

inline nlohmann::ordered_json binary_row(std::string_view bytes) {
  return nlohmann::ordered_json::binary(std::vector<std::uint8_t>(bytes.begin(), bytes.end()));
}

}  // namespace jobq
