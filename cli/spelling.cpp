#include "cli/spelling.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "cli/table.hpp"

namespace jobq::cli {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

std::string did_you_mean(std::string_view wanted, const std::vector<std::string>& names) {
  constexpr std::size_t kNear = 2;
  const std::string* nearest = nullptr;
  std::size_t least = std::min(kNear, wanted.size() / 2) + 1;
  for (const std::string& name : names) {
    const std::size_t distance = edit_distance(wanted, name);
    if (distance < least) {
      least = distance;
      nearest = &name;
    }
  }
  return nearest == nullptr ? "" : fmt::format("; did you mean '{}'?", *nearest);
}

std::string no_such_queue_text(std::string_view wanted, std::vector<std::string> existing) {
  constexpr std::size_t kShown = 8;
  const std::string no_queue = fmt::format("no queue is called '{}'", printable(wanted));
  if (existing.empty()) return no_queue + "; there are none yet: the first `jobq enqueue QUEUE` makes one";
  std::stable_sort(existing.begin(), existing.end(), [wanted](const std::string& a, const std::string& b) {
    return edit_distance(wanted, a) < edit_distance(wanted, b);
  });
  std::string names;
  for (std::size_t i = 0; i < std::min(kShown, existing.size()); ++i)
    names += (i > 0 ? ", " : "") + existing[i];
  if (existing.size() > kShown) names += fmt::format(" and {} more", existing.size() - kShown);
  return fmt::format("{}; there are: {}. `jobq queue ls` lists them", no_queue, names);
}

}  // namespace jobq::cli
