#include "cli/dead_groups.hpp"

#include <algorithm>
#include <cctype>

#include "cli/table.hpp"

namespace jobq::cli {

std::string error_shape(const std::string& error) {
  const std::string line = error.substr(0, error.find('\n'));
  std::string shape;
  for (std::size_t at = 0; at < line.size() && shape.size() < 200;) {
    // A word of letters and digits with a digit in it (a number, an id, a hash) is what varies.
    std::size_t end = at;
    bool digit = false;
    while (end < line.size() && std::isalnum(static_cast<unsigned char>(line[end])) != 0) {
      digit = digit || std::isdigit(static_cast<unsigned char>(line[end])) != 0;
      ++end;
    }
    if (end == at) {
      shape += line[at++];
    } else {
      shape += digit ? "#" : line.substr(at, end - at);
      at = end;
    }
  }
  return shape;
}

void DeadGroups::add(const Json& dead) {
  ++jobs_;
  auto key =
      std::tuple{text_at(dead, "type"), text_at(dead, "reason"), error_shape(raw_text_at(dead, "error"))};
  if (groups_.size() >= kGroupsMax && groups_.find(key) == groups_.end()) key = {"", "", "(other errors)"};
  DeadGroup& group = groups_[key];
  const TimeMs died{int_at(dead, "died_at")};
  if (group.count == 0 || died < group.first_died) group.first_died = died;
  if (group.count == 0 || died >= group.last_died) {
    group.last_died = died;
    group.example = text_at(dead, "id");
    group.error = text_at(dead, "error");
  }
  group.type = std::get<0>(key);
  group.reason = std::get<1>(key);
  ++group.count;
}

std::vector<DeadGroup> DeadGroups::sorted() const {
  std::vector<DeadGroup> groups;
  for (const auto& [key, group] : groups_) groups.push_back(group);
  std::stable_sort(groups.begin(), groups.end(),
                   [](const DeadGroup& a, const DeadGroup& b) { return a.count > b.count; });
  return groups;
}

}  // namespace jobq::cli
