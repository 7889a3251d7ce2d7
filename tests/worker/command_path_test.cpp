#include "worker/command_path.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

using jobq::runner::find_command;

namespace {

// A directory with one program and one plain file.
struct Directory {
  Directory() {
    char pattern[] = "/tmp/jobq-command.XXXXXX";
    path = ::mkdtemp(pattern);
    std::ofstream(path + "/program") << "#!/bin/sh\n";
    ::chmod((path + "/program").c_str(), 0755);
    std::ofstream(path + "/plain") << "text\n";
    ::chmod((path + "/plain").c_str(), 0644);
  }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string path;
};

}  // namespace

TEST_CASE("a command is found as a shell finds it") {
  const Directory directory;
  CHECK(find_command(directory.path + "/program", "").path == directory.path + "/program");
  CHECK(find_command("program", "/nowhere:" + directory.path).path == directory.path + "/program");
  CHECK(find_command("sh", "/usr/bin:/bin").path == "/usr/bin/sh");
}

TEST_CASE("a command that is not there is 127, with its name") {
  const Directory directory;
  for (const char* name : {"./no-such-program", "no-such-program", "/no/such/program"}) {
    const auto missing = find_command(name, "/usr/bin:" + directory.path);
    CHECK(missing.path.empty());
    CHECK(missing.exit_code == 127);
    CHECK(missing.error.find(name) != std::string::npos);
  }
  CHECK(find_command("", "/usr/bin").exit_code == 127);
}

TEST_CASE("a command that is no program of this user is 126, with the remedy") {
  const Directory directory;
  const auto directory_itself = find_command(directory.path, "");
  CHECK(directory_itself.exit_code == 126);
  CHECK(directory_itself.error.find("directory") != std::string::npos);
  const auto plain = find_command("plain", directory.path);
  CHECK(plain.exit_code == 126);
  CHECK(plain.error.find("chmod +x") != std::string::npos);
}

TEST_CASE("an executable further back in PATH wins over one that cannot be run") {
  const Directory first;
  const Directory second;
  ::chmod((first.path + "/program").c_str(), 0644);
  CHECK(find_command("program", first.path + ":" + second.path).path == second.path + "/program");
}
