// What a command is told about its job through its environment (docs/jobq_worker.md lists the variables).
//
// The worker's own environment goes through, except what is meant for the worker alone (systemd's NOTIFY_SOCKET and
// its like) and JOBQ_* variables, which would otherwise pass for the job's.
//
// Thread-safety: functions without state. Errors: none; what cannot stand in an environment is left out.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jobq/options.hpp"

namespace jobq::runner {

struct JobFacts {
  std::string id;
  std::string queue;
  std::string type;
  std::uint32_t attempt = 0;
  std::uint32_t max_attempts = 0;
  int priority = 0;
  std::int64_t enqueued_at_s = 0;            // Unix time
  std::optional<std::int64_t> deadline_s{};  // Unix time; none: no limit
  Headers headers;
};

// "trace-id" -> "JOBQ_HEADER_TRACE_ID": upper case, and '_' for what is neither letter nor digit.
std::string header_variable(std::string_view name);

// "NAME=value" each. Of headers that become the same variable the first stands; a value with a NUL byte is left out.
std::vector<std::string> job_variables(const JobFacts& facts);

// The worker's environment (`environ`) as its commands get it, with JOBQ_ENDPOINT so that `jobq` works in them.
std::vector<std::string> inherited_variables(char* const* environment, const std::string& endpoint);

// How many bytes the system would count for it.
std::size_t environment_bytes(const std::vector<std::string>& variables);

}  // namespace jobq::runner
