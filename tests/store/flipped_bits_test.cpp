// What `jobq check` sees of a store in which one bit of a record has flipped, or whose end is lost, and what a broker hands
// out of it: at least 999 of 1,000 flips inside records are found, a lost end is found unless nothing lived there, and no
// job is served with other bytes than it was given. A record is a key and its value, in any table; LMDB's own pages around them
// carry no checksum and are not counted here (repair_test.cpp flips their bits too).
//
// JOBQ_FLIPS=N (default 500) flips, a tenth as many lost ends; JOBQ_SEED=N for others.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <lmdb.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "broker/store/check_store.hpp"
#include "broker/store/keys.hpp"
#include "broker/store/reading_child.hpp"
#include "broker/store/tables.hpp"
#include "tests/store/legal_batches.hpp"
#include "tests/store/lmdb_under_test.hpp"

namespace jobq {
namespace {

namespace fs = std::filesystem;

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// A key or a value in the file.
struct Place {
  std::size_t table = 0;
  std::uint64_t at = 0, bytes = 0;
};

// Where LMDB has mapped the file: what its cursors point to, less this, is a place in the file.
std::uint64_t mapped_at(const std::string& file) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.ends_with(file)) return std::strtoull(line.c_str(), nullptr, 16);
  }
  return 0;
}

// A row of a table that its store does not need any more: the record of a job that has ended or been moved, which stays
// until its block is swept. Nobody reads it, and a check does not either.
bool is_left_over(std::size_t table, const std::string& key, const std::set<std::string>& alive,
                  const std::set<std::string>& moved) {
  return table == static_cast<std::size_t>(lmdb::Table::jobs) &&
         (!alive.contains(key) || moved.contains(key));
}

// Every key and value that is alive, as LMDB finds them.
std::vector<Place> places_of_records(const std::string& file, const std::vector<JobId>& jobs) {
  std::set<std::string> alive, moved;
  for (const JobId job : jobs) alive.emplace(std::string_view(lmdb::job_key(job)));
  std::vector<Place> places;
  MDB_env* env = nullptr;
  REQUIRE(mdb_env_create(&env) == 0);
  REQUIRE(mdb_env_set_maxdbs(env, lmdb::kTables) == 0);
  REQUIRE(mdb_env_open(env, file.c_str(), MDB_RDONLY | MDB_NOSUBDIR | MDB_NOLOCK, 0600) == 0);
  MDB_txn* txn = nullptr;
  REQUIRE(mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn) == 0);
  const std::uint64_t base = mapped_at(file);
  REQUIRE(base != 0);
  const auto walk = [&](std::size_t table, const auto& row) {
    MDB_dbi dbi = 0;
    if (mdb_dbi_open(txn, lmdb::kTableNames[table], 0, &dbi) != 0) return;
    MDB_cursor* cursor = nullptr;
    REQUIRE(mdb_cursor_open(txn, dbi, &cursor) == 0);
    MDB_val key, value;
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) row(key, value);
    mdb_cursor_close(cursor);
  };
  const auto text = [](const MDB_val& part) {
    return std::string(static_cast<const char*>(part.mv_data), part.mv_size);
  };
  walk(static_cast<std::size_t>(lmdb::Table::moved),
       [&](const MDB_val& key, const MDB_val&) { moved.insert(text(key)); });
  for (std::size_t table = 0; table < lmdb::kTables; ++table) {
    walk(table, [&](const MDB_val& key, const MDB_val& value) {
      if (is_left_over(table, text(key), alive, moved)) return;
      for (const MDB_val& part : {key, value}) {
        const auto address = reinterpret_cast<std::uint64_t>(part.mv_data);
        if (part.mv_size > 0) places.push_back({table, address - base, part.mv_size});
      }
    });
  }
  mdb_txn_abort(txn);
  mdb_env_close(env);
  return places;
}

// Headers and body of every job, as one string each.
using Contents = std::map<std::uint64_t, std::string>;

// What a broker would serve of these jobs; empty: it does not start.
Contents served_from(const std::string& home, const std::vector<JobId>& jobs) {
  LmdbOptions options = LmdbUnderTest::small_options();
  options.path = home;
  Contents found;
  auto store = open_lmdb_store(options);
  if (!store.ok() || !(*store)->recover().ok()) return found;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const auto visited = (*store)->visit_jobs(std::span(&jobs[i], 1), [&](std::size_t, const StoredJob* job) {
      if (job != nullptr) found[jobs[i].value] = fmt::format("{}/{}", job->headers, job->body.text());
    });
    if (!visited.ok()) break;
  }
  return found;
}

struct Sound {
  std::string bytes;
  std::vector<Place> places;  // by table
  std::set<std::size_t> tables;
  std::vector<JobId> jobs;
  Contents contents;

