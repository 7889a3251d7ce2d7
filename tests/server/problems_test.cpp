#include "broker/server/problems.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

using namespace jobq;

namespace {

struct Scene {
  Config config;
  QueueSettings settings;
  QueueCounters counters;
  QueueView view;
  QueueRates rates;
  StoreHealth store;
  Admission admission;
  std::optional<ClockJump> jump;
  Now now{TimeMs{10'000'000}, TimeMs{10'000'000}};

  Scene() {
    view.name = "receipts";
    view.settings = &settings;
    view.counters = &counters;
    view.workers = 1;
    store.map_bytes = 1000 << 20;
    store.disk_free_bytes = std::uint64_t{1} << 40;
  }
  std::vector<Problem> find() const {
    return find_problems(config, {{&view, rates}}, store, admission, jump, now);
  }
  std::string kinds() const {
    std::string all;
    for (const Problem& problem : find()) {
      CHECK_FALSE(problem.text.empty());
      CHECK_FALSE(problem.remedy.empty());
      all += all.empty() ? problem.kind : std::string(" ") + problem.kind;
    }
    return all;
  }
};

}  // namespace

TEST_CASE("a healthy broker has no problems") {
  Scene scene;
  scene.counters.ready = 5;
  CHECK(scene.kinds().empty());
}

TEST_CASE("jobs and no worker") {
  Scene scene;
  scene.view.workers = 0;
  CHECK(scene.kinds().empty());
  scene.counters.ready = 5;
  CHECK(scene.kinds() == "no_worker");
  CHECK(scene.find()[0].queue == "receipts");
  CHECK(std::string(scene.find()[0].severity) == "critical");
  scene.settings.paused = true;
  CHECK(scene.kinds() == "paused_with_jobs");
}

TEST_CASE("a type that nobody serves") {
  Scene scene;
  scene.counters.ready = 5;
  scene.view.unserved_types = {{"mail", 3}, {"", 2}};
  CHECK(scene.kinds() == "no_worker_for_type no_worker_for_type");
  CHECK(scene.find()[0].text.find("'mail'") != std::string::npos);
}

TEST_CASE("the oldest ready job over its target") {
  Scene scene;
  scene.counters.ready = 1;
  scene.view.oldest_ready_ms = 60'000;
  CHECK(scene.kinds().empty());
  scene.view.oldest_ready_ms = 60'001;
  CHECK(scene.kinds() == "oldest_ready");
  scene.settings.target_wait_ms = 0;
  CHECK(scene.kinds().empty());
}

TEST_CASE("dead growing, and a worker that is alive but idle") {
  Scene scene;
  scene.rates.died_recently = 4;
  scene.view.starved = true;
  CHECK(scene.kinds() == "idle_worker dead_growing");
}

TEST_CASE("the store fills up") {
  Scene scene;
  scene.store.used_bytes = 700ULL << 20;
  CHECK(scene.kinds().empty());
  scene.store.used_bytes = 800ULL << 20;
  CHECK(scene.kinds() == "store_nearly_full");
  scene.admission.refuse = Code::store_full;
  CHECK(scene.kinds() == "store_full");
  scene.admission.refuse = Code::disk_full;
  CHECK(scene.kinds() == "disk_full");
}

TEST_CASE("damaged records and a clock that jumped") {
  Scene scene;
  scene.store.damaged_records = 1;
  scene.jump = ClockJump{DurationMs{-3'600'000}, TimeMs{scene.now.engine.ms - 1'000}};
  CHECK(scene.kinds() == "damaged_record clock_jump");
  scene.jump->noticed = TimeMs{scene.now.engine.ms - 601'000};
  CHECK(scene.kinds() == "damaged_record");
}

TEST_CASE("somebody who keeps an old state of the data file open") {
  Scene scene;
  scene.store.oldest_reader_ms = 59'999;
  scene.store.oldest_reader_pid = 1;
  CHECK(scene.kinds().empty());
  scene.store.oldest_reader_ms = 180'000;
  CHECK(scene.kinds() == "old_reader");
  CHECK(scene.find()[0].text ==
        "process 1 has been reading the data file for 3 min, and the file grows meanwhile");
  scene.store.oldest_reader_pid = ::getpid();  // a backup of our own has a limit of its own
  CHECK(scene.kinds().empty());
}

TEST_CASE("one is one, and two are two") {
  Scene scene;
  scene.view.workers = 0;
  scene.counters.ready = 1;
  scene.counters.dead = 1;
  scene.rates.died_recently = 1;
  CHECK(scene.find()[0].text == "1 ready job and no worker");
  CHECK(scene.find()[1].text == "1 job died in the last ten minutes, 1 is dead");
  scene.counters.ready = 2;
  scene.counters.dead = 3;
  scene.rates.died_recently = 2;
  CHECK(scene.find()[0].text == "2 ready jobs and no worker");
  CHECK(scene.find()[1].text == "2 jobs died in the last ten minutes, 3 are dead");
}
