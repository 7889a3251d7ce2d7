// `jobq stats` as text: the problems first, then a row per queue, then the broker and its store.
//
// Thread-safety: functions without state.
#pragma once

#include <cstddef>
#include <string>

#include "cli/document.hpp"

namespace jobq::cli {

// document: the answer to "stats". width: of the terminal, 0 for no cutting.
std::string render_stats(const Json& document, std::size_t width);

// The table of queues alone, for `jobq queue ls` as well.
std::string render_queues(const Json& queues, std::size_t width);

// "2 problems" with their texts and remedies, or "no problems".
std::string render_problems(const Json& problems, std::size_t width = 0);

}  // namespace jobq::cli
