// What queue names and job types may look like: 1 to 64 of [A-Za-z0-9._-], the first a letter or a digit. A
// type may also be empty. Header-only and free of the codec, so that the engine can use it.
#pragma once

#include <algorithm>
#include <string_view>

#include "libjobq/protocol/limits.hpp"

namespace jobq::protocol {

constexpr bool is_name_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

constexpr bool is_queue_name(std::string_view name) {
  if (name.empty() || name.size() > limits::kQueueNameBytesMax || !is_name_letter(name.front())) return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return is_name_letter(c) || c == '.' || c == '_' || c == '-'; });
}

constexpr bool is_type(std::string_view type) {
  static_assert(limits::kTypeBytesMax == limits::kQueueNameBytesMax);
  return type.empty() || is_queue_name(type);
}

}  // namespace jobq::protocol
