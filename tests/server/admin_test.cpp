// The documents of administration, as docs/protocol.md lists them.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "tests/server/server_world.hpp"

using namespace jobq;
using namespace jobq::protocol;
using nlohmann::json;

namespace {

constexpr PeerId kPeer{1}, kWorker{2};

// A broker with one acked, one dead, one leased and one ready job in queue q.
struct AdminWorld : ServerWorld {
  std::string acked, dead, leased, ready;

  AdminWorld() {
    greet(kPeer);
    greet(kWorker);
    for (const char* body : {"a", "b", "c", "d"}) send(kPeer, enqueue_one("q", body, body));
    settle();
    std::vector<std::string> ids;
    for (const auto& message : received(kPeer)) {
      if (const auto* done = std::get_if<Enqueued>(&message.body))
        ids.push_back(to_text(done->results[0].id));
    }
    acked = ids[0], dead = ids[1], leased = ids[2], ready = ids[3];
    send(kWorker, worker_of("q", 3));
    settle();
    const Deliver deliver = only<Deliver>(kWorker);
    Outcomes outcomes;
    outcomes.credit_jobs = 1;
    outcomes.outcomes.push_back({deliver.jobs.at(0).lease, OutcomeKind::ack, {}, {}, {}});
    outcomes.outcomes.push_back({deliver.jobs.at(1).lease, OutcomeKind::reject, "no such mailbox", {}, {}});
    send(kWorker, outcomes);
    settle();
    received(kWorker);
  }

  json ask(std::string_view verb, std::vector<Param> params = {}) {
    received(kPeer);
    send(kPeer, Admin{verb, std::move(params)});
    settle();
    const auto messages = received(kPeer);
    REQUIRE(messages.size() == 1);
    if (const auto* error = std::get_if<Error>(&messages[0].body)) {
      return {{"error", to_string(error->code)}, {"text", error->text}};
    }
    return json::from_msgpack(std::get<AdminReply>(messages[0].body).document);
  }
};

std::set<std::string> keys(const json& object) {
  std::set<std::string> names;
  for (const auto& [name, value] : object.items()) names.insert(name);
  return names;
}

}  // namespace

TEST_CASE("stats has the shape that the protocol promises") {
  AdminWorld world;
  const json stats = world.ask("stats");
  CHECK(keys(stats) == std::set<std::string>{"broker", "store", "queues", "problems"});
  const json& queue = stats["queues"].at(0);
  for (const char* field : {"name",          "ready",           "leased",          "scheduled",
                            "dead",          "oldest_ready_ms", "enqueued_total",  "acked_total",
                            "failed_total",  "expired_total",   "cancelled_total", "purged_total",
                            "dropped_total", "dead_total",      "enqueued_per_s",  "acked_per_s",
                            "drains_in_s",   "workers",         "slots",           "paused"}) {
    CHECK_MESSAGE(queue.contains(field), field);
  }
  CHECK(queue["ready"] == 1);
  CHECK(queue["leased"] == 1);
  CHECK(queue["dead"] == 1);
  CHECK(queue["acked_total"] == 1);
  CHECK(queue["workers"] == 1);
  CHECK(queue["slots"] == 1);
  for (const char* field : {"version", "pid", "uptime_ms", "incarnation", "endpoints", "connections",
                            "sessions", "refusing", "turns", "messages_in", "messages_out", "bytes_in",
                            "bytes_out", "rejected_messages", "cut_connections"}) {
    CHECK_MESSAGE(stats["broker"].contains(field), field);
  }
  for (const char* field :
       {"path", "map_bytes", "used_bytes", "free_bytes", "file_bytes", "disk_free_bytes", "commits",
        "commit_us_last", "commit_us_max", "slow_commits", "oldest_reader_ms", "damaged_records"}) {
    CHECK_MESSAGE(stats["store"].contains(field), field);
  }
  CHECK(world.ask("stats", {{"queue", std::string_view("none")}})["error"] == "no_such_queue");
  CHECK(world.ask("queue.ls")["queues"].at(0)["name"] == "q");
}

