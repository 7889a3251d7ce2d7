// The options that every command has.
//
// Thread-safety: plain values.
#pragma once

#include <string>

#include "libjobq/base/time.hpp"

namespace jobq::cli {

struct Globals {
  std::string endpoint = "tcp://127.0.0.1:7710";
  std::string timeout_text;  // as given; empty: the command's default
  DurationMs timeout{};      // of it, 0 when none was given
  bool json = false;
};

}  // namespace jobq::cli
