#include "cli/line_reader.hpp"

#include <utility>

namespace jobq::cli {

void LineReader::append(std::string_view part) {
  has_open_ = true;
  open_.bytes += part.size();
  if (open_.bytes > line_bytes_max_) {
    open_.too_long = true;
    open_.text = {};  // Gives the memory back.
  } else {
    open_.text += part;
  }
}

void LineReader::feed(std::string_view piece) {
  while (!piece.empty()) {
    const std::size_t newline = piece.find('\n');
    append(piece.substr(0, newline));
    if (newline == std::string_view::npos) return;
    piece.remove_prefix(newline + 1);
    end();
  }
}

void LineReader::end() {
  if (!has_open_) return;
  ready_.push_back(std::exchange(open_, {}));
  has_open_ = false;
}

std::optional<Line> LineReader::next() {
  if (ready_.empty()) return std::nullopt;
  Line line = std::move(ready_.front());
  ready_.pop_front();
  return line;
}

}  // namespace jobq::cli