TEST_CASE("a job is shown in every state") {
  AdminWorld world;
  const auto show = [&world](const std::string& id) {
    return world.ask("job.show", {{"id", std::string_view(id)}});
  };
  const json ready = show(world.ready)["job"];
  CHECK(ready["state"] == "ready");
  CHECK(std::vector<std::uint8_t>(ready["body"].get_binary()) == std::vector<std::uint8_t>{'d'});
  CHECK(ready["unique_key"] == "d");
  CHECK(ready["max_attempts"] == 25);
  CHECK(ready["lease"].is_null());
  const json leased = show(world.leased)["job"];
  CHECK(leased["state"] == "leased");
  CHECK(leased["lease"]["worker"] == "w@h:7");
  CHECK(leased["lease"]["lease_no"] == 1);
  const json dead = show(world.dead);
  CHECK(dead["job"]["dead"]["reason"] == "rejected");
  CHECK(dead["attempts"].at(0)["error"] == "no such mailbox");
  const json acked = show(world.acked)["job"];
  CHECK(acked["state"] == "gone");
  CHECK(acked["exit"] == "acked");
  CHECK(keys(acked) == keys(ready));
  CHECK(world.ask("job.show", {{"id", std::string_view("jzzz")}})["error"] == "no_such_job");
  CHECK(world.ask("job.show", {{"id", std::string_view("nonsense")}})["error"] == "bad_argument");
}

TEST_CASE("dead letters are listed in pages, with filters") {
  AdminWorld world;
  const json page = world.ask("dead.ls", {{"queue", std::string_view("q")}});
  REQUIRE(page["jobs"].size() == 1);
  CHECK(page["jobs"][0]["id"] == world.dead);
  CHECK(page["jobs"][0]["error"] == "no such mailbox");
  CHECK(page["next"].is_null());
  CHECK(world.ask("dead.ls", {{"queue", std::string_view("q")}, {"error", std::string_view("other")}})["jobs"]
            .empty());
  CHECK(world.ask("dead.ls", {{"queue", std::string_view("q")}, {"limit", std::int64_t{0}}})["error"] ==
        "bad_argument");
}

TEST_CASE("dead letters are redriven by a task that can be asked about") {
  AdminWorld world;
  const json task = world.ask("dead.redrive", {{"queue", std::string_view("q")}})["task"];
  CHECK(task["kind"] == "redrive");
  const json later = world.ask("task", {{"task", task["task"].get<std::int64_t>()}})["task"];
  CHECK(later["state"] == "done");
  CHECK(later["moved"] == 1);
  CHECK(world.ask("queue.show", {{"queue", std::string_view("q")}})["counters"]["redriven_total"] == 1);
}

TEST_CASE("queues are set, paused and resumed") {
  AdminWorld world;
  const json set =
      world.ask("queue.set", {{"queue", std::string_view("new")}, {"max_attempts", std::int64_t{3}}});
  CHECK(set["created"] == true);
  CHECK(set["settings"]["max_attempts"] == 3);
  CHECK(world.ask("queue.pause", {{"queue", std::string_view("q")}})["settings"]["paused"] == true);
  CHECK(world.ask("stats")["problems"].at(0)["kind"] == "paused_with_jobs");
  CHECK(world.ask("queue.resume", {{"queue", std::string_view("q")}})["settings"]["paused"] == false);
  CHECK(world.ask("queue.pause", {{"queue", std::string_view("none")}})["error"] == "no_such_queue");
  CHECK(world.ask("queue.set", {{"queue", std::string_view("q")}, {"speed", std::int64_t{3}}})["error"] ==
        "bad_argument");
}

TEST_CASE("a cancelled job is gone; a leased one is asked to stop") {
  AdminWorld world;
  const json gone = world.ask("job.cancel", {{"id", std::string_view(world.ready)}})["job"];
  CHECK(gone["id"] == world.ready);
  CHECK(gone["state"] == "gone");
  CHECK(world.ask("job.cancel", {{"id", std::string_view(world.leased)}})["job"]["state"] == "leased");
}

TEST_CASE("a question sees what the same peer did just before") {
  AdminWorld world;
  world.received(kPeer);
  world.send(kPeer, enqueue_one("fresh", "x"));
  world.send(kPeer, Admin{"queue.show", {{"queue", std::string_view("fresh")}}});
  REQUIRE(world.turn().ok());
  const auto messages = world.received(kPeer);
  REQUIRE(messages.size() == 2);
  CHECK(json::from_msgpack(std::get<AdminReply>(messages[1].body).document)["queue"]["ready"] == 1);
}

TEST_CASE("unknown verbs and parameters are named") {
  AdminWorld world;
  CHECK(world.ask("job.destroy")["error"] == "unknown_verb");
  const json refused = world.ask("stats", {{"colour", true}});
  CHECK(refused["error"] == "bad_argument");
  CHECK(refused["text"].get<std::string>().find("colour") != std::string::npos);
}
