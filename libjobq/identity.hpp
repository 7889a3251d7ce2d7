// Who this process is, and random identities: the few things that the library asks the system for.
//
// Thread-safety: functions without state.
#pragma once

#include <string>

#include "libjobq/base/id.hpp"
#include "libjobq/link.hpp"

namespace jobq {

LinkIdentity this_process(std::string endpoint);
std::string program_name();
ProducerId random_producer_id();

}  // namespace jobq
