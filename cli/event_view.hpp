// One event of `jobq events` as a line.
//
// Thread-safety: a function without state.
#pragma once

#include <cstddef>
#include <string>

#include "cli/document.hpp"

namespace jobq::cli {

// event: one EVENT of docs/protocol.md. width: of the terminal, 0 for no cutting. Ends with a newline.
std::string render_event(const Json& event, std::size_t width);

}  // namespace jobq::cli
