// Long random runs over an LmdbStore: blocks are swept, lanes indexed, the offline checker agrees, the file stays small.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "broker/store/check_store.hpp"
#include "tests/store/lmdb_under_test.hpp"
#include "tests/store/store_text.hpp"

namespace jobq {
namespace {

CheckCounts check(const std::string& path) {
  CheckCounts counts;
  std::string problems;
  const Status done = check_store(
      {.path = path}, [&](std::string_view line) { problems.append(line).append("\n"); }, &counts);
  CHECK_MESSAGE(done.ok(), done.text());
  CHECK_MESSAGE(counts.problems == 0, problems);
  return counts;
}

void compare(MemoryStore* model, Store* store, const LegalBatches& batches) {
  const std::string differences =
      difference(text_of(model, names_of(batches), 1'000), text_of(store, names_of(batches), 700));
  REQUIRE_MESSAGE(differences.empty(), differences);
}

void submit(Store* store, const LegalBatch& batch) {
  const auto done = store->submit(batch.changes, batch.mark);
  REQUIRE_MESSAGE(done.ok(), done.status().text());
}

// Enough jobs to move the watermark of the lane index several times, with survivors of every age.
TEST_CASE("random batches over a hundred thousand ids: the same as the model, and the checker agrees") {
  LmdbUnderTest tested;
  MemoryStore model;
  REQUIRE(model.recover().ok());
  LegalBatches batches;
  Prng prng(11);
  const RandomLimits limits{.live_target = 3'000, .body_bytes_max = 40'000, .changes_max = 600};
  std::uint64_t next_check = 15'000;
  while (batches.mark().next_job.value < 100'000) {
    // Most jobs pass through quickly, as in life; the random changes leave the survivors.
    const auto queues = batches.queue_numbers();
    if (!queues.empty()) {
      for (int i = 0; i < 200; ++i)
        batches.enqueue({.queue = queues[prng.below(queues.size())], .priority = 5});
      const std::vector<JobId> ready = batches.in_state(JobState::ready);
      for (const JobId job : ready) {
        if (prng.below(12) != 0) batches.finish(job, Exit::cancelled);
      }
    }
    const LegalBatch batch = batches.random_batch(&prng, limits);
    submit(&model, batch);
    submit(&tested.store(), batch);
    if (batches.mark().next_job.value < next_check) continue;
    next_check += 20'000;
    compare(&model, &tested.store(), batches);
    model.restart();
    const std::string differences = difference(text_of(*model.recover()), text_of(tested.reopen()));
    REQUIRE_MESSAGE(differences.empty(), differences);
    compare(&model, &tested.store(), batches);
    tested.close();
    CHECK(check(tested.path()).jobs == batches.jobs().size());
    tested.reopen();
  }
}

TEST_CASE("acks in any order among many in flight do not let the file grow") {
  LmdbUnderTest tested;
  LegalBatches batches;
  Prng prng(5);
  const QueueNo queue = batches.add_queue("mail");
  const SessionNo session = batches.add_session();
  std::vector<JobId> held;
  std::uint64_t used_early = 0;
  constexpr std::size_t kInFlight = 4'000;
  for (int round = 0; round < 400; ++round) {
    for (int i = 0; i < 500; ++i) {
      held.push_back(batches.enqueue({.queue = queue, .priority = 5}, {.body = std::string(200, 'b')}));
      batches.lease(held.back(), session);
    }
    batches.pass_time(50);
    submit(&tested.store(), batches.take());
    while (held.size() > kInFlight) {
      const std::size_t at = prng.below(held.size());
      batches.finish(held[at], Exit::acked);
      held[at] = held.back();
      held.pop_back();
    }
    submit(&tested.store(), batches.take());
    if (round == 100) used_early = tested.store().health().used_bytes + tested.store().health().free_bytes;
  }
  const StoreHealth health = tested.store().health();
  const std::uint64_t live = kInFlight * 300;
  CHECK(health.used_bytes + health.free_bytes < 2 * used_early);
  CHECK(health.used_bytes + health.free_bytes < 12 * live);
  tested.close();
  check(tested.path());
}

TEST_CASE("one job of each block that stays for ever costs its own size, not its block's") {
  LmdbUnderTest tested;
  LegalBatches batches;
  const QueueNo queue = batches.add_queue("mail");
  const SessionNo session = batches.add_session();
  constexpr int kBlocks = 300;
  for (int block = 0; block < kBlocks; ++block) {
    std::vector<JobId> jobs;
    for (int i = 0; i < 256; ++i) {
      jobs.push_back(batches.enqueue({.queue = queue, .priority = 5}, {.body = std::string(1'000, 'b')}));
    }
    submit(&tested.store(), batches.take());
    for (const JobId job : jobs) {
      if (job == jobs[100]) continue;
      batches.lease(job, session);
      batches.finish(job, Exit::acked);
    }
    batches.pass_time(200);
    submit(&tested.store(), batches.take());
  }
  batches.pass_time(10'000);
  for (int i = 0; i < 20; ++i) {
    batches.pass_time(10);
    submit(&tested.store(), batches.take());
  }
  // 300 jobs of 1 KB are live; 77 MB were written.
  const StoreHealth health = tested.store().health();
  CHECK(health.used_bytes < std::uint64_t{3} << 20);
  CHECK(health.file_bytes < std::uint64_t{32} << 20);
  tested.close();
  CHECK(check(tested.path()).jobs == kBlocks);
}

}  // namespace
}  // namespace jobq
