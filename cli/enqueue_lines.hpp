// `jobq enqueue --lines`: a job of every line of a stream. Ids come out in the order of the lines as they are confirmed,
// however long the stream stays open; what the broker refuses for now is offered again; an outage is waited for.
//
// Memory is bounded by a window of lines that are not confirmed yet. The library's resend identity makes that no line
// becomes two jobs over a reconnect or a restart of the broker; a line whose outcome stays unknown (the timeout passed
// after it was sent) ends the run, because sending it again could double it.
//
// Thread-safety: run() in one thread; the library's callbacks only hand results over.
#pragma once

#include <string>

#include "cli/enqueue_options.hpp"
#include "cli/globals.hpp"

namespace jobq::cli {

// What a line is: the body itself, or a job as `jobq dead export` writes it (job_line.hpp).
enum class LineForm { body, job };

// Returns the exit code. fd: the stream. timeout: of each line, from its reading to its confirmation.
int enqueue_lines(const Globals& globals, const std::string& queue, const EnqueueOptions& options,
                  LineForm form, int fd);

inline constexpr DurationMs kLinesTimeout{600'000};

}  // namespace jobq::cli
