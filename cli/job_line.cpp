#include "cli/job_line.hpp"

#include <fmt/format.h>

#include <array>

#include "cli/document.hpp"
#include "cli/table.hpp"
#include "libjobq/protocol/limits.hpp"

namespace jobq::cli {
namespace {

Status wrong(std::string_view field, std::string_view must) {
  return {Code::bad_argument, fmt::format("'{}' must be {}", field, must)};
}

bool absent(const Json& job, const char* field) {
  const auto found = job.find(field);
  return found == job.end() || found->is_null();
}

Status take_text(const Json& job, const char* field, std::string* target) {
  if (absent(job, field)) return {};
  if (!job.at(field).is_string()) return wrong(field, "a text");
  *target = job.at(field).get<std::string>();
  return {};
}

Status take_number(const Json& job, const char* field, std::int64_t most, std::int64_t* target) {
  if (absent(job, field)) return {};
  const Json& value = job.at(field);
  // An unsigned number beyond int64 is out of every range here.
  const bool fits =
      value.is_number_integer() &&
      (!value.is_number_unsigned() || value.get<std::uint64_t>() <= static_cast<std::uint64_t>(most));
  if (!fits || value.get<std::int64_t>() < 0)
    return wrong(field, fmt::format("a whole number from 0 to {}", most));
  *target = value.get<std::int64_t>();
  return {};
}

Status take_headers(const Json& job, Headers* headers) {
  if (absent(job, "headers")) return {};
  if (!job.at("headers").is_object()) return wrong("headers", "an object of texts");
  for (const auto& [name, value] : job.at("headers").items()) {
    if (!value.is_string()) return wrong("headers", "an object of texts");
    headers->emplace_back(name, value.get<std::string>());
  }
  return {};
}

Status take_body(const Json& job, std::string* body) {
  if (absent(job, "body") && absent(job, "body_base64"))
    return {Code::bad_argument, "it has no 'body' and no 'body_base64'"};
  if (!absent(job, "body")) return take_text(job, "body", body);
  std::string text;
  if (Status status = take_text(job, "body_base64", &text); !status.ok()) return status;
  const auto bytes = from_base64(text);
  if (!bytes) return wrong("body_base64", "base64");
  *body = *bytes;
  return {};
}

}  // namespace

Result<JobLine> parse_job_line(std::string_view line, const EnqueueOptions& given) {
  const Json job = Json::parse(line, nullptr, false);
  if (job.is_discarded() || !job.is_object()) {
    return Status{Code::bad_argument, fmt::format("it is not a JSON object: '{}'", cut(printable(line), 60))};
  }
  JobLine made;
  EnqueueOptions& options = made.options;
  std::int64_t priority = -1, unique_for = 0, max_attempts = 0, max_run = 0;
  for (const Status& status :
       std::array{take_body(job, &made.body), take_text(job, "type", &options.type),
                  take_text(job, "unique_key", &options.unique_key), take_headers(job, &options.headers),
                  take_number(job, "priority", limits::kPriorityMax, &priority),
                  take_number(job, "unique_for_ms", limits::kDelayMsMax, &unique_for),
                  take_number(job, "max_attempts", limits::kMaxAttemptsMax, &max_attempts),
                  take_number(job, "max_run_ms", limits::kRunMsMax, &max_run)}) {
    if (!status.ok()) return status;
  }
  if (priority >= 0) options.priority = static_cast<int>(priority);
  options.unique_for = std::chrono::milliseconds{unique_for};
  options.max_attempts = static_cast<std::uint32_t>(max_attempts);
  options.max_run_time = std::chrono::milliseconds{max_run};
  // The command line goes before the line.
  if (!given.type.empty()) options.type = given.type;
  if (given.priority) options.priority = given.priority;
  if (!given.headers.empty()) options.headers = given.headers;
  if (given.max_attempts != 0) options.max_attempts = given.max_attempts;
  if (given.max_run_time.count() != 0) options.max_run_time = given.max_run_time;
  options.delay = given.delay;
  options.run_at = given.run_at;
  options.expires_in = given.expires_in;
  options.timeout = given.timeout;
  return made;
}

}  // namespace jobq::cli
