// The job that the shop puts in the queue and the receipt worker takes out: the one thing both programs
// share.
#pragma once

#include <cstdint>
#include <string>

#include "jobq/msgpack_body.hpp"

namespace shop {

inline constexpr const char* kReceiptQueue = "receipts";

// Everything the receipt needs, so that the worker asks nobody. MSGPACK_DEFINE_MAP names the fields in the
// body: a field that is added later is skipped by workers that do not know it.
struct SendReceipt {
  std::uint64_t order = 0;
  std::string to;
  std::string text;  // the lines of the receipt, each ended by \n
  MSGPACK_DEFINE_MAP(order, to, text)
};

}  // namespace shop
