// A redrive or a purge is a task of the broker: this watches one to its end, with progress on a terminal.
//
// Thread-safety: one thread.
#pragma once

#include <string>

#include "cli/broker_link.hpp"
#include "cli/document.hpp"
#include "jobq/status.hpp"

namespace jobq::cli {

// answer: {"task": TASK} as the verb that began it gave. Asks until its state is "done"; gives the last document.
// Ctrl-C stops watching, not the task: the document then still says "running". A broker that is away for less than the
// link's timeout is waited for.
Result<Json> watch_task(BrokerLink* link, Json answer);

// "redrive: 1,234 of 5,678 looked at are ready again; 3 were expired and stay". One line.
std::string task_text(const Json& task);

// Prints the end of a task (text or JSON) and returns the exit code.
int print_task(const Globals& globals, const Json& answer);

}  // namespace jobq::cli
