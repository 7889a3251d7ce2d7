// What a command writes to stderr: its last bytes become the error of a failed attempt, and whole lines are passed on
// to jobq-worker's own stderr with the job in front, so that eight commands at once stay readable.
//
// Thread-safety: one ErrorOutput belongs to one thread. Memory: at most kKeptBytes and one unfinished line.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace jobq::runner {

class ErrorOutput {
 public:
  static constexpr std::size_t kKeptBytes = 4096;
  static constexpr std::size_t kLineBytesMax = 4096;  // a longer line is passed on in pieces

  // `prefix` stands in front of every line that is passed on; `pass_on`: whether any is.
  ErrorOutput(std::string prefix, bool pass_on) : prefix_(std::move(prefix)), pass_on_(pass_on) {}

  void take(std::string_view bytes);
  // An unfinished last line is passed on as it is. Before the next job: forgets what was kept.
  void flush();
  void begin(std::string prefix);

  // The end of it, as valid UTF-8 without white space around it. When something was cut away it begins with a whole line
  // where there is one.
  [[nodiscard]] std::string end() const;

 private:
  void pass_on(std::string_view bytes);

  std::string prefix_;
  bool pass_on_;
  std::string kept_;
  bool cut_ = false;
  std::string line_;
};

// Reads what is there now from a non-blocking descriptor, at most `most` bytes. False: its end was reached, or it
// cannot be read any more.
bool read_available(int fd, ErrorOutput* output, std::size_t most);

}  // namespace jobq::runner
