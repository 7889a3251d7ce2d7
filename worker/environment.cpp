#include "worker/environment.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

namespace jobq::runner {

namespace {

constexpr std::array<std::string_view, 7> kWorkersOwn{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                                      "LISTEN_FDS",    "LISTEN_PID",    "LISTEN_FDNAMES",
                                                      "MAINPID"};

bool for_the_worker_alone(std::string_view name) {
  return name.starts_with("JOBQ_") ||
         std::find(kWorkersOwn.begin(), kWorkersOwn.end(), name) != kWorkersOwn.end();
}

}  // namespace

std::string header_variable(std::string_view name) {
  std::string variable = "JOBQ_HEADER_";
  for (const char c : name) {
    if (c >= 'a' && c <= 'z') {
      variable += static_cast<char>(c - 'a' + 'A');
    } else {
      variable += (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_';
    }
  }
  return variable;
}

std::vector<std::string> job_variables(const JobFacts& facts) {
  std::vector<std::string> variables{
      "JOBQ_JOB_ID=" + facts.id,
      "JOBQ_QUEUE=" + facts.queue,
      "JOBQ_TYPE=" + facts.type,
      fmt::format("JOBQ_ATTEMPT={}", facts.attempt),
      fmt::format("JOBQ_MAX_ATTEMPTS={}", facts.max_attempts),
      fmt::format("JOBQ_PRIORITY={}", facts.priority),
      fmt::format("JOBQ_ENQUEUED_AT={}", facts.enqueued_at_s),
  };
  if (facts.deadline_s) variables.push_back(fmt::format("JOBQ_DEADLINE={}", *facts.deadline_s));
  std::set<std::string> taken;
  for (const auto& [name, value] : facts.headers) {
    std::string variable = header_variable(name);
    if (value.find('\0') != std::string::npos || !taken.insert(variable).second) continue;
    variables.push_back(std::move(variable) + "=" + value);
  }
  return variables;
}

std::vector<std::string> inherited_variables(char* const* environment, const std::string& endpoint) {
  std::vector<std::string> variables;
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    const std::string_view entry = *environment;
    if (!for_the_worker_alone(entry.substr(0, entry.find('=')))) variables.emplace_back(entry);
  }
  variables.push_back("JOBQ_ENDPOINT=" + endpoint);
  return variables;
}

std::size_t environment_bytes(const std::vector<std::string>& variables) {
  std::size_t bytes = 0;
  for (const std::string& variable : variables) bytes += variable.size() + 1 + sizeof(char*);
  return bytes;
}

}  // namespace jobq::runner
