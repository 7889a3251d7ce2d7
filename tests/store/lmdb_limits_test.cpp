// What happens at the ends of the store: a full map, a failed batch, damaged records, a busy directory.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "broker/store/check_store.hpp"
#include "broker/store/keys.hpp"
#include "broker/store/lmdb_env.hpp"
#include "broker/store/store_files.hpp"
#include "tests/store/lmdb_under_test.hpp"

namespace jobq {
namespace {

void submit(Store* store, const LegalBatch& batch) {
  const auto done = store->submit(batch.changes, batch.mark);
  REQUIRE_MESSAGE(done.ok(), done.status().text());
}

struct Checked {
  CheckCounts counts;
  std::vector<std::string> lines;
  Status status;
  StoreProblem problem = StoreProblem::none;
  [[nodiscard]] std::size_t naming(const std::string& text) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        lines, [&](const std::string& line) { return line.find(text) != std::string::npos; }));
  }
};
Checked check(const std::string& path, bool dump = false) {
  Checked checked;
  checked.status = check_store(
      {.path = path, .dump = dump}, [&](std::string_view line) { checked.lines.emplace_back(line); },
      &checked.counts, &checked.problem);
  return checked;
}

// Writes one row behind the store's back.
void plant(const std::string& path, lmdb::Table table, std::string_view key, std::string_view value,
           bool damaged) {
  lmdb::Env env(lmdb::data_file(path), std::uint64_t{256} << 20, lmdb::Env::Mode::read_write);
  lmdb::Txn txn(&env, lmdb::Txn::Kind::write);
  if (damaged) {
    txn.put_unsound(table, key, value);
  } else {
    txn.put(table, key, value);
  }
  txn.commit();
}
void uproot(const std::string& path, lmdb::Table table, std::string_view key) {
  lmdb::Env env(lmdb::data_file(path), std::uint64_t{256} << 20, lmdb::Env::Mode::read_write);
  lmdb::Txn txn(&env, lmdb::Txn::Kind::write);
  REQUIRE(txn.erase(table, key));
  txn.commit();
}

TEST_CASE("a store filled to the mark of admission can still be drained to the last job") {
  LmdbOptions options = LmdbUnderTest::small_options();
  options.map_bytes = std::uint64_t{16} << 20;
  LmdbUnderTest tested(options);
  LegalBatches batches;
  Prng prng(3);
  const QueueNo queue = batches.add_queue("mail");
  const SessionNo session = batches.add_session();
  std::vector<JobId> jobs;
  while (tested.store().health().used_bytes < options.map_bytes * 85 / 100) {
    for (int i = 0; i < 100; ++i) {
      jobs.push_back(batches.enqueue({.queue = queue, .priority = 5}, {.body = std::string(400, 'b')}));
    }
    submit(&tested.store(), batches.take());
    tested.reopen();  // free pages are counted anew
  }
  REQUIRE(jobs.size() > 20'000);
  // Leases and acks in any order, in batches that touch every block.
  while (!jobs.empty()) {
    for (int i = 0; i < 500 && !jobs.empty(); ++i) {
      const std::size_t at = prng.below(jobs.size());
      batches.lease(jobs[at], session);
      batches.finish(jobs[at], Exit::acked);
      jobs[at] = jobs.back();
      jobs.pop_back();
    }
    batches.pass_time(500);
    submit(&tested.store(), batches.take());
  }
  for (int i = 0; i < 10; ++i) {
    batches.pass_time(500);
    submit(&tested.store(), batches.take());
  }
  tested.reopen();
  CHECK(tested.store().health().used_bytes < std::uint64_t{1} << 20);
}

TEST_CASE(
    "after a batch that does not fit, the store refuses everything; nothing of it is there after a restart") {
  LmdbOptions options = LmdbUnderTest::small_options();
  options.map_bytes = std::uint64_t{4} << 20;
  LmdbUnderTest tested(options);
  LegalBatches batches;
  const QueueNo queue = batches.add_queue("mail");
  const JobId kept = batches.enqueue({.queue = queue, .priority = 5});
  submit(&tested.store(), batches.take());

  batches.enqueue({.queue = queue, .priority = 5}, {.body = std::string(std::size_t{8} << 20, 'b')});
  const LegalBatch large = batches.take();
  CHECK(tested.store().submit(large.changes, large.mark).code() == Code::store_full);
  CHECK(tested.store().submit({}, large.mark).code() == Code::store_full);
  CHECK(tested.store().completed(true).code() == Code::store_full);
  CHECK(tested.store().read_job(kept).code() == Code::store_full);

  const Recovered found = tested.reopen();
  CHECK(found.mark.next_job == JobId{kept.value + 1});
  REQUIRE(found.queues.size() == 1);
  CHECK(found.queues[0].counters.ready == 1);
}

// EFBIG for every write behind the limit, as ENOSPC on a disk that is full: for this process, not for the machine.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(std::uint64_t bytes) : on_signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before_) == 0);
    const rlimit limit{bytes, before_.rlim_max};
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, on_signal_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*on_signal_)(int);
};

