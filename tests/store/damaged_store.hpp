// A small sound store, copies of it in which rows are changed, and what check, broker and repair make of such a copy.
// Not thread-safe; failures are doctest's.
#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "broker/store/block_table.hpp"
#include "broker/store/bytes_io.hpp"
#include "broker/store/lane_index.hpp"
#include "broker/store/record.hpp"
#include "broker/store/repair.hpp"
#include "broker/store/rows.hpp"
#include "tests/store/lmdb_under_test.hpp"

namespace jobq::lmdb {
namespace fs = std::filesystem;
using nlohmann::json;

// The jobs of the store, by what they are. In block 0, and 255 nothing happened to, the last of them in block 1.
inline constexpr JobId kReady{1}, kScheduled{2}, kLeased{3}, kDead{4}, kUnique{5}, kHolding{6}, kLarge{7},
    kExpiring{8}, kRetried{9}, kFinished{10}, kOther{11};
inline constexpr std::uint64_t kJobs = 260;
inline constexpr QueueNo kMail = 1, kBulk = 2;
inline constexpr ProducerId kProducer = {1, 2, 3};
inline constexpr TimeMs kStart{1'700'000'000'000};
inline const Lane kMailLane{.queue = kMail, .type = 1, .priority = 5};

// The file of a sound store that has rows in every table but `moved` and `lane_index`.
inline void fill(LmdbUnderTest* tested) {
  LegalBatches batches;
  const auto submit = [&] {
    const LegalBatch batch = batches.take();
    const auto done = tested->store().submit(batch.changes, batch.mark);
    REQUIRE_MESSAGE(done.ok(), done.status().text());
  };
  QueueSettings settings;
  settings.history_count = 10;
  REQUIRE(batches.add_queue("mail", settings) == kMail);
  REQUIRE(batches.add_queue("bulk", settings) == kBulk);
  REQUIRE(batches.add_type("send") == kMailLane.type);
  const SessionNo session = batches.add_session();
  const TimeMs later{kStart.ms + 1'000'000};
  REQUIRE(batches.enqueue(kMailLane) == kReady);
  batches.enqueue(kMailLane, {.due = later});
  batches.enqueue(kMailLane);
  batches.enqueue(kMailLane);
  batches.enqueue(kMailLane, {.unique_key = "only one"});
  batches.enqueue(kMailLane, {.unique_key = "held", .unique_for_ms = 500'000});
  batches.enqueue(kMailLane, {.body = std::string(40'000, 'L')});
  batches.enqueue(kMailLane, {.expires_at = later});
  batches.enqueue(kMailLane);
  batches.enqueue(kMailLane);
  REQUIRE(batches.enqueue({.queue = kBulk, .priority = 3}) == kOther);
  while (batches.mark().next_job.value <= kJobs) batches.enqueue(kMailLane);
  submit();
  for (const JobId job : {kLeased, kDead, kHolding, kRetried, kFinished}) batches.lease(job, session);
  submit();
  batches.die(kDead, DeadReason::attempts, "no use");
  batches.finish(kHolding, Exit::acked, "worker");
  batches.finish(kFinished, Exit::acked, "worker");
  batches.retry(kRetried, later, "not yet");
  batches.answer(kProducer, 1, 1, {{.outcome = protocol::EnqueueOutcome::created, .id = kReady}});
  change::PutTask task;
  task.number = 1;
  task.queue = kMail;
  task.limit = 10;
  task.started_at = kStart;
  batches.put_task(task);
  submit();
}

struct Outcome {
  std::string start;  // why a broker does not start; empty: it does
  Status check;
  std::string problems;
  Status repair;
  std::string said;
  std::set<std::uint64_t> saved;
};

class DamagedStore {
 public:
  DamagedStore() {
    fill(&sound_);
    sound_.close();
  }

  // What becomes of a copy in which `edit` has changed rows.
  Outcome with(const std::function<void(Txn*)>& edit) {
    const TemporaryDirectory place;
    const std::string home = place.path() + "/home", file = home + "/data.mdb", fresh = place.path() + "/new";
    fs::create_directory(home);
    fs::copy_file(sound_.path() + "/data.mdb", file);
    {
      Env env(file, LmdbUnderTest::small_options().map_bytes, Env::Mode::read_write);
      Txn txn(&env, Txn::Kind::write);
      edit(&txn);
      txn.commit();
    }
    Outcome found;
    CheckCounts counts;
    found.check = check_store(
        {.path = file, .dump = true},
        [&](std::string_view line) {
          if (!is_of(line, "problem")) return;
          const json row = json::parse(line);
          found.problems += row["table"].get<std::string>() + ": " + row["text"].get<std::string>() + "\n";
        },
        &counts);
    RepairReport report;
    StoreProblem problem{};
    OfflineOptions options;
    options.problem_line = [&](std::string_view line) { found.said.append(line).append("\n"); };
    found.repair = repair_store(file, fresh, TimeMs{1'800'000'000'000}, options, &report, &problem);
    if (found.repair.ok()) {
      const Status done = check_store(
          {.path = fresh, .dump = true},
          [&](std::string_view line) {
            if (is_of(line, "problem")) FAIL_CHECK(line);
            if (is_of(line, "job")) found.saved.insert(number_in(line));
          },
          &counts);
      CHECK_MESSAGE(done.ok(), done.text());
      CHECK(start(fresh).empty());
    }
    found.start = start(home);
    return found;
  }

 private:
  // Most lines are jobs, and parsing them all is what would take the time.
  static bool is_of(std::string_view line, const std::string& kind) {
    return line.starts_with("{\"kind\":\"" + kind + "\"");
  }
  static std::uint64_t number_in(std::string_view line) {
    const std::string_view name = "\"number\":";
    return std::strtoull(std::string(line.substr(line.find(name) + name.size(), 20)).c_str(), nullptr, 10);
  }
  static std::string start(const std::string& home) {
    LmdbOptions options = LmdbUnderTest::small_options();
    options.path = home;
    auto store = open_lmdb_store(options);
    if (!store.ok()) return store.status().text();
    const auto found = (*store)->recover();
    if (found.ok()) return {};
    CHECK(found.status().code() == Code::corruption);
    return found.status().text();
  }
  LmdbUnderTest sound_;
};

inline std::string value_of(Txn* txn, Table table, std::string_view key) {
  const auto value = txn->get(table, key);
  REQUIRE(value.has_value());
  return std::string(*value);
}
inline void change_row(Txn* txn, Table table, std::string_view key,
                       const std::function<void(std::string*)>& change) {
  std::string value = value_of(txn, table, key);
  change(&value);
  txn->put(table, key, value);
}
inline void change_block(Txn* txn, std::uint64_t no, const std::function<void(BlockState*)>& change) {
  BlockState block;
  decode_block_row(value_of(txn, Table::blocks, block_key(no)), &block);
  change(&block);
  std::string row;
  encode_block_row(block, &row);
  txn->put(Table::blocks, block_key(no), row);
}
inline void spoil(Txn* txn, Table table, std::string_view key) {
  txn->put_unsound(table, key, value_of(txn, table, key));
}
inline void cut(Txn* txn, Table table, std::string_view key) {
  change_row(txn, table, key, [](std::string* row) { row->resize(row->size() / 2); });
}
inline void set_mark(Txn* txn, const std::function<void(MarkRow*)>& change) {
  change_row(txn, Table::meta, meta_key::kMark, [&](std::string* row) {
    MarkRow mark = decode_mark(*row);
    change(&mark);
    encode_mark(mark, row);
  });
}

struct Case {
  const char* name;
  std::function<void(Txn*)> edit;
  const char* check;                // in a problem; or in the text of a check that gives up
  const char* start = "";           // why a broker refuses to start with it; empty: it starts
  const char* said = "";            // by the repair
  std::set<std::uint64_t> lost{};   // jobs that the repair cannot save
  std::set<std::uint64_t> again{};  // finished ones that may be ready again
};

inline void judge(DamagedStore* store, const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    CAPTURE(one.name);
    const Outcome found = store->with(one.edit);
    const std::string told = found.problems + found.check.text();
    CHECK_MESSAGE(told.find(one.check) != std::string::npos, told);
    if (std::string_view(one.start).empty()) {
      CHECK_MESSAGE(found.start.empty(), found.start);
    } else {
      CHECK_MESSAGE(found.start.find(one.start) != std::string::npos, found.start);
    }
    CHECK_MESSAGE(found.repair.ok(), found.repair.text());
    CHECK_MESSAGE(found.said.find(one.said) != std::string::npos, found.said);
    std::set<std::uint64_t> lost, again;
    for (std::uint64_t job = 1; job <= kJobs; ++job) {
      const bool finished = job == kHolding.value || job == kFinished.value;
      if (!finished && !found.saved.contains(job)) lost.insert(job);
      if (finished && found.saved.contains(job)) again.insert(job);
    }
    CHECK_MESSAGE(lost == one.lost, found.said);
    CHECK_MESSAGE(again == one.again, found.said);
  }
}

inline const std::string kShort = "ends too early";

}  // namespace jobq::lmdb
