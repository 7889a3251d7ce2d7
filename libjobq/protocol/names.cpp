#include <fmt/format.h>

#include "libjobq/protocol/codec.hpp"
#include "libjobq/protocol/names.hpp"

namespace jobq::protocol {
namespace {

// What is wrong with the name; empty when nothing is.
std::string_view problem_of(std::string_view name, std::size_t bytes_max) {
  if (name.empty()) return "is empty";
  if (name.size() > bytes_max) return "is too long";
  if (!is_name_letter(name.front())) return "does not begin with a letter or a digit";
  for (const char c : name) {
    if (!is_name_letter(c) && c != '.' && c != '_' && c != '-') return "has other characters";
  }
  return {};
}

// Names come from outside and end up in terminals and logs: only printable ASCII of them is shown.
std::string shown(std::string_view name) {
  std::string text;
  for (const char c : name.substr(0, limits::kQueueNameBytesMax)) text += c >= ' ' && c <= '~' ? c : '?';
  return name.size() > limits::kQueueNameBytesMax ? text + "..." : text;
}

}  // namespace

Status check_queue_name(std::string_view name) {
  const std::string_view problem = problem_of(name, limits::kQueueNameBytesMax);
  if (problem.empty()) return {};
  return {Code::bad_queue_name,
          fmt::format("queue name '{}' {}; give 1 to {} of A-Z a-z 0-9 . _ -, the first a letter or a digit",
                      shown(name), problem, limits::kQueueNameBytesMax)};
}

Status check_type(std::string_view type) {
  if (type.empty()) return {};
  const std::string_view problem = problem_of(type, limits::kTypeBytesMax);
  if (problem.empty()) return {};
  return {
      Code::bad_type,
      fmt::format("type '{}' {}; give none, or 1 to {} of A-Z a-z 0-9 . _ -, the first a letter or a digit",
                  shown(type), problem, limits::kTypeBytesMax)};
}

}  // namespace jobq::protocol
