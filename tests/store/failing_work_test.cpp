// What a broker says and does when the system or LMDB refuses while its store is open: batches, reads, the growing of the
// file, health, and backups.
#include <doctest/doctest.h>
#include <lmdb.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <tuple>
#include <vector>

#include "broker/store/check_store.hpp"
#include "broker/store/lmdb_env.hpp"
#include "tests/store/failing_calls.hpp"
#include "tests/store/lmdb_under_test.hpp"

namespace jobq {
namespace {

namespace fs = std::filesystem;

struct Refusal {
  Fault fault;
  Code code;
  const char* text;
  bool disk_is_full = false;
};

bool is_sound(const std::string& file) {
  CheckCounts counts;
  return check_store(
             {.path = file}, [](std::string_view) {}, &counts)
             .ok() &&
         counts.problems == 0;
}

struct Working {
  std::vector<std::string> log;
  LegalBatches batches;
  LmdbUnderTest tested;
  QueueNo queue = 0;
  explicit Working(bool logs = true) : tested(options(logs)), queue(batches.add_queue("mail")) {}
  LmdbOptions options(bool logs) {
    LmdbOptions options = LmdbUnderTest::small_options();
    if (logs) options.log = [this](std::string_view line) { log.emplace_back(line); };
    log.clear();
    return options;
  }
  JobId enqueue(std::size_t bytes = 100) {
    return batches.enqueue({.queue = queue, .priority = 5}, {.body = std::string(bytes, 'b')});
  }
  Status submit() {
    const LegalBatch batch = batches.take();
    return tested.store().submit(batch.changes, batch.mark).status();
  }
};

TEST_CASE("a batch that LMDB or the system refuses ends the store, and leaves what was there") {
  const Refusal refusals[] = {
      {{.call = "mdb_env_info", .error = EINVAL}, Code::io_error, "cannot read the store's size"},
      {{.call = "mdb_env_stat", .error = EINVAL}, Code::io_error, "cannot read the store's size"},
      {{.call = "mdb_txn_begin", .error = MDB_PANIC}, Code::io_error, "cannot begin a transaction"},
      {{.call = "mdb_cursor_open", .error = ENOMEM}, Code::io_error, "cannot use the store"},
      {{.call = "mdb_cursor_get", .error = MDB_CORRUPTED}, Code::corruption, "cannot read the store"},
      {{.call = "mdb_cursor_put", .error = MDB_MAP_FULL}, Code::store_full, "raise the store's size limit"},
      {{.call = "mdb_cursor_put", .error = MDB_TXN_FULL}, Code::io_error, "cannot write the store"},
      {{.call = "mdb_txn_commit", .error = ENOSPC}, Code::disk_full, "cannot commit: No space left"},
      {{.call = "mdb_txn_commit", .error = EIO}, Code::io_error, "cannot commit: Input/output error"},
      {{.call = "mdb_txn_commit", .error = EIO},
       Code::disk_full,
       "(the disk is full; free disk space)",
       true},
      {{.call = "mdb_reader_check", .error = EIO}, Code::io_error, "cannot check the store's readers"},
      {{.call = "mdb_reader_list", .error = EIO}, Code::io_error, "cannot list the store's readers"},
  };
  for (const Refusal& one : refusals) {
    CAPTURE(one.text);
    Working working;
    const JobId kept = working.enqueue();
    // The first batch of all looks at the readers, which it does once a minute.
    const bool at_once = one.fault.call.starts_with("mdb_reader");
    if (!at_once) REQUIRE(working.submit().ok());
    const Pretending there({.disk_is_full = one.disk_is_full});
    {
      const Failing failing(one.fault);
      working.enqueue(3'000);
      check_said(working.submit(), one.code, {one.text});
      CHECK(failing.met() == 1);
    }
    CHECK(working.submit().code() == one.code);
    CHECK(working.tested.store().completed(true).code() == one.code);
    CHECK(working.tested.store().read_job(kept).code() == one.code);
    working.tested.store().health();
    if (at_once) continue;  // whether that batch is there is not known
    CHECK(working.tested.reopen().mark.next_job == JobId{kept.value + 1});
  }
}

TEST_CASE("a disk on which the file cannot grow is told once, and stays told until it can") {
  for (const bool logs : {true, false}) {
    CAPTURE(logs);
    Working working(logs);
    working.log.clear();
    {
      const Failing growing({.call = "fallocate64", .error = logs ? ENOSPC : EDQUOT, .for_ever = true});
      for (int i = 0; i < 3; ++i) {
        working.enqueue(400'000);
        REQUIRE(working.submit().ok());
      }
      CHECK(growing.met() >= 2);
      CHECK(working.tested.store().health().disk_free_bytes == 0);
    }
    if (logs)
      CHECK(working.log ==
            std::vector<std::string>{"the disk is full: the store's file cannot grow; free disk space"});
    working.enqueue(400'000);
    REQUIRE(working.submit().ok());
    CHECK(working.tested.store().health().disk_free_bytes > 0);
  }
}

TEST_CASE("where the file system cannot grow a file ahead, that is given up, and the store works") {
  for (const bool logs : {true, false}) {
    Working working(logs);
    working.log.clear();
    const Failing growing({.call = "fallocate64", .error = EOPNOTSUPP, .for_ever = true});
    for (int i = 0; i < 3; ++i) {
      working.enqueue(400'000);
      REQUIRE(working.submit().ok());
    }
    CHECK(growing.met() == 1);
    if (logs)
      CHECK(working.log ==
            std::vector<std::string>{"the store's file is not grown ahead: Operation not supported"});
  }
}

TEST_CASE("health that cannot be read is said, and the figures before stand") {
  for (const char* call :
       {"mdb_env_info", "mdb_env_stat", "mdb_reader_list", "mdb_txn_begin", "mdb_cursor_open"}) {
    CAPTURE(call);
    for (const bool logs : {true, false}) {
      Working working(logs);
      working.enqueue();
      REQUIRE(working.submit().ok());
      working.log.clear();
      const Failing failing({.call = call, .error = ENOMEM});
      CHECK(working.tested.store().health().commits == 1);
      CHECK(failing.met() == 1);
      CHECK(working.log.size() == (logs ? 1U : 0U));
      CHECK(working.tested.store().health().map_bytes == LmdbUnderTest::small_options().map_bytes);
    }
  }
}

TEST_CASE("a commit for which the disk takes a second is counted as slow") {
  Working working;
  working.enqueue();
  REQUIRE(working.submit().ok());
  CHECK(working.tested.store().health().slow_commits == 0);
  const auto begun = std::chrono::steady_clock::now();
  const Failing failing({.call = "mdb_txn_commit", .first = [&] {
                           while (std::chrono::steady_clock::now() - begun <
                                  std::chrono::milliseconds(kSlowCommit.ms + 1)) {
                           }
                         }});
  working.enqueue();
  REQUIRE(working.submit().ok());
  CHECK(failing.met() == 1);
  CHECK(working.tested.store().health().slow_commits == 1);
  CHECK(working.tested.store().health().commit_us_max > 900'000);
}

TEST_CASE("numbers that a mark skips belong to nobody") {
  Working working;
  const JobId job = working.enqueue();
  LegalBatch batch = working.batches.take();
  batch.mark.next_job.value += 5;
  REQUIRE(working.tested.store().submit(batch.changes, batch.mark).ok());
  CHECK(working.tested.store().read_job(job)->known);
  CHECK_FALSE(working.tested.store().read_job(JobId{job.value + 3})->known);
  CHECK(working.tested.reopen().mark.next_job == JobId{job.value + 6});
  working.tested.close();
  CHECK(is_sound(working.tested.path()));
}

TEST_CASE("the oldest reader of the store is told by its process") {
  Working working;
  working.enqueue();
  REQUIRE(working.submit().ok());
  const char* const readers[] = {"    pid     thread     txnid\n",
                                 "   4711 7f00aa 0\n",
                                 "   4712 7f00ab 1\n",
                                 "   4713 7f00ac -\n",
                                 "   4714 7f00ad 0\n",
                                 "   4715 7f00ae 999\n",
                                 nullptr};
  for (const int dead : {0, 2}) {
    const Pretending there({.readers = readers, .dead_readers = dead});
    const StoreHealth health = working.tested.store().health();
    CHECK(health.oldest_reader_pid == 4711);
    CHECK(health.oldest_reader_ms >= 1);
    CHECK(working.tested.store().health().oldest_reader_ms >= health.oldest_reader_ms);
  }
  CHECK(working.tested.store().health().oldest_reader_pid == 0);
}

TEST_CASE("reads that fail say so") {
  Working working;
  const JobId job = working.enqueue(50'000);
  REQUIRE(working.submit().ok());
  for (const char* call : {"mdb_txn_begin", "mdb_cursor_open", "mdb_cursor_get"}) {
    CAPTURE(call);
    const Failing failing({.call = call, .error = MDB_CORRUPTED});
    CHECK(working.tested.store().read_job(job).code() == Code::corruption);
    CHECK(failing.met() == 1);
  }
}

TEST_CASE("a table that cannot be emptied or counted is said, by those who use it") {
  LmdbUnderTest tested;
  tested.close();
  lmdb::Env env(tested.path() + "/data.mdb", std::uint64_t{64} << 20, lmdb::Env::Mode::read_write);
  lmdb::Txn txn(&env, lmdb::Txn::Kind::write);
  const Failing dropping({.call = "mdb_drop", .error = EINVAL}),
      counting({.call = "mdb_stat", .error = EINVAL}),
      erasing({.call = "mdb_cursor_del", .error = MDB_BAD_TXN});
  CHECK_THROWS_AS(txn.clear(lmdb::Table::jobs), lmdb::StoreError);
  CHECK_THROWS_AS(std::ignore = txn.stat(lmdb::Table::jobs), lmdb::StoreError);
  CHECK_THROWS_AS(txn.erase(lmdb::Table::meta, "mark"), lmdb::StoreError);
  CHECK_FALSE(txn.erase(lmdb::Table::meta, "no such row"));
}

// ---- backups ----

struct Online {
  LmdbUnderTest tested;
  TemporaryDirectory place;
  std::string file = place.path() + "/backup.mdb";
  explicit Online(LmdbOptions options = LmdbUnderTest::small_options()) : tested(std::move(options)) {}
  Status backup(const std::string& to) { return tested.store().backup(to); }
};

TEST_CASE("a backup that the system refuses says why, leaves nothing, and can be made again") {
  Online store;
  const Refusal refusals[] = {
      {{.call = "open64", .error = EMFILE, .path_end = ".part"}, Code::io_error, "cannot write "},
      {{.call = "mdb_env_copyfd2", .error = ENOSPC}, Code::disk_full, "cannot copy the store: No space left"},
      {{.call = "mdb_env_copyfd2", .error = EDQUOT}, Code::disk_full, "free disk space"},
      {{.call = "fsync", .error = EDQUOT}, Code::disk_full, "cannot sync "},
      {{.call = "fsync", .error = ENOSPC}, Code::disk_full, "free disk space"},
      {{.call = "renameat2", .error = EIO}, Code::io_error, "cannot make "},
      {{.call = "renameat2", .error = EEXIST},
       Code::wrong_state,
       "choose another name: a backup is never overwritten"},
  };
  for (const Refusal& one : refusals) {
    CAPTURE(one.text);
    const Failing failing(one.fault);
    check_said(store.backup(store.file), one.code, {one.text});
    CHECK(failing.met() == 1);
    CHECK(fs::is_empty(store.place.path()));
  }
  check_said(store.backup(store.place.path() + "/none/backup.mdb"), Code::io_error,
             {"cannot write " + store.place.path() + "/none/backup.mdb.part: No such file or directory"});
  fs::create_symlink("elsewhere", store.file + ".part");
  check_said(store.backup(store.file), Code::io_error, {"Too many levels of symbolic links"});
  fs::remove(store.file + ".part");
  {
    // It has its name then: whether that lasts is what is not known.
    const Failing failing({.call = "fsync", .error = EIO, .after = 1});
    check_said(store.backup(store.file), Code::io_error, {"cannot sync the directory"});
  }
  fs::remove(store.file);
  const fs::path before = fs::current_path();
  fs::current_path(store.place.path());
  const Status here = store.backup("here.mdb");
  fs::current_path(before);
  CHECK_MESSAGE(here.ok(), here.text());
  CHECK(fs::exists(store.place.path() + "/here.mdb"));
}

TEST_CASE("where the file system cannot rename into nothing, a look before has to do") {
  Online store;
  for (const int error : {EINVAL, ENOSYS}) {
    const Failing renaming({.call = "renameat2", .error = error});
    const Status done = store.backup(store.file);
    CHECK_MESSAGE(done.ok(), done.text());
    CHECK(is_sound(store.file));
    fs::remove(store.file);
  }
  const Failing renaming({.call = "renameat2", .error = EINVAL});
  const Failing there({.call = "access", .error = 0, .path_end = "backup.mdb", .after = 1});
  check_said(store.backup(store.file), Code::wrong_state, {"cannot make ", "File exists"});
  const Failing again({.call = "renameat2", .error = EINVAL}), refused({.call = "rename", .error = EACCES});
  check_said(store.backup(store.file), Code::io_error, {"cannot make ", "Permission denied"});
}

TEST_CASE("a backup that is stopped says so, and one that cannot be stopped is whole") {
  Online store;
  const auto stop = [&] {
    store.tested.store().stop_backup();
    store.tested.store().stop_backup();  // once is enough
  };
  {
    const Failing copying({.call = "mdb_env_copyfd2", .first = stop});
    check_said(store.backup(store.file), Code::wrong_state, {"the backup was stopped"});
    CHECK(fs::is_empty(store.place.path()));
  }
  for (const Fault& fault :
       {Fault{.call = "open64", .error = EMFILE, .path_end = "/dev/null", .for_ever = true},
        Fault{.call = "dup3", .error = EIO, .for_ever = true}}) {
    const Failing copying({.call = "mdb_env_copyfd2", .first = stop}), stopping(fault);
    const Status done = store.backup(store.file);
    CHECK_MESSAGE(done.ok(), done.text());
    CHECK(stopping.met() == 2);
    CHECK(is_sound(store.file));
    fs::remove(store.file);
  }
}

TEST_CASE("a backup during which the store grows too much is given up, if there is a limit") {
  for (const bool stops : {true, false}) {
    const Failing stopping({.call = "open64",
                            .error = EMFILE,
                            .path_end = stops ? "no such file" : "/dev/null",
                            .for_ever = true});
    for (const std::uint64_t limit : {std::uint64_t{0}, std::uint64_t{1} << 20}) {
      LmdbOptions options = LmdbUnderTest::small_options();
      options.backup_growth_bytes_max = limit;
      Online store(options);
      LegalBatches batches;
      const QueueNo queue = batches.add_queue("mail");
      const Failing copying({.call = "mdb_env_copyfd2", .first = [&] {
                               for (int i = 0; i < 3; ++i) {
                                 batches.enqueue({.queue = queue, .priority = 5},
                                                 {.body = std::string(1'500'000, 'b')});
                                 const LegalBatch batch = batches.take();
                                 CHECK(store.tested.store().submit(batch.changes, batch.mark).ok());
                               }
                             }});
      const Status done = store.backup(store.file);
      if (limit == 0 || !stops) CHECK_MESSAGE(done.ok(), done.text());
      if (limit != 0 && stops)
        check_said(done, Code::store_full,
                   {"the backup " + store.file + " was given up: the store has grown by more than 1 MiB",
                    "raise the limit"});
    }
  }
}

}  // namespace
}  // namespace jobq
