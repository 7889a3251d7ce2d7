#include "cli/enqueue_options.hpp"

#include <doctest/doctest.h>

#include <string>

#include "cli/line_reader.hpp"

using namespace jobq::cli;
using jobq::TimeMs;
using std::chrono::milliseconds;

namespace {

constexpr TimeMs kNow{1'795'435'200'000};  // 2026-11-23T12:00:00Z

EnqueueArgs args() {
  EnqueueArgs made;
  made.queue = "receipts";
  return made;
}

std::string refusal(const EnqueueArgs& given) {
  const auto plan = plan_enqueue(given, kNow);
  return plan.ok() ? "accepted" : plan.status().text();
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("the options of enqueue become those of the library") {
  EnqueueArgs given = args();
  given.type = "mail";
  given.priority = 9;
  given.delay = "5m";
  given.expires = "1h";
  given.key = "receipt:42";
  given.unique_for = "1d";
  given.max_attempts = 3;
  given.max_run = "30s";
  given.headers = {"trace=1=2", "empty="};
  const auto plan = plan_enqueue(given, kNow);
  REQUIRE_MESSAGE(plan.ok(), plan.status().text());
  CHECK(plan->options.type == "mail");
  CHECK(plan->options.priority == 9);
  CHECK(plan->options.delay == milliseconds{300'000});
  CHECK(plan->options.expires_in == milliseconds{3'600'000});
  CHECK(plan->options.unique_key == "receipt:42");
  CHECK(plan->options.unique_for == milliseconds{86'400'000});
  CHECK(plan->options.max_attempts == 3);
  CHECK(plan->options.max_run_time == milliseconds{30'000});
  CHECK(plan->options.headers == jobq::Headers{{"trace", "1=2"}, {"empty", ""}});
  CHECK(plan->notice.empty());
}

TEST_CASE("a time is echoed as it was understood, with how far it is") {
  EnqueueArgs given = args();
  given.at = "2026-11-23T12:30:00Z";
  auto plan = plan_enqueue(given, kNow);
  REQUIRE(plan.ok());
  CHECK(plan->options.run_at == jobq::WallTime{milliseconds{kNow.ms + 1'800'000}});
  CHECK(has(plan->notice, "(2026-11-23T12:30:00Z), in 30m"));
  given.at = "2026-11-23T11:00:00Z";
  plan = plan_enqueue(given, kNow);
  REQUIRE(plan.ok());
  CHECK(has(plan->notice, "was 1h ago: ready at once"));
}

TEST_CASE("wrong options are named with their value") {
  EnqueueArgs given = args();
  given.queue = "no such name!";
  CHECK(has(refusal(given), "no such name!"));
  given = args();
  given.type = "a b";
  CHECK(has(refusal(given), "a b"));
  given = args();
  given.delay = "5";
  CHECK(has(refusal(given), "--delay: '5' is not a duration"));
  given.delay = "400000d";
  CHECK(has(refusal(given), "--delay: 400000d is out of range"));
  given.delay = "5m";
  given.at = "2026-11-23";
  CHECK(has(refusal(given), "--delay and --at"));
  given = args();
  given.at = "tomorrow";
  CHECK(has(refusal(given), "--at: 'tomorrow' is not a time"));
  given = args();
  given.expires = "0";
  CHECK(has(refusal(given), "--expires: 0 is out of range"));
  given = args();
  given.max_run = "8d";
  CHECK(has(refusal(given), "--max-run: 8d is out of range"));
  given = args();
  given.unique_for = "1h";
  CHECK(has(refusal(given), "--key"));
  given = args();
  given.key = std::string(257, 'k');
  CHECK(has(refusal(given), "257 bytes"));
  given = args();
  given.headers = {"novalue"};
  CHECK(has(refusal(given), "'novalue' is not NAME=VALUE"));
  given.headers = {"big=" + std::string(5000, 'x')};
  CHECK(has(refusal(given), "too many"));
}

TEST_CASE("lines are cut at newlines however the stream is cut") {
  const std::string stream = "one\n\ntwo\r\nthree";
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
    LineReader reader(100);
    for (std::size_t at = 0; at < stream.size(); at += piece) reader.feed(stream.substr(at, piece));
    reader.end();
    std::vector<std::string> lines;
    while (auto line = reader.next()) lines.push_back(line->text);
    CHECK(lines == std::vector<std::string>{"one", "", "two\r", "three"});
  }
}

TEST_CASE("a stream that ends with a newline has no empty line behind it, and an empty stream no line") {
  LineReader reader(100);
  reader.end();
  CHECK(reader.empty());
  reader.feed("one\n");
  reader.end();
  CHECK(reader.next()->text == "one");
  CHECK(!reader.next());
}

TEST_CASE("of a line that is too long only the fact is kept") {
  LineReader reader(4);
  reader.feed("1234\n12345\nab");
  reader.feed("cdefgh\nok\n");
  CHECK(reader.next()->text == "1234");
  const auto second = reader.next();
  CHECK(second->too_long);
  CHECK(second->bytes == 5);
  const auto third = reader.next();
  CHECK(third->too_long);
  CHECK(third->bytes == 8);
  CHECK(third->text.empty());
  CHECK(reader.next()->text == "ok");
}
