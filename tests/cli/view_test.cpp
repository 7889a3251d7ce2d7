// What the command line makes of the broker's documents, without a broker.
#include <doctest/doctest.h>

#include <string>

#include "cli/dead_groups.hpp"
#include "cli/document.hpp"
#include "cli/event_view.hpp"
#include "cli/job_view.hpp"
#include "cli/queue_params.hpp"
#include "cli/stats_view.hpp"
#include "cli/table.hpp"

using namespace jobq::cli;
using namespace std::string_literals;
using jobq::TimeMs;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Json stats_document() {
  return Json::parse(R"({
    "broker": {"version": "0.1.0", "pid": 4242, "uptime_ms": 11520000, "endpoints": ["tcp://127.0.0.1:7710"],
               "connections": 3, "sessions": 1, "refusing": null, "rejected_messages": 0},
    "store": {"path": "/var/lib/jobq", "map_bytes": 17179869184, "used_bytes": 1288490188, "disk_free_bytes": 128849018880,
              "commits": 1234, "commit_us_last": 800, "commit_us_max": 12400, "damaged_records": 0},
    "queues": [{"name": "receipts", "ready": 1234, "leased": 8, "scheduled": 0, "dead": 3, "oldest_ready_ms": 12000,
                "failed_total": 2, "acked_total": 998, "enqueued_per_s": 120.0, "acked_per_s": 130.5, "drains_in_s": 130,
                "workers": 2, "slots": 16, "paused": false},
               {"name": "idle", "ready": 0, "leased": 0, "scheduled": 5, "dead": 0, "oldest_ready_ms": null,
                "drains_in_s": null, "paused": true}],
    "problems": [{"kind": "dead_growing", "severity": "warning", "queue": "receipts", "text": "3 jobs died", "remedy": "look"},
                 {"kind": "no_worker", "severity": "critical", "queue": "mail", "text": "no worker", "remedy": null}]})");
}

}  // namespace

TEST_CASE("stats show the problems first, the critical ones before the warnings") {
  const std::string text = render_stats(stats_document(), 0);
  CHECK(
      text.rfind(
          "2 problems\n  CRITICAL  mail: no worker\n  warning   receipts: 3 jobs died\n            -> look\n",
          0) == 0);
  CHECK(has(text, "QUEUE     READY  LEASED  SCHEDULED  DEAD  OLDEST READY  IN/S  OUT/S  FAILED  DRAINS IN"));
  CHECK(has(text, "receipts  1,234       8          0     3           12s   120    131   0.2 %     2m 10s"));
  CHECK(has(text, "idle          0       0          5     0             -     0      0       -     paused"));
  CHECK(has(text,
            "broker  jobq-broker 0.1.0, pid 4242, up 3h 12m, on tcp://127.0.0.1:7710; 3 connections, 1 "
            "worker session\n"));
  CHECK(has(text, "store   /var/lib/jobq: 1.2 GiB of 16 GiB used (7.5 %), disk free 120 GiB; 1,234 commits"));
}

TEST_CASE("stats fit a terminal of 80 columns") {
  Json document = stats_document();
  document["queues"][0]["ready"] = 1234567;
  std::size_t at = 0;
  const std::string text = render_stats(document, 80);
  while (at < text.size()) {
    const std::size_t end = text.find('\n', at);
    CHECK_MESSAGE(display_width(text.substr(at, end - at)) <= 80, text.substr(at, end - at));
    at = end + 1;
  }
  CHECK(has(text, "OLDEST"));
  CHECK(has(text, "DRAINS"));
}

TEST_CASE("reasons are told with their instants and their remedies") {
  const Json document =
      Json::parse(R"({"job": {"id": "j1a7", "queue": "receipts", "type": "mail", "state": "scheduled"},
    "why": [{"kind": "backoff", "text": "it waits after failure 3 of 25: \"550 \u001b[2J\"", "remedy": "retry it", "since": null,
             "until": 1795435920000},
            {"kind": "paused", "text": "queue 'receipts' is paused", "remedy": null, "since": null, "until": null}]})");
  CHECK(render_why(document, TimeMs{1795435320000}) ==
        "j1a7 is scheduled in 'receipts' (type mail)\n"
        "  it waits after failure 3 of 25: \"550 \\x1b[2J\", until 12:12:00 (in 10m)\n"
        "    -> retry it\n"
        "  queue 'receipts' is paused\n");
}