  explicit Sound(std::uint64_t seed) {
    LmdbUnderTest tested;
    LegalBatches batches;
    Prng prng(seed);
    const auto submit = [&](const LegalBatch& batch) {
      REQUIRE(tested.store().submit(batch.changes, batch.mark).ok());
    };
    const RandomLimits limits{.live_target = 400, .body_bytes_max = 20'000, .changes_max = 60};
    for (int i = 0; i < 150; ++i) submit(batches.random_batch(&prng, limits));
    // What chance may have taken away again: rows in the index of a lane, which take many ids, and a large body.
    const QueueNo queue = batches.add_queue("indexed");
    for (int round = 0; round < 12; ++round) {
      std::vector<JobId> made;
      for (int i = 0; i < 4'000; ++i) made.push_back(batches.enqueue({.queue = queue, .priority = 5}));
      submit(batches.take());
      for (const JobId job : made) {
        if (prng.below(100) != 0) batches.finish(job, Exit::cancelled);
      }
      submit(batches.take());
    }
    for (int i = 0; i < 10; ++i)
      batches.enqueue({.queue = queue, .priority = 5},
                      {.body = std::string(40'000, static_cast<char>('a' + i))});
    submit(batches.take());
    for (const auto& [id, job] : batches.jobs()) jobs.push_back(id);
    tested.close();
    const std::string file = tested.path() + "/data.mdb";
    places = places_of_records(file, jobs);
    for (const Place& place : places) tables.insert(place.table);
    std::ifstream in(file, std::ios::binary);
    bytes = (std::ostringstream{} << in.rdbuf()).str();
    contents = served_from(tested.path(), jobs);
    REQUIRE(contents.size() == jobs.size());
  }

  // A third by table, a third by number, a third by size: jobs are most of the records, and large bodies most of the bytes.
  [[nodiscard]] const Place& any_place(Prng* prng) const {
    const std::uint64_t third = prng->below(3);
    if (third == 0) {
      auto wanted = tables.begin();
      std::advance(wanted, static_cast<std::ptrdiff_t>(prng->below(tables.size())));
      const auto [first, last] = std::ranges::equal_range(places, *wanted, {}, &Place::table);
      return first[static_cast<std::ptrdiff_t>(prng->below(static_cast<std::uint64_t>(last - first)))];
    }
    if (third == 1) return places[prng->below(places.size())];
    std::uint64_t all = 0;
    for (const Place& place : places) all += place.bytes;
    std::uint64_t left = prng->below(all);
    for (const Place& place : places) {
      if (left < place.bytes) return place;
      left -= place.bytes;
    }
    return places.back();
  }
};

// A damaged copy, and what becomes of it.
class Copy {
 public:
  explicit Copy(const std::string& bytes) {
    std::ofstream(file(), std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  // Before the others: they write to the store.
  [[nodiscard]] bool found_by_check() const {
    CheckCounts counts;
    const Status done = check_store(
        {.path = file()}, [](std::string_view) {}, &counts);
    return !done.ok() || counts.problems > 0;
  }
  // "" or what is wrong: a job with other bytes, or an end that nobody declared.
  [[nodiscard]] std::string served(const Sound& sound) const {
    std::string wrong;
    const ChildEnd end = run_in_child(
        [&](const LineSink& line) {
          for (const auto& [job, content] : served_from(directory_.path(), sound.jobs)) {
            if (content != sound.contents.at(job))
              line(fmt::format("job {} is served with other bytes", job));
          }
          return std::string("done");
        },
        [&](std::string_view line) { wrong.append(line).append("\n"); });
    if (end.signal != 0) wrong += fmt::format("the broker is ended by signal {}\n", end.signal);
    return wrong;
  }

 private:
  [[nodiscard]] std::string file() const { return directory_.path() + "/data.mdb"; }
  TemporaryDirectory directory_;
};

// Syncs of copies prove nothing and cost most of the time: in memory they are free.
void work_in_memory() {
  if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 0);
}

TEST_CASE("of the flips inside records a check finds 999 in 1,000, and no job is served with other bytes") {
  work_in_memory();
  const std::uint64_t seed = number_from("JOBQ_SEED", 4), flips = number_from("JOBQ_FLIPS", 500);
  const Sound sound(seed);
  REQUIRE_FALSE(Copy(sound.bytes).found_by_check());
  Prng prng(seed * 7919);
  std::uint64_t found = 0;
  std::set<std::size_t> tables;
  std::string missed;
  for (std::uint64_t i = 0; i < flips; ++i) {
    const Place& place = sound.any_place(&prng);
    const std::uint64_t at = place.at + prng.below(place.bytes), bit = prng.below(8);
    CAPTURE(at);
    CAPTURE(bit);
    std::string bytes = sound.bytes;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
    const Copy copy(bytes);
    tables.insert(place.table);
    if (copy.found_by_check()) {
      ++found;
    } else {
      missed += fmt::format("bit {} of byte {}, in the table {}\n", bit, at, lmdb::kTableNames[place.table]);
    }
    const std::string wrong = copy.served(sound);
    CHECK_MESSAGE(wrong.empty(), lmdb::kTableNames[place.table] << ": " << wrong);
  }
  MESSAGE(found << " of " << flips << " flips inside records are found, in " << tables.size()
                << " tables; seed " << seed);
  CHECK_MESSAGE(found * 1'000 >= flips * 999, missed);
  CHECK(sound.tables.size() >= 18);
  CHECK((flips < 500 || tables == sound.tables));
}

TEST_CASE("a lost end is found unless nothing lived there") {
  work_in_memory();
  const std::uint64_t seed = number_from("JOBQ_SEED", 4), cuts = number_from("JOBQ_FLIPS", 500) / 10;
  const Sound sound(seed);
  std::uint64_t end_of_records = 0, found = 0, harmless = 0;
  for (const Place& place : sound.places) end_of_records = std::max(end_of_records, place.at + place.bytes);
  Prng prng(seed * 104'729);
  for (std::uint64_t i = 0; i < cuts; ++i) {
    const std::uint64_t left = prng.below(sound.bytes.size());
    CAPTURE(left);
    const Copy copy(sound.bytes.substr(0, left));
    const bool seen = copy.found_by_check();
    (seen ? found : harmless) += 1;
    if (left < end_of_records) CHECK_MESSAGE(seen, "records end at " << end_of_records);
    const std::string wrong = copy.served(sound);
    CHECK_MESSAGE(wrong.empty(), wrong);
  }
  MESSAGE(found << " of " << cuts << " lost ends are found, " << harmless << " held no record; seed "
                << seed);
  CHECK(found >= cuts / 4);
}

}  // namespace
}  // namespace jobq
