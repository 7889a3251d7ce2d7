// Disks that do not give back what was written: pages that cannot be read, a copy that is another one, rows that are no rows.
#include <doctest/doctest.h>
#include <lmdb.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <vector>

#include "broker/store/keys.hpp"
#include "broker/store/lmdb_env.hpp"
#include "broker/store/store_files.hpp"
#include "tests/store/damaged_store.hpp"
#include "tests/store/failing_offline.hpp"

namespace jobq {
namespace {

void with_rows(const std::string& directory, const std::function<void(lmdb::Txn*)>& edit) {
  lmdb::Env env(lmdb::data_file(directory), LmdbUnderTest::small_options().map_bytes,
                lmdb::Env::Mode::read_write);
  lmdb::Txn txn(&env, lmdb::Txn::Kind::write);
  edit(&txn);
  txn.commit();
}
void put_one_wrong_row(const std::string& directory) {
  with_rows(directory, [](lmdb::Txn* txn) { txn->put_unsound(lmdb::Table::meta, "next_task", "x"); });
}

TEST_CASE("a damaged file that cannot be opened for its repair is named") {
  const Offline store;
  const std::string file = store.home + "/data.mdb";
  {
    const Failing failing({.call = "open64", .error = EMFILE, .path_end = "/data.mdb", .in = In::a_child});
    check_said(store.repair(), Code::io_error, StoreProblem::io,
               {"cannot read " + file + ": Too many open files"});
  }
  const Failing failing({.call = "fstat64", .error = EIO, .in = In::a_child});
  check_said(store.repair(), Code::io_error, StoreProblem::io,
             {"cannot read " + file + ": Input/output error"});
}

TEST_CASE("a page that the disk cannot read costs what is on it, and never makes an unsound store") {
  const Offline store;
  int whole = 0, lossy = 0, refused = 0;
  for (int page = 0; page < 60; ++page) {
    CAPTURE(page);
    std::filesystem::remove_all(store.fresh);
    OfflineOptions options;
    std::string said;
    options.problem_line = [&](std::string_view line) { said.append(line).append("\n"); };
    const Failing failing({.call = "pread64", .error = EIO, .after = page, .in = In::a_child});
    const Done done = store.repair(options);
    if (!done.status.ok()) {
      ++refused;
      CHECK_MESSAGE(done.status.code() == Code::corruption, done.status.text());
      continue;
    }
    ++(said.empty() ? whole : lossy);
    CHECK(check(store.fresh).status.ok());
  }
  CHECK(lossy > 0);
  CHECK_MESSAGE(refused <= 2, refused);  // without a head nothing can be found
  std::filesystem::remove_all(store.fresh);
  const Failing interrupted({.call = "pread64", .error = EINTR, .in = In::a_child});
  CHECK(store.repair().status.ok());
}

TEST_CASE("a copy that is not the same as what was verified is not put in place") {
  const auto restore_other = [](const Offline& store, const Offline& other) {
    OfflineOptions options;
    options.progress = [&](std::string_view doing, std::uint64_t done, std::uint64_t) {
      // The file is another one by now, under the same name and number.
      if (doing == "copying" && done == 0) {
        std::ofstream(store.backup, std::ios::binary)
            << std::ifstream(other.backup, std::ios::binary).rdbuf();
      }
      return true;
    };
    const std::string kept = store.place.path() + "/kept.mdb";
    std::filesystem::copy_file(store.backup, kept);
    const Done done = store.restore(options);
    std::filesystem::rename(kept, store.backup);
    CHECK_FALSE(std::filesystem::exists(store.fresh + "/data.mdb"));
    return done;
  };
  const Offline store, scheduled(20, 1), leased(20, 0, 0, 1), dead(20, 0, 0, 0, 1), more(21),
      queues(20, 0, 1);
  for (const auto& [one, another] :
       {std::pair{&store, &more}, std::pair{&store, &scheduled}, std::pair{&store, &queues},
        std::pair{&scheduled, &leased}, std::pair{&leased, &dead}}) {
    check_said(restore_other(*one, *another), Code::corruption, StoreProblem::damaged,
               {"the copy of " + one->backup + " is not the same as the original: " +
                    (another == &more ? "21" : "20") + " of 20 jobs, 0 problems; nothing was changed",
                "Look at the disk and the memory"});
  }
  const Offline other;
  put_one_wrong_row(other.home);
  std::filesystem::copy_file(other.home + "/data.mdb", other.backup,
                             std::filesystem::copy_options::overwrite_existing);
  check_said(restore_other(store, other), Code::corruption, StoreProblem::damaged,
             {"20 of 20 jobs, 1 problems"});
}

TEST_CASE("a store with one problem is not compacted, and is repaired without anybody listening") {
  const Offline store;
  put_one_wrong_row(store.home);
  OfflineOptions options;
  std::vector<std::string> lines;
  options.problem_line = [&](std::string_view line) { lines.emplace_back(line); };
  check_said(
      store.compact(options), Code::corruption, StoreProblem::damaged,
      {store.home + " has 1 problem; nothing was changed. `jobq check " + store.home + " --repair NEW_DIR`"});
  CHECK(lines.size() == 1);
  CHECK(store.repair().status.ok());
  CHECK(check(store.fresh).status.ok());
}

TEST_CASE("a row too short for its checksum is a damaged row") {
  const Offline store;
  const auto key = lmdb::job_key(JobId{3});
  {
    MDB_env* env = nullptr;
    MDB_txn* txn = nullptr;
    MDB_dbi jobs = 0;
    REQUIRE(mdb_env_create(&env) == 0);
    REQUIRE(mdb_env_set_maxdbs(env, 32) == 0);
    REQUIRE(mdb_env_set_mapsize(env, LmdbUnderTest::small_options().map_bytes) == 0);
    REQUIRE(mdb_env_open(env, (store.home + "/data.mdb").c_str(), MDB_NOSUBDIR, 0640) == 0);
    REQUIRE(mdb_txn_begin(env, nullptr, 0, &txn) == 0);
    REQUIRE(mdb_dbi_open(txn, "jobs", 0, &jobs) == 0);
    std::string name(std::string_view{key}), value = "short";
    MDB_val k{name.size(), name.data()}, v{value.size(), value.data()};
    REQUIRE(mdb_put(txn, jobs, &k, &v, 0) == 0);
    REQUIRE(mdb_txn_commit(txn) == 0);
    mdb_env_close(env);
  }
  CheckCounts counts;
  std::string said;
  REQUIRE(check_store(
              {.path = store.home}, [&](std::string_view line) { said += line; }, &counts)
              .ok());
  CHECK_MESSAGE(said.find("its record is damaged") != std::string::npos, said);
  said.clear();
  OfflineOptions options;
  options.problem_line = [&](std::string_view line) { said += line; };
  CHECK(store.repair(options).status.ok());
  CHECK_MESSAGE(said.find("\"lost\"") != std::string::npos, said);
}

TEST_CASE("a cursor that stands nowhere finds nothing, and a moved one is closed once") {
  const Offline store;
  with_rows(store.home, [](lmdb::Txn* txn) {
    lmdb::Cursor cursor = txn->cursor(lmdb::Table::meta);
    {
      const Failing failing({.call = "mdb_cursor_get", .error = EINVAL});
      CHECK_FALSE(cursor.first());
    }
    lmdb::Cursor other(std::move(cursor));
    CHECK(other.first());
  });
}

TEST_CASE("reads of rows that are wrong say so, in the log too, and cost no other job") {
  using lmdb::Table;
  std::vector<std::string> log;
  LmdbOptions logging = LmdbUnderTest::small_options();
  logging.log = [&](std::string_view line) { log.emplace_back(line); };
  LmdbUnderTest tested(logging);
  lmdb::fill(&tested);
  tested.close();
  with_rows(tested.path(), [](lmdb::Txn* txn) {
    txn->put(Table::meta, "zzz", "a row that another version may have");
    txn->erase(Table::jobs, lmdb::job_key(lmdb::kOther));
    txn->erase(Table::bodies, lmdb::body_key(lmdb::kLarge, 0));
    txn->erase(Table::attempts, lmdb::attempt_key(lmdb::kDead, 1));
    lmdb::spoil(txn, Table::jobs, lmdb::job_key(lmdb::kScheduled));
    const std::string history = lmdb::value_of(txn, Table::finished_by_job, lmdb::job_key(lmdb::kFinished));
    txn->erase(Table::finished, history);
  });
  tested.reopen();
  Store& store = tested.store();
  CHECK_FALSE(store.read_job(JobId{0})->known);
  CHECK_FALSE(store.read_job(JobId{99'999})->known);
  log.clear();
  const std::vector<JobId> jobs = {lmdb::kOther, lmdb::kLarge, lmdb::kExpiring, lmdb::kUnique, JobId{0}};
  std::vector<bool> whole;
  REQUIRE(store.visit_jobs(jobs, [&](std::size_t, const StoredJob* job) { whole.push_back(job != nullptr); })
              .ok());
  CHECK(whole == std::vector<bool>{false, false, true, true, false});
  REQUIRE(log.size() == 2);
  CHECK(log[0].find("its stored record is damaged or missing; run 'jobq check'") != std::string::npos);
  const auto dead = store.read_dead(lmdb::kMail, {}, 10);
  REQUIRE(dead.ok());
  CHECK(dead->jobs.size() == 1);
  const auto timers = store.read_timers(Clock::engine, {}, 100);
  REQUIRE_MESSAGE(timers.ok(), timers.status().text());
  CHECK(timers->timers.size() >= 3);
  check_said(store.read_finished(lmdb::kFinished).status(), Code::corruption, {"its history row is missing"});
  tested.close();
  CHECK(check(tested.path()).status.ok());
  with_rows(tested.path(), [](lmdb::Txn* txn) {
    txn->put(Table::dead, std::string(lmdb::queue_key(lmdb::kMail)) + "x", "");
    txn->put(Table::timers, "xyz", "");
  });
  tested.reopen();
  check_said(tested.store().read_dead(lmdb::kMail, {}, 10).status(), Code::corruption,
             {"key of another length"});
  check_said(tested.store().read_timers(Clock::wall, {}, 100).status(), Code::corruption,
             {"a key that is none"});
  tested.close();
  with_rows(tested.path(), [](lmdb::Txn* txn) {
    lmdb::Cursor cursor = txn->cursor(Table::timers);
    REQUIRE(cursor.first());
    txn->put_unsound(Table::timers, std::string(cursor.key()), "");
  });
  tested.reopen();
  check_said(tested.store().read_timers(Clock::engine, {}, 100).status(), Code::corruption,
             {"a timer does not check"});
}

TEST_CASE("a store of a newer version is not repaired by an older one") {
  const Offline store;
  with_rows(store.home, [](lmdb::Txn* txn) {
    std::string row;
    lmdb::encode_format(lmdb::kFormatVersion + 6, &row);
    txn->put(lmdb::Table::meta, lmdb::meta_key::kFormat, row);
  });
  check_said(store.repair(), Code::not_supported, StoreProblem::newer_format, {"7", "version that wrote it"});
}

}  // namespace
}  // namespace jobq
