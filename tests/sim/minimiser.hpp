// Looks for a shorter run that fails in the same way: fewer operations, fewer kinds of faults, fewer producers and workers.
// What is left names its seed, its number of operations and the faults that are switched off: the run can be repeated.
#pragma once

#include <cstdint>

#include "tests/sim/campaign.hpp"

namespace jobq::sim {

// Prints its way and the story of the shortest run. 0: the seed does not fail; 1: it does.
int minimise(const Campaign& campaign, std::uint64_t seed);

}  // namespace jobq::sim