TEST_CASE("an event is a line") {
  const Json event =
      Json::parse(R"({"seq": 7, "at": 1795435320250, "event": "failed", "job": "j1a7", "queue": "receipts",
    "type": "mail", "attempt": 3, "worker": "mailer@web-1:7", "error": "421 try\nlater", "run_at": 1795435330250})");
  CHECK(render_event(event, 0) ==
        "12:02:00.250  failed      j1a7     receipts/mail  failure 3, on mailer@web-1:7, ready in 10s, \"421 "
        "try\\nlater\"\n");
  CHECK(display_width(render_event(event, 60)) <= 61);
  CHECK(!render_event(Json::parse("[]"), 80).empty());
}

TEST_CASE("a queue that does not drain says never, an empty one says nothing") {
  Json document = stats_document();
  document["queues"][0]["drains_in_s"] = nullptr;
  CHECK(has(render_stats(document, 0), " never "));
  document["problems"] = Json::array();
  CHECK(render_stats(document, 0).rfind("no problems\n", 0) == 0);
  document["queues"] = Json::array();
  CHECK(has(render_stats(document, 0), "no queues yet"));
}

TEST_CASE("documents of another version do not break the views") {
  for (const char* text : {"{}", R"({"queues": 5, "problems": {}, "broker": [], "store": null})",
                           R"({"queues": [7, null, {"name": 3}], "problems": [null, 1]})"}) {
    CHECK(!render_stats(Json::parse(text), 80).empty());
    CHECK(!render_job(Json::parse(text), TimeMs{1}, 80).empty());
  }
  CHECK(!parse_document("\xc1").ok());
  CHECK(!parse_document("").ok());
  CHECK(!parse_document("\x93\x01\x02\x03").ok());
  CHECK(parse_document("\x80").ok());
}

TEST_CASE("a job's story is told in order, and what others wrote cannot forge it") {
  const Json document = Json::parse(
      R"({"job": {"id": "j1a7", "queue": "receipts", "type": "receipt", "state": "dead", "priority": 5,
      "enqueued_at": 1795435200000, "attempt": 3, "max_attempts": 3, "failures": 3, "crashes": 0, "unique_key": "receipt:42",
      "body_bytes": 11, "body": "{\"a\":1}\u001b[2J", "headers": {"trace": "x\ny"},
      "dead": {"reason": "attempts", "died_at": 1795435260000}, "lease": null, "exit": null},
    "attempts": [{"number": 1, "outcome": "failed", "started_at": 1795435201000, "ended_at": 1795435202200,
                  "worker": "mail@web1:7", "error": "550 no\nsuch mailbox"},
                 {"number": 2, "outcome": "crashed", "started_at": 1795435210000, "ended_at": 1795435230000, "worker": "mail@web2:8",
                  "error": ""}]})");
  const std::string text = render_job(document, TimeMs{1795435320000}, 0);
  CHECK(has(text, "j1a7  dead (attempts) 1m ago\n"));
  CHECK(has(text, "unique key  receipt:42\n"));
  CHECK(has(text, "header      trace: x\\ny\n"));
  CHECK(has(text, "attempt 1 failed after 1.2s on mail@web1:7\n"));
  CHECK(has(text, "550 no\\nsuch mailbox\n"));
  CHECK(has(text, "attempt 2 crashed (the worker was lost) after 20s on mail@web2:8\n"));
  CHECK(has(text, "{\"a\":1}\\x1b[2J"));
  CHECK(text.find("enqueued") < text.find("attempt 1 "));
  CHECK(text.find("attempt 1 ") < text.find("attempt 2 "));
  CHECK(text.find("attempt 2 ") < text.find("dead: attempts"));
}

TEST_CASE("bodies are shown as what they are") {
  CHECK(preview_body("hello\nworld", 100) == "  hello\n  world");
  CHECK(preview_body("aaaaaaaaaa", 4) == "  aaaa\n  … and 6 B more");
  CHECK(has(preview_body("\x82\xa2to\xa1"
                         "a\xa5order\xcc\xff",
                         100),
            R"(msgpack: {"to":"a","order":255})"));
  CHECK(has(preview_body("\xff\xfe\x00z"s, 100), "0000  ff fe 00 7a "));
  // A character is not cut in the middle.
  CHECK(has(preview_body("a\xc3\xa9\xc3\xa9", 2), "  a\n"));
}

