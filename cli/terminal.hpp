// What the streams are connected to: colours and progress only where a person looks.
//
// Thread-safety: read-only after start; a Progress belongs to one thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace jobq::cli {

bool stdout_is_terminal();
bool stderr_is_terminal();
bool stdin_is_terminal();
// Columns of the terminal on stdout; 0 when stdout is none (then nothing is cut).
std::size_t stdout_width();

// Escape sequences around a text, when stdout is a terminal and NO_COLOR is not set; else the text as it is.
enum class Ink { bold, red, yellow, green, dim };
std::string ink(Ink colour, std::string_view text);
// The opening sequence alone ("" without colours), for Table::render().
std::string_view bold_on();

// Prints "jobq: <text>\n" to stderr.
void complain(std::string_view text);

// A line on stderr that is rewritten in place, at most five times a second, and only on a terminal. The destructor
// takes it away. Nothing is shown before the first half second: quick work stays quiet.
class Progress {
 public:
  Progress();
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  [[nodiscard]] bool on() const { return on_; }
  [[nodiscard]] bool due() const;  // whether show() would show something now
  void show(std::string_view text);
  void clear();  // before anything else is printed to stderr

 private:
  using Clock = std::chrono::steady_clock;
  bool on_;
  bool shown_ = false;
  Clock::time_point next_;
};

}  // namespace jobq::cli
