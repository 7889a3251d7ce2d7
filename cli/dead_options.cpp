#include "cli/dead_options.hpp"

#include <fmt/format.h>

#include "cli/duration.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"
#include "libjobq/base/id.hpp"

namespace jobq::cli {

void add_filter_options(CLI::App* sub, const std::shared_ptr<DeadOptions>& options, Filters filters) {
  sub->add_option_function<std::string>(
      "--type",
      [options](const std::string& type) {
        options->type = type;
        options->has_type = true;
      },
      "Only jobs of this type ('' for those without one)");
  sub->add_option("--error", options->error, "Only jobs whose last error contains this text");
  if (filters == Filters::all) sub->add_option("--id", options->id, "Only this job");
  sub->add_option("--min-age", options->min_age, "Only jobs dead for at least this long, like 1h");
}

bool add_filters(const DeadOptions& options, Params* params) {
  if (!options.id.empty()) {
    if (!parse_job_id(options.id)) {
      complain(fmt::format("--id: '{}' is not a job id; they look like j1a7", printable(options.id)));
      return false;
    }
    params->emplace_back("id", options.id);
  }
  if (options.has_type) params->emplace_back("type", options.type);
  if (!options.error.empty()) params->emplace_back("error", options.error);
  if (options.min_age.empty()) return true;
  const Result<DurationMs> age = parse_duration(options.min_age);
  if (!age.ok()) {
    complain("--min-age: " + age.status().text());
    return false;
  }
  params->emplace_back("min_age_ms", age->ms);
  return true;
}

}  // namespace jobq::cli