TEST_CASE("a commit that the disk refuses is said to have failed, and the store stands where it stood") {
  LmdbOptions options = LmdbUnderTest::small_options();
  options.preallocate = false;
  LmdbUnderTest tested(options);
  LegalBatches batches;
  const QueueNo queue = batches.add_queue("mail");
  const JobId kept = batches.enqueue({.queue = queue, .priority = 5});
  submit(&tested.store(), batches.take());
  Code code = Code::ok;
  {
    const FileSizeLimit limit(std::filesystem::file_size(lmdb::data_file(tested.path())));
    batches.enqueue({.queue = queue, .priority = 5}, {.body = std::string(std::size_t{1} << 20, 'b')});
    const LegalBatch refused = batches.take();
    code = tested.store().submit(refused.changes, refused.mark).code();
  }
  CHECK(code == Code::io_error);
  // Whether it has reached the disk is not known to a store whose commit has failed: it says nothing more.
  CHECK(tested.store().completed(true).code() == Code::io_error);
  CHECK(tested.store().read_job(kept).code() == Code::io_error);
  const Recovered found = tested.reopen();
  CHECK(found.mark.next_job == JobId{kept.value + 1});
}

TEST_CASE("a job whose record is beyond reading does not keep the others from being served") {
  LmdbUnderTest tested;
  LegalBatches batches;
  const QueueNo queue = batches.add_queue("mail");
  const Lane lane{.queue = queue, .priority = 5};
  for (int i = 0; i < 3; ++i) batches.enqueue(lane);
  submit(&tested.store(), batches.take());
  tested.close();
  plant(tested.path(), lmdb::Table::jobs, lmdb::job_key(JobId{2}), "not what was written", true);
  tested.reopen();
  const auto page = tested.store().read_lane(lane, {}, 10);
  REQUIRE(page.ok());
  CHECK(page->jobs.size() == 2);
  CHECK(tested.store().health().damaged_records == 1);
}

