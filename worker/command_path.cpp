#include "worker/command_path.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "worker/exit_codes.hpp"

namespace jobq::runner {

namespace {

// Empty: it can be executed. Else why not.
std::string why_not(const std::string& path, bool* exists) {
  struct stat about = {};
  *exists = ::stat(path.c_str(), &about) == 0;
  if (!*exists) return std::strerror(errno);
  if (S_ISDIR(about.st_mode)) return "it is a directory";
  if (!S_ISREG(about.st_mode)) return "it is not a file";
  if (::access(path.c_str(), X_OK) != 0) {
    return errno == EACCES ? "it is not executable for this user; `chmod +x` it" : std::strerror(errno);
  }
  return {};
}

}  // namespace

CommandPath find_command(const std::string& command, std::string_view search_path) {
  bool exists = false;
  if (command.find('/') != std::string::npos) {
    const std::string problem = why_not(command, &exists);
    if (problem.empty()) return {command, 0, {}};
    return {{},
            exists ? kExitCannotRun : kExitCommandNotFound,
            fmt::format("the command '{}' cannot be run: {}", command, problem)};
  }
  CommandPath refused;
  while (!command.empty()) {
    const std::size_t end = search_path.find(':');
    const std::string_view part = search_path.substr(0, end);
    const std::string path = part.empty() ? "./" + command : fmt::format("{}/{}", part, command);
    const std::string problem = why_not(path, &exists);
    if (problem.empty()) return {path, 0, {}};
    if (exists && refused.error.empty()) {
      refused = {
          {}, kExitCannotRun, fmt::format("the command '{}' cannot be run: {}: {}", command, path, problem)};
    }
    if (end == std::string_view::npos) break;
    search_path.remove_prefix(end + 1);
  }
  if (!refused.error.empty()) return refused;
  struct stat about = {};
  const bool here = !command.empty() && ::stat(command.c_str(), &about) == 0;
  return {{},
          kExitCommandNotFound,
          here
              ? fmt::format("there is no command '{}' in PATH; the one in this directory is './{}'", command,
                            command)
              : fmt::format("there is no command '{}' in PATH; give its path, or correct the name", command)};
}

}  // namespace jobq::runner
