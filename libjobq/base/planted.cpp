#include "libjobq/base/planted.hpp"

#ifdef JOBQ_PLANTED_BUGS

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>

namespace jobq::planted {
namespace {

constexpr int kUsage = 64;

std::size_t from_environment() {
  const char* wanted = std::getenv("JOBQ_PLANTED_BUG");
  if (wanted == nullptr) return std::size(kBugs);
  const auto* found = std::ranges::find(kBugs, std::string_view{wanted});
  if (found == std::end(kBugs)) {
    std::fprintf(stderr, "JOBQ_PLANTED_BUG: there is no planted bug '%s'; there are:\n", wanted);
    for (const std::string_view bug : kBugs) std::fprintf(stderr, "%s\n", bug.data());
    _exit(kUsage);
  }
  return static_cast<std::size_t>(found - std::begin(kBugs));
}

std::size_t switched_on() {
  static const std::size_t place = from_environment();
  return place;
}

// Before main: a mistyped name must not pass for a bug that is not found.
[[maybe_unused]] const std::size_t kAskedAtTheStart = switched_on();

}  // namespace

bool is_on(std::size_t place) { return place == switched_on(); }

}  // namespace jobq::planted

#endif
