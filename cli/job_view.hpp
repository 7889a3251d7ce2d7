// `jobq job show` as text: what a job is, what happened to it in order, and what it carries.
//
// Thread-safety: functions without state.
#pragma once

#include <cstddef>
#include <string>

#include "cli/document.hpp"
#include "libjobq/base/time.hpp"

namespace jobq::cli {

// document: the answer to "job.show". now: the wall clock, for ages. width: of the terminal, 0 for no cutting.
std::string render_job(const Json& document, TimeMs now, std::size_t width);

// document: the answer to "job.why": the reasons, the main one first, each with its remedy.
std::string render_why(const Json& document, TimeMs now);

// The beginning of a body for people: text as it is, a msgpack map or array as JSON, other bytes as hex. At most
// about `bytes_max` bytes of it; says what was left out.
std::string preview_body(const std::string& body, std::size_t bytes_max);

}  // namespace jobq::cli
