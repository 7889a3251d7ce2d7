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

#include <memory>
#include <string>
#include <vector>

#include "tests/engine/world.hpp"

namespace jobq::testing {

// One world, told what to do in the words of the transcripts.
class Script {
 public:
  Script();
  ~Script();
  // Carries out one command line and returns what came out. An unknown command fails the test.
  std::vector<std::string> run(const std::string& line);
  World& world();

 private:
  class Runner;
  std::unique_ptr<Runner> runner_;
};

// Fails the running doctest case at the first block that differs.
void run_transcript(const std::string& path);

}  // namespace jobq::testing
