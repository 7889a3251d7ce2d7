// The flags of jobq-broker and the configuration that comes of them: defaults, then the file, then the flags.
// Thread-safety: plain values.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "broker/config.hpp"
#include "jobq/status.hpp"

namespace jobq {

struct CommandLine {
  std::optional<std::string> data, config_file, log_format, log_level;
  std::vector<std::string> listen;
  bool insecure = false;
  bool check_config = false;
  bool print_config = false;
  int ready_fd = -1;
};

// Reads the flags. When there is nothing more to do (--help, --version, a wrong flag) the text has been printed and the
// exit code is returned instead.
std::optional<int> read_command_line(int argc, char** argv, CommandLine* line);

// bad_argument: the file or a relation between settings. The file is read anew each time, for SIGHUP too.
Result<Config> load_config(const CommandLine& line);

}  // namespace jobq
