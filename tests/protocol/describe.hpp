// Messages as text: every field by name, one line per field or list entry. Tests compare what was meant with
// what came out of the codec through this, and docs/protocol.md states the meaning of its hex examples in it.
#pragma once

#include <string>
#include <string_view>

#include "libjobq/protocol/message.hpp"

namespace jobq::protocol {

std::string describe(const RequestMessage& message);
std::string describe(const ReplyMessage& message);

}  // namespace jobq::protocol
