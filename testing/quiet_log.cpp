// The broker of a test has no log, in place of broker/server/log.cpp: what it has to say is in its answers and counts, and a
// test's output is the test's own.
#include "broker/server/log.hpp"

namespace jobq::log {

void set_up(LogFormat /*format*/, std::string_view /*level*/) {}
void set_level(std::string_view /*level*/) {}
void write(Level /*level*/, std::string_view /*text*/) {}

}  // namespace jobq::log
