// The broker's log, on stderr: one line per event worth knowing, for people or as JSON objects. Nothing is logged per job
// above debug level.
//
// Thread-safety: may be called from any thread.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "broker/config.hpp"

namespace jobq::log {

// human: "2026-01-31 12:00:00.123 warning  text"; json: {"time":"…","level":"warning","text":"…"}.
void set_up(LogFormat format, std::string_view level);
void set_level(std::string_view level);

enum class Level : std::uint8_t { debug, info, warning, error };
void write(Level level, std::string_view text);

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace jobq::log
