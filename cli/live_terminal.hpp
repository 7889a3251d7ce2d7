// A terminal that is taken over for a while: another screen, keys as they are pressed, size changes; and given back as it was
// whatever happens: the destructor, SIGINT, SIGTERM, SIGHUP, Ctrl-Z (taken again by fg), an abort or a crash of our own.
// Only SIGKILL leaves it as it is (`reset` helps).
//
// One in a process. Thread-safety: one thread; signals may arrive in any.
#pragma once

#include <string>
#include <vector>

#include "cli/top_view.hpp"
#include "libjobq/base/time.hpp"

namespace jobq::cli {

class LiveTerminal {
 public:
  // Why standard output cannot be used like this; "" when it can.
  static std::string unusable();

  LiveTerminal();  // REQUIRES: unusable() is empty
  ~LiveTerminal();
  LiveTerminal(const LiveTerminal&) = delete;
  LiveTerminal& operator=(const LiveTerminal&) = delete;

  struct Heard {
    std::string keys;     // bytes as the terminal sends them
    bool redraw = false;  // the size has changed, or the screen was left and taken again
    bool stop = false;    // a signal, or the terminal is gone
  };
  // Until something happens, at most `span`.
  Heard wait(DurationMs span);

  [[nodiscard]] static ScreenSize size();
  // False: the terminal does not take it any more.
  static bool draw(const std::vector<std::string>& lines);

 private:
  bool keys_ = true;  // standard input is a terminal that still says something
};

}  // namespace jobq::cli
