// What `jobq top` shows: the broker's document as lines that fit a screen. No terminal and no clock here.
//
// Thread-safety: plain values. Widths are columns of the screen, as table.hpp counts them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/document.hpp"

namespace jobq::cli {

enum class TopSort : std::uint8_t { ready, oldest, leased, scheduled, dead, in, out, name };

struct TopState {
  TopSort sort = TopSort::ready;
  bool reverse = false;
  bool paused = false;
  bool help = false;
  std::size_t scroll = 0;  // rows of the table above the screen
  std::int64_t every_ms = 2'000;
  std::string title;  // endpoint and time
  std::string error;  // why there is no fresh document; empty: there is one
};

struct ScreenSize {
  std::size_t columns = 80, rows = 24;
};

// What a key does. quit: leave. Unknown keys change nothing. Arrow keys come as "\033[A" and "\033[B".
enum class TopKey : std::uint8_t { none, changed, quit };
TopKey press(std::string_view key, TopState* state);
// The keys in what a terminal sent.
std::vector<std::string> keys_of(std::string_view bytes);

// At most size.rows lines of at most size.columns characters, with colours where the terminal takes them. *state: the scroll
// is brought into what there is.
std::vector<std::string> top_lines(const Json& stats, TopState* state, ScreenSize size);

}  // namespace jobq::cli
