// One job done by a persistent process: the line down, the answer back, and everything that can come between.
//
// Thread-safety: any number of threads at once.
#pragma once

#include "jobq/job.hpp"
#include "worker/persistent_crew.hpp"
#include "worker/workshop.hpp"

namespace jobq::runner {

// Returns when the job is settled. Its process is then idle again, or has been replaced.
void run_persistent(Context* job, Workshop* shop, PersistentCrew* crew);

}  // namespace jobq::runner
