// What followers of events are shown, and that a broker that nobody follows records nothing.
#include "broker/server/event_ring.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "tests/server/server_world.hpp"

using namespace jobq;
using namespace jobq::protocol;
using nlohmann::json;

namespace {

constexpr PeerId kPeer{1};

struct EventWorld : ServerWorld {
  EventWorld() {
    greet(kPeer);
    settle();
  }
  json ask(std::vector<Param> params = {}) { return ServerWorld::ask(kPeer, "events", std::move(params)); }
  // Goes on from the last answer.
  json next(std::vector<Param> params = {}) {
    params.push_back({"stream", std::string_view(stream)});
    params.push_back({"after", after});
    const json answer = ask(std::move(params));
    stream = answer["stream"].get<std::string>();
    after = answer["next"].get<std::int64_t>();
    return answer;
  }
  void begin() {
    const json answer = ask();
    stream = answer["stream"].get<std::string>();
    after = answer["next"].get<std::int64_t>();
  }
  void enqueue(std::string_view queue, std::size_t jobs = 1) {
    Enqueue request;
    for (std::uint32_t i = 0; i < jobs; ++i) {
      protocol::EnqueueJob job;
      job.body = "x";
      request.jobs.push_back(job);
      request.groups.push_back({queue, i, 1});
    }
    send(kPeer, std::move(request));
    settle();
  }
  std::string stream;
  std::int64_t after = 0;
};

std::string kinds(const json& answer) {
  std::string all;
  for (const json& event : answer["events"])
    all += (all.empty() ? "" : " ") + event["event"].get<std::string>();
  return all;
}

}  // namespace

TEST_CASE("a follower is shown what happens after it began, each once and in order") {
  EventWorld world;
  world.enqueue("before");
  world.begin();
  CHECK(world.next()["events"].empty());
  world.enqueue("q", 2);
  const json first = world.next();
  CHECK(kinds(first) == "enqueued enqueued");
  CHECK(first["events"][0]["queue"] == "q");
  CHECK(first["events"][0]["seq"] < first["events"][1]["seq"]);
  CHECK(first["dropped"] == 0);
  CHECK(first["more"] == false);
  world.send(kPeer, worker_of("q", 1));
  world.settle();
  CHECK(kinds(world.next()) == "leased");
  CHECK(world.next()["events"].empty());
}

TEST_CASE("queue, job and kind choose; an answer is bounded and says that there is more") {
  EventWorld world;
  world.begin();
  world.enqueue("a", 3);
  world.enqueue("b");
  const std::int64_t start = world.after;
  CHECK(world.next({{"queue", std::string_view("b")}})["events"].size() == 1);
  world.after = start;
  CHECK(world.next({{"queue", std::string_view("nobody")}})["events"].empty());
  world.after = start;
  CHECK(world.next({{"job", std::string_view("j2")}})["events"].size() == 1);
  world.after = start;
  CHECK(world.next({{"events", std::string_view("dead,failed")}})["events"].empty());
  world.after = start;
  const json some = world.next({{"limit", std::int64_t{3}}});
  CHECK(some["events"].size() == 3);
  CHECK(some["more"] == true);
  CHECK(world.next()["events"].size() == 1);
  CHECK(world.ask({{"events", std::string_view("fialed")}})["error"] == "bad_argument");
  CHECK(world.ask({{"limit", std::int64_t{100'000}}})["error"] == "bad_argument");
}

TEST_CASE("what is not kept is counted: of one commit, and of a follower that is slow") {
  EventWorld world;
  world.begin();
  world.enqueue("q", EventRing::kPerCommit + 500);
  std::uint64_t seen = 0, dropped = 0;
  for (json answer = world.next({{"limit", std::int64_t{1000}}});;
       answer = world.next({{"limit", std::int64_t{1000}}})) {
    seen += answer["events"].size();
    dropped += answer["dropped"].get<std::uint64_t>();
    if (answer["more"] == false) break;
  }
  CHECK(seen == EventRing::kPerCommit);
  CHECK(dropped >= 500);

  for (std::size_t made = 0; made < EventRing::kEventsMax + 2'000; made += 2'000) world.enqueue("q", 2'000);
  const json late = world.next();
  CHECK(late["dropped"].get<std::uint64_t>() >= 2'000);
  CHECK(late["more"] == true);
}

TEST_CASE("nothing is kept when nobody has asked for ten seconds, and the follower learns that") {
  EventWorld world;
  world.begin();
  const std::string before = world.stream;
  world.advance(DurationMs{9'000});
  world.enqueue("q");
  CHECK(world.next()["events"].size() == 1);
  CHECK(world.stream == before);
  world.advance(EventRing::kFollowedFor);
  world.enqueue("q");
  CHECK(world.next()["events"].empty());
  CHECK(world.stream != before);
}

TEST_CASE("a ring that nobody follows records nothing and holds nothing") {
  EventRing ring;
  CHECK_FALSE(ring.followed(TimeMs{1'000}));
  ring.follow(TimeMs{1'000});
  CHECK(ring.stream() == 1);
  CHECK(ring.followed(TimeMs{10'999}));
  CHECK_FALSE(ring.followed(TimeMs{11'000}));
  CHECK(ring.events().empty());
  ring.follow(TimeMs{12'000});
  CHECK(ring.stream() == 2);
}
