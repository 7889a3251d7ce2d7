#include "cli/live_terminal.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <string_view>

#include "cli/terminal.hpp"
#include "libjobq/base/check.hpp"

namespace jobq::cli {
namespace {

// Another screen, without a cursor and without wrapping; and back.
constexpr std::string_view kEnter = "\033[?1049h\033[?25l\033[?7l\033[2J";
constexpr std::string_view kLeave = "\033[0m\033[?7h\033[?25h\033[?1049l";

termios g_saved{};
std::atomic<bool> g_saved_modes{false}, g_taken{false};
std::atomic<bool> g_stop{false}, g_redraw{false};
static_assert(std::atomic<bool>::is_always_lock_free, "used in signal handlers");
int g_pipe[2] = {-1, -1};

constexpr std::array<int, 6> kDeadly = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGQUIT};

// Async-signal-safe, as everything below up to the class is.
bool write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = ::write(STDOUT_FILENO, text.data(), text.size());
    if (wrote < 0 && (errno == EINTR || errno == EAGAIN)) {
      if (errno == EAGAIN) {
        pollfd room{STDOUT_FILENO, POLLOUT, 0};
        if (::poll(&room, 1, 1000) <= 0) return false;
      }
      continue;
    }
    if (wrote <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return true;
}

void give_back() {
  if (!g_taken.exchange(false)) return;
  write_all(kLeave);
  if (g_saved_modes) ::tcsetattr(STDIN_FILENO, TCSANOW, &g_saved);
}

void take() {
  if (g_saved_modes) {
    termios modes = g_saved;
    modes.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);  // Ctrl-C and Ctrl-Z stay signals
    modes.c_cc[VMIN] = 0;
    modes.c_cc[VTIME] = 0;
    ::tcsetattr(STDIN_FILENO, TCSANOW, &modes);
  }
  g_taken = true;
  write_all(kEnter);
}

void wake() {
  const char byte = 1;
  [[maybe_unused]] const auto written = ::write(g_pipe[1], &byte, 1);  // full: it is awake anyway
}

void on_stop(int /*signal*/) {
  g_stop = true;
  wake();
}
void on_resize(int /*signal*/) {
  g_redraw = true;
  wake();
}
void on_deadly(int signal) {
  give_back();
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}
void on_suspend(int signal) {
  const int error = errno;
  give_back();
  ::signal(signal, SIG_DFL);
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, signal);
  ::raise(signal);
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);  // stops here, until SIGCONT
  struct sigaction again {};
  again.sa_handler = on_suspend;
  ::sigaction(signal, &again, nullptr);
  take();
  g_redraw = true;
  wake();
  errno = error;
}

void handle(int signal, void (*handler)(int), int flags = 0) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

std::string LiveTerminal::unusable() {
  const char* term = std::getenv("TERM");
  if (!stdout_is_terminal()) return "standard output is no terminal";
  if (term == nullptr || std::string_view(term) == "dumb" || *term == '\0')
    return "this terminal (TERM) cannot move its cursor";
  return {};
}

LiveTerminal::LiveTerminal() {
  JOBQ_CHECK(g_pipe[0] == -1);
  JOBQ_CHECK(::pipe2(g_pipe, O_CLOEXEC | O_NONBLOCK) == 0);
  g_saved_modes = ::tcgetattr(STDIN_FILENO, &g_saved) == 0;
  keys_ = g_saved_modes;
  std::signal(SIGTTOU, SIG_IGN);  // giving the terminal back while in the background
  for (const int signal : kDeadly) handle(signal, on_deadly);
  handle(SIGINT, on_stop);
  handle(SIGTERM, on_stop);
  handle(SIGHUP, on_stop);
  handle(SIGWINCH, on_resize);
  handle(SIGTSTP, on_suspend);
  std::atexit(give_back);
  take();
}

LiveTerminal::~LiveTerminal() {
  give_back();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP}) std::signal(signal, SIG_DFL);
  for (int& end : g_pipe) {
    ::close(end);
    end = -1;
  }
}

LiveTerminal::Heard LiveTerminal::wait(DurationMs span) {
  Heard heard;
  std::array<pollfd, 2> waiting{{{g_pipe[0], POLLIN, 0}, {keys_ ? STDIN_FILENO : -1, POLLIN, 0}}};
  ::poll(waiting.data(), waiting.size(), static_cast<int>(std::clamp<std::int64_t>(span.ms, 0, INT_MAX)));
  std::array<char, 256> bytes{};
  if ((waiting[0].revents & POLLIN) != 0) {
    while (::read(g_pipe[0], bytes.data(), bytes.size()) > 0) {
    }
  }
  if (waiting[1].revents != 0) {
    const ssize_t got = ::read(STDIN_FILENO, bytes.data(), bytes.size());
    if (got > 0) {
      heard.keys.assign(bytes.data(), static_cast<std::size_t>(got));
    } else if ((waiting[1].revents & (POLLHUP | POLLERR)) != 0 ||
               (got < 0 && errno != EINTR && errno != EAGAIN)) {
      g_stop = true;  // the terminal is gone
    }
  }
  heard.redraw = g_redraw.exchange(false);
  heard.stop = g_stop;
  return heard;
}

ScreenSize LiveTerminal::size() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {size.ws_col, size.ws_row};
}

bool LiveTerminal::draw(const std::vector<std::string>& lines) {
  std::string screen = "\033[H";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) screen += "\r\n";
    screen += lines[i] + "\033[K";
  }
  screen += "\033[J";
  return write_all(screen);
}

}  // namespace jobq::cli
