#include "worker/error_output.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "libjobq/base/utf8.hpp"

namespace jobq::runner {

namespace {

constexpr std::string_view kSpace = " \t\r\n";

// One call where the system takes it whole: lines of several commands do not mix.
void write_to_stderr(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // Nobody reads the log: the jobs go on.
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

}  // namespace

void ErrorOutput::take(std::string_view bytes) {
  if (pass_on_) pass_on(bytes);
  if (bytes.size() >= kKeptBytes) {
    cut_ = cut_ || !kept_.empty() || bytes.size() > kKeptBytes;
    kept_.assign(bytes.substr(bytes.size() - kKeptBytes));
    return;
  }
  kept_.append(bytes);
  if (kept_.size() <= kKeptBytes) return;
  cut_ = true;
  kept_.erase(0, kept_.size() - kKeptBytes);
}

void ErrorOutput::pass_on(std::string_view bytes) {
  std::string out;
  for (;;) {
    const std::size_t end = bytes.find('\n');
    const std::size_t room = kLineBytesMax - std::min(kLineBytesMax, line_.size());
    const bool whole = end != std::string_view::npos && end <= room;
    if (!whole && bytes.size() <= room) break;
    line_.append(bytes.substr(0, whole ? end : room));
    bytes.remove_prefix(whole ? end + 1 : room);
    out += prefix_ + line_ + "\n";
    line_.clear();
  }
  line_.append(bytes);
  write_to_stderr(out);
}

void ErrorOutput::flush() {
  if (line_.empty()) return;
  write_to_stderr(prefix_ + line_ + "\n");
  line_.clear();
}

void ErrorOutput::begin(std::string prefix) {
  flush();
  prefix_ = std::move(prefix);
  kept_.clear();
  cut_ = false;
}

std::string ErrorOutput::end() const {
  std::string_view text = kept_;
  if (cut_) {
    const std::size_t line_end = text.find('\n');
    if (line_end != std::string_view::npos && line_end + 1 < text.size()) {
      text.remove_prefix(line_end + 1);
    } else {
      // One long line: at least no half of a character.
      for (int i = 0; i < 3 && !text.empty() && (static_cast<unsigned char>(text.front()) & 0xC0U) == 0x80;
           ++i) {
        text.remove_prefix(1);
      }
    }
  }
  return valid_utf8(trimmed(text));
}

bool read_available(int fd, ErrorOutput* output, std::size_t most) {
  std::array<char, 16384> buffer{};
  while (most > 0) {
    const ssize_t got = ::read(fd, buffer.data(), std::min(buffer.size(), most));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno == EAGAIN;
    if (got == 0) return false;
    output->take({buffer.data(), static_cast<std::size_t>(got)});
    most -= static_cast<std::size_t>(got);
  }
  return true;
}

}  // namespace jobq::runner
