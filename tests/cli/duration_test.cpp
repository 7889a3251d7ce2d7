#include "cli/duration.hpp"

#include <doctest/doctest.h>

#include <string>

using jobq::Code;
using jobq::cli::format_duration;
using jobq::cli::parse_duration;
using jobq::cli::write_duration;

TEST_CASE("durations are read as people write them") {
  const auto ms = [](const char* text) {
    const auto span = parse_duration(text);
    REQUIRE_MESSAGE(span.ok(), span.status().text());
    return span->ms;
  };
  CHECK(ms("250ms") == 250);
  CHECK(ms("30s") == 30'000);
  CHECK(ms("5m") == 300'000);
  CHECK(ms("1h30m") == 5'400'000);
  CHECK(ms("2d") == 172'800'000);
  CHECK(ms("1w") == 604'800'000);
  CHECK(ms("1w1d1h1m1s1ms") == 694'861'001);
  CHECK(ms("0") == 0);
  CHECK(ms("0s") == 0);
}

TEST_CASE("what is not a duration is refused with a sentence that shows how to write it") {
  const auto refusal = [](const char* text) {
    const auto span = parse_duration(text);
    REQUIRE_MESSAGE(!span.ok(), text);
    CHECK(span.code() == Code::bad_argument);
    CHECK(span.status().text().find("1h30m") != std::string::npos);
    return span.status().text();
  };
  CHECK(refusal("5").find("5 of what?") != std::string::npos);
  CHECK(refusal("").find("empty") != std::string::npos);
  CHECK(refusal("-5m").find("negative") != std::string::npos);
  CHECK(refusal("1.5h").find("whole numbers") != std::string::npos);
  CHECK(refusal("5 m").find("' m' is not a unit") != std::string::npos);
  CHECK(refusal("5x").find("'x' is not a unit") != std::string::npos);
  CHECK(refusal("5M").find("'M' is not a unit") != std::string::npos);
  CHECK(refusal("30m1h").find("smaller unit") != std::string::npos);
  CHECK(refusal("1m1m").find("twice") != std::string::npos);
  CHECK(refusal("m").find("number was expected") != std::string::npos);
  CHECK(refusal("99999999999999999999s").find("too large") != std::string::npos);
  CHECK(refusal("9223372036854775807s").find("too long") != std::string::npos);
  CHECK(refusal("15250284452w15250284452d").find("too long") != std::string::npos);
}

TEST_CASE("durations are shown with the two units that matter") {
  CHECK(format_duration(0) == "0s");
  CHECK(format_duration(7) == "7ms");
  CHECK(format_duration(999) == "999ms");
  CHECK(format_duration(1'000) == "1s");
  CHECK(format_duration(1'250) == "1.2s");
  CHECK(format_duration(42'900) == "42s");
  CHECK(format_duration(130'000) == "2m 10s");
  CHECK(format_duration(120'000) == "2m");
  CHECK(format_duration(11'520'000) == "3h 12m");
  CHECK(format_duration(187'200'000) == "2d 4h");
  CHECK(format_duration(400LL * 86'400'000) == "400d");
  CHECK(format_duration(-130'000) == "-2m 10s");
  CHECK(format_duration(INT64_MIN).front() == '-');
}

TEST_CASE("a written duration reads back as the same number") {
  for (const std::int64_t ms :
       {0LL, 1LL, 1'500LL, 30'000LL, 90'000LL, 5'400'000LL, 43'200'000LL, 31'536'000'000LL}) {
    const auto back = parse_duration(write_duration(ms));
    REQUIRE(back.ok());
    CHECK(back->ms == ms);
  }
  CHECK(write_duration(5'400'000) == "1h30m");
  CHECK(write_duration(14LL * 86'400'000) == "14d");
  CHECK(write_duration(1'500) == "1500ms");
}
