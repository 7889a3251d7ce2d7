// Options of the public interface -> a checked job: what can be refused here is refused before anything is
// sent.
//
// Thread-safety: functions without state.
#pragma once

#include <chrono>
#include <string_view>

#include "jobq/options.hpp"
#include "jobq/status.hpp"
#include "libjobq/client/producer_core.hpp"

namespace jobq {

// bad_type, bad_priority, bad_time, bad_unique_key, headers_too_large, body_too_large, bad_argument.
Result<OwnedJob> make_job(std::string_view body, const EnqueueOptions& options);

// bad_argument unless it is over zero and at most 12 hours.
Status check_timeout(std::chrono::milliseconds timeout);

}  // namespace jobq