TEST_CASE("bytes that are not text become base64 in JSON") {
  const Json document = {{"body", Json::binary({0xFF, 0x00, 0x01})}, {"text", Json::binary({'h', 'i'})}};
  CHECK(to_json_text(document, false) == R"({"body":null,"body_base64":"/wAB","text":"hi"})");
  CHECK(base64("") == "");
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foobar") == "Zm9vYmFy");
}

TEST_CASE("dead jobs are grouped by what killed them") {
  CHECK(error_shape("connect to 10.0.0.7:25 failed (req 3f9a)") ==
        error_shape("connect to 10.0.0.12:25 failed (req 77b0)"));
  CHECK(error_shape("550 no such mailbox") != error_shape("550 mailbox full"));
  DeadGroups groups;
  for (int i = 0; i < 5; ++i) {
    groups.add({{"id", "j" + std::to_string(i)},
                {"type", "mail"},
                {"reason", "attempts"},
                {"died_at", 1000 + i},
                {"error", "timeout after " + std::to_string(i) + "s"}});
  }
  groups.add({{"id", "j9"}, {"type", ""}, {"reason", "rejected"}, {"died_at", 7}, {"error", "no"}});
  const auto sorted = groups.sorted();
  REQUIRE(sorted.size() == 2);
  CHECK(groups.jobs() == 6);
  CHECK(sorted[0].count == 5);
  CHECK(sorted[0].example == "j4");
  CHECK(sorted[0].first_died == TimeMs{1000});
  CHECK(sorted[1].reason == "rejected");
}

TEST_CASE("errors without end do not make groups without end") {
  DeadGroups groups;
  for (std::size_t i = 0; i < DeadGroups::kGroupsMax + 50; ++i) {
    groups.add(
        {{"error", std::string(i % 26 + 1, static_cast<char>('a' + i % 26)) + std::string(i / 26, 'z')}});
  }
  CHECK(groups.sorted().size() <= DeadGroups::kGroupsMax + 1);
  CHECK(groups.jobs() == DeadGroups::kGroupsMax + 50);
}

TEST_CASE("settings are written with units and without the _ms") {
  const auto set = [](const char* text) {
    const auto setting = parse_setting(text);
    REQUIRE_MESSAGE(setting.ok(), setting.status().text());
    return *setting;
  };
  CHECK(set("lease=30s") == std::pair<std::string, std::int64_t>{"lease_ms", 30'000});
  CHECK(set("lease_ms=30s") == std::pair<std::string, std::int64_t>{"lease_ms", 30'000});
  CHECK(set("lease_ms=30000") == std::pair<std::string, std::int64_t>{"lease_ms", 30'000});
  CHECK(set("backoff-max=1h30m") == std::pair<std::string, std::int64_t>{"backoff_max_ms", 5'400'000});
  CHECK(set("max_attempts=5") == std::pair<std::string, std::int64_t>{"max_attempts", 5});
  CHECK(set("max_jobs=100k") == std::pair<std::string, std::int64_t>{"max_jobs", 100'000});
  CHECK(set("max_bytes=2GiB") == std::pair<std::string, std::int64_t>{"max_bytes", std::int64_t{2} << 30});
  CHECK(set("max_bytes=500MB") == std::pair<std::string, std::int64_t>{"max_bytes", std::int64_t{500} << 20});
  CHECK(set("max_jobs=off") == std::pair<std::string, std::int64_t>{"max_jobs", 0});
  CHECK(set("paused=yes") == std::pair<std::string, std::int64_t>{"paused", 1});
  for (const char* text :
       {"lease", "=5", "lease=30", "lease=abc", "max_jobs=many", "max_jobs=-", "paused=perhaps",
        "max_bytes=2XB", "max_jobs=5kk", "max_bytes=99999999999TB", "lease=-5s", "max_jobs="}) {
    CHECK_MESSAGE(!parse_setting(text).ok(), text);
  }
  CHECK(has(parse_setting("lease=30").status().text(), "30 of what?"));
  CHECK(setting_text("lease_ms", 30'000) == "30s");
  CHECK(setting_text("max_bytes", std::int64_t{2} << 30) == "2.0 GiB");
  CHECK(setting_text("paused", 0) == "no");
  CHECK(setting_text("max_jobs", 0) == "0 (off)");
  CHECK(setting_text("default_priority", 0) == "0");
}
