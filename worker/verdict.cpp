#include "worker/verdict.hpp"

#include <fmt/format.h>

#include <cstring>

#include "libjobq/base/utf8.hpp"
#include "libjobq/protocol/limits.hpp"
#include "worker/exit_codes.hpp"

namespace jobq::runner {

namespace {

// The first bytes of it, without half a character at the end.
std::string_view front(std::string_view text, std::size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0U) == 0x80) --bytes;
  return text.substr(0, bytes);
}

// The last bytes of it, likewise.
std::string_view back(std::string_view text, std::size_t bytes) {
  if (text.size() <= bytes) return text;
  text.remove_prefix(text.size() - bytes);
  while (!text.empty() && (static_cast<unsigned char>(text.front()) & 0xC0U) == 0x80) text.remove_prefix(1);
  return text;
}

}  // namespace

std::string describe(const ProcessEnd& end) {
  if (!end.by_signal) return fmt::format("exit code {}", end.number);
  const char* name = ::sigabbrev_np(end.number);
  const char* words = ::sigdescr_np(end.number);
  std::string text = name != nullptr ? fmt::format("killed by SIG{} ({})", name, words)
                                     : fmt::format("killed by signal {}", end.number);
  if (end.core_dumped) text += ", core dumped";
  // The usual reason for a SIGKILL that nobody sent.
  if (end.number == 9) text += ", not by jobq-worker: out of memory?";
  return text;
}

std::string error_text(std::string_view head, std::string_view error_output) {
  constexpr std::size_t kMax = limits::kErrorTextBytesMax;
  if (error_output.empty()) return std::string{front(head.empty() ? "failed without a word" : head, kMax)};
  const std::size_t before = error_output.rfind('\n');
  const bool many = before != std::string_view::npos;
  std::string text{head};
  if (!text.empty()) text += ": ";
  // What stands in a listing is the first line; what matters mostly is the last.
  text += many ? error_output.substr(before + 1) : error_output;
  text = std::string{front(text, many ? kMax / 2 : kMax)};
  if (!many) return text;
  text += "\n\n";
  text += back(error_output, kMax - text.size());
  return text;
}

Verdict judge(const ProcessEnd& end, std::string_view error_output) {
  if (!end.by_signal && end.number == kCommandAcks) return {Settle::ack, {}};
  if (!end.by_signal && (end.number == kCommandRejects || end.number == kCommandNacks)) {
    // These codes are meant: the command's words are the error, the code adds nothing to them.
    return {end.number == kCommandRejects ? Settle::reject : Settle::nack,
            error_text(error_output.empty() ? describe(end) : "", error_output)};
  }
  return {Settle::nack, error_text(describe(end), error_output)};
}

Verdict judge_stopped(StopCause cause, std::string_view limit, bool killed, std::string_view error_output) {
  if (cause != StopCause::time_limit) return {Settle::release, {}};
  return {Settle::nack,
          error_text(fmt::format("ran longer than {} and was ended by {}", limit,
                                 killed ? "SIGKILL, after SIGTERM had not been enough" : "SIGTERM"),
                     error_output)};
}

}  // namespace jobq::runner