TEST_CASE("a damaged job does not hide the others, is counted, and can be put among the dead") {
  LmdbUnderTest tested;
  LegalBatches batches;
  const QueueNo queue = batches.add_queue("mail");
  const SessionNo session = batches.add_session();
  const Lane lane{.queue = queue, .priority = 5};
  std::vector<JobId> jobs;
  for (int i = 0; i < 3; ++i) jobs.push_back(batches.enqueue(lane, {.body = ""}));
  submit(&tested.store(), batches.take());
  tested.close();
  {
    // One bit of the record flips; which lane it is in can still be read.
    lmdb::Env env(lmdb::data_file(tested.path()), std::uint64_t{256} << 20, lmdb::Env::Mode::read_write);
    lmdb::Txn txn(&env, lmdb::Txn::Kind::write);
    const std::string record(txn.get(lmdb::Table::jobs, lmdb::job_key(jobs[1])).value());
    txn.put_unsound(lmdb::Table::jobs, lmdb::job_key(jobs[1]), record);
    txn.commit();
  }
  tested.reopen();

  const auto page = tested.store().read_lane(lane, {}, 10);
  REQUIRE(page.ok());
  REQUIRE(page->jobs.size() == 3);
  CHECK(page->jobs[1].id == jobs[1]);
  CHECK(tested.store().health().damaged_records == 2);  // at the start and for the page
  std::vector<bool> whole;
  REQUIRE(tested.store()
              .visit_jobs(jobs, [&](std::size_t, const StoredJob* job) { whole.push_back(job != nullptr); })
              .ok());
  CHECK(whole == std::vector<bool>{true, false, true});

  batches.lease(jobs[1], session);
  batches.die(jobs[1], DeadReason::damaged, std::nullopt);
  submit(&tested.store(), batches.take());
  const auto dead = tested.store().read_dead(queue, {}, 10);
  REQUIRE(dead.ok());
  REQUIRE(dead->jobs.size() == 1);
  CHECK(dead->jobs[0].reason == DeadReason::damaged);
  // It is moved as it is: still known as damaged, and removed like any other.
  CHECK(tested.store().health().damaged_records > 1);
  tested.close();
  CHECK(check(tested.path()).naming("its record is damaged") == 1);
  tested.reopen();
  batches.finish(jobs[1], Exit::cancelled);
  submit(&tested.store(), batches.take());
  tested.close();
  CHECK(check(tested.path()).counts.problems == 0);
}

struct Planted {
  const char* text;  // what the checker says
  std::function<void(const std::string& path)> plant;
};

