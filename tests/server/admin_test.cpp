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
    return ServerWorld::ask(kPeer, verb, std::move(params));
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
  for (const char* field : {"path", "map_bytes", "used_bytes", "free_bytes", "file_bytes", "disk_free_bytes",
                            "commits", "commit_us_last", "commit_us_max", "slow_commits", "oldest_reader_ms",
                            "oldest_reader_pid", "damaged_records"}) {
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

TEST_CASE("a job says why it is not running") {
  AdminWorld world;
  const auto why = [&world](const std::string& id) {
    return world.ask("job.why", {{"id", std::string_view(id)}});
  };
  // The only worker holds one job, and has room for one.
  const json ready = why(world.ready);
  CHECK(ready["job"]["state"] == "ready");
  CHECK(ready["why"].at(0)["kind"] == "workers_busy");
  CHECK(ready["why"].at(0)["text"].get<std::string>().find("1 of 1 slots") != std::string::npos);
  const json leased = why(world.leased);
  CHECK(leased["why"].at(0)["kind"] == "leased");
  CHECK(leased["why"].at(0)["text"].get<std::string>().find("w@h:7") != std::string::npos);
  CHECK(leased["why"].at(0)["until"].is_number());
  const json dead = why(world.dead);
  CHECK(dead["why"].at(0)["text"] == "it is dead: its worker rejected it: \"no such mailbox\"");
  CHECK(dead["why"].at(0)["remedy"].get<std::string>().find("job retry") != std::string::npos);
  CHECK(why(world.acked)["why"].at(0)["kind"] == "acked");
  CHECK(why("jzzz")["error"] == "no_such_job");
  CHECK(world.ask("job.show", {{"id", std::string_view(world.dead)}})["why"] == dead["why"]);

  world.ask("queue.pause", {{"queue", std::string_view("q")}});
  CHECK(why(world.ready)["why"].at(0)["kind"] == "paused");
  world.send(kPeer, enqueue_one("nobody", "x"));
  world.settle();
  const auto made = world.only<Enqueued>(kPeer);
  CHECK(why(to_text(made.results[0].id))["why"].at(0)["kind"] == "no_worker");
}

TEST_CASE("a failure is told with its number, its error and when it is tried again") {
  AdminWorld world;
  world.advance(DurationMs{1'000});
  Outcomes outcomes;
  const auto id = parse_job_id(world.leased);
  outcomes.outcomes.push_back({{*id, 1}, OutcomeKind::nack, "550 no such mailbox\nmore", {60'000}, {}});
  outcomes.credit_jobs = 0;
  world.send(kWorker, outcomes);
  world.settle();
  const json why = world.ask("job.why", {{"id", std::string_view(world.leased)}})["why"];
  CHECK(why.at(0)["kind"] == "backoff");
  CHECK(why.at(0)["text"] == "it waits after failure 1 of 25: \"550 no such mailbox\"");
  CHECK(why.at(0)["until"].is_number());
  CHECK(why.at(1)["kind"] == "workers_draining");

  // Now, please; then later; then now.
  const json retried = world.ask("job.retry", {{"id", std::string_view(world.leased)}})["job"];
  CHECK(retried["was"] == "scheduled");
  CHECK(retried["state"] == "ready");
  const json snoozed = world.ask(
      "job.snooze", {{"id", std::string_view(world.leased)}, {"delay_ms", std::int64_t{5'000}}})["job"];
  CHECK(snoozed["state"] == "scheduled");
  CHECK(snoozed["run_at"].is_number());
  CHECK(world.ask("job.snooze", {{"id", std::string_view(world.leased)}})["error"] == "bad_argument");
  CHECK(world.ask("job.snooze", {{"id", std::string_view(world.leased)},
                                 {"delay_ms", std::int64_t{5}},
                                 {"run_at", std::int64_t{5}}})["error"] == "bad_argument");
  CHECK(world.ask("job.snooze", {{"id", std::string_view(world.leased)},
                                 {"run_at", std::int64_t{5}}})["error"] == "bad_time");
  CHECK(world.ask("job.retry", {{"id", std::string_view(world.dead)}})["job"]["was"] == "dead");
  CHECK(world.ask("job.retry", {{"id", std::string_view(world.acked)}})["error"] == "gone");
}

TEST_CASE("dead jobs are exported whole, a page at a time") {
  AdminWorld world;
  const json page = world.ask("dead.export", {{"queue", std::string_view("q")}});
  REQUIRE(page["jobs"].size() == 1);
  const json& job = page["jobs"][0];
  CHECK(job["id"] == world.dead);
  CHECK(job["queue"] == "q");
  CHECK(job["unique_key"] == "b");
  CHECK(job["error"] == "no such mailbox");
  CHECK(std::vector<std::uint8_t>(job["body"].get_binary()) == std::vector<std::uint8_t>{'b'});
  CHECK(page["next"].is_null());
  CHECK(world
            .ask("dead.export",
                 {{"queue", std::string_view("q")}, {"min_age_ms", std::int64_t{1'000'000}}})["jobs"]
            .empty());
  CHECK(world.ask("dead.export", {{"queue", std::string_view("none")}})["error"] == "no_such_queue");
  CHECK(world.ask("dead.export", {{"queue", std::string_view("q")}, {"colour", true}})["error"] ==
        "bad_argument");
}

TEST_CASE("tasks are listed and cancelled") {
  AdminWorld world;
  CHECK(world.ask("task.ls")["tasks"].empty());
  const json begun = world.ask("dead.redrive", {{"queue", std::string_view("q")}, {"dry_run", true}})["task"];
  CHECK(begun["queue"] == "q");
  CHECK(begun["to_scan"] == 1);
  const json listed = world.ask("task.ls")["tasks"];
  REQUIRE(listed.size() == 1);
  CHECK(listed[0]["state"] == "done");
  CHECK(listed[0]["ended_at"].is_number());
  CHECK(world.ask("task.cancel", {{"task", std::int64_t{1}}})["task"]["state"] == "done");
  CHECK(world.ask("task.cancel", {{"task", std::int64_t{7}}})["error"] == "bad_argument");
}

TEST_CASE("a worker is shown with what it holds, and asked to leave when it understands that") {
  AdminWorld world;
  const json row = world.ask("worker.ls")["workers"].at(0);
  const std::int64_t session = row["session"].get<std::int64_t>();
  CHECK(row["drains_on_request"] == false);
  const json shown = world.ask("worker.show", {{"session", session}});
  REQUIRE(shown["jobs"].size() == 1);
  CHECK(shown["jobs"][0]["id"] == world.leased);
  CHECK(shown["jobs"][0]["queue"] == "q");
  CHECK(world.ask("worker.show", {{"session", std::int64_t{99}}})["error"] == "unknown_session");
  CHECK(world.ask("worker.drain", {{"session", std::int64_t{99}}})["error"] == "unknown_session");

  // It knows no features: nothing is pushed that it could stumble over, and it gets no more jobs.
  const json untold = world.ask("worker.drain", {{"session", session}});
  CHECK(untold["told"] == false);
  CHECK(untold["busy"] == 1);
  CHECK(world.received(kWorker).empty());

  Hello hello;
  hello.features = kFeatureDrain;
  world.send(kWorker, hello);
  world.settle();
  CHECK(world.only<Welcome>(kWorker).features == kFeatures);
  CHECK(world.ask("worker.ls")["workers"].at(0)["drains_on_request"] == true);
  CHECK(world.ask("worker.drain", {{"session", session}})["told"] == true);
  world.only<DrainRequested>(kWorker);
  world.send(kWorker, Heartbeat{{}, 5});
  world.settle();
  world.only<DrainRequested>(kWorker);  // Again with every heartbeat, and no job with it.
  CHECK(world.ask("worker.ls")["workers"].at(0)["draining"] == true);
}

TEST_CASE("a queue is removed when it is empty and nobody serves it") {
  AdminWorld world;
  const std::vector<Param> q{{"queue", std::string_view("q")}};
  const json refused = world.ask("queue.rm", q);
  CHECK(refused["error"] == "wrong_state");
  CHECK(refused["text"].get<std::string>().find("1 ready, 0 scheduled, 1 leased, 1 dead") !=
        std::string::npos);
  CHECK(world.ask("queue.rm", {{"queue", std::string_view("none")}})["error"] == "no_such_queue");
  world.send(kWorker, Goodbye{});
  world.ask("queue.purge", q);
  world.ask("dead.purge", q);
  world.settle();
  const json removed = world.ask("queue.rm", q);
  CHECK(removed["removed"] == true);
  CHECK(world.ask("stats")["queues"].empty());
  CHECK(world.ask("queue.show", q)["error"] == "no_such_queue");
  world.send(kPeer, enqueue_one("q", "again"));
  world.settle();
  CHECK(world.ask("queue.show", q)["counters"]["enqueued_total"] == 1);
}
