// One process for one job: the body on its stdin, the job in its environment, its exit code the outcome.
//
// The body lies in a memory file that becomes the command's stdin, so a command that does not read it, or closes it,
// holds up nothing. stdout is jobq-worker's own or /dev/null. stderr comes through a pipe (error_output.hpp).
//
// Thread-safety: any number of threads at once.
#pragma once

#include "jobq/job.hpp"
#include "worker/workshop.hpp"

namespace jobq::runner {

// Returns when the command and its process group are gone and the job is settled.
void run_one_shot(Context* job, Workshop* shop);

}  // namespace jobq::runner
