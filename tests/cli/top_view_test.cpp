// The picture of `jobq top`: it fits every screen, sorts, scrolls and does what its keys say.
#include <doctest/doctest.h>

#include "cli/health_view.hpp"
#include "cli/table.hpp"
#include "cli/top_view.hpp"

using namespace jobq::cli;

namespace {

Json queue(const char* name, int ready, int dead = 0, bool paused = false) {
  return {{"name", name},          {"ready", ready},
          {"leased", 1},           {"scheduled", 2},
          {"dead", dead},          {"oldest_ready_ms", 1500},
          {"enqueued_per_s", 2.5}, {"acked_per_s", 1.0},
          {"workers", 1},          {"slots", 8},
          {"paused", paused}};
}

Json stats(std::size_t queues) {
  Json document = {
      {"broker", {{"version", "0.1.0"}, {"pid", 7}, {"uptime_ms", 1000}}},
      {"store", {{"used_bytes", 1024}, {"map_bytes", 4096}}},
      {"queues", Json::array()},
      {"problems",
       Json::array(
           {{{"kind", "paused_with_jobs"}, {"severity", "warning"}, {"queue", "q1"}, {"text", "is paused"}},
            {{"kind", "no_worker"},
             {"severity", "critical"},
             {"queue", "q2"},
             {"text", "no worker | at all"},
             {"remedy", "start one"}}})}};
  for (std::size_t i = 0; i < queues; ++i)
    document["queues"].push_back(queue(("queue-" + std::to_string(100 + i)).c_str(), static_cast<int>(i),
                                       static_cast<int>(queues - i)));
  return document;
}

std::string first_row(const Json& document, TopState state) {
  const auto lines = top_lines(document, &state, {120, 40});
  for (std::size_t i = 0; i + 1 < lines.size(); ++i) {
    if (lines[i].starts_with("QUEUE")) return lines[i + 1];
  }
  return "no table";
}

}  // namespace

TEST_CASE("the picture fits every size of screen") {
  const Json document = stats(50);
  for (std::size_t rows = 1; rows < 60; rows += 3) {
    for (std::size_t columns = 1; columns < 160; columns += 7) {
      TopState state;
      state.title = "tcp://127.0.0.1:7710";
      state.scroll = 1000;
      const auto lines = top_lines(document, &state, {columns, rows});
      CHECK(lines.size() == std::max<std::size_t>(rows, 3));
      for (const std::string& line : lines)
        CHECK_MESSAGE(display_width(line) <= std::max<std::size_t>(columns, 20), line);
      CHECK(state.scroll <= 50);
    }
  }
}

TEST_CASE("queues are sorted by what is asked for") {
  const Json document = stats(5);
  TopState state;
  CHECK(first_row(document, state).starts_with("queue-104"));
  state.reverse = true;
  CHECK(first_row(document, state).starts_with("queue-100"));
  state = {};
  REQUIRE(press("D", &state) == TopKey::changed);
  CHECK(first_row(document, state).starts_with("queue-100"));
  REQUIRE(press("N", &state) == TopKey::changed);
  CHECK(first_row(document, state).starts_with("queue-100"));
  REQUIRE(press("r", &state) == TopKey::changed);
  CHECK(first_row(document, state).starts_with("queue-104"));
  state = {};
  for (int i = 0; i < 8; ++i) REQUIRE(press("s", &state) == TopKey::changed);
  CHECK(state.sort == TopSort::ready);
}

TEST_CASE("critical problems come first, and a document without anything is no problem") {
  TopState state;
  const auto lines = top_lines(stats(1), &state, {100, 20});
  CHECK(lines[3].find("CRITICAL q2") != std::string::npos);
  CHECK(lines[4].find("warning  q1") != std::string::npos);
  for (const Json& odd : {Json(), Json::object(), Json::array(),
                          Json{{"broker", 7}, {"queues", "x"}, {"problems", {{"a", 1}}}}}) {
    TopState empty;
    CHECK(top_lines(odd, &empty, {80, 24}).size() == 24);
  }
}

TEST_CASE("keys: each does one thing, and others nothing") {
  TopState state;
  CHECK(press("q", &state) == TopKey::quit);
  CHECK(press("\x03", &state) == TopKey::quit);
  CHECK(press("x", &state) == TopKey::none);
  CHECK(press("\033[5~", &state) == TopKey::none);
  CHECK(press("\033[B", &state) == TopKey::changed);
  CHECK(state.scroll == 1);
  CHECK(press("\033[A", &state) == TopKey::changed);
  CHECK(press("\033[A", &state) == TopKey::changed);
  CHECK(state.scroll == 0);
  CHECK(press(" ", &state) == TopKey::changed);
  CHECK(state.paused);
  for (int i = 0; i < 30; ++i) press("+", &state);
  CHECK(state.every_ms == 100);
  for (int i = 0; i < 30; ++i) press("-", &state);
  CHECK(state.every_ms == 60'000);
  CHECK(keys_of("q\033[Ax\033OB") == std::vector<std::string>{"q", "\033[A", "x", "\033[B"});
  CHECK(keys_of("\033").size() == 1);
  CHECK(keys_of("\033[").size() <= 2);
  CHECK(keys_of(std::string(1000, '\033')).size() == 1000);
}

TEST_CASE("health: the worst problem decides, and a bar in a text does not begin the figures") {
  const HealthReport both = health_of(stats(2), {});
  CHECK(both.health == Health::critical);
  CHECK(both.text.starts_with("JOBQ CRITICAL - q2: no worker / at all -> start one (and 1 more) | ready=1 "));
  CHECK(std::count(both.text.begin(), both.text.end(), '|') == 1);
  CHECK(health_of(stats(2), {"no_worker"}).health == Health::warning);
  CHECK(health_of(stats(2), {"no_worker", "paused_with_jobs"}).health == Health::ok);
  CHECK(health_of(Json::object(), {}).health == Health::ok);
  CHECK(health_without_answer(Health::unknown, "a|b").text == "JOBQ UNKNOWN - a/b\n");
}
