// MemoryStore passes the contract, and says no to what is illegal; FaultyStore does what it says.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>

#include "tests/store/faulty_store.hpp"
#include "tests/store/store_contract.hpp"

namespace jobq {
namespace {

class MemoryStoreUnderTest final : public StoreUnderTest {
 public:
  explicit MemoryStoreUnderTest(std::uint64_t seed) : store_(seed) { JOBQ_CHECK(store_.recover().ok()); }
  Store& store() override { return store_; }
  Recovered reopen() override {
    store_.restart();
    return *store_.recover();
  }

 private:
  MemoryStore store_;
};

// Runs it in a child process, whose standard error is closed. True: it aborted.
bool aborts(const std::function<void()>& run) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);
    close(STDERR_FILENO);
    run();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

struct Fixture {
  MemoryStore store;
  LegalBatches batches;
  QueueNo queue = batches.add_queue("q");
  JobId job = batches.enqueue({queue, 0, 5});
  Fixture() {
    JOBQ_CHECK(store.recover().ok());
    submit(batches.take());
  }
  void submit(const LegalBatch& batch) { JOBQ_CHECK(store.submit(batch.changes, batch.mark).ok()); }
  bool refused(const LegalBatch& batch) {
    return aborts([&] { (void)store.submit(batch.changes, batch.mark); });
  }
};

}  // namespace

std::unique_ptr<StoreUnderTest> make_store_under_test() {
  static std::uint64_t seed = 0;
  return std::make_unique<MemoryStoreUnderTest>(++seed);
}

TEST_CASE_FIXTURE(Fixture, "an illegal change aborts") {
  batches.lease(job, SessionNo{1});
  LegalBatch legal = batches.take();
  REQUIRE_FALSE(refused(legal));
  SUBCASE("a lease of a job that is leased") {
    submit(legal);
    CHECK(refused(legal));
  }
  SUBCASE("a lease number that was given out before") {
    std::get<change::Lease>(legal.changes[0]).lease_no = 0;
    CHECK(refused(legal));
  }
  SUBCASE("counters that do not say what is there") {
    for (Change& change : legal.changes)
      if (auto* put = std::get_if<change::PutCounters>(&change)) ++put->counters.leased;
    CHECK(refused(legal));
  }
  SUBCASE("no counters at all") {
    std::erase_if(legal.changes,
                  [](const Change& c) { return std::holds_alternative<change::PutCounters>(c); });
    CHECK(refused(legal));
  }
  SUBCASE("a lane row that does not say what is there") {
    std::erase_if(legal.changes, [](const Change& c) { return std::holds_alternative<change::PutLane>(c); });
    CHECK(refused(legal));
  }
  SUBCASE("a clock that goes back") {
    legal.mark.now.engine.ms -= 1;
    CHECK(refused(legal));
  }
  SUBCASE("the end of a job that is not there") {
    std::get<change::Lease>(legal.changes[0]).job = JobId{5};
    CHECK(refused(legal));
  }
  SUBCASE("a job number that was given out before") {
    legal.changes.clear();
    batches.enqueue({queue, 0, 5});
    LegalBatch next = batches.take();
    std::get<change::Enqueue>(next.changes[0]).meta.id = job;
    CHECK(refused(next));
  }
}

TEST_CASE("a store that fails stays failed") {
  Fixture below;
  FaultyStore faulty{&below.store};
  faulty.fail_submit(2, {Code::io_error, "the disk is gone"});
  below.batches.lease(below.job, SessionNo{1});
  const LegalBatch first = below.batches.take();
  REQUIRE(faulty.submit(first.changes, first.mark).ok());
  CHECK(faulty.completed(false).ok());
  below.batches.finish(below.job, Exit::acked);
  const LegalBatch second = below.batches.take();
  CHECK(faulty.submit(second.changes, second.mark).code() == Code::io_error);
  CHECK(faulty.completed(true).code() == Code::io_error);
  CHECK(faulty.read_job(below.job).code() == Code::io_error);
  CHECK(below.store.read_job(below.job)->state == JobState::leased);
}

TEST_CASE("power loss forgets what was not completed, and only that") {
  Fixture below;
  FaultyStore faulty{&below.store};
  faulty.hold();
  std::vector<JobId> jobs;
  for (int n = 0; n < 3; ++n) {
    jobs.push_back(below.batches.enqueue({below.queue, 0, 5}, {.body = std::string(100, 'b')}));
    const LegalBatch batch = below.batches.take();
    REQUIRE(faulty.submit(batch.changes, batch.mark).ok());
  }
  CHECK(*faulty.completed(false) == 0);
  CHECK_FALSE(faulty.read_job(jobs[0])->known);
  faulty.complete(2);
  CHECK(faulty.read_job(jobs[1])->known);
  faulty.lose_power();
  CHECK_FALSE(faulty.submit({}, below.batches.mark()).ok());
  below.store.restart();
  const Result<Recovered> found = below.store.recover();
  REQUIRE(found.ok());
  CHECK(found->mark.next_job == jobs[2]);
  CHECK(found->queues[0].counters.ready == 3);
}

}  // namespace jobq
