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

TEST_CASE("what is known of tasks stays bounded while an old one goes on slowly") {
  jobq::testing::Script script;
  script.run("queue mail");
  script.run("queue empty");
  script.run("enqueue mail n=3 max_attempts=1");
  script.run("worker w mail credit=3");
  for (const char* job : {"j1/1", "j2/1", "j3/1"}) script.run(std::string{"nack w "} + job + " busy");
  script.run("redrive mail rate=1");
  for (int n = 0; n < 1'500; ++n) script.run("redrive empty");
  const std::vector<jobq::TaskReply> tasks = script.world().engine().tasks();
  CHECK(tasks.size() <= 1'001);
  REQUIRE_FALSE(tasks.empty());
  CHECK(tasks.front().task == 1);
  CHECK(tasks.front().state == jobq::TaskState::running);
}
