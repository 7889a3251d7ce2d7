// What the engine refuses, each with its neighbour that passes: jobs, queues, workers, producers, settings.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "libjobq/protocol/limits.hpp"
#include "tests/engine/transcript.hpp"
#include "tests/engine/world.hpp"

namespace jobq::testing {
namespace {

using Lines = std::vector<std::string>;
constexpr std::int64_t kYears = limits::kDelayMsMax;

protocol::Enqueue one_job(std::string_view queue, const protocol::EnqueueJob& job) {
  protocol::Enqueue request;
  request.jobs.push_back(job);
  request.groups.push_back({queue, 0, 1});
  return request;
}

protocol::Enqueue one_typed(std::string_view queue, std::string_view type) {
  protocol::EnqueueJob job;
  job.type = type;
  return one_job(queue, job);
}

protocol::Enqueue one_sized(std::string_view queue, std::string_view body, std::string_view headers = "") {
  protocol::EnqueueJob job;
  job.body = body;
  job.headers = headers;
  return one_job(queue, job);
}

protocol::Enqueue of_producer(std::uint8_t name, std::uint64_t sequence, std::uint64_t lowest_open,
                              std::string_view queue = "q") {
  protocol::Enqueue request = one_sized(queue, "x");
  request.producer.fill(name);
  request.sequence = sequence;
  request.lowest_open = lowest_open;
  return request;
}

protocol::Register worker(const std::vector<std::string_view>& queues,
                          const std::vector<std::string_view>& types = {}) {
  protocol::Register request;
  for (const std::string_view queue : queues) request.queues.push_back({queue, 1});
  request.types = {types.begin(), types.end()};
  request.name = "w";
  request.host = "host";
  request.credit_jobs = 1;
  return request;
}

struct Refusal {
  const char* field;
  Code code;
  std::function<void(protocol::EnqueueJob&)> wrong, right;
};

}  // namespace

TEST_CASE("a job is refused for what is out of range, and taken at the limit itself") {
  World world;
  world.limits().body_bytes_max = 10;
  world.restart({0});
  const std::string text(5'000, 'k');
  const std::string_view letters = text;
  const TimeMs now = world.now().wall;
  using Job = protocol::EnqueueJob;
  const std::vector<Refusal> refusals = {
      {"body", Code::body_too_large, [&](Job& job) { job.body = letters.substr(0, 11); },
       [&](Job& job) { job.body = letters.substr(0, 10); }},
      {"headers", Code::headers_too_large,
       [&](Job& job) { job.headers = letters.substr(0, limits::kHeaderBytesMax + 1); },
       [&](Job& job) { job.headers = letters.substr(0, limits::kHeaderBytesMax); }},
      {"type", Code::bad_type, [](Job& job) { job.type = "a b"; }, [](Job& job) { job.type = "a.b"; }},
      {"priority", Code::bad_priority, [](Job& job) { job.priority = 10; },
       [](Job& job) { job.priority = 9; }},
      {"delay", Code::bad_time, [](Job& job) { job.delay.ms = -1; }, [](Job& job) { job.delay.ms = 1; }},
      {"delay", Code::bad_time, [](Job& job) { job.delay.ms = kYears + 1; },
       [](Job& job) { job.delay.ms = kYears; }},
      {"run_at", Code::bad_time, [](Job& job) { job.run_at.ms = -1; }, [](Job& job) { job.run_at.ms = 1; }},
      {"run_at", Code::bad_time, [&](Job& job) { job.run_at = now + DurationMs{kYears + 1}; },
       [&](Job& job) { job.run_at = now + DurationMs{kYears}; }},
      {"run_at and delay", Code::bad_time,
       [&](Job& job) {
         job.run_at = now + DurationMs{5};
         job.delay.ms = 1;
       },
       [&](Job& job) { job.run_at = now + DurationMs{5}; }},
      {"expires_in", Code::bad_time, [](Job& job) { job.expires_in.ms = -1; },
       [](Job& job) { job.expires_in.ms = 1; }},
      {"expires_in", Code::bad_time, [](Job& job) { job.expires_in.ms = kYears + 1; },
       [](Job& job) { job.expires_in.ms = kYears; }},
      {"unique_for", Code::bad_time,
       [](Job& job) {
         job.unique_key = "a";
         job.unique_for.ms = -1;
       },
       [](Job& job) {
         job.unique_key = "a";
         job.unique_for.ms = 1;
       }},
      {"unique_for", Code::bad_time,
       [](Job& job) {
         job.unique_key = "b";
         job.unique_for.ms = kYears + 1;
       },
       [](Job& job) {
         job.unique_key = "b";
         job.unique_for.ms = kYears;
       }},
      {"unique_for", Code::bad_unique_key, [](Job& job) { job.unique_for.ms = 1; }, [](Job&) {}},
      {"unique_key", Code::bad_unique_key,
       [&](Job& job) { job.unique_key = letters.substr(0, limits::kUniqueKeyBytesMax + 1); },
       [&](Job& job) { job.unique_key = letters.substr(0, limits::kUniqueKeyBytesMax); }},
      {"max_attempts", Code::bad_argument, [](Job& job) { job.max_attempts = limits::kMaxAttemptsMax + 1; },
       [](Job& job) { job.max_attempts = limits::kMaxAttemptsMax; }},
      {"max_run", Code::bad_argument, [](Job& job) { job.max_run_ms = limits::kRunMsMax + 1; },
       [](Job& job) { job.max_run_ms = limits::kRunMsMax; }},
  };
  for (const Refusal& refusal : refusals) {
    CAPTURE(refusal.field);
    Job wrong, right;
    refusal.wrong(wrong);
    refusal.right(right);
    CHECK(world.send("p", one_job("q", wrong)) ==
          Lines{fmt::format("p <- refused {}", to_string(refusal.code))});
    const Lines taken = world.send("p", one_job("q", right));
    REQUIRE(taken.size() == 1);
    CHECK(taken[0].starts_with("p <- created "));
  }
}

TEST_CASE("as many queues and types as the limits say, asked for by producers, workers and operators") {
  World world;
  world.limits().queues_max = 2;
  world.limits().types_max = 2;  // "no type" is one
  world.restart({0});
  CHECK(world.send("p", one_job("-q", {})) == Lines{"p <- refused bad_queue_name"});
  CHECK(world.send("p", one_job("a", {})) == Lines{"p <- created j1 ready"});
  CHECK(world.send("w", worker({"b", "c"})) ==
        Lines{"w <- error too_many_queues: there are 1 queues already"});
  CHECK(world.send("w", worker({"a", "b"}, {"mail"})).at(0) == "w <- registered session 1");
  CHECK(world.send("p", one_job("c", {})) == Lines{"p <- refused too_many_queues"});
  CHECK(world.send("op", command::SetQueue{"c", {}, true}) ==
        Lines{"op <- error too_many_queues: there are 2 queues already"});
  CHECK(world.send("p", one_typed("b", "pdf")) == Lines{"p <- refused too_many_types"});
  CHECK(world.send("p", one_typed("b", "mail")).at(0) == "p <- created j2 ready");
  CHECK(world.send("v", worker({"a"}, {"", "mail", "pdf"})) ==
        Lines{"v <- error too_many_types: there are 2 types already"});
}

TEST_CASE("a worker is refused for queues and types that cannot be") {
  World world;
  CHECK(world.send("w", worker({})) == Lines{"w <- error bad_argument: a worker serves at least one queue"});
  CHECK(world.send("w", worker({"a b"})) == Lines{"w <- error bad_queue_name: 'a b' is no name for a queue"});
  CHECK(world.send("w", worker({"a"}, {"-"})) == Lines{"w <- error bad_type: '-' is no name for a type"});
  CHECK(world.engine().queues(world.now()).empty());
}

TEST_CASE("without auto_create there are the queues that an operator made") {
  World world;
  world.limits().auto_create = false;
  world.restart({0});
  CHECK(world.send("p", one_job("a", {})) == Lines{"p <- refused no_such_queue"});
  CHECK(world.send("w", worker({"a"})) ==
        Lines{"w <- error no_such_queue: no queue is called 'a', and auto_create is off"});
  CHECK(world.send("op", command::SetQueue{"a", {}, false}) ==
        Lines{"op <- error no_such_queue: there is no queue 'a'"});
  CHECK(world.send("op", command::SetQueue{"a", {}, true}) == Lines{"op <- queue created"});
  CHECK(world.send("p", one_job("a", {})) == Lines{"p <- created j1 ready"});
  CHECK(world.send("w", worker({"a"})).at(0) == "w <- registered session 1");
}

TEST_CASE("a queue's settings are taken over whole or not at all") {
  World world;
  const auto set = [&](std::vector<std::pair<std::string, std::int64_t>> settings) {
    return world.send("op", command::SetQueue{"q", std::move(settings), true}).at(0);
  };
  CHECK(world.send("op", command::SetQueue{".q", {}, true}).at(0).starts_with("op <- error bad_queue_name"));
  CHECK(set({{"max_attempts", 3}, {"colour", 1}})
            .starts_with("op <- error bad_argument: no queue setting is called 'colour'"));
  CHECK(set({{"max_attempts", 0}}) ==
        "op <- error bad_argument: max_attempts = 0 is out of range; it may be 1 to 1000");
  CHECK(set({{"max_attempts", 1001}}) ==
        "op <- error bad_argument: max_attempts = 1001 is out of range; it may be 1 to 1000");
  CHECK(set({{"backoff_min_ms", 5'000}, {"backoff_max_ms", 4'999}}) ==
        "op <- error bad_argument: backoff_max_ms = 4999 must be at least backoff_min_ms = 5000");
  CHECK(world.engine().queues(world.now()).empty());
  CHECK(set({{"max_attempts", 1000}, {"paused", 1}}) == "op <- queue created");
  const auto view = world.engine().queue("q", world.now());
  REQUIRE(view.has_value());
  CHECK(view->settings->max_attempts == 1000);
  CHECK(view->settings->paused);
}

TEST_CASE("a producer's open requests are bounded: each one's, and all together") {
  World world;
  std::vector<std::pair<std::string, CommandBody>> requests;
  for (std::uint64_t n = 1; n <= limits::kOpenRequestsMax; ++n)
    requests.emplace_back("p", of_producer(1, n, 1));
  CHECK(world.send_together(std::move(requests)).size() == limits::kOpenRequestsMax);
  const char* full =
      "p <- error too_many_open: too many requests are remembered for resends: raise lowest_open, then retry";
  CHECK(world.send("p", of_producer(1, 10'001, 1)) == Lines{full});
  CHECK(world.send("p", of_producer(2, 1, 1)).at(0).starts_with("p <- created"));
  CHECK(world.send("p", of_producer(1, 10'001, 2)).at(0).starts_with("p <- created"));

  world.limits().open_requests_max = 10'001;
  world.engine().set_limits(world.limits());
  CHECK(world.send("p", of_producer(2, 2, 1)) == Lines{full});
  CHECK(world.send("p", of_producer(2, 2, 2)).at(0).starts_with("p <- created"));
}

TEST_CASE("the producer that was silent longest makes room, and one is forgotten after a day") {
  World world;
  world.limits().producers_max = 2;
  world.restart({0});
  CHECK(world.send("p", of_producer(1, 0, 0)) ==
        Lines{"p <- error bad_argument: sequence 0: a producer counts its requests from 1"});
  world.send("p", of_producer(1, 1, 1));
  world.send("p", of_producer(2, 1, 1));
  world.send("p", of_producer(1, 1, 1));  // again: seen now
  world.send("p", of_producer(3, 5, 9));  // 2 makes room; it says that it has no answer to wait for
  const auto resent = [&](std::uint8_t name, std::uint64_t sequence) {
    protocol::Enqueue request = of_producer(name, sequence, sequence);
    request.resend = true;
    return world.send("p", request).at(0);
  };
  CHECK(resent(2, 1).starts_with("p <- error unknown_producer: the broker does not remember"));
  CHECK(resent(1, 1) == "p <- created j1 ready");
  CHECK(resent(3, 5) == "p <- created j3 ready");

  world.send("w", worker({"q"}));  // somebody who makes time go by in turns
  constexpr DurationMs kHalfDay{std::int64_t{12} * 3'600'000};
  world.advance(kHalfDay);
  CHECK(resent(1, 1) == "p <- created j1 ready");
  world.advance({kHalfDay.ms + 60'000});
  CHECK(resent(1, 1) == "p <- created j1 ready");  // half a day ago
  CHECK(resent(3, 5).starts_with("p <- error unknown_producer: the broker does not remember"));
}

TEST_CASE("of what was refused with an identity the oldest is forgotten") {
  World world;
  const auto refused = [&](std::uint64_t sequence) {
    protocol::Enqueue request = of_producer(1, sequence, 1, "-");
    request.jobs.resize(10'000);
    request.groups[0].count = 10'000;
    request.content_hash = sequence;
    return request;
  };
  for (std::uint64_t n = 1; n <= 11; ++n) world.send("p", refused(n));
  // The same sequence with another content is told apart only while the first is remembered.
  const auto another = [&](std::uint64_t sequence) {
    protocol::Enqueue request = of_producer(1, sequence, 1);
    return world.send("p", request).at(0);
  };
  CHECK(another(2).starts_with("p <- error resend_mismatch"));
  CHECK(another(1) == "p <- created j1 ready");
}

TEST_CASE("what names nothing that is there is refused, or has no effect") {
  Script script;
  script.run("enqueue q");
  script.run("worker w q");
  World& world = script.world();
  const JobId job{1};
  CHECK(world.send("op", command::RedriveDead{"none", {}}) ==
        Lines{"op <- error no_such_queue: there is no queue 'none'"});
  CHECK(world.send("op", command::PurgeDead{"none", {}}) ==
        Lines{"op <- error no_such_queue: there is no queue 'none'"});
  CHECK(world.send("op", command::PurgeQueue{"none"}) ==
        Lines{"op <- error no_such_queue: there is no queue 'none'"});
  // A record that was damaged while its lease ended, or under another lease; a delivery that failed long ago.
  CHECK(world.send("broker", command::Damaged{{JobId{9}, 1}}).empty());
  CHECK(world.send("broker", command::Damaged{{job, 2}}).empty());
  CHECK(world.send("stranger", command::SendFailed{{{JobId{9}, 1}, {job, 2}, {job, 1}}}).empty());
  CHECK(world.engine().lease(job).has_value());
  // No worker's heartbeat, outcome or goodbye.
  CHECK(script.run("heartbeat stranger") ==
        Lines{"stranger <- error unknown_session: register first: this connection has no session"});
  CHECK(script.run("ack stranger j1/1") ==
        Lines{"stranger <- error unknown_session: register first: this connection has no session"});
  CHECK(script.run("goodbye stranger") == Lines{"stranger <- goodbye"});
  CHECK(script.run("heartbeat w extend=j1/1,j1/2,j9/1") == Lines{"w <- heartbeat: owned stale stale"});
  script.run("ack w j1/1");
  CHECK(script.run("heartbeat w extend=j1/1") == Lines{"w <- heartbeat: gone"});
  // A session of the future, however good its secret is.
  protocol::Register forged = worker({"q"});
  forged.session = SessionNo{77};
  CHECK(world.send("f", forged) == Lines{"f <- registered session 2"});
}

TEST_CASE("a queue is full by its bytes too, bodies and headers together") {
  World world;
  world.send("op", command::SetQueue{"q", {{"max_bytes", 10}}, true});
  CHECK(world.send("p", one_sized("q", "123456", "12345")) ==
        Lines{"p <- refused queue_bytes_full retry_after 1000 ms"});
  CHECK(world.send("p", one_sized("q", "12345", "12345")) == Lines{"p <- created j1 ready"});
  CHECK(world.send("p", one_sized("q", "1")) == Lines{"p <- refused queue_bytes_full retry_after 1000 ms"});
}

TEST_CASE("a queue that workers serve is not removed, and some of them are named") {
  Script script;
  script.run("worker a q");
  CHECK(script.run("remove_queue q") ==
        Lines{"op <- error wrong_state: 1 worker serves queue 'q' (a@host:1): stop or drain it first"});
  for (const char* name : {"b", "c", "d"}) script.run(std::string{"worker "} + name + " q");
  CHECK(
      script.run("remove_queue q") ==
      Lines{"op <- error wrong_state: 4 workers serve queue 'q' (a@host:1, b@host:1, c@host:1, ...): stop or "
            "drain them first"});
}

TEST_CASE("only a worker that is there can be drained") {
  Script script;
  script.run("enqueue q");
  script.run("worker w q");
  script.run("lost w");
  CHECK(script.run("drain w") ==
        Lines{"op <- error unknown_session: no connected worker has session 1; `jobq worker ls` lists them"});
  CHECK(script.world()
            .send("op", command::DrainWorker{SessionNo{9}, true})
            .at(0)
            .starts_with("op <- error unknown_session: no connected worker has session 9"));
}

}  // namespace jobq::testing
