// Runs a text file of commands against a World and compares what comes out with what the file says.
//
//   # a comment
//   enqueue mail type=receipt delay=5s
//   ----
//   p <- created j1 scheduled
//
// A block is one or more command lines, "----", and the expected lines up to an empty line. With
// JOBQ_UPDATE=1 in the environment the expectations are rewritten: read the difference before you commit it.
// The commands are listed in transcript.cpp, in the order of the table at its end.
#pragma once

#include <string>

namespace jobq::testing {

// Fails the running doctest case at the first block that differs.
void run_transcript(const std::string& path);

}  // namespace jobq::testing
