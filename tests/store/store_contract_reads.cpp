// Contract: pages, order, and many jobs: enough to cross the blocks and ranges of any layout.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>

#include "tests/store/store_contract.hpp"

namespace jobq {
namespace {

using Ids = std::vector<std::uint64_t>;

// A permutation without a library's idea of one.
template <typename T>
void shuffle(std::vector<T>* list, Prng* prng) {
  for (std::size_t n = list->size(); n > 1; --n) std::swap((*list)[n - 1], (*list)[prng->below(n)]);
}

}  // namespace

TEST_CASE_FIXTURE(ContractFixture, "contract: lanes are apart, by queue, type and priority") {
  const QueueNo a = batches.add_queue("a"), b = batches.add_queue("b");
  const TypeNo type = batches.add_type("t");
  std::map<Lane, Ids> expected;
  for (int n = 0; n < 600; ++n) {
    const Lane lane{n % 2 == 0 ? a : b, n % 3 == 0 ? type : TypeNo{0}, static_cast<std::uint8_t>(n % 10)};
    expected[lane].push_back(batches.enqueue(lane).value);
    if (n % 50 == 0) commit();
  }
  commit();
  for (const auto& [where, ids] : expected) {
    CHECK(lane(where) == ids);
    CHECK(lane(where, {}, 1) == ids);
    CHECK(lane(where, {}, 7) == ids);
    CHECK(lane(where, JobId{300}) == Ids(std::upper_bound(ids.begin(), ids.end(), 300), ids.end()));
  }
  CHECK(lane({a, 77, 5}).empty());
  CHECK(lane({99, 0, 5}).empty());
  const Recovered found = reopen();
  CHECK(found.lanes.size() == expected.size());
  for (const auto& [where, ids] : expected) CHECK(lane(where, {}, 13) == ids);
  same(3);
}

TEST_CASE_FIXTURE(ContractFixture, "contract: timers fire in order and pages end where they say") {
  const QueueNo queue = batches.add_queue("q");
  Prng prng{5};
  for (int n = 0; n < 700; ++n) {
    NewJob job{.due = batches.now().engine + DurationMs{prng.between(1, 50)}};  // many at one time
    if (n % 3 == 0) job.due_clock = Clock::wall;
    if (n % 5 == 0) job.expires_at = batches.now().engine + DurationMs{prng.between(1, 50)};
    batches.enqueue({queue, 0, 5}, job);
  }
  commit();
  same(1);
  same(7);
  same(1'000);
  const auto page = store().read_timers(Clock::engine, {}, 10);
  REQUIRE(page.ok());
  CHECK(page->timers.size() == 10);
  CHECK_FALSE(page->end);
  const TimerKey last = page->timers.back().key;
  CHECK(store().read_timers(Clock::engine, last, 1)->timers[0].key > last);
  TimerKey far{Clock::engine, kNever, JobId{~std::uint64_t{0}}, TimerKind::unique_hold};
  CHECK(store().read_timers(Clock::engine, far, 1)->timers.empty());
  CHECK(store().read_timers(Clock::engine, far, 1)->end);
}

TEST_CASE_FIXTURE(ContractFixture, "contract: dead jobs are listed by queue and id") {
  const QueueNo a = batches.add_queue("a"), b = batches.add_queue("b");
  const SessionNo session = batches.add_session();
  for (int n = 0; n < 300; ++n) {
    const JobId id = batches.enqueue({n % 3 == 0 ? a : b, 0, static_cast<std::uint8_t>(n % 10)});
    batches.lease(id, session);
    batches.die(id, DeadReason::attempts, fmt::format("error {}", n));
  }
  commit();
  const auto page = store().read_dead(a, JobId{4}, 5);
  REQUIRE(page.ok());
  REQUIRE(page->jobs.size() == 5);
  CHECK(page->jobs[0].meta.id == JobId{7});
  CHECK(page->jobs[4].meta.id == JobId{19});
  CHECK(page->jobs[4].last_error == "error 18");
  CHECK_FALSE(page->end);
  CHECK(store().read_dead(a, JobId{298}, 5)->end);
  CHECK(store().read_dead(a, JobId{298}, 5)->jobs.empty());
  same(4);
  reopen();
  same(50);
}

TEST_CASE_FIXTURE(ContractFixture,
                  "contract: fifty thousand jobs, acked in any order, across every boundary") {
  const QueueNo main = batches.add_queue("main"), side = batches.add_queue("side");
  const SessionNo session = batches.add_session();
  constexpr std::size_t kJobs = 50'000;
  Prng prng{11};
  std::vector<JobId> everywhere;
  for (std::size_t n = 0; n < kJobs; ++n) {
    const Lane lane{prng.below(10) == 0 ? side : main, 0, static_cast<std::uint8_t>(prng.below(4))};
    NewJob job{.body = "x"};
    if (prng.below(100) == 0) job.due = batches.now().engine + DurationMs{prng.between(1, 1'000)};
    everywhere.push_back(batches.enqueue(lane, job));
    if (everywhere.size() % 1'000 == 0) commit();
  }
  const auto all_lanes_agree = [&] {
    std::map<Lane, Ids> expected;
    for (const auto& [id, job] : batches.jobs())
      if (job.state == JobState::ready) expected[job.meta.lane].push_back(id.value);
    for (const QueueNo queue : {main, side})
      for (std::uint8_t priority = 0; priority < 4; ++priority) {
        const Lane where{queue, 0, priority};
        CHECK(lane(where, {}, 777) == expected[where]);
        const JobId after{kJobs / 2 - 17};
        const Ids& ids = expected[where];
        CHECK(lane(where, after, 5'000) ==
              Ids(std::upper_bound(ids.begin(), ids.end(), after.value), ids.end()));
      }
  };
  all_lanes_agree();
  reopen();
  all_lanes_agree();

  // 20,000 in flight, from everywhere; they come back in any order: acked, retried, dead, given back.
  shuffle(&everywhere, &prng);
  std::vector<JobId> flying;
  for (const JobId id : everywhere) {
    if (batches.job(id).state != JobState::ready) continue;
    batches.lease(id, session);
    flying.push_back(id);
    if (flying.size() % 700 == 0) commit();
    if (flying.size() == 20'000) break;
  }
  commit();
  all_lanes_agree();
  CHECK(reopen().leases.size() == flying.size());
  shuffle(&flying, &prng);
  for (std::size_t n = 0; n < flying.size(); ++n) {
    const std::uint64_t kind = prng.below(100);
    if (kind < 92) {
      batches.finish(flying[n], Exit::acked);
    } else if (kind < 95) {
      batches.retry(flying[n], batches.now().engine + DurationMs{prng.between(1, 99)}, "again");
    } else if (kind < 97) {
      batches.die(flying[n], DeadReason::attempts, "never");
    } else {
      batches.give_back(flying[n]);
    }
    if (n % 1'300 == 0) commit();
  }
  commit();
  all_lanes_agree();
  reopen();
  all_lanes_agree();
  same(400, JobId{kJobs - 3'000});

  // Timers fire: old jobs come back to their old places, before all the younger ones.
  for (const JobId id : std::vector<JobId>{batches.in_state(JobState::scheduled)}) batches.due(id);
  for (const JobId id : std::vector<JobId>{batches.in_state(JobState::dead)}) batches.redrive(id);
  commit();
  all_lanes_agree();
  reopen();
  all_lanes_agree();

  // And everything leaves.
  std::vector<JobId> rest;
  for (const auto& [id, job] : batches.jobs()) rest.push_back(id);
  for (std::size_t n = 0; n < rest.size(); ++n) {
    batches.lease(rest[n], session);
    batches.finish(rest[n], Exit::acked);
    if (n % 2'000 == 0) commit();
  }
  commit();
  all_lanes_agree();
  const Recovered found = reopen();
  CHECK(found.lanes.empty());
  CHECK(found.leases.empty());
  for (std::uint64_t id = 1; id <= kJobs; id += 331) CHECK_FALSE(known(JobId{id}));
  same(100, JobId{kJobs - 500});
}

TEST_CASE_FIXTURE(ContractFixture, "contract: few survivors among many finished are found again") {
  const QueueNo queue = batches.add_queue("q");
  const SessionNo session = batches.add_session();
  constexpr std::uint64_t kJobs = 20'000;
  std::vector<JobId> ids;
  for (std::uint64_t n = 0; n < kJobs; ++n) {
    ids.push_back(batches.enqueue({queue, 0, 5}, {.body = fmt::format("body {}", n)}));
    if (n % 2'000 == 0) commit();
  }
  Ids survivors;
  for (std::uint64_t n = 0; n < kJobs; ++n) {
    if (n % 997 == 3) {
      survivors.push_back(ids[n].value);
    } else {
      batches.lease(ids[n], session);
      batches.finish(ids[n], Exit::acked);
    }
    if (n % 500 == 0) commit();
  }
  // Time and traffic for whatever a store does behind the back of its commits.
  for (int n = 0; n < 300; ++n) {
    const JobId id = batches.enqueue({queue, 0, 9});
    batches.lease(id, session);
    commit();
    batches.finish(id, Exit::acked);
    commit();
  }
  const auto check = [&] {
    CHECK(lane({queue, 0, 5}, {}, 6) == survivors);
    std::vector<JobId> asked;
    for (const std::uint64_t id : survivors) asked.push_back(JobId{id});
    const Status visited = store().visit_jobs(asked, [&](std::size_t i, const StoredJob* stored) {
      REQUIRE(stored != nullptr);
      CHECK(stored->body.text() == fmt::format("body {}", survivors[i] - 1));
    });
    CHECK(visited.ok());
  };
  check();
  reopen();
  check();
  for (const std::uint64_t id : survivors) {
    batches.lease(JobId{id}, session);
    batches.retry(JobId{id}, batches.now().engine + DurationMs{1}, "once more");
  }
  commit();
  CHECK(lane({queue, 0, 5}).empty());
  for (const std::uint64_t id : survivors) batches.due(JobId{id});
  commit();
  check();
  reopen();
  check();
}

// Sizes on both sides of what a layout may keep in a row, and pieces that begin and end anywhere.
TEST_CASE_FIXTURE(ContractFixture, "contract: a body can be read in pieces of any size") {
  const QueueNo queue = batches.add_queue("q");
  std::map<std::uint64_t, std::string> bodies;
  for (const std::size_t bytes : {0U, 1U, 15'000U, 16'360U, 16'361U, 100'000U}) {
    std::string body;
    for (std::size_t i = 0; body.size() < bytes; ++i) body += std::to_string(i);
    body.resize(bytes);
    bodies[batches.enqueue({queue, 0, 5}, {.body = body, .unique_key = fmt::format("k{}", bytes)}).value] =
        body;
  }
  commit();
  const auto piece_of = [&](std::uint64_t id, BodyPiece piece) {
    std::string text = "not visited";
    const Status visited = store().visit_piece(JobId{id}, piece, [&](std::size_t, const StoredJob* stored) {
      text = stored == nullptr ? "not stored" : stored->body.text();
      if (stored != nullptr) CHECK(stored->meta.bytes == bodies[id].size() + stored->headers.size());
    });
    CHECK(visited.ok());
    return text;
  };
  for (const auto& [id, body] : bodies) {
    for (const std::size_t step : {7'001U, 16'360U, 50'000U, 200'000U}) {
      std::string put_together;
      do put_together += piece_of(id, {put_together.size(), step});
      while (put_together.size() < body.size());
      CHECK(put_together == body);
    }
    CHECK(piece_of(id, {body.size() / 2, 1}) == body.substr(body.size() / 2, 1));
    CHECK(piece_of(id, {body.size(), 10}).empty());
    CHECK(piece_of(id, {body.size() + 1'000'000, 10}).empty());
  }
  CHECK(piece_of(4'711, {0, 10}) == "not stored");
}

TEST_CASE_FIXTURE(ContractFixture,
                  "contract: a job that was leased while thousands came is listed when it is back") {
  const QueueNo queue = batches.add_queue("q");
  const SessionNo session = batches.add_session();
  const JobId early = batches.enqueue({queue, 0, 5});
  batches.lease(early, session);
  constexpr int kJobs = 40'000;  // A store may list jobs that still wait when so many have come after them.
  for (int n = 1; n <= kJobs; ++n) {
    batches.enqueue({queue, 0, 9});
    if (n % 2'000 == 0) commit();
  }
  batches.give_back(early);
  commit();
  CHECK(lane({queue, 0, 5}) == Ids{early.value});
  reopen();
  CHECK(lane({queue, 0, 5}) == Ids{early.value});
}

TEST_CASE_FIXTURE(ContractFixture,
                  "contract: whatever legal batches come, it stays the same as the plain store") {
  for (const std::uint64_t seed : {1ULL, 2ULL, 3ULL}) {
    ContractFixture run;
    Prng prng{seed};
    const RandomLimits limits{.live_target = seed == 1 ? 50U : 1'500U, .changes_max = seed == 3 ? 8U : 80U};
    CAPTURE(seed);
    for (int batch = 1; batch <= 400; ++batch) {
      CAPTURE(batch);
      run.commit(run.batches.random_batch(&prng, limits));
      if (batch % 100 == 50) run.same(1 + prng.below(40));
      if (batch % 100 == 0) {
        run.reopen();
        run.same(1 + prng.below(500));
      }
    }
  }
}

}  // namespace jobq
