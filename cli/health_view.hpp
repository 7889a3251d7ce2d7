// `jobq check` of a running broker: what a monitoring system wants to know, from the broker's own list of problems.
//
// Thread-safety: functions without state.
#pragma once

#include <string>
#include <vector>

#include "cli/document.hpp"

namespace jobq::cli {

// The numbers that Nagios, Icinga and their kin agree on. DO NOT RENUMBER: docs/cli.md promises them.
enum class Health : int { ok = 0, warning = 1, critical = 2, unknown = 3 };

struct HealthReport {
  Health health = Health::ok;
  std::string text;  // lines for people and plugins; the first one says it all and ends in "| name=value ..."
  Json json;
};

// stats: the document of the broker. ignored: kinds of problems that do not count.
HealthReport health_of(const Json& stats, const std::vector<std::string>& ignored);
// When there is no document: the broker did not answer, or refused.
HealthReport health_without_answer(Health health, const std::string& why);

}  // namespace jobq::cli
