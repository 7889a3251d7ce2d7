// Histories and dumps in short form, for the checker's tests. A line that cannot be read fails the test.
#pragma once

#include <string>

#include "tests/faults/checker.hpp"

namespace jobq::faults {

// "100 p1 enqueue ok seq=1 job=j1" -> a history line. Numbers are numbers, the rest is text.
std::string history_of(const std::string& text);
// "j1 ready hash=a queue=q ..." -> a dump line.
std::string dump_of(const std::string& text);
// The names of the violated invariants: "" or "I1" or "I1 I4".
std::string violated(const std::string& history_text, const std::string& dump_text,
                     const CheckerOptions& options = {});

}  // namespace jobq::faults
