// Changes one field of a stored record, which is otherwise written once and never changed: for repairs.
//
// Thread-safety: a plain function.
#pragma once

#include <string>
#include <string_view>

#include "broker/engine/types.hpp"

namespace jobq::lmdb {

// The same record with another type. REQUIRES: decode_record() (record.hpp) understands it.
std::string with_type(std::string_view record, TypeNo type);

}  // namespace jobq::lmdb
