// docs/protocol.md against the codec: every hex example is decoded and compared with the meaning that stands below it, is
// what the encoder writes, and no type of message goes without one; the table of error numbers is the one in status.hpp.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "jobq/status.hpp"
#include "libjobq/protocol/codec.hpp"
#include "tests/protocol/describe.hpp"

namespace jobq::protocol {
namespace {

std::string read_document() {
  const char* root = std::getenv("JOBQ_SOURCE_ROOT");
  REQUIRE_MESSAGE(root != nullptr, "set JOBQ_SOURCE_ROOT to the directory that has docs/protocol.md");
  std::ifstream file(std::string(root) + "/docs/protocol.md");
  std::ostringstream text;
  text << file.rdbuf();
  REQUIRE(text.str().size() > 10'000);
  return text.str();
}

struct Example {
  std::string bytes;
  std::string meaning;
};

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  FAIL("not a hex digit: ", c);
  return 0;
}

std::string from_hex(const std::string& text) {
  std::string bytes;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    REQUIRE(word.size() == 2);
    bytes += static_cast<char>(hex_digit(word[0]) * 16 + hex_digit(word[1]));
  }
  return bytes;
}

// The text between a line that opens a block and the line that closes it; *at moves behind it.
std::string block(const std::string& document, const std::string& opening, std::size_t* at) {
  const std::size_t start = document.find(opening, *at);
  if (start == std::string::npos) return {};
  const std::size_t begin = start + opening.size();
  const std::size_t end = document.find("```\n", begin);
  REQUIRE(end != std::string::npos);
  *at = end + 4;
  return document.substr(begin, end - begin);
}

std::vector<Example> examples_of(const std::string& document) {
  std::vector<Example> examples;
  std::size_t at = 0;
  while (true) {
    const std::string hex = block(document, "```hex\n", &at);
    if (hex.empty()) return examples;
    const std::size_t behind_hex = at;
    const std::string meaning = block(document, "```message\n", &at);
    CHECK_MESSAGE(document.find("```hex\n", behind_hex) > at - meaning.size(),
                  "a meaning belongs below each: ", hex);
    examples.push_back({from_hex(hex), meaning});
  }
}

TEST_CASE("every example means what is written below it, and is what the encoder writes") {
  const std::vector<Example> examples = examples_of(read_document());
  std::set<int> types;
  for (const Example& example : examples) {
    std::uint64_t request_id = 0;
    std::string again;
    // [version, type, ...] with a short array header and a short version; the type may take two bytes.
    const auto type = static_cast<unsigned char>(example.bytes.at(2));
    types.insert(type);
    if (type % 2 == 1 && type < static_cast<int>(MessageType::error)) {
      const auto request = decode_request(example.bytes, {}, &request_id);
      REQUIRE_MESSAGE(request.ok(), request.status().text());
      CHECK(describe(*request) == example.meaning);
      encode(*request, &again);
    } else {
      const auto reply = decode_reply(example.bytes, {});
      REQUIRE_MESSAGE(reply.ok(), reply.status().text());
      CHECK(describe(*reply) == example.meaning);
      encode(*reply, &again);
    }
    CHECK(again == example.bytes);
  }
  const std::set<int> all = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 64, 65, 66, 67, 68};
  CHECK(types == all);
}

TEST_CASE("the table of error numbers is the one that the broker uses") {
  std::istringstream lines(read_document());
  std::set<int> seen;
  bool in_table = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("| number | name | retry |", 0) == 0) in_table = true;
    if (!in_table || line.rfind("| ", 0) != 0 || line[2] < '0' || line[2] > '9') continue;
    std::istringstream cells(line);
    std::string bar, name, retry;
    int number = 0;
    cells >> bar >> number >> bar >> name >> bar >> retry;
    CAPTURE(line);
    const auto code = static_cast<Code>(number);
    CHECK(name == "`" + to_string(code) + "`");
    CHECK((retry == "yes") == is_retryable(code));
    seen.insert(number);
  }
  for (int number = 0; number < 900; ++number) {
    const bool known = to_string(static_cast<Code>(number)).rfind("code_", 0) != 0;
    CHECK_MESSAGE(known == seen.contains(number), "code ", number);
  }
}

TEST_CASE("the limits in the document are those of limits.hpp") {
  const std::string document = read_document();
  const auto says = [&](const std::string& row) { return document.find(row) != std::string::npos; };
  const auto number = [](std::size_t value) {
    std::string text = std::to_string(value);
    if (text.size() > 3) text.insert(text.size() - 3, ",");
    return text;
  };
  CHECK(says("| jobs in an enqueue, over all groups | " + number(limits::kJobsPerMessageMax) + " |"));
  CHECK(says("| headers of a job | " + number(limits::kHeaderBytesMax) + " bytes packed |"));
  CHECK(says("| number of headers of a job | " + number(limits::kHeadersMax) + " |"));
  CHECK(says("1 to " + number(limits::kQueueNameBytesMax) + " of `A-Z"));
  CHECK(says("| a unique key | " + number(limits::kUniqueKeyBytesMax) + " |"));
  CHECK(says("| text of an outcome (the error) | " + number(limits::kErrorTextBytesMax) + " |"));
  CHECK(says("| client, broker, worker name, host, build | " + number(limits::kNameBytesMax) + " |"));
  CHECK(says("| queues of a worker | 1 to " + number(limits::kQueuesPerWorkerMax) + ", with weights 1 to " +
             number(limits::kWeightMax) + " |"));
  CHECK(says("| types of a worker | " + number(limits::kTypesPerWorkerMax) + " |"));
  CHECK(says("| credit in jobs | " + number(limits::kCreditJobsMax) + " |"));
  CHECK(says("| priority | 0 to " + number(limits::kPriorityMax) + " |"));
  CHECK(says("| max_attempts | " + number(limits::kMaxAttemptsMax) + " |"));
  CHECK(says("| parameters of an admin request | " + number(limits::kAdminParamsMax) + ","));
  CHECK(says("(nested at most " + number(limits::kNestingMax) + " deep)"));
  CHECK(limits::kMessageBytesDefault == std::size_t{8} << 20);
  CHECK(limits::kBodyBytesDefault == std::size_t{1} << 20);
}

}  // namespace
}  // namespace jobq::protocol
