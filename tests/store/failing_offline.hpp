// A closed store and its backup, and what is done with them offline while calls fail. Not thread-safe; failures are doctest's.
#pragma once

#include <filesystem>
#include <string>

#include "broker/store/repair.hpp"
#include "tests/store/failing_calls.hpp"
#include "tests/store/lmdb_under_test.hpp"

namespace jobq {

namespace fs = std::filesystem;

struct Done {
  Status status;
  StoreProblem problem = StoreProblem::none;
};

inline void check_said(const Done& done, Code code, StoreProblem problem,
                       std::initializer_list<std::string> parts) {
  check_said(done.status, code, parts);
  CHECK(std::string(to_string(done.problem)) == to_string(problem));
}

inline Done check(const std::string& path, std::function<bool()> go_on = {}) {
  Done done;
  CheckCounts counts;
  done.status = check_store(
      {.path = path, .go_on = std::move(go_on)}, [](std::string_view) {}, &counts, &done.problem);
  return done;
}

// A store with some jobs, closed, and its backup.
struct Offline {
  TemporaryDirectory place;
  std::string home = place.path() + "/home", backup = place.path() + "/backup.mdb",
              fresh = place.path() + "/fresh";
  explicit Offline(int jobs = 20, int later = 0, int empty_queues = 0, int leased = 0, int dead = 0) {
    LmdbOptions options = LmdbUnderTest::small_options();
    options.path = home;
    auto store = open_lmdb_store(options);
    REQUIRE_MESSAGE(store.ok(), store.status().text());
    REQUIRE((*store)->recover().ok());
    LegalBatches batches;
    const QueueNo queue = batches.add_queue("mail");
    for (int i = 0; i < empty_queues; ++i) batches.add_queue("empty" + std::to_string(i));
    for (int i = 0; i < jobs; ++i)
      batches.enqueue(
          {.queue = queue, .priority = 5},
          {.body = std::string(5'000, 'b'), .due = i < later ? TimeMs{1'900'000'000'000} : TimeMs{}});
    const auto submit = [&] {
      const LegalBatch batch = batches.take();
      REQUIRE((*store)->submit(batch.changes, batch.mark).ok());
    };
    submit();
    const SessionNo session = batches.add_session();
    const auto ready = batches.in_state(JobState::ready);
    for (int i = 0; i < leased + dead; ++i) batches.lease(ready[static_cast<std::size_t>(i)], session);
    submit();
    for (int i = 0; i < dead; ++i)
      batches.die(ready[static_cast<std::size_t>(i)], DeadReason::rejected, std::nullopt);
    submit();
    REQUIRE((*store)->backup(backup).ok());
  }
  Done restore(const OfflineOptions& options = {}) const {
    Done done;
    OfflineReport report;
    done.status = restore_store(backup, fresh, options, &report, &done.problem);
    return done;
  }
  Done compact(const OfflineOptions& options = {}) const {
    Done done;
    OfflineReport report;
    done.status = compact_store(home, options, &report, &done.problem);
    return done;
  }
  Done repair(const OfflineOptions& options = {}) const {
    Done done;
    RepairReport report;
    done.status = repair_store(home, fresh, TimeMs{1'800'000'000'000}, options, &report, &done.problem);
    return done;
  }
};

}  // namespace jobq
