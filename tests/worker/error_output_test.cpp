#include "worker/error_output.hpp"

#include <doctest/doctest.h>

#include <string>

#include "libjobq/base/utf8.hpp"

using jobq::runner::ErrorOutput;

TEST_CASE("a short error is kept whole, without white space around it") {
  ErrorOutput output("", false);
  output.take("  first\n");
  output.take("second\n\n");
  CHECK(output.end() == "first\nsecond");
}

TEST_CASE("of a long error the last bytes are kept, from the beginning of a line") {
  ErrorOutput output("", false);
  for (int i = 0; i < 10'000; ++i) output.take("line " + std::to_string(i) + "\n");
  const std::string end = output.end();
  CHECK(end.size() <= ErrorOutput::kKeptBytes);
  CHECK(end.size() > ErrorOutput::kKeptBytes / 2);
  CHECK(end.starts_with("line "));
  CHECK(end.ends_with("line 9999"));
}

TEST_CASE("one piece that is larger than what is kept") {
  ErrorOutput output("", false);
  output.take(std::string(100'000, 'a') + "\nthe end");
  CHECK(output.end() == "the end");
}

TEST_CASE("one endless line is cut between characters") {
  for (int shift = 0; shift < 3; ++shift) {
    ErrorOutput output("", false);
    output.take(std::string(static_cast<std::size_t>(shift), 'x'));
    for (int i = 0; i < 5'000; ++i) output.take("\xe2\x82\xac");  // a euro sign
    const std::string end = output.end();
    CHECK(jobq::is_valid_utf8(end));
    CHECK(end.find("\xef\xbf\xbd") == std::string::npos);
    CHECK(end.size() > ErrorOutput::kKeptBytes - 4);
  }
}

TEST_CASE("bytes that are not UTF-8 become replacement characters") {
  ErrorOutput output("", false);
  output.take("bad \xff byte");
  CHECK(output.end() == "bad \xef\xbf\xbd byte");
}

TEST_CASE("the next job begins with nothing") {
  ErrorOutput output("", false);
  output.take("old");
  output.begin("");
  CHECK(output.end().empty());
  output.take("new");
  CHECK(output.end() == "new");
}
