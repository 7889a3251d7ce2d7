// Repair of stores that were damaged at random: it never fails, what it makes is a sound store, and every job that it does
// not save it names. JOBQ_SEED=N for other damage, JOBQ_REPAIRS=N for more of it.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "broker/store/lmdb_env.hpp"
#include "broker/store/lmdb_page_format.hpp"
#include "broker/store/repair.hpp"
#include "tests/store/lmdb_under_test.hpp"
#include "tests/store/store_text.hpp"

namespace jobq {
namespace {

void flip(char* byte, std::uint64_t bit) { *byte = static_cast<char>(*byte ^ (1 << bit)); }

namespace fs = std::filesystem;
using nlohmann::json;

constexpr TimeMs kWallNow{1'800'000'000'000};

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

struct Repaired {
  Status status;
  StoreProblem problem = StoreProblem::none;
  RepairReport report;
  std::vector<json> lines;
  std::string home;

  [[nodiscard]] std::string text() const {
    std::string all;
    for (const json& line : lines) all += line.dump() + "\n";
    return all;
  }
};

Repaired repair(const std::string& from, const std::string& home) {
  Repaired done;
  done.home = home;
  OfflineOptions options;
  options.problem_line = [&](std::string_view line) { done.lines.push_back(json::parse(line)); };
  done.status = repair_store(from, home, kWallNow, options, &done.report, &done.problem);
  return done;
}

std::map<std::string, json> jobs_in(const std::string& path) {
  std::map<std::string, json> jobs;
  CheckCounts counts;
  std::string problems;
  const Status done = check_store(
      {.path = path, .dump = true},
      [&](std::string_view line) {
        json row = json::parse(line);
        if (row["kind"] == "job") jobs.emplace(row["id"], row);
        if (row["kind"] == "problem") problems.append(line).append("\n");
      },
      &counts);
  CHECK_MESSAGE(done.ok(), done.text());
  CHECK_MESSAGE(problems.empty(), problems);
  return jobs;
}

// A store with jobs in every state, large bodies, unique keys, attempts, several ranges of the lane index, and free pages.
struct Filled {
  LmdbUnderTest tested;
  LegalBatches batches;

