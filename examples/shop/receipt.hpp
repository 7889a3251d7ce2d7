// The jobs that the shop puts into its queues and the mail worker takes out: what both programs share. The warehouse's
// jobs are lines of text (take_from_stock.sh).
#pragma once

#include <cstdint>
#include <string>

#include "jobq/msgpack_body.hpp"

namespace shop {

inline constexpr const char* kReceiptQueue = "receipts";
inline constexpr const char* kStockQueue = "stock";
inline constexpr const char* kSurveyQueue = "surveys";

// Everything the receipt needs, so that the worker asks nobody. MSGPACK_DEFINE_MAP names the fields in the
// body: a field that is added later is skipped by workers that do not know it.
struct SendReceipt {
  std::uint64_t order = 0;
  std::string to;
  std::string text;  // the lines of the receipt, each ended by \n
  MSGPACK_DEFINE_MAP(order, to, text)
};

// Some time after the order: was it all right?
struct AskHowItWas {
  std::uint64_t order = 0;
  std::string to;
  MSGPACK_DEFINE_MAP(order, to)
};

}  // namespace shop
