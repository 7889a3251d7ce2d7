// The job of these examples: what the producer and the worker have in common. Its name on the wire is
// "SendReceipt".
#pragma once

#include <cstdint>
#include <string>

#include "jobq/msgpack_body.hpp"

struct SendReceipt {
  std::string to;
  std::uint64_t order = 0;
  MSGPACK_DEFINE_MAP(to, order)
};
