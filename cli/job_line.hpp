// A line of `jobq dead export` as a job to be enqueued: what `jobq enqueue --jobs` reads. Fields that are not about the new
// job (id, error, died_at, ...) are skipped, so that an export can be filtered and edited with any tool.
//
// Thread-safety: a function without state. Errors: bad_argument, naming the field and what it must be.
#pragma once

#include <string>
#include <string_view>

#include "jobq/options.hpp"
#include "jobq/status.hpp"

namespace jobq::cli {

struct JobLine {
  std::string body;
  EnqueueOptions options;
};

// {"body": text} or {"body_base64": text}; with type, priority, headers, unique_key, unique_for_ms, max_attempts and
// max_run_ms where the job had them. `given`: what the command line says goes before what the line says.
Result<JobLine> parse_job_line(std::string_view line, const EnqueueOptions& given);

}  // namespace jobq::cli
