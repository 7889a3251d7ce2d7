#include "libjobq/base/id.hpp"

#include <array>

namespace jobq {
namespace {

constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
static_assert(kAlphabet.size() == 32);
static_assert(kJobIdTextBytesMax == 1 + (64 + 4) / 5);

constexpr std::uint8_t kNoDigit = 255;
constexpr std::array<std::uint8_t, 256> make_digits() {
  std::array<std::uint8_t, 256> digits{};
  digits.fill(kNoDigit);
  for (std::size_t i = 0; i < kAlphabet.size(); ++i)
    digits[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  return digits;
}
constexpr std::array<std::uint8_t, 256> kDigits = make_digits();

}  // namespace

std::string_view to_text(JobId id, std::array<char, kJobIdTextBytesMax>* room) {
  std::size_t at = room->size();
  std::uint64_t rest = id.value;
  do {
    (*room)[--at] = kAlphabet[rest & 31];
    rest >>= 5;
  } while (rest != 0);
  (*room)[--at] = 'j';
  return {room->data() + at, room->size() - at};
}

std::string to_text(JobId id) {
  std::array<char, kJobIdTextBytesMax> room;
  return std::string{to_text(id, &room)};
}

std::optional<JobId> parse_job_id(std::string_view text) {
  if (text.size() < 2 || text.size() > kJobIdTextBytesMax || text[0] != 'j') return std::nullopt;
  if (text[1] == '0') return std::nullopt;  // Leading zeros, or the "no job" id.
  std::uint64_t value = 0;
  for (const char c : text.substr(1)) {
    const std::uint8_t digit = kDigits[static_cast<unsigned char>(c)];
    if (digit == kNoDigit || value >> 59 != 0) return std::nullopt;
    value = value << 5 | digit;
  }
  return JobId{value};
}

}  // namespace jobq
