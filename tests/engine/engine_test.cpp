#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "tests/engine/transcript.hpp"

// Each file of tests/engine/transcripts is a case; its name says what it shows.
TEST_CASE("transcripts") {
  const char* root = std::getenv("JOBQ_SOURCE_ROOT");
  REQUIRE(root != nullptr);
  std::vector<std::string> paths;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string{root} + "/tests/engine/transcripts")) {
    paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  REQUIRE(paths.size() > 20);
  for (const std::string& path : paths) {
    SUBCASE(path.c_str()) { jobq::testing::run_transcript(path); }
  }
}
