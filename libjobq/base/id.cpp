#include "libjobq/base/id.hpp"

#include <algorithm>

namespace jobq {
namespace {

constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
static_assert(kAlphabet.size() == 32);
static_assert(kJobIdTextBytesMax == 1 + (64 + 4) / 5);

}  // namespace

std::string to_text(JobId id) {
  std::string text;
  for (std::uint64_t rest = id.value; rest != 0; rest >>= 5) text.push_back(kAlphabet[rest & 31]);
  if (text.empty()) text.push_back('0');
  text.push_back('j');
  std::reverse(text.begin(), text.end());
  return text;
}

std::optional<JobId> parse_job_id(std::string_view text) {
  if (text.size() < 2 || text.size() > kJobIdTextBytesMax || text[0] != 'j') return std::nullopt;
  if (text[1] == '0') return std::nullopt;  // Leading zeros, or the "no job" id.
  std::uint64_t value = 0;
  for (const char c : text.substr(1)) {
    const auto digit = kAlphabet.find(c);
    if (digit == std::string_view::npos || value >> 59 != 0) return std::nullopt;
    value = value << 5 | digit;
  }
  return JobId{value};
}

}  // namespace jobq
