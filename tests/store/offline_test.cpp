// Backup under load, restore and compaction: what they leave is the same store, and what cuts them short leaves the old
// one or the new one.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "broker/store/offline.hpp"
#include "tests/store/lmdb_under_test.hpp"
#include "tests/store/store_text.hpp"

namespace jobq {
namespace {

namespace fs = std::filesystem;

struct Checked {
  Status status;
  CheckCounts counts;
  std::string problems;
};

Checked check(const std::string& path) {
  Checked found;
  found.status = check_store(
      {.path = path}, [&](std::string_view line) { found.problems.append(line).append("\n"); },
      &found.counts);
  CHECK_MESSAGE(found.status.ok(), found.status.text());
  CHECK_MESSAGE(found.counts.problems == 0, found.problems);
  return found;
}

struct Outcome {
  Status status;
  StoreProblem problem = StoreProblem::none;
  OfflineReport report;
};

Outcome restore(const std::string& file, const std::string& directory, const OfflineOptions& options = {}) {
  Outcome outcome;
  outcome.status = restore_store(file, directory, options, &outcome.report, &outcome.problem);
  return outcome;
}

Outcome compact(const std::string& directory, const OfflineOptions& options = {}) {
  Outcome outcome;
  outcome.status = compact_store(directory, options, &outcome.report, &outcome.problem);
  return outcome;
}

void submit(Store* store, const LegalBatch& batch) {
  const auto done = store->submit(batch.changes, batch.mark);
  REQUIRE_MESSAGE(done.ok(), done.status().text());
}

// A store with jobs in every state, from a seed.
struct Filled {
  LmdbUnderTest tested;
  LegalBatches batches;
  explicit Filled(std::uint64_t seed, int batch_count = 150) {
    Prng prng(seed);
    const RandomLimits limits{.live_target = 500, .body_bytes_max = 20'000, .changes_max = 60};
    for (int i = 0; i < batch_count; ++i) submit(&tested.store(), batches.random_batch(&prng, limits));
  }
  std::vector<std::string> text() { return text_of(&tested.store(), names_of(batches), 500); }
};

std::unique_ptr<Store> open(const std::string& directory, Recovered* recovered) {
  LmdbOptions options = LmdbUnderTest::small_options();
  options.path = directory;
  auto opened = open_lmdb_store(options);
  REQUIRE_MESSAGE(opened.ok(), opened.status().text());
  auto found = (*opened)->recover();
  REQUIRE_MESSAGE(found.ok(), found.status().text());
  *recovered = std::move(*found);
  return std::move(*opened);
}

void touch(const std::string& file, const std::string& text = "x") { std::ofstream(file) << text; }

TEST_CASE("backups made while batches are committed are whole stores, each as of a commit") {
  LmdbUnderTest tested;
  LegalBatches batches;
  const TemporaryDirectory elsewhere;
  Prng prng(21);
  const RandomLimits limits{.live_target = 2'000, .body_bytes_max = 5'000, .changes_max = 200};
  for (int i = 0; i < 50; ++i) submit(&tested.store(), batches.random_batch(&prng, limits));
  std::atomic<bool> copied{false};
  std::vector<std::string> files;
  std::thread copier([&] {
    for (int i = 0; i < 5; ++i) {
      files.push_back(elsewhere.path() + "/" + std::to_string(i) + ".mdb");
      const Status made = tested.store().backup(files.back());
      CHECK_MESSAGE(made.ok(), made.text());
    }
    copied = true;
  });
  while (!copied) submit(&tested.store(), batches.random_batch(&prng, limits));
  copier.join();
  for (const std::string& file : files) {
    CHECK(check(file).counts.jobs > 0);
    CHECK_FALSE(fs::exists(file + ".part"));
  }
}

TEST_CASE("a backup is never written over something, and can be stopped") {
  Filled filled(3, 30);
  const TemporaryDirectory elsewhere;
  const std::string file = elsewhere.path() + "/there.mdb";
  touch(file, "precious");
  CHECK(filled.tested.store().backup(file).code() == Code::wrong_state);
  CHECK(fs::file_size(file) == 8);
  filled.tested.store().stop_backup();  // none is running: nothing happens
  CHECK(filled.tested.store().backup(elsewhere.path() + "/other.mdb").ok());
}

TEST_CASE("a restored store holds what the original held, under another incarnation") {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    CAPTURE(seed);
    Filled filled(seed);
    const TemporaryDirectory elsewhere;
    const std::string file = elsewhere.path() + "/backup.mdb", home = elsewhere.path() + "/a/new/home";
    REQUIRE(filled.tested.store().backup(file).ok());
    const auto original = filled.tested.reopen();
    const Outcome done = restore(file, home);
    REQUIRE_MESSAGE(done.status.ok(), done.status.text());
    CHECK(done.report.counts.jobs == filled.batches.jobs().size());
    CHECK(done.report.counts.as_of == filled.batches.now().wall);
    Recovered found;
    const auto restored = open(home, &found);
    CHECK(found.incarnation != original.incarnation);
    CHECK(found.secret != original.secret);
    const std::string differences =
        difference(filled.text(), text_of(restored.get(), names_of(filled.batches), 500));
    CHECK_MESSAGE(differences.empty(), differences);
  }
}

TEST_CASE("a backup is restored into nothing but an empty directory") {
  Filled filled(4, 30);
  const TemporaryDirectory elsewhere;
  const std::string file = elsewhere.path() + "/backup.mdb", home = elsewhere.path() + "/home";
  REQUIRE(filled.tested.store().backup(file).ok());
  CHECK(restore(file, filled.tested.path()).problem == StoreProblem::not_empty);
  fs::create_directory(home);
  touch(home + "/notes.txt");
  const Outcome refused = restore(file, home);
  CHECK(refused.problem == StoreProblem::not_empty);
  CHECK(refused.status.text().find("notes.txt") != std::string::npos);
  CHECK(restore(file, home + "/notes.txt").problem == StoreProblem::not_empty);
  fs::remove(home + "/notes.txt");
  CHECK(restore(file, home).status.ok());
  CHECK(restore(file, home).problem == StoreProblem::not_empty);
}

TEST_CASE("a damaged, a cut and a wrong file are not restored, and nothing is left of the attempt") {
  Filled filled(5);
  const TemporaryDirectory elsewhere;
  const std::string file = elsewhere.path() + "/backup.mdb", home = elsewhere.path() + "/home";
  REQUIRE(filled.tested.store().backup(file).ok());
  const auto refuse = [&](const std::string& from) {
    const Outcome done = restore(from, home);
    CHECK_FALSE(done.status.ok());
    CHECK_FALSE(fs::exists(home + "/data.mdb"));
    CHECK_FALSE(fs::exists(home + "/data.mdb.restoring"));
    return done;
  };
  fs::copy_file(file, elsewhere.path() + "/cut.mdb");
  fs::resize_file(elsewhere.path() + "/cut.mdb", fs::file_size(file) / 2);
  CHECK(refuse(elsewhere.path() + "/cut.mdb").problem == StoreProblem::damaged);
  touch(elsewhere.path() + "/text.mdb", std::string(10'000, 't'));
  refuse(elsewhere.path() + "/text.mdb");
  touch(elsewhere.path() + "/empty.mdb", "");
  refuse(elsewhere.path() + "/empty.mdb");
  refuse(elsewhere.path() + "/nothing.mdb");
  refuse(elsewhere.path());
}

TEST_CASE("a backup with a flipped byte is refused or harmless, never restored with a job missing") {
  Filled filled(5);
  const TemporaryDirectory elsewhere;
  const std::string file = elsewhere.path() + "/backup.mdb";
  REQUIRE(filled.tested.store().backup(file).ok());
  Prng prng(55);
  int refused = 0;
  for (int i = 0; i < 25; ++i) {
    const std::string home = elsewhere.path() + "/home" + std::to_string(i), bad = home + ".mdb";
    fs::copy_file(file, bad);
    std::fstream bytes(bad, std::ios::in | std::ios::out | std::ios::binary);
    const auto at = static_cast<std::streamoff>(prng.below(fs::file_size(file)));
    bytes.seekg(at);
    const int was = bytes.get();
    bytes.seekp(at);
    bytes.put(static_cast<char>(was ^ (1 << prng.below(8))));
    bytes.close();
    const Outcome done = restore(bad, home);
    CAPTURE(at);
    if (!done.status.ok()) {
      ++refused;
      CHECK_FALSE(fs::exists(home + "/data.mdb"));
      continue;
    }
    CHECK(check(home).counts.jobs == filled.batches.jobs().size());
  }
  CHECK(refused > 5);
}

TEST_CASE("a restore that was cut short keeps a broker from starting with an empty store") {
  Filled filled(6, 30);
  const TemporaryDirectory elsewhere;
  const std::string file = elsewhere.path() + "/backup.mdb", home = elsewhere.path() + "/home";
  REQUIRE(filled.tested.store().backup(file).ok());
  fs::create_directory(home);
  touch(home + "/data.mdb.restoring", "half of it");
  LmdbOptions options = LmdbUnderTest::small_options();
  options.path = home;
  const auto refused = open_lmdb_store(options);
  CHECK(refused.status().text().find("cut short") != std::string::npos);
  const Outcome again = restore(file, home);
  REQUIRE_MESSAGE(again.status.ok(), again.status.text());
  CHECK(again.report.left_over == home + "/data.mdb.restoring");
  CHECK_FALSE(fs::exists(home + "/data.mdb.restoring"));
  CHECK(open_lmdb_store(options).ok());
}

TEST_CASE("a file that was drained becomes small, and stays the same store") {
  Filled filled(7);
  LegalBatches& batches = filled.batches;
  const QueueNo queue = batches.add_queue("bulk");
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 200; ++i)
      batches.enqueue({.queue = queue, .priority = 5}, {.body = std::string(8'000, 'b')});
    submit(&filled.tested.store(), batches.take());
  }
  const auto ready = batches.in_state(JobState::ready);
  for (const JobId job : ready) {
    if (batches.job(job).meta.lane.queue == queue) batches.finish(job, Exit::cancelled);
  }
  submit(&filled.tested.store(), batches.take());
  for (int i = 0; i < 40; ++i) {  // finished blocks are swept some batches later
    batches.pass_time(1'000);
    submit(&filled.tested.store(), batches.take());
  }
  const auto before = filled.text();
  const Recovered original = filled.tested.reopen();
  const auto mode = fs::status(filled.tested.path() + "/data.mdb").permissions();
  filled.tested.close();
  touch(filled.tested.path() + "/data.mdb.compacting", "left over");
  const Outcome done = compact(filled.tested.path());
  REQUIRE_MESSAGE(done.status.ok(), done.status.text());
  CHECK(done.report.left_over == filled.tested.path() + "/data.mdb.compacting");
  CHECK(done.report.bytes_after < done.report.bytes_before / 3);
  CHECK(fs::status(filled.tested.path() + "/data.mdb").permissions() == mode);
  CHECK_FALSE(fs::exists(filled.tested.path() + "/data.mdb.compacting"));
  CHECK_FALSE(fs::exists(filled.tested.path() + "/data.mdb.compacting-lock"));
  const Recovered found = filled.tested.reopen();
  CHECK(found.incarnation == original.incarnation);
  CHECK(found.secret == original.secret);
  CHECK(filled.tested.reopen().incarnation == original.incarnation);
  const std::string differences = difference(before, filled.text());
  CHECK_MESSAGE(differences.empty(), differences);
}

TEST_CASE("a store that is open is not compacted, and its holder is named") {
  Filled filled(8, 30);
  const Outcome refused = compact(filled.tested.path());
  CHECK(refused.problem == StoreProblem::already_open);
  CHECK(refused.status.text().find(std::to_string(getpid())) != std::string::npos);
  const TemporaryDirectory elsewhere;
  CHECK(compact(elsewhere.path()).problem == StoreProblem::not_a_store);
  CHECK(compact(elsewhere.path() + "/nothing").problem == StoreProblem::io);
}

TEST_CASE("what its caller does not want to go on leaves the old store") {
  Filled filled(9);
  filled.tested.close();
  for (const char* stop_at : {"verifying the store", "writing", "verifying the new file"}) {
    CAPTURE(stop_at);
    OfflineOptions options;
    options.progress = [&](std::string_view doing, std::uint64_t, std::uint64_t) { return doing != stop_at; };
    const Outcome stopped = compact(filled.tested.path(), options);
    CHECK((stopped.status.ok() || stopped.problem == StoreProblem::interrupted));
    CHECK(check(filled.tested.path()).counts.jobs == filled.batches.jobs().size());
    CHECK_FALSE(fs::exists(filled.tested.path() + "/data.mdb.compacting"));
  }
}

}  // namespace
}  // namespace jobq
