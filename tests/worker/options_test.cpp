#include "worker/options.hpp"

#include <doctest/doctest.h>

#include <string>
#include <variant>
#include <vector>

using jobq::runner::Options;
using jobq::runner::parse_queue;
using jobq::runner::read_command_line;
using namespace std::chrono_literals;

namespace {

std::variant<Options, int> read(std::vector<std::string> words) {
  words.insert(words.begin(), "jobq-worker");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  return read_command_line(static_cast<int>(words.size()), argv.data());
}

Options good(const std::vector<std::string>& words) {
  auto options = read(words);
  REQUIRE(std::holds_alternative<Options>(options));
  return std::get<Options>(std::move(options));
}

int code(const std::vector<std::string>& words) {
  const auto options = read(words);
  REQUIRE(std::holds_alternative<int>(options));
  return std::get<int>(options);
}

}  // namespace

TEST_CASE("queues with and without weight") {
  CHECK(parse_queue("mail")->name == "mail");
  CHECK(parse_queue("mail")->weight == 1);
  CHECK(parse_queue("mail:100")->weight == 100);
  for (const char* wrong : {"", ":3", "mail:", "mail:0", "mail:101", "mail:-1", "mail:3x", "mail:1:2",
                            "mail:99999999999", "m ail", "-mail"}) {
    CHECK_MESSAGE(!parse_queue(wrong).ok(), wrong);
  }
}

TEST_CASE("a whole command line") {
  const Options options = good({"--queue",
                                "mail:3",
                                "--queue",
                                "reports",
                                "--type",
                                "B",
                                "--type",
                                "A",
                                "--type",
                                "B",
                                "--concurrency",
                                "8",
                                "--max-run",
                                "30s",
                                "--kill-after",
                                "0",
                                "--drain-timeout",
                                "1m",
                                "--connect",
                                "ipc:///run/x",
                                "--stdout",
                                "discard",
                                "--",
                                "sh",
                                "-c",
                                "--queue",
                                "--"});
  CHECK(options.queues.size() == 2);
  CHECK(options.queues[0].weight == 3);
  CHECK(options.types == std::vector<std::string>{"A", "B"});
  CHECK(options.concurrency == 8);
  CHECK(options.max_run == 30s);
  CHECK(options.kill_after == 0ms);
  CHECK(options.drain_timeout == 1min);
  CHECK(options.endpoint == "ipc:///run/x");
  CHECK_FALSE(options.pass_stdout);
  CHECK(options.pass_stderr);
  CHECK(options.command == std::vector<std::string>{"sh", "-c", "--queue", "--"});
  CHECK(options.path == "/usr/bin/sh");
  CHECK(options.name == "sh");
}

TEST_CASE("wrong command lines are 64, commands that are not there 127 or 126") {
  CHECK(code({"--queue", "a"}) == 64);
  CHECK(code({"--queue", "a", "--"}) == 64);
  CHECK(code({"--queue", "a", "--", ""}) == 64);
  CHECK(code({"--", "true"}) == 64);
  CHECK(code({"--queue", "a", "true"}) == 64);
  CHECK(code({"--queue", "a", "--queue", "a:2", "--", "true"}) == 64);
  CHECK(code({"--queue", "a", "--max-run", "soon", "--", "true"}) == 64);
  CHECK(code({"--queue", "a", "--max-run", "8d", "--", "true"}) == 64);
  CHECK(code({"--queue", "a", "--type", "", "--", "true"}) == 64);
  CHECK(code({"--queue", "a", "--concurrency", "1001", "--", "true"}) == 64);
  CHECK(code({"--queue", "a", "--concurrency", "-1", "--", "true"}) == 64);
  CHECK(code({"--queue", "a", "--endpoint", "localhost:7710", "--", "true"}) == 64);
  CHECK(code({"--queue", "a", "--name", std::string(129, 'n'), "--", "true"}) == 64);
  CHECK(code({"--queue", "a", "--recycle-after", "5", "--", "true"}) == 64);
  CHECK(code({"--queue", "a", "--", "no-such-command-here"}) == 127);
  CHECK(code({"--queue", "a", "--", "/etc"}) == 126);
}
