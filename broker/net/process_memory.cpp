#include "broker/net/process_memory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>

namespace jobq {
namespace {

std::uint64_t page_bytes() {
  static const auto bytes = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

// The beginning of a file in /proc; empty: it cannot be read.
std::string proc_text(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return {};
  std::string text(1024, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  return text;
}

}  // namespace

// Asked a hundred times a second, so its file stays open.
std::uint64_t own_memory_bytes() {
  static const int statm = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  std::array<char, 128> text{};
  if (::pread(statm, text.data(), text.size() - 1, 0) <= 0) return 0;
  unsigned long size = 0, resident = 0, shared = 0;
  if (std::sscanf(text.data(), "%lu %lu %lu", &size, &resident, &shared) != 3) return 0;
  return resident < shared ? 0 : (resident - shared) * page_bytes();
}

std::optional<pid_t> thread_named(std::string_view name) {
  std::error_code error;
  for (std::filesystem::directory_iterator task("/proc/self/task", error), end; !error && task != end;
       task.increment(error)) {
    const std::string number = task->path().filename().string();
    if (proc_text(fmt::format("/proc/self/task/{}/comm", number)) != fmt::format("{}\n", name)) continue;
    pid_t thread = 0;
    if (std::from_chars(number.data(), number.data() + number.size(), thread).ec == std::errc{})
      return thread;
  }
  return std::nullopt;
}

std::uint64_t touched_bytes(pid_t thread) {
  const std::string stat = proc_text(fmt::format("/proc/self/task/{}/stat", thread));
  const std::size_t behind_name = stat.rfind(')');  // which may have anything in it
  unsigned long minor = 0;
  if (behind_name == std::string::npos ||
      std::sscanf(stat.c_str() + behind_name + 1, " %*c %*d %*d %*d %*d %*d %*u %lu", &minor) != 1)
    return 0;
  return minor * page_bytes();
}

}  // namespace jobq
