// Walks docs/job_lifecycle.md: every row of its table is carried out against the engine, and next state, counters and
// reply are what the row says. A row that nobody taught this test to walk fails it.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/transcript.hpp"

namespace jobq::testing {
namespace {

using Lines = std::vector<std::string>;

struct Row {
  std::string state, command, next, effect, reply;
};

std::string trim(const std::string& text) {
  const auto first = text.find_first_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

std::vector<Row> read_table() {
  const char* root = std::getenv("JOBQ_SOURCE_ROOT");
  REQUIRE(root != nullptr);
  std::ifstream file(std::string{root} + "/docs/job_lifecycle.md");
  REQUIRE(file.good());
  std::vector<Row> rows;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("| state | command | next state | effect | reply |")) inside = true;
    if (!inside || !line.starts_with("| ") || line.starts_with("| state |")) continue;
    std::vector<std::string> cells;
    std::stringstream stream(line.substr(1));
    for (std::string cell; std::getline(stream, cell, '|');) cells.push_back(trim(cell));
    REQUIRE_MESSAGE(cells.size() == 5, line);
    rows.push_back({cells[0], cells[1], cells[2], cells[3], cells[4]});
  }
  return rows;
}

// How a job (always j1, in queue q, held under lease_no 1 by w) comes into each state.
Lines setup_of(const std::string& state, const std::string& options = "") {
  Lines lines = {"queue q backoff_min_ms=1s backoff_max_ms=1s session_grace_ms=10s dead_retention_ms=0"};
  const std::string delay = state == "scheduled" ? " delay=5s" : "";
  lines.push_back("enqueue q key=k" + delay + (options.empty() ? "" : " " + options));
  if (state == "leased" || state == "dead" || state == "gone") lines.emplace_back("worker w q");
  if (state == "dead") lines.insert(lines.end(), {"reject w j1/1 no", "goodbye w"});
  if (state == "gone") lines.emplace_back("ack w j1/1");
  return lines;
}

Lines every_answer(const std::string& lease) {
  return {"ack w " + lease,
          "nack w " + lease + " no",
          "release w " + lease,
          "reject w " + lease + " no",
          "snooze w " + lease + " delay=5s",
          "no_handler w " + lease};
}

struct Walk {
  Lines setup;
  Lines action;
};

// What the row's command is, in the words of the transcripts.
Walk walk_of(const std::string& state, const std::string& command) {
  const auto plain = [&](Lines action) { return Walk{setup_of(state), std::move(action)}; };
  const auto with = [&](const std::string& options, Lines action) {
    return Walk{setup_of(state, options), std::move(action)};
  };
  const auto more = [&](Walk walk, Lines setup) {
    walk.setup.insert(walk.setup.end(), setup.begin(), setup.end());
    return walk;
  };
  if (command == "due") return plain({"advance 6s"});
  if (command == "expiry") return with("expires=3s", {"advance 4s"});
  if (command == "cancel" || command == "cancel, forgotten since") {
    return command == "cancel" ? plain({"cancel j1"}) : more(plain({"cancel j1"}), {"restart"});
  }
  if (command == "operator's retry") return plain({"retry j1"});
  if (command == "operator's retry, expires_at passed")
    return more(with("expires=3s", {"retry j1"}), {"advance 4s"});
  if (command == "operator's retry, forgotten since") return more(plain({"retry j1"}), {"restart"});
  if (command == "operator's snooze") return plain({"put_off j1 delay=1h"});
  if (command == "operator's snooze beyond expires_at") return with("expires=1m", {"put_off j1 delay=1h"});
  if (command == "worker drain") return plain({"drain w told=yes"});
  if (command == "queue purge") return plain({"purge q", "task 1"});
  if (command == "redrive") return plain({"redrive q", "task 1"});
  if (command == "redrive, expires_at passed")
    return more(with("expires=3s", {"redrive q", "task 1"}), {"advance 4s"});
  if (command == "dead purge") return plain({"purge_dead q", "task 1"});
  if (command == "dead_retention over") {
    return more(plain({"advance 2h"}), {"queue q dead_retention_ms=1h"});
  }
  if (command == "enqueue, same unique key") return plain({"enqueue q key=k"});
  if (command == "enqueue, same unique key, within unique_for")
    return with("unique_for=1h", {"enqueue q key=k"});
  if (command == "any answer, other lease_no") {
    Walk walk = plain(every_answer("j1/7"));
    walk.action.emplace_back("heartbeat w extend=j1/7");
    if (state != "leased" && state != "gone") walk.setup.insert(walk.setup.begin(), "worker w elsewhere");
    if (state == "gone") walk.action.pop_back();
    if (state == "dead") walk.setup.back() = "worker w elsewhere";
    return walk;
  }
  if (command == "any answer, the lease_no it ended under") return plain(every_answer("j1/1"));
  if (command == "any answer, forgotten since")
    return more(plain(every_answer("j1/1")), {"restart", "worker w q"});
  if (command == "dispatch") return plain({"worker w2 q"});
  if (command == "restart of the broker") return plain({"restart down=1s"});
  if (command == "restart, session_grace over without a claim")
    return plain({"restart down=1s", "advance 10s"});

  // A worker's answers.
  if (command == "ack") return plain({"ack w j1/1"});
  if (command == "nack") return plain({"nack w j1/1 no"});
  if (command == "nack, max_attempts reached") return with("max_attempts=1", {"nack w j1/1 no"});
  if (command == "nack, retry after expires_at") return with("expires=500ms", {"nack w j1/1 no"});
  if (command == "release") return plain({"release w j1/1"});
  if (command == "no_handler") return plain({"no_handler w j1/1"});
  if (command == "reject") return plain({"reject w j1/1 no"});
  if (command == "snooze") return plain({"snooze w j1/1 delay=5s"});
  if (command == "snooze, over 1,000 times") {
    Walk walk = plain({"snooze w j1/1001 delay=1ms"});
    for (int n = 1; n <= 1000; ++n) {
      walk.setup.push_back(fmt::format("snooze w j1/{} delay=1ms", n));
      walk.setup.emplace_back("advance 1ms");
    }
    return walk;
  }
  if (command == "extend") return plain({"heartbeat w extend=j1/1"});

  // What happens to the worker.
  if (command == "claim after reconnect") return more(plain({"worker w3 q resume=w held=j1/1"}), {"lost w"});
  if (command == "reconnect without claiming it")
    return more(plain({"worker w3 q resume=w credit=0"}), {"lost w"});
  if (command == "goodbye") return plain({"goodbye w"});
  if (command == "failed send") return plain({"send_failed w j1/1"});
  if (command == "connection lost") return plain({"lost w"});
  if (command == "crash: session_grace over") return more(plain({"advance 10s"}), {"lost w"});
  if (command == "crash, crash_limit reached")
    return more(plain({"advance 10s"}), {"queue q crash_limit=1", "lost w"});
  if (command == "lapse: lease over, worker connected") {
    return more(plain({"advance 10s"}), {"advance 10s", "heartbeat w", "advance 10s", "heartbeat w"});
  }
  if (command == "time out: max_run_time and stop grace over") return with("max_run=2s", {"advance 7s"});
  if (command == "damaged record found at delivery") return plain({"damaged j1/1"});

  // After a cancel.
  if (command == "ack, after a cancel") return more(plain({"ack w j1/1"}), {"cancel j1"});
  if (command == "any other outcome, after a cancel")
    return more(plain({"nack w j1/1 stopped"}), {"cancel j1"});
  if (command == "lease over, after a cancel") {
    return more(plain({"advance 10s"}),
                {"cancel j1", "advance 10s", "heartbeat w", "advance 10s", "heartbeat w"});
  }
  FAIL("the table has a command that this test does not know: '" << command << "'");
  return {};
}

std::string expected_reply(const Row& row) {
  const bool operated = row.command.starts_with("cancel") || row.command.starts_with("operator");
  if (row.reply == "-") return "";
  if (row.reply == "task") return "moved 1";
  if (row.reply == "task, not counted") return "moved 0";
  if (row.reply == "task, skipped_expired") return "expired 1";
  if (row.reply == "goodbye_reply") return "goodbye";
  if (row.reply == "deliver") return "deliver j1/1";
  if (row.reply == "revoked") return "revoked j1/1";
  if (row.reply == "created") return "created j2";
  if (row.reply.starts_with("duplicate, ")) return "duplicate j1 " + row.reply.substr(11);
  if (operated && !row.reply.starts_with("error")) return ", is " + row.reply;
  return row.reply;
}

std::map<std::string, std::uint64_t> totals(World& world) {
  const auto view = world.engine().queue("q", world.now());
  REQUIRE(view.has_value());
  const QueueCounters& c = *view->counters;
  return {{"acked_total", c.acked_total},         {"expired_total", c.expired_total},
          {"cancelled_total", c.cancelled_total}, {"purged_total", c.purged_total},
          {"dropped_total", c.dropped_total},     {"failed_total", c.failed_total},
          {"crashed_total", c.crashed_total},     {"lapsed_total", c.lapsed_total},
          {"released_total", c.released_total},   {"snoozed_total", c.snoozed_total},
          {"dead_total", c.dead_total},           {"redriven_total", c.redriven_total},
          {"duplicate_total", c.duplicate_total}};
}

std::string state_of(World& world) {
  const auto fact = world.store().read_job(JobId{1});
  REQUIRE(fact.ok());
  return fact->known ? to_string(fact->state) : "gone";
}

void walk(const Row& row) {
  INFO(row.state << " | " << row.command);
  const Walk walk = walk_of(row.state, row.command);
  Script script;
  for (const std::string& line : walk.setup) script.run(line);
  REQUIRE_EQ(state_of(script.world()), row.state);
  auto expected = totals(script.world());
  const std::regex plus_one("([a-z_]+_total)\\+1");
  for (auto match = std::sregex_iterator(row.effect.begin(), row.effect.end(), plus_one);
       match != std::sregex_iterator(); ++match) {
    REQUIRE_MESSAGE(expected.contains((*match)[1]), std::string{(*match)[1]});
    ++expected[(*match)[1]];
  }

  const std::string reply = expected_reply(row);
  const bool each = row.command.starts_with("any answer");
  bool replied = reply.empty();
  for (const std::string& line : walk.action) {
    bool here = false;
    for (const std::string& out : script.run(line)) here = here || out.find(reply) != std::string::npos;
    replied = replied || here;
    if (each) CHECK_MESSAGE(here, line);
  }
  CHECK_MESSAGE(replied, "expected '" << reply << "'");
  CHECK_EQ(state_of(script.world()), row.next);
  CHECK_EQ(totals(script.world()), expected);
}

}  // namespace

TEST_CASE("every row of the life cycle's table holds") {
  const std::vector<Row> rows = read_table();
  REQUIRE(rows.size() >= 79);
  for (const Row& row : rows) walk(row);
}

TEST_CASE("the table has a row for every state and every thing that can be said of a job") {
  std::map<std::string, std::string> seen;
  for (const Row& row : read_table()) seen[row.state] += "|" + row.command + "|";
  for (const char* state : {"scheduled", "ready", "leased", "dead", "gone"}) {
    for (const char* command : {"cancel", "operator's retry", "operator's snooze", "queue purge", "redrive",
                                "dead purge", "enqueue, same unique key", "expiry",
                                "any answer, other lease_no", "dispatch", "restart of the broker"}) {
      CHECK_MESSAGE(seen[state].find("|" + std::string{command} + "|") != std::string::npos,
                    state << " | " << command);
    }
  }
}

}  // namespace jobq::testing
