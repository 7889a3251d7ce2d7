// Where a command is, found before the first job comes: a misspelt command fails at the start, not job by job.
//
// Thread-safety: functions without state.
#pragma once

#include <string>
#include <string_view>

namespace jobq::runner {

struct CommandPath {
  std::string path;   // what to execute; empty when it cannot be
  int exit_code = 0;  // then: kExitCommandNotFound or kExitCannotRun
  std::string error;  // and a sentence for people
};

// As a shell finds it: with a slash in it the path itself, else the first executable of that name in the directories
// of `search_path` ("/usr/bin:/bin"; an empty part is the working directory).
CommandPath find_command(const std::string& command, std::string_view search_path);

}  // namespace jobq::runner
