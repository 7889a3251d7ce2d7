// Lines out of a stream that arrives in pieces: the bytes between newlines, unchanged (a carriage return stays), the
// last line with or without a newline at its end. Memory is bounded: of a line longer than the limit only the fact is kept.
//
// Thread-safety: one thread.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace jobq::cli {

struct Line {
  std::string text;
  bool too_long = false;  // text is empty then
  std::size_t bytes = 0;  // how long it really is
};

class LineReader {
 public:
  explicit LineReader(std::size_t line_bytes_max) : line_bytes_max_(line_bytes_max) {}
  void feed(std::string_view piece);
  void end();  // of the stream: an unfinished line is a line
  std::optional<Line> next();
  [[nodiscard]] bool empty() const { return ready_.empty(); }

 private:
  void append(std::string_view part);

  std::size_t line_bytes_max_;
  Line open_;
  bool has_open_ = false;
  std::deque<Line> ready_;
};

}  // namespace jobq::cli