  explicit Filled(std::uint64_t seed) {
    Prng prng(seed);
    const RandomLimits limits{.live_target = 600, .body_bytes_max = 30'000, .changes_max = 80};
    for (int i = 0; i < 200; ++i) submit(batches.random_batch(&prng, limits));
    const auto queues = batches.queue_numbers();
    if (queues.empty()) return;
    for (int round = 0; round < 12; ++round) {
      for (int i = 0; i < 4'000; ++i)
        batches.enqueue({.queue = queues[prng.below(queues.size())], .priority = 5});
      submit(batches.take());
      const std::vector<JobId> ready = batches.in_state(JobState::ready);
      for (const JobId job : ready) {
        if (prng.below(30) != 0) batches.finish(job, Exit::cancelled);
      }
      submit(batches.take());
    }
    for (int i = 0; i < 30; ++i) submit(batches.random_batch(&prng, limits));
  }
  void submit(const LegalBatch& batch) {
    const auto done = tested.store().submit(batch.changes, batch.mark);
    REQUIRE_MESSAGE(done.ok(), done.status().text());
  }
  [[nodiscard]] std::string file() const { return tested.path() + "/data.mdb"; }
};

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

bool in_range(const std::string& id, const json& line) {
  const auto job = parse_job_id(id), first = parse_job_id(line["first"].get<std::string>()),
             last = parse_job_id(line["last"].get<std::string>());
  return job && first && last && *job >= *first && *job <= *last;
}

// What a saved job has kept. Whether its lease's number is lost.
bool judge_saved(const std::string& id, const json& job, const json& saved, const Repaired& done) {
  CHECK_MESSAGE(saved["state"] == (job["state"] == "leased" ? json("ready") : job["state"]),
                id << done.text());
  if (done.report.changed != 0) return false;
  CHECK(saved["failures"] == job["failures"]);
  CHECK(saved["attempts"] == job["attempts"]);
  const bool number_lost = job["state"] == "leased" && saved["lease_no"] < job["lease_no"];
  if (!number_lost) CHECK(saved["lease_no"] == job["lease_no"]);
  if (job["state"] == "scheduled") CHECK(saved["due"] == job["due"]);
  if (job["state"] == "dead") CHECK(saved["died_at"] == job["died_at"]);
  return number_lost;
}

void judge_record(const std::string& id, const json& job, const json& saved) {
  for (const char* field :
       {"queue", "type", "priority", "bytes", "headers_hash", "body_hash", "unique_key", "expires_at"}) {
    const bool renamed = saved[field].is_string() && saved[field].get<std::string>().starts_with("repaired-");
    CHECK_MESSAGE((renamed || saved[field] == job[field]), id << " " << field);
  }
}

void a_broker_goes_on_with(const std::string& home) {
  LmdbOptions options = LmdbUnderTest::small_options();
  options.path = home;
  auto store = open_lmdb_store(options);
  REQUIRE_MESSAGE(store.ok(), store.status().text());
  REQUIRE((*store)->recover().ok());
}

// Of a sound file: which of its two heads counts.
std::size_t newer_head_of(const std::string& bytes) {
  const auto transaction = [&](std::size_t page) {
    return lmdb::field<std::uint64_t>(bytes, page * lmdb::kPageBytes + 144);
  };
  return transaction(0) > transaction(1) ? 0 : 1;
}

// What holds after any damage, when it could be repaired at all.
void judge(const Repaired& done, const std::map<std::string, json>& before,
           std::optional<std::size_t> newer_head = std::nullopt) {
  // The head of the last transaction is gone, and with it what that had changed: nobody knows what.
  const bool older = std::ranges::any_of(done.lines, [&](const json& line) {
    return newer_head && line["kind"] == "page" &&
           line["text"].get<std::string>().starts_with("page " + std::to_string(*newer_head) +
                                                       ", a head, cannot");
  });
  if (older) return a_broker_goes_on_with(done.home);
  const std::map<std::string, json> after = jobs_in(done.home);
  std::set<std::string> lost, uncertain;
  std::vector<json> ranges;
  std::uint64_t leased = 0, numbers_lost = 0;
  for (const json& line : done.lines) {
    if (line["kind"] == "lost") lost.insert(line["id"]);
    if (line["kind"] == "uncertain") uncertain.insert(line["id"]);
    if (line["kind"] == "lost_range") ranges.push_back(line);
  }
  for (const auto& [id, job] : before) {
    leased += job["state"] == "leased" ? 1U : 0U;
    const auto saved = after.find(id);
    if (saved == after.end()) {
      const bool named = lost.contains(id) ||
                         std::ranges::any_of(ranges, [&](const json& line) { return in_range(id, line); });
      REQUIRE_MESSAGE(named, id << " is missing and not named:\n" << done.text());
      continue;
    }
    judge_record(id, job, saved->second);
    if (!uncertain.contains(id)) numbers_lost += judge_saved(id, job, saved->second, done) ? 1U : 0U;
  }
  // A lease's row that is lost takes its number with it. Nobody comes back with that: the store has another incarnation.
  CHECK_MESSAGE(numbers_lost + done.report.leases_returned <= leased, done.text());
  for (const auto& [id, job] : after) {
    CHECK_MESSAGE((before.contains(id) || uncertain.contains(id) ||
                   done.report.damaged_pages + done.report.damaged_rows > 0),
                  id << " has come from nowhere");
  }
  a_broker_goes_on_with(done.home);
}

TEST_CASE("repairing a sound store makes a copy of it, under another incarnation and without leases") {
  for (const std::uint64_t seed : {1U, 2U}) {
    CAPTURE(seed);
    Filled filled(seed);
    filled.tested.close();
    const auto before = jobs_in(filled.tested.path());
    const TemporaryDirectory elsewhere;
    const Repaired done = repair(filled.tested.path(), elsewhere.path() + "/new");
    REQUIRE_MESSAGE(done.status.ok(), done.status.text());
    CHECK_MESSAGE(done.report.clean(), done.text());
    CHECK(done.report.counts.jobs == before.size());
    CHECK(done.report.leases_returned == filled.batches.in_state(JobState::leased).size());
    judge(done, before);
    CHECK(jobs_in(done.home).size() == before.size());
  }
}

TEST_CASE("a repaired store goes on like the original") {
  Filled filled(3);
  // Without leases both hold the same, so that the same batches are legal for both.
  const auto leased = filled.batches.in_state(JobState::leased);
  for (const JobId job : leased) filled.batches.finish(job, Exit::acked);
  filled.submit(filled.batches.take());
  filled.tested.close();
  const TemporaryDirectory elsewhere;
  const Repaired done = repair(filled.file(), elsewhere.path() + "/new");
  REQUIRE_MESSAGE(done.status.ok(), done.status.text());
  filled.tested.reopen();
  LmdbOptions options = LmdbUnderTest::small_options();
  options.path = done.home;
  auto store = open_lmdb_store(options);
  REQUIRE(store.ok());
  const auto recovered = (*store)->recover();
  REQUIRE(recovered.ok());
  const auto same = [&] {
    const std::string differences = difference(text_of(&filled.tested.store(), names_of(filled.batches), 700),
                                               text_of(store->get(), names_of(filled.batches), 700));
    REQUIRE_MESSAGE(differences.empty(), differences);
  };
  same();
  // Ids go on behind those of the original: only what needs no new ones is done to both.
  for (const JobState state : {JobState::ready, JobState::scheduled, JobState::dead}) {
    const auto jobs = filled.batches.in_state(state);
    for (const JobId job : jobs) filled.batches.finish(job, Exit::cancelled);
    LegalBatch batch = filled.batches.take();
    filled.submit(batch);
    batch.mark.next_job = std::max(batch.mark.next_job, recovered->mark.next_job);
    REQUIRE((*store)->submit(batch.changes, batch.mark).ok());
    same();
  }
}

TEST_CASE("flipped bits, wiped pages and lost ends: every sound job is saved, the others are named") {
  const std::uint64_t seed = number_from("JOBQ_SEED", 4);
  const std::uint64_t rounds = number_from("JOBQ_REPAIRS", 25);
  std::optional<std::uint64_t> only;  // JOBQ_ROUND=748: this one alone, as it was among the others
  if (std::getenv("JOBQ_ROUND") != nullptr) only = number_from("JOBQ_ROUND", 0);
  CAPTURE(seed);
  Filled filled(seed);
  filled.tested.close();
  const auto before = jobs_in(filled.tested.path());
  const std::string sound = read_file(filled.file());
  const TemporaryDirectory elsewhere;
  Prng prng(seed * 7919);
  std::uint64_t impossible = 0, saved = 0;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    CAPTURE(round);
    std::string bytes = sound;
    const std::uint64_t pages = bytes.size() / 4096;
    switch (prng.below(4)) {
      case 0:  // some bits anywhere
        for (std::uint64_t i = prng.below(50) + 1; i > 0; --i)
          flip(&bytes[prng.below(bytes.size())], prng.below(8));
        break;
      case 1:  // a few pages of zeros or noise
        for (std::uint64_t i = prng.below(5) + 1; i > 0; --i) {
          const std::uint64_t page = 2 + prng.below(pages - 2);
          const bool noise = prng.below(2) == 0;
          for (std::size_t at = 0; at < 4096; ++at)
            bytes[page * 4096 + at] = noise ? static_cast<char>(prng.below(256)) : '\0';
        }
        break;
      case 2:  // heads of pages: where LMDB trusts most
        for (std::uint64_t i = prng.below(20) + 1; i > 0; --i)
          flip(&bytes[(2 + prng.below(pages - 2)) * 4096 + prng.below(64)], prng.below(8));
        break;
      default:  // the end is lost
        bytes.resize(bytes.size() - prng.below(bytes.size() / 2));
    }
    const std::string damaged = elsewhere.path() + "/damaged.mdb", home = elsewhere.path() + "/new";
    if (only && round != *only) continue;
    write_file(damaged, bytes);
    const Repaired done = repair(damaged, home);
    if (!done.status.ok()) {
      // Only when nothing can be found at all.
      CHECK_MESSAGE(done.problem == StoreProblem::not_a_store, done.status.text());
      ++impossible;
    } else {
      judge(done, before, newer_head_of(sound));
      saved += done.report.counts.jobs;
    }
    fs::remove_all(home);
  }
  MESSAGE((saved / rounds) << " of " << before.size() << " jobs saved on average; " << impossible << " of "
                           << rounds << " could not be repaired");
  if (only) return;
  CHECK(impossible <= rounds / 4);
  CHECK(saved / rounds > before.size() / 3);
}

// The row of a lease stays where it is when its job is acked: only the block's own row says that it is over.
TEST_CASE("a lease tells nothing for certain when the states of its block are lost") {
  Filled filled(6);
  filled.tested.close();
  const auto before = jobs_in(filled.tested.path());
  {
    lmdb::Env env(filled.file(), std::uint64_t{1} << 30, lmdb::Env::Mode::read_write);
    lmdb::Txn txn(&env, lmdb::Txn::Kind::write);
    std::vector<std::pair<std::string, std::string>> rows;
    {
      lmdb::Cursor cursor = txn.cursor(lmdb::Table::blocks);  // must not outlive the transaction
      for (bool more = cursor.first(); more; more = cursor.next())
        rows.emplace_back(cursor.key(), cursor.sound_value());
    }
    for (const auto& [key, value] : rows) txn.put_unsound(lmdb::Table::blocks, key, value);
    txn.commit();
  }
  const TemporaryDirectory elsewhere;
  const Repaired done = repair(filled.file(), elsewhere.path() + "/new");
  REQUIRE_MESSAGE(done.status.ok(), done.status.text());
  CHECK(done.report.uncertain > 0);
  judge(done, before);
}

TEST_CASE("one page in the middle of a tree does not take what is below it along") {
  Filled filled(5);
  filled.tested.close();
  const auto before = jobs_in(filled.tested.path());
  const std::string sound = read_file(filled.file());
  const TemporaryDirectory elsewhere;
  int branches = 0;
  for (std::uint64_t page = 2; page < sound.size() / 4096 && branches < 8; ++page) {
    const bool branch = sound[page * 4096 + 10] == 1 && sound[page * 4096 + 11] == 0;
    if (!branch) continue;
    ++branches;
    std::string bytes = sound;
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(page * 4096), 4096, '\0');
    const std::string damaged = elsewhere.path() + "/damaged.mdb", home = elsewhere.path() + "/new";
    write_file(damaged, bytes);
    const Repaired done = repair(damaged, home);
    REQUIRE_MESSAGE(done.status.ok(), done.status.text());
    CHECK_MESSAGE(done.report.counts.jobs >= before.size(), done.text());
    judge(done, before);
    fs::remove_all(home);
  }
  CHECK(branches > 1);
}

}  // namespace
}  // namespace jobq
