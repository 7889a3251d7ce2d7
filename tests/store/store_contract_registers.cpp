// Contract: what is kept beside the jobs: producers, queues, types, finished jobs.
#include <doctest/doctest.h>

#include "tests/store/store_contract.hpp"

namespace jobq {

TEST_CASE_FIXTURE(ContractFixture, "contract: a producer's window keeps what is open") {
  ProducerId a{}, b{};
  a[0] = 1;
  b[15] = 1;
  const protocol::EnqueueResult created{.id = JobId{7}};
  const protocol::EnqueueResult refused{
      .outcome = protocol::EnqueueOutcome::refused, .code = Code::queue_full, .retry_after_ms = 50};
  batches.answer(a, 1, 1, {created, refused});
  batches.answer(b, 1, 1, {created});
  commit();
  batches.answer(a, 2, 1, {refused});
  batches.answer(a, 4, 1, {created});
  commit();
  Recovered found = reopen();
  REQUIRE(found.producers.size() == 2);
  CHECK(found.producers[0].producer == b);
  REQUIRE(found.producers[1].answers.size() == 3);
  CHECK(found.producers[1].answers[0].results.all() == std::vector{created, refused});
  CHECK(found.producers[1].answers[2].sequence == 4);
  batches.pass_time(10);
  batches.answer(a, 5, 4, {created});
  commit();
  found = reopen();
  CHECK(found.producers[1].lowest_open == 4);
  CHECK(found.producers[1].seen_at == batches.now().engine);
  REQUIRE(found.producers[1].answers.size() == 2);
  CHECK(found.producers[1].answers[0].sequence == 4);
  batches.forget(a);
  commit();
  found = reopen();
  REQUIRE(found.producers.size() == 1);
  CHECK(found.producers[0].producer == b);
  batches.answer(a, 1, 1, {});
  commit();
  CHECK(reopen().producers[1].answers.size() == 1);
}

TEST_CASE_FIXTURE(ContractFixture,
                  "contract: a task that has not ended is found again, and no number twice") {
  CHECK(reopen().tasks.empty());
  CHECK(reopen().next_task == 1);
  change::PutTask task;
  task.number = 3;
  task.kind = TaskKind::purge_dead;
  task.queue = 7;
  task.filter = {
      .job = JobId{9}, .type = "mail", .has_type = true, .error_contains = "550 \xff", .min_age_ms = 60'000};
  task.limit = std::uint64_t{1} << 40;
  task.rate_per_s = 50;
  task.started_at = batches.now().engine;
  task.cut = JobId{12};
  task.after = JobId{4};
  task.to_scan = 10;
  task.scanned = 5;
  task.moved = 4;
  task.skipped_expired = 1;
  batches.put_task(task);
  change::PutTask other;
  other.number = 300;
  batches.put_task(other);
  commit();
  task.moved = 5;
  batches.put_task(task);
  commit();
  Recovered found = reopen();
  REQUIRE(found.tasks.size() == 2);
  CHECK(found.next_task == 301);
  const change::PutTask& kept = found.tasks[0];
  CHECK(kept.number == 3);
  CHECK(kept.kind == TaskKind::purge_dead);
  CHECK(kept.queue == 7);
  CHECK(kept.filter == task.filter);
  CHECK(kept.limit == task.limit);
  CHECK(kept.rate_per_s == 50);
  CHECK(kept.started_at == task.started_at);
  CHECK(kept.cut == task.cut);
  CHECK(kept.after == task.after);
  CHECK(kept.to_scan == 10);
  CHECK(kept.scanned == 5);
  CHECK(kept.moved == 5);
  CHECK(kept.skipped_expired == 1);
  CHECK(found.tasks[1].filter == DeadFilter{});
  batches.remove_task(3);
  batches.remove_task(300);
  commit();
  found = reopen();
  CHECK(found.tasks.empty());
  CHECK(found.next_task == 301);
}

TEST_CASE_FIXTURE(ContractFixture, "contract: queues, settings and types") {
  QueueSettings settings;
  settings.max_attempts = 3;
  settings.max_bytes = std::uint64_t{1} << 40;
  settings.paused = true;
  const QueueNo first = batches.add_queue("a", settings), second = batches.add_queue("b");
  const TypeNo type = batches.add_type("pdf");
  commit();
  settings.paused = false;
  settings.history_count = 5;
  batches.set_queue(first, settings);
  const JobId id = batches.enqueue({second, type, 9});
  commit();
  Recovered found = reopen();
  REQUIRE(found.queues.size() == 2);
  CHECK(found.queues[0].settings == settings);
  CHECK(found.queues[1].counters.ready == 1);
  CHECK(found.types == std::vector<std::string>{"", "pdf"});
  REQUIRE(found.lanes.size() == 1);
  CHECK(found.lanes[0].lane == Lane{second, type, 9});
  CHECK(found.lanes[0].ready == 1);
  batches.finish(id, Exit::purged);
  batches.remove_queue(second);
  commit();
  const QueueNo third = batches.add_queue("b");
  CHECK(third == 3);
  commit();
  found = reopen();
  REQUIRE(found.queues.size() == 2);
  CHECK(found.queues[1].queue == third);
  CHECK(found.queues[1].counters == QueueCounters{});
  same();
}

TEST_CASE_FIXTURE(ContractFixture, "contract: the durable history is trimmed by count and by age") {
  QueueSettings settings;
  settings.history_count = 20;
  const QueueNo queue = batches.add_queue("kept", settings);
  const QueueNo plain = batches.add_queue("plain");
  const SessionNo session = batches.add_session();
  std::vector<JobId> ids;
  for (int n = 0; n < 30; ++n) {
    ids.push_back(batches.enqueue({queue, 0, 5}));
    batches.lease(ids.back(), session);
    batches.pass_time(10);
    batches.finish(ids.back(), Exit::acked, "w@h:1");
    if (n % 7 == 0) commit();
  }
  const JobId forgotten = batches.enqueue({plain, 0, 5});
  batches.finish(forgotten, Exit::purged);
  commit();
  const auto finished = [&](JobId id) { return *store().read_finished(id); };
  CHECK_FALSE(finished(ids[9]).has_value());
  REQUIRE(finished(ids[10]).has_value());
  CHECK(finished(ids[10])->summary.worker == "w@h:1");
  CHECK(finished(ids[29])->summary.exit == Exit::acked);
  CHECK_FALSE(finished(forgotten).has_value());
  reopen();
  same();
  settings.history_age_ms = 55;  // the last five and the one to come
  batches.set_queue(queue, settings);
  const JobId last = batches.enqueue({queue, 0, 5});
  batches.pass_time(10);
  batches.finish(last, Exit::expired);
  commit();
  CHECK_FALSE(finished(ids[24]).has_value());
  CHECK(finished(ids[25]).has_value());
  CHECK(finished(last)->summary.exit == Exit::expired);
  same();
  reopen();
  same();
}

TEST_CASE_FIXTURE(ContractFixture, "contract: one trim removes at most 256 rows") {
  QueueSettings settings;
  settings.history_count = 10'000;
  const QueueNo queue = batches.add_queue("kept", settings);
  for (int n = 0; n < 600; ++n) batches.finish(batches.enqueue({queue, 0, 5}), Exit::purged);
  commit();
  settings.history_count = 1;
  batches.set_queue(queue, settings);
  batches.finish(batches.enqueue({queue, 0, 5}), Exit::purged);  // brings one trim along
  commit();
  CHECK_FALSE(store().read_finished(JobId{256})->has_value());
  CHECK(store().read_finished(JobId{257})->has_value());
  same();
}

}  // namespace jobq
