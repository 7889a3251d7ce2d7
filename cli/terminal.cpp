#include "cli/terminal.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "cli/table.hpp"

namespace jobq::cli {
namespace {

bool colours() {
  static const bool on = [] {
    const char* no_color = std::getenv("NO_COLOR");
    const char* term = std::getenv("TERM");
    return stdout_is_terminal() && (no_color == nullptr || *no_color == '\0') &&
           (term == nullptr || std::string_view{term} != "dumb");
  }();
  return on;
}

std::size_t columns_of(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

bool stdout_is_terminal() { return ::isatty(STDOUT_FILENO) == 1; }
bool stderr_is_terminal() { return ::isatty(STDERR_FILENO) == 1; }
bool stdin_is_terminal() { return ::isatty(STDIN_FILENO) == 1; }

std::size_t stdout_width() { return stdout_is_terminal() ? columns_of(STDOUT_FILENO) : 0; }

std::string ink(Ink colour, std::string_view text) {
  if (!colours()) return std::string{text};
  const char* on = "";
  switch (colour) {
    case Ink::bold:
      on = "\033[1m";
      break;
    case Ink::red:
      on = "\033[1;31m";
      break;
    case Ink::yellow:
      on = "\033[33m";
      break;
    case Ink::green:
      on = "\033[32m";
      break;
    case Ink::dim:
      on = "\033[2m";
      break;
  }
  return fmt::format("{}{}\033[0m", on, text);
}

std::string_view bold_on() { return colours() ? "\033[1m" : ""; }

void complain(std::string_view text) {
  std::fflush(stdout);
  std::fputs(fmt::format("jobq: {}\n", text).c_str(), stderr);
}

Progress::Progress() : on_(stderr_is_terminal()), next_(Clock::now() + std::chrono::milliseconds{500}) {}

Progress::~Progress() { clear(); }

bool Progress::due() const { return on_ && Clock::now() >= next_; }

void Progress::show(std::string_view text) {
  if (!due()) return;
  next_ = Clock::now() + std::chrono::milliseconds{200};
  shown_ = true;
  std::fputs(fmt::format("\r\033[K{}", cut(text, columns_of(STDERR_FILENO) - 1)).c_str(), stderr);
  std::fflush(stderr);
}

void Progress::clear() {
  if (!shown_) return;
  shown_ = false;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
}

}  // namespace jobq::cli