TEST_CASE("the checker finds what was done to a store, and says where") {
  LmdbUnderTest tested;
  LegalBatches batches;
  const QueueNo queue = batches.add_queue("mail");
  const SessionNo session = batches.add_session();
  const Lane lane{.queue = queue, .priority = 5};
  const TimeMs later = batches.now().engine + DurationMs{60'000};
  const JobId plain = batches.enqueue(lane);
  const JobId keyed = batches.enqueue(lane, {.unique_key = "order-1"});
  const JobId delayed = batches.enqueue(lane, {.due = later});
  const JobId expiring = batches.enqueue(lane, {.expires_at = later});
  const JobId large = batches.enqueue(lane, {.body = std::string(40'000, 'b')});
  const JobId failing = batches.enqueue(lane);
  const JobId dying = batches.enqueue(lane);
  for (const JobId job : {failing, dying}) batches.lease(job, session);
  batches.retry(failing, later, "it failed");
  batches.die(dying, DeadReason::rejected, "never again");
  submit(&tested.store(), batches.take());
  tested.close();
  const std::string path = tested.path();
  {
    const Checked sound = check(path, true);
    CHECK_MESSAGE(sound.status.ok(), sound.status.text());
    CHECK(sound.counts.problems == 0);
    CHECK(sound.counts.jobs == 7);
    CHECK(sound.counts.ready == 4);
    CHECK(sound.counts.scheduled == 2);
    CHECK(sound.counts.dead == 1);
    CHECK(sound.naming("\"kind\":\"job\"") == 7);
    CHECK(sound.naming("\"kind\":\"queue\"") == 1);
    CHECK(sound.naming("\"unique_key\":\"order-1\"") == 1);
    CHECK(sound.naming("\"reason\":\"rejected\"") == 1);
  }
  const TimerKey due{Clock::engine, later, delayed, TimerKind::due};
  const TimerKey expiry{Clock::engine, later, expiring, TimerKind::expiry};
  const TimerKey stray{Clock::engine, later, plain, TimerKind::due};
  using lmdb::Table;
  const Planted planted[] = {
      {"are not finished and", [&](const auto& p) { uproot(p, Table::jobs, lmdb::job_key(plain)); }},
      {"its record is damaged",
       [&](const auto& p) { plant(p, Table::jobs, lmdb::job_key(plain), "x", true); }},
      {"its unique key is not held",
       [&](const auto& p) { uproot(p, Table::unique, lmdb::unique_row_key(queue, "order-1")); }},
      {"its due timer", [&](const auto& p) { uproot(p, Table::timers, lmdb::timer_key(due)); }},
      {"its expiry timer", [&](const auto& p) { uproot(p, Table::timers, lmdb::timer_key(expiry)); }},
      {"a timer that does not belong to it",
       [&](const auto& p) { plant(p, Table::timers, lmdb::timer_key(stray), "", false); }},
      {"a part of its body", [&](const auto& p) { uproot(p, Table::bodies, lmdb::body_key(large, 1)); }},
      {"its progress is missing", [&](const auto& p) { uproot(p, Table::progress, lmdb::job_key(failing)); }},
      {"attempt 1 is missing",
       [&](const auto& p) { uproot(p, Table::attempts, lmdb::attempt_key(failing, 1)); }},
      {"it is dead and not listed",
       [&](const auto& p) { uproot(p, Table::dead, lmdb::dead_key(queue, dying)); }},
      {"ready jobs are there and the lane is not",
       [&](const auto& p) { uproot(p, Table::lanes, lmdb::lane_key(lane)); }},
      {"is stored as 0 and counted as",
       [&](const auto& p) { uproot(p, Table::counters, lmdb::queue_key(queue)); }},
      {"which is not there", [&](const auto& p) { uproot(p, Table::queues, lmdb::queue_key(queue)); }},
      {"its checksum does not fit",
       [&](const auto& p) { plant(p, Table::queues, lmdb::queue_key(queue), "x", true); }},
  };
  (void)keyed;
  for (const Planted& one : planted) {
    CAPTURE(one.text);
    const TemporaryDirectory copy;
    std::filesystem::copy_file(lmdb::data_file(path), lmdb::data_file(copy.path()));
    one.plant(copy.path());
    const Checked found = check(copy.path());
    CHECK(found.status.ok());
    CHECK(found.counts.problems >= 1);
    CHECK(found.naming(one.text) >= 1);
  }
}

TEST_CASE("a page that LMDB cannot survive is reported, not suffered") {
  LmdbUnderTest tested;
  LegalBatches batches;
  const QueueNo queue = batches.add_queue("mail");
  for (int i = 0; i < 2'000; ++i) batches.enqueue({.queue = queue, .priority = 5});
  submit(&tested.store(), batches.take());
  tested.close();
  const std::string file = lmdb::data_file(tested.path());
  std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
  // All pages but the two that say where the roots are.
  const auto end = static_cast<std::streamoff>(std::filesystem::file_size(file));
  for (std::streamoff at = 8192; at < end; at += 64) {
    bytes.seekp(at);
    bytes.write("\xff\xff\xff\xff\xff\xff\xff\xff", 8);
  }
  bytes.close();
  const Checked found = check(tested.path());
  CHECK_FALSE((found.status.ok() && found.counts.problems == 0));
  CHECK(found.counts.jobs == 0);
}

TEST_CASE("the checker leaves a store alone that a broker has open") {
  LmdbUnderTest tested;
  const Checked busy = check(tested.path());
  CHECK(busy.problem == StoreProblem::already_open);
  CHECK(busy.status.text().find(std::to_string(getpid())) != std::string::npos);
}

TEST_CASE("a backup that lets the store grow too much is given up") {
  LmdbOptions options = LmdbUnderTest::small_options();
  options.backup_growth_bytes_max = std::uint64_t{1} << 20;
  LmdbUnderTest tested(options);
  LegalBatches batches;
  const QueueNo queue = batches.add_queue("mail");
  const NewJob large{.body = std::string(10'000, 'b')};
  for (int i = 0; i < 300; ++i) batches.enqueue({.queue = queue, .priority = 5}, large);
  submit(&tested.store(), batches.take());
  // The copy goes into a pipe that nobody empties for a while.
  const TemporaryDirectory elsewhere;
  const std::string file = elsewhere.path() + "/backup.mdb";
  REQUIRE(mkfifo((file + ".part").c_str(), 0600) == 0);
  Status made;
  std::thread copier([&] { made = tested.store().backup(file); });
  const lmdb::Fd pipe(open((file + ".part").c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(pipe.open());
  std::string piece(4096, ' ');
  REQUIRE(read(pipe.get(), piece.data(), piece.size()) > 0);  // it has begun
  CHECK(tested.store().backup(elsewhere.path() + "/second.mdb").code() == Code::wrong_state);
  for (int i = 0; i < 300; ++i) batches.enqueue({.queue = queue, .priority = 5}, large);
  submit(&tested.store(), batches.take());
  while (read(pipe.get(), piece.data(), piece.size()) > 0) {
  }
  copier.join();
  CHECK(made.code() == Code::store_full);
  CHECK(made.text().find("given up") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(file));
  CHECK_FALSE(std::filesystem::exists(file + ".part"));
  submit(&tested.store(), batches.take());
}

TEST_CASE("a backup is what the store was when it began, whatever is committed meanwhile") {
  LmdbUnderTest tested;
  LegalBatches batches;
  const QueueNo queue = batches.add_queue("mail");
  const NewJob large{.body = std::string(10'000, 'b')};
  for (int i = 0; i < 300; ++i) batches.enqueue({.queue = queue, .priority = 5}, large);
  submit(&tested.store(), batches.take());
  const TemporaryDirectory elsewhere;
  const std::string file = elsewhere.path() + "/backup.mdb";
  REQUIRE(mkfifo((file + ".part").c_str(), 0600) == 0);
  std::thread copier([&] { std::ignore = tested.store().backup(file); });  // a pipe cannot be synced: not ok
  const lmdb::Fd pipe(open((file + ".part").c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(pipe.open());
  std::string piece(65'536, ' ');
  const std::string copied = elsewhere.path() + "/copied.mdb";
  std::ofstream copy{copied, std::ios::binary};
  for (int part = 0;; ++part) {
    const ssize_t bytes = read(pipe.get(), piece.data(), piece.size());
    if (bytes <= 0) break;
    copy.write(piece.data(), bytes);
    if (part % 4 != 0) continue;
    for (int i = 0; i < 10; ++i) batches.enqueue({.queue = queue, .priority = 5}, large);
    submit(&tested.store(), batches.take());
  }
  copier.join();
  copy.close();
  const Checked found = check(copied);
  CHECK_MESSAGE(found.status.ok(), found.status.text());
  CHECK(found.counts.problems == 0);
  CHECK(found.counts.jobs == 300);
}

TEST_CASE("a backup made while serving is a whole store") {
  LmdbUnderTest tested;
  LegalBatches batches;
  const QueueNo queue = batches.add_queue("mail");
  for (int i = 0; i < 3'000; ++i) batches.enqueue({.queue = queue, .priority = 5});
  submit(&tested.store(), batches.take());
  const TemporaryDirectory elsewhere;
  const std::string file = elsewhere.path() + "/backup.mdb";
  const Status made = tested.store().backup(file);
  REQUIRE_MESSAGE(made.ok(), made.text());
  const Checked found = check(file);
  CHECK_MESSAGE(found.status.ok(), found.status.text());
  CHECK(found.counts.problems == 0);
  CHECK(found.counts.jobs == 3'000);
  CHECK(tested.store().backup(elsewhere.path() + "/no/such/place.mdb").code() == Code::io_error);
}

}  // namespace
}  // namespace jobq
