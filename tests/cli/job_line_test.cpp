// Lines of `jobq dead export` as jobs again.
#include "cli/job_line.hpp"

#include <doctest/doctest.h>

#include "cli/document.hpp"

using namespace jobq::cli;
using std::chrono::milliseconds;

TEST_CASE("a job that was exported becomes the same job") {
  const auto made = parse_job_line(
      R"({"id":"j2","queue":"receipts","type":"mail","priority":9,"headers":{"trace":"7f3a"},"unique_key":"receipt:42",
          "max_attempts":3,"max_run_ms":30000,"unique_for_ms":60000,"enqueued_at":1,"expires_at":2,"died_at":3,
          "reason":"rejected","failures":1,"error":"550","body":"{\"order\": 42}"})",
      {});
  REQUIRE_MESSAGE(made.ok(), made.status().text());
  CHECK(made->body == "{\"order\": 42}");
  CHECK(made->options.type == "mail");
  CHECK(made->options.priority == 9);
  CHECK(made->options.headers == jobq::Headers{{"trace", "7f3a"}});
  CHECK(made->options.unique_key == "receipt:42");
  CHECK(made->options.unique_for == milliseconds{60'000});
  CHECK(made->options.max_attempts == 3);
  CHECK(made->options.max_run_time == milliseconds{30'000});
  CHECK(made->options.expires_in == milliseconds{0});  // A date that is past would be no use.
}

TEST_CASE("what is absent or null is the queue's; a body of any bytes comes as base64") {
  const auto made = parse_job_line(
      R"({"body":null,"body_base64":"/wAB","priority":null,"unique_key":null,"headers":{},"max_attempts":null})",
      {});
  REQUIRE(made.ok());
  CHECK(made->body == std::string("\xff\x00\x01", 3));
  CHECK_FALSE(made->options.priority.has_value());
  CHECK(made->options.unique_key.empty());
  REQUIRE(parse_job_line(R"({"body":""})", {}).ok());
}

TEST_CASE("the command line goes before the line") {
  jobq::EnqueueOptions given;
  given.type = "other";
  given.priority = 0;
  given.delay = milliseconds{5};
  const auto made = parse_job_line(R"({"body":"x","type":"mail","priority":9,"max_attempts":2})", given);
  REQUIRE(made.ok());
  CHECK(made->options.type == "other");
  CHECK(made->options.priority == 0);
  CHECK(made->options.delay == milliseconds{5});
  CHECK(made->options.max_attempts == 2);
}

TEST_CASE("a line that is no job is refused with its field named") {
  for (const auto& [line, says] : std::initializer_list<std::pair<const char*, const char*>>{
           {"", "not a JSON object"},
           {"[1,2]", "not a JSON object"},
           {"{\"body\":", "not a JSON object"},
           {"{}", "'body'"},
           {R"({"body":7})", "'body'"},
           {R"({"body_base64":"a"})", "'body_base64'"},
           {R"({"body_base64":"===="})", "'body_base64'"},
           {R"({"body":"x","type":7})", "'type'"},
           {R"({"body":"x","priority":10})", "'priority'"},
           {R"({"body":"x","priority":-1})", "'priority'"},
           {R"({"body":"x","priority":1.5})", "'priority'"},
           {R"({"body":"x","max_attempts":99999999999999999999})", "'max_attempts'"},
           {R"({"body":"x","max_attempts":18446744073709551615})", "'max_attempts'"},
           {R"({"body":"x","headers":["a"]})", "'headers'"},
           {R"({"body":"x","headers":{"a":1}})", "'headers'"}}) {
    const auto made = parse_job_line(line, {});
    REQUIRE_FALSE_MESSAGE(made.ok(), line);
    CHECK_MESSAGE(made.status().text().find(says) != std::string::npos, made.status().text());
  }
}

TEST_CASE("base64 is read as it is written, and nothing else is") {
  for (const std::string bytes : {"", "f", "fo", "foo", "foob", "fooba", "foobar"}) {
    CHECK(from_base64(base64(bytes)) == bytes);
  }
  for (const char* text : {"Z", "Zg", "Zg=", "Z===", "Zg=a", "Zm 9", "Zm9*", "=m9v", "Zg==Zg=="}) {
    CHECK_MESSAGE(!from_base64(text).has_value(), text);
  }
}
