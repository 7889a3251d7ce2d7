// Contract: what each change does.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "libjobq/base/hash.hpp"
#include "tests/store/store_contract.hpp"

namespace jobq {
namespace {

using Ids = std::vector<std::uint64_t>;

struct OneQueue : ContractFixture {
  QueueNo queue = batches.add_queue("mail");
  Lane lane5{queue, 0, 5};
  SessionNo session = batches.add_session();
};

std::vector<AttemptRecord> attempts_of(Store& store, JobId id) {
  const auto attempts = store.read_attempts(id);
  REQUIRE(attempts.ok());
  return *attempts;
}

UniqueFact key_of(Store& store, QueueNo queue, std::string_view key) {
  const Result<UniqueFact> fact = store.read_unique(queue, key);
  REQUIRE(fact.ok());
  return *fact;
}

}  // namespace

TEST_CASE("contract: a new store is empty and knows who it is") {
  const auto tested = make_store_under_test();
  const Recovered found = tested->reopen();
  CHECK(found.mark.next_job == JobId{1});
  CHECK(found.queues.empty());
  CHECK(found.types == std::vector<std::string>{""});
  CHECK(found.leases.empty());
  CHECK(found.incarnation != protocol::Incarnation{});
  CHECK(tested->reopen().incarnation == found.incarnation);
  CHECK(tested->reopen().secret == found.secret);
}

TEST_CASE("contract: two stores have different incarnations") {
  // MemoryStore draws both from its seed: the factory gives every store its own.
  CHECK(make_store_under_test()->reopen().incarnation != make_store_under_test()->reopen().incarnation);
}

TEST_CASE_FIXTURE(OneQueue, "contract: enqueue makes a ready job with its bytes") {
  const std::string headers = "\x81\xa1k\xa1v", body = std::string("zero \0 inside", 13);
  const JobId id = batches.enqueue(lane5, {.body = body, .headers = headers, .max_attempts = 7});
  commit();
  CHECK(state(id) == JobState::ready);
  CHECK(job(id).meta.max_attempts == 7);
  CHECK(job(id).meta.bytes == headers.size() + body.size());
  CHECK(lane(lane5) == Ids{1});
  int visits = 0;
  const std::vector<JobId> ids{JobId{999}, id, id};
  REQUIRE(store()
              .visit_jobs(ids,
                          [&](std::size_t index, const StoredJob* stored) {
                            ++visits;
                            if (index == 0) {
                              CHECK(stored == nullptr);
                              return;
                            }
                            REQUIRE(stored != nullptr);
                            CHECK(stored->body.text() == body);
                            CHECK(stored->headers == headers);
                            CHECK(stored->unique_key.empty());
                          })
              .ok());
  CHECK(visits == 3);
  CHECK(store().health().damaged_records == 0);
  same();
  reopen();
  same();
}

TEST_CASE_FIXTURE(OneQueue, "contract: bodies from nothing to a megabyte come back whole") {
  std::vector<std::string> bodies;
  for (const std::size_t size : {0UL, 1UL, 255UL, 1'900UL, 2'000UL, 2'048UL, 4'096UL, 8'000UL, 16'000UL,
                                 65'535UL, 65'536UL, 300'000UL, 1'048'576UL}) {
    std::string body(size, '\0');
    for (std::size_t i = 0; i < size; ++i) body[i] = static_cast<char>(i * 7 + i / 251 + size);
    bodies.push_back(body);
  }
  std::vector<JobId> ids;
  for (const std::string& body : bodies) {
    ids.push_back(batches.enqueue(lane5, {.body = body}));
    if (ids.size() % 3 == 0) commit();
  }
  commit();
  const auto check = [&] {
    const Status visited = store().visit_jobs(ids, [&](std::size_t i, const StoredJob* stored) {
      REQUIRE(stored != nullptr);
      CHECK(stored->body.text() == bodies[i]);
    });
    CHECK(visited.ok());
  };
  check();
  reopen();
  check();
  for (const JobId id : ids) batches.finish(id, Exit::purged);
  commit();
  same();
}

TEST_CASE_FIXTURE(OneQueue, "contract: a lease takes the job out of its lane and is found again") {
  const JobId first = batches.enqueue(lane5), second = batches.enqueue(lane5);
  commit();
  batches.lease(first, session);
  commit();
  CHECK(state(first) == JobState::leased);
  CHECK(lane(lane5) == Ids{second.value});
  const Recovered found = reopen();
  REQUIRE(found.leases.size() == 1);
  CHECK(found.leases[0].meta.id == first);
  CHECK(found.leases[0].lease_no == 1);
  CHECK(found.leases[0].session == session);
  CHECK(found.leases[0].granted_at == batches.now().engine);
  batches.finish(first, Exit::acked);
  commit();
  CHECK_FALSE(known(first));
  CHECK(reopen().leases.empty());
  CHECK(lane(lane5) == Ids{second.value});
  same();
}

TEST_CASE_FIXTURE(OneQueue, "contract: enqueue, lease, return and lease again in one batch") {
  const JobId id = batches.enqueue(lane5);
  batches.lease(id, session);
  batches.give_back(id);
  batches.lease(id, session);
  const JobId late = batches.enqueue(lane5, {.due = TimeMs{1'800'000'000'000}});
  batches.due(late);
  batches.lease(late, session);
  const JobId brief = batches.enqueue(lane5);
  batches.lease(brief, session);
  batches.finish(brief, Exit::acked);
  commit();
  CHECK(state(id) == JobState::leased);
  CHECK_FALSE(known(brief));
  const Recovered found = reopen();
  REQUIRE(found.leases.size() == 2);
  CHECK(found.leases[0].lease_no == 2);
  CHECK(found.leases[1].meta.id == late);
  CHECK(lane(lane5).empty());
  same();
}

TEST_CASE_FIXTURE(OneQueue, "contract: a lease moves to another session under its number") {
  const JobId id = batches.enqueue(lane5);
  batches.lease(id, session);
  commit();
  const SessionNo other = batches.add_session();
  batches.pass_time(5'000);
  batches.move_lease(id, other);
  commit();
  const Recovered found = reopen();
  REQUIRE(found.leases.size() == 1);
  CHECK(found.leases[0].session == other);
  CHECK(found.leases[0].lease_no == 1);
  CHECK(found.leases[0].granted_at == batches.now().engine);
  same();
}

TEST_CASE_FIXTURE(OneQueue, "contract: a returned job keeps its place and its counts") {
  const JobId first = batches.enqueue(lane5), second = batches.enqueue(lane5);
  batches.lease(first, session);
  commit();
  batches.give_back(first);
  commit();
  CHECK(lane(lane5) == Ids{first.value, second.value});
  CHECK(job(first).meta.progress.lease_no == 1);
  CHECK(job(first).meta.has_progress);
  batches.lease(first, session);
  batches.retry(first, TimeMs{1'700'000'060'000}, "smtp said no");
  commit();
  CHECK(state(first) == JobState::scheduled);
  CHECK(job(first).meta.due == TimeMs{1'700'000'060'000});
  CHECK(job(first).meta.progress.failures == 1);
  CHECK(lane(lane5) == Ids{second.value});
  reopen();
  batches.due(first);
  commit();
  CHECK(lane(lane5) == Ids{first.value, second.value});
  CHECK_FALSE(job(first).meta.due.is_set());
  CHECK(job(first).meta.progress.lease_no == 2);
  REQUIRE(attempts_of(store(), first).size() == 1);
  CHECK(attempts_of(store(), first)[0].error == "smtp said no");
  CHECK(attempts_of(store(), first)[0].worker == "worker-1@host:101");
  batches.lease(first, session);
  batches.finish(first, Exit::acked);
  commit();
  CHECK(attempts_of(store(), first).empty());
  same();
  reopen();
  same();
}

TEST_CASE_FIXTURE(OneQueue, "contract: a delay is a timer, on its own clock") {
  const TimeMs soon = batches.now().engine + DurationMs{1'000}, date = batches.now().wall + DurationMs{500};
  const JobId delayed = batches.enqueue(lane5, {.due = soon});
  const JobId dated = batches.enqueue(lane5, {.due = date, .due_clock = Clock::wall});
  commit();
  CHECK(lane(lane5).empty());
  CHECK(state(delayed) == JobState::scheduled);
  CHECK(job(dated).meta.due_clock == Clock::wall);
  const auto engine = store().read_timers(Clock::engine, {}, 10);
  const auto wall = store().read_timers(Clock::wall, {.clock = Clock::wall}, 10);
  REQUIRE((engine.ok() && wall.ok()));
  REQUIRE((engine->timers.size() == 1 && wall->timers.size() == 1));
  CHECK(engine->timers[0].key == TimerKey{Clock::engine, soon, delayed, TimerKind::due});
  CHECK(wall->timers[0].key == TimerKey{Clock::wall, date, dated, TimerKind::due});
  batches.reschedule(dated, soon, Clock::engine);
  commit();
  same();
  batches.due(delayed);
  commit();
  // Nobody shall count the delay as waiting.
  CHECK(job(delayed).meta.progress.ready_since == soon);
  same();
  batches.finish(dated, Exit::cancelled);
  commit();
  CHECK(store().read_timers(Clock::engine, {}, 10)->timers.empty());
  same();
  reopen();
  same();
}

TEST_CASE_FIXTURE(OneQueue, "contract: a dead job keeps its reasons until it is redriven or leaves") {
  const JobId id = batches.enqueue(lane5, {.body = "poison", .unique_key = "k"});
  const JobId other = batches.enqueue(lane5);
  batches.lease(id, session);
  batches.retry(id, batches.now().engine + DurationMs{5}, "first");
  batches.due(id);
  batches.lease(id, session);
  batches.die(id, DeadReason::rejected, "second");
  batches.lease(other, session);
  batches.die(other, DeadReason::crashes, std::nullopt);
  commit();
  const auto check_dead = [&] {
    const Result<DeadPage> dead = store().read_dead(queue, {}, 10);
    REQUIRE(dead.ok());
    REQUIRE(dead->jobs.size() == 2);
    CHECK(dead->end);
    CHECK(dead->jobs[0].reason == DeadReason::rejected);
    CHECK(dead->jobs[0].last_error == "second");
    CHECK(dead->jobs[0].meta.progress.failures == 2);
    CHECK(dead->jobs[1].reason == DeadReason::crashes);
    CHECK(dead->jobs[1].last_error.empty());
    CHECK(attempts_of(store(), id).size() == 2);
    CHECK(key_of(store(), queue, "k").state == JobState::dead);
  };
  check_dead();
  reopen();
  check_dead();
  batches.redrive(id);
  commit();
  CHECK(lane(lane5) == Ids{id.value});
  CHECK(job(id).meta.progress.failures == 0);
  CHECK(job(id).meta.progress.redrives == 1);
  CHECK(job(id).meta.progress.lease_no == 2);
  CHECK(attempts_of(store(), id).size() == 2);
  batches.lease(id, session);
  commit();
  CHECK(reopen().leases[0].lease_no == 3);
  batches.finish(other, Exit::purged);
  batches.finish(id, Exit::acked);
  commit();
  CHECK(store().read_dead(queue, {}, 10)->jobs.empty());
  CHECK_FALSE(key_of(store(), queue, "k").held);
  same();
}

TEST_CASE_FIXTURE(OneQueue, "contract: of many attempts the first and the last fifty stay") {
  const JobId id = batches.enqueue(lane5);
  for (int n = 1; n <= 160; ++n) {
    batches.lease(id, session);
    batches.retry(id, batches.now().engine + DurationMs{n}, fmt::format("error {}", n));
    batches.due(id);
    if (n == 50 || n == 51 || n == 100 || n == 101 || n % 30 == 0) {
      commit();
      same();
    }
  }
  commit();
  const auto attempts = attempts_of(store(), id);
  REQUIRE(attempts.size() == 100);
  CHECK(attempts[0].number == 1);
  CHECK(attempts[49].number == 50);
  CHECK(attempts[50].number == 111);
  CHECK(attempts[99].number == 160);
  CHECK(attempts[99].error == "error 160");
  reopen();
  same();
  batches.finish(id, Exit::purged);
  commit();
  CHECK(attempts_of(store(), id).empty());
  same();
}

TEST_CASE_FIXTURE(OneQueue,
                  "contract: a unique key belongs to its queue and outlives its job when asked to") {
  const QueueNo other = batches.add_queue("other");
  const JobId held = batches.enqueue(lane5, {.body = "b", .unique_key = "order-1", .unique_for_ms = 1'000});
  const JobId plain = batches.enqueue({other, 0, 5}, {.unique_key = "order-1"});
  const std::string long_key(limits::kUniqueKeyBytesMax, 'x');
  const JobId wide = batches.enqueue(lane5, {.unique_key = long_key});
  commit();
  CHECK(key_of(store(), queue, "order-1").holder == held);
  CHECK(key_of(store(), queue, "order-1").body_hash == hash64("b"));
  CHECK(key_of(store(), other, "order-1").holder == plain);
  CHECK(key_of(store(), queue, long_key).holder == wide);
  CHECK_FALSE(key_of(store(), queue, "order-").held);
  CHECK_FALSE(key_of(store(), queue, "order-11").held);
  batches.lease(held, session);
  batches.lease(plain, session);
  commit();
  CHECK(key_of(store(), queue, "order-1").state == JobState::leased);
  batches.finish(held, Exit::acked);
  batches.finish(plain, Exit::acked);
  commit();
  CHECK_FALSE(key_of(store(), other, "order-1").held);
  CHECK(key_of(store(), queue, "order-1").held);
  CHECK(key_of(store(), queue, "order-1").state == JobState::gone);
  CHECK(key_of(store(), queue, "order-1").holder == held);
  CHECK(key_of(store(), queue, "order-1").body_hash == hash64("b"));
  reopen();
  const auto timers = store().read_timers(Clock::engine, {}, 10);
  REQUIRE((timers.ok() && timers->timers.size() == 1));
  CHECK(timers->timers[0].key.kind == TimerKind::unique_hold);
  batches.release_unique(timers->timers[0].key);
  commit();
  CHECK_FALSE(key_of(store(), queue, "order-1").held);
  batches.enqueue(lane5, {.unique_key = "order-1"});
  commit();
  same();
  reopen();
  same();
}

TEST_CASE_FIXTURE(OneQueue, "contract: an expiry timer stays with its job to the end, whatever its state") {
  const TimeMs expiry = batches.now().engine + DurationMs{9'000};
  const JobId id = batches.enqueue(lane5, {.expires_at = expiry});
  const auto timers = [&] { return store().read_timers(Clock::engine, {}, 10)->timers; };
  commit();
  REQUIRE(timers().size() == 1);
  CHECK(timers()[0].key == TimerKey{Clock::engine, expiry, id, TimerKind::expiry});
  CHECK(timers()[0].meta.expires_at == expiry);
  batches.lease(id, session);
  commit();
  CHECK(timers().size() == 1);
  batches.retry(id, expiry, "at the same time as its expiry");
  commit();
  REQUIRE(timers().size() == 2);
  CHECK(timers()[0].key.kind == TimerKind::due);
  batches.due(id);
  batches.lease(id, session);
  batches.die(id, DeadReason::attempts, "dead");
  commit();
  CHECK(timers().size() == 1);
  same();
  batches.redrive(id);
  commit();
  CHECK(timers().size() == 1);
  batches.finish(id, Exit::expired);
  commit();
  CHECK(timers().empty());
  same();
}

TEST_CASE_FIXTURE(OneQueue, "contract: every exit from every state takes everything along") {
  std::vector<JobId> ids;
  for (int n = 0; n < 20; ++n) {
    NewJob wanted{.unique_key = fmt::format("k{}", n), .expires_at = batches.now().engine + DurationMs{99}};
    if (n % 4 == 0) wanted.due = batches.now().engine + DurationMs{n + 1};
    ids.push_back(batches.enqueue(lane5, wanted));
    if (n % 4 == 1 || n % 4 == 2) batches.lease(ids.back(), session);
    if (n % 4 == 2) batches.die(ids.back(), DeadReason::damaged, "no");
  }
  commit();
  same();
  for (std::size_t n = 0; n < ids.size(); ++n) batches.finish(ids[n], static_cast<Exit>(n / 4));
  commit();
  for (const JobId id : ids) CHECK_FALSE(known(id));
  CHECK(store().read_timers(Clock::engine, {}, 10)->timers.empty());
  CHECK(store().read_dead(queue, {}, 10)->jobs.empty());
  CHECK(lane(lane5).empty());
  same();
  const Recovered found = reopen();
  REQUIRE(found.queues.size() == 1);
  const QueueCounters& counters = found.queues[0].counters;
  CHECK(counters.balanced());
  CHECK(counters.exits() == 20);
  CHECK(counters.dropped_total == 4);
  CHECK(found.lanes.empty());
}

TEST_CASE_FIXTURE(OneQueue, "contract: an empty batch carries the mark") {
  commit();
  batches.add_session();
  batches.pass_time(123);
  commit();
  CHECK(reopen().mark.now.engine == batches.now().engine);
}

}  // namespace jobq
