#include "cli/instant.hpp"

#include <doctest/doctest.h>

#include <string>

using jobq::Code;
using jobq::TimeMs;
using jobq::cli::format_instant;
using jobq::cli::parse_instant;

namespace {

std::int64_t ms(const char* text, const std::string& zone = "Europe/Berlin") {
  const auto instant = parse_instant(text, zone);
  REQUIRE_MESSAGE(instant.ok(), instant.status().text());
  return instant->at.ms;
}

std::string refusal(const char* text, const std::string& zone = "Europe/Berlin") {
  const auto instant = parse_instant(text, zone);
  REQUIRE_MESSAGE(!instant.ok(), text);
  CHECK(instant.code() == Code::bad_argument);
  CHECK(instant.status().text().find(text) != std::string::npos);
  return instant.status().text();
}

constexpr std::int64_t kNoonUtc = 1'795'435'200'000;  // 2026-11-23T12:00:00Z

}  // namespace

TEST_CASE("RFC 3339 times name one instant whatever the local zone") {
  CHECK(ms("2026-11-23T12:00:00Z") == kNoonUtc);
  CHECK(ms("2026-11-23t12:00:00z") == kNoonUtc);
  CHECK(ms("2026-11-23 12:00:00Z") == kNoonUtc);
  CHECK(ms("2026-11-23T13:00:00+01:00") == kNoonUtc);
  CHECK(ms("2026-11-23T06:30:00-05:30") == kNoonUtc);
  CHECK(ms("2026-11-23T12:00:00.250Z") == kNoonUtc + 250);
  CHECK(ms("2026-11-23T12:00:00.5Z") == kNoonUtc + 500);
  CHECK(ms("2026-11-23T12:00:00.123456789Z") == kNoonUtc + 123);
  CHECK(ms("2026-11-23T12:00Z") == kNoonUtc);
}

TEST_CASE("a time without an offset is local, a date alone is its midnight") {
  CHECK(ms("2026-11-23T13:00:00") == kNoonUtc);  // CET
  CHECK(ms("2026-11-23 13:00") == kNoonUtc);
  CHECK(ms("2026-11-23") == kNoonUtc - 13 * 3'600'000LL);
  CHECK(ms("2026-11-23T07:00", "America/New_York") == kNoonUtc);
  CHECK(ms("2026-07-01T14:00", "Europe/Berlin") == ms("2026-07-01T12:00Z"));  // CEST
}

TEST_CASE("what was understood is said in local time and in UTC") {
  const auto instant = parse_instant("2026-11-23 13:00", "Europe/Berlin");
  REQUIRE(instant.ok());
  CHECK(instant->understood == "2026-11-23 13:00:00 CET (2026-11-23T12:00:00Z)");
  const auto fraction = parse_instant("2026-11-23T12:00:00.250Z", "Europe/Berlin");
  REQUIRE(fraction.ok());
  CHECK(fraction->understood == "2026-11-23 13:00:00 CET (2026-11-23T12:00:00.250Z)");
}

TEST_CASE("times that the clock change makes ambiguous or impossible are refused") {
  CHECK(refusal("2026-10-25T02:30").find("comes twice in Europe/Berlin") != std::string::npos);
  CHECK(refusal("2026-03-29T02:30").find("does not exist in Europe/Berlin") != std::string::npos);
  CHECK(ms("2026-10-25T02:30+01:00") - ms("2026-10-25T02:30+02:00") == 3'600'000);
}

TEST_CASE("relative and sloppy times are refused, with the remedy") {
  for (const char* text :
       {"now", "tomorrow", "+5m", "5m", "14:30", "", "2026-11", "26-11-23", "2026-1-2", "23.11.2026"}) {
    CHECK(refusal(text).find("--delay 5m") != std::string::npos);
  }
  CHECK(refusal("2026-02-29").find("no such date") != std::string::npos);
  CHECK(refusal("2026-13-01").find("no such date") != std::string::npos);
  CHECK(refusal("2026-11-23T24:00").find("no such time of day") != std::string::npos);
  CHECK(refusal("2026-11-23T12:60").find("no such time of day") != std::string::npos);
  CHECK(refusal("2026-11-23T12:00:60Z").find("no such time of day") != std::string::npos);
  CHECK(refusal("2026-11-23T1:00").find("time of day") != std::string::npos);
  CHECK(refusal("2026-11-23T12:00:00.Z").find("fraction") != std::string::npos);
  CHECK(refusal("2026-11-23T12:00+1").find("offset") != std::string::npos);
  CHECK(refusal("2026-11-23T12:00 CET").find("left over") != std::string::npos);
  CHECK(refusal("2026-11-23x").find("left over") != std::string::npos);
  CHECK(refusal("1969-12-31T00:00Z").find("before 1970") != std::string::npos);
  CHECK(refusal("2262-04-12T00:00Z").find("too far away") != std::string::npos);
  CHECK(refusal("6063-11-23 14:30").find("too far away") != std::string::npos);
  CHECK(ms("2262-04-11T23:47:16Z") == 9'223'372'036'000);
  CHECK(refusal("2026-11-23T12:00", "Mars/Olympus").find("'Mars/Olympus' is not known") != std::string::npos);
}

TEST_CASE("instants are shown in the zone that is asked for") {
  CHECK(format_instant(TimeMs{kNoonUtc + 999}, "America/New_York") == "2026-11-23 07:00:00 EST");
  CHECK(format_instant(TimeMs{}) == "-");
  CHECK(jobq::cli::format_clock(TimeMs{kNoonUtc + 250}, "Etc/UTC") == "12:00:00.250");
  CHECK(jobq::cli::format_date(TimeMs{kNoonUtc}, "Etc/UTC") == "2026-11-23");
}
