#include "tests/faults/written_history.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

namespace jobq::faults {

// "100 p1 enqueue ok seq=1 job=j1" -> a history line. Numbers are numbers, the rest is text.
std::string history_of(const std::string& text) {
  std::istringstream lines{text};
  std::string line, out;
  std::uint64_t n = 0;
  while (std::getline(lines, line)) {
    std::istringstream words{line};
    std::int64_t t = 0;
    std::string proc, op, type, word;
    if (!(words >> t >> proc >> op >> type)) continue;
    nlohmann::json object{{"n", ++n}, {"t", t}, {"proc", proc}, {"op", op}, {"type", type}};
    while (words >> word) {
      const auto equals = word.find('=');
      const std::string name = word.substr(0, equals), value = word.substr(equals + 1);
      if (value == "true") {
        object[name] = true;
      } else if (value.find_first_not_of("0123456789") == std::string::npos && name != "hash") {
        object[name] = std::stoll(value);
      } else {
        object[name] = value;
      }
    }
    out += object.dump() + "\n";
  }
  return out;
}

// "j1 ready hash=a queue=q ..." -> a dump line.
std::string dump_of(const std::string& text) {
  std::istringstream lines{text};
  std::string line, out;
  while (std::getline(lines, line)) {
    std::istringstream words{line};
    std::string id, state, word;
    if (!(words >> id >> state)) continue;
    nlohmann::json object{{"id", id}, {"state", state}, {"queue", "q"}};
    while (words >> word) {
      const auto equals = word.find('=');
      const std::string name = word.substr(0, equals), value = word.substr(equals + 1);
      if (name == "attempts" || name == "priority") {
        object[name] = std::stoll(value);
      } else {
        object[name] = value;
      }
    }
    out += object.dump() + "\n";
  }
  return out;
}

// The names of the violated invariants: "" or "I1" or "I1 I4".
std::string violated(const std::string& history_text, const std::string& dump_text,
                     const CheckerOptions& options) {
  std::istringstream history_in{history_of(history_text)}, dump_in{dump_of(dump_text)};
  const auto history = read_history(&history_in);
  REQUIRE_MESSAGE(history.ok(), history.status().text());
  const auto dump = read_dump(&dump_in);
  REQUIRE_MESSAGE(dump.ok(), dump.status().text());
  const Verdict verdict = check_history(*history, *dump, options);
  std::set<std::string> names;
  for (const Violation& one : verdict.violations) names.insert(one.invariant);
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : " ") + name;
  INFO(report(verdict, *history, *dump));
  CHECK((report(verdict, *history, *dump).find("no invariant") != std::string::npos) == text.empty());
  return text;
}

}  // namespace jobq::faults
