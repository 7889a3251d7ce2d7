// Text that came from outside, made fit to be called UTF-8: clients in other languages refuse a whole document for one
// wrong byte in it.
//
// Thread-safety: functions without state.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace jobq {

// The length of the well-formed sequence at the front of `text` (Unicode 15, table 3-7), or 0.
std::size_t utf8_length(std::string_view text);

// `text` with U+FFFD for every byte that is not part of a well-formed sequence.
std::string valid_utf8(std::string_view text);
bool is_valid_utf8(std::string_view text);

}  // namespace jobq
