// The same of blocks, leases, progress, attempts and the dead.
#include <doctest/doctest.h>

#include "tests/store/damaged_store.hpp"

namespace jobq::lmdb {
namespace {

TEST_CASE("blocks and leases") {
  DamagedStore store;
  const auto lease = [](SessionNo session, std::uint32_t no) {
    return [=](Txn* t) {
      BlockState block;
      block.leased.set(3), block.entries.set(3);
      block.leases.push_back({.lease_no = no, .session = session, .granted_at = kStart});
      std::string row;
      encode_lease_row(block, &row);
      t->put(Table::leases, block_key(0), row);
    };
  };
  const auto raw_lease = [](std::string row) {
    return [=](Txn* t) { t->put(Table::leases, block_key(0), row); };
  };
  judge(
      &store,
      {
          {"two states", [](Txn* t) { change_block(t, 0, [](BlockState* b) { b->dead.set(2); }); },
           "in two states at once"},
          {"leased and scheduled",
           [](Txn* t) { change_block(t, 0, [](BlockState* b) { b->scheduled.set(3); }); },
           "in two states at once"},
          {"finished and moved", [](Txn* t) { change_block(t, 0, [](BlockState* b) { b->moved.set(10); }); },
           "a finished job is marked as moved"},
          {"finished with progress",
           [](Txn* t) { change_block(t, 0, [](BlockState* b) { b->has_progress.set(10); }); },
           "a finished job has progress"},
          {"swept with jobs in place",
           [](Txn* t) { change_block(t, 0, [](BlockState* b) { b->swept = true; }); }, "marked as swept"},
          {"a job too many is finished",
           [](Txn* t) { change_block(t, 0, [](BlockState* b) { b->finished.set(1); }); },
           "ready",
           "",
           "",
           {1}},
          {"block to come",
           [](Txn* t) { t->put(Table::blocks, block_key(999), value_of(t, Table::blocks, block_key(0))); },
           "that no job belongs to"},
          {"block's key", [](Txn* t) { t->put(Table::blocks, "abc", "x"); }, "that no job belongs to",
           "key or a row that is none", "cannot be understood"},
          {"delay without a row of a job that is ready",
           [](Txn* t) { change_block(t, 0, [](BlockState* b) { b->soon.set(1); }); },
           "has a delay without a row and is not scheduled",
           "has a delay without a row and is not scheduled"},
          {"block damaged", [](Txn* t) { spoil(t, Table::blocks, block_key(0)); }, "checksum does not fit",
           "checksum does not fit", "its state is lost"},
          // Neither tells what the job was; that there was one has to be said all the same.
          {"block damaged, and one of its records",
           [](Txn* t) {
             spoil(t, Table::blocks, block_key(0));
             spoil(t, Table::jobs, job_key(kOther));
           },
           "checksum does not fit",
           "checksum does not fit",
           R"("kind":"lost_range","first":"jb","last":"jb")",
           {11}},
          {"block too short", [](Txn* t) { cut(t, Table::blocks, block_key(0)); }, kShort.c_str(),
           kShort.c_str(), "its state is lost"},
          {"no lease where the session is", lease(SessionNo{0}, 2), "a lease of session 0"},
          {"lease of a session to come", lease(SessionNo{99}, 2), "a lease of session 99"},
          {"lease row of another block",
           [](Txn* t) { t->put(Table::leases, block_key(999), value_of(t, Table::leases, block_key(0))); },
           "leases of jobs that do not exist", "record of a leased job"},
          {"lease row's key", [](Txn* t) { t->put(Table::leases, "abc", "x"); }, "key of another length",
           "key of another length", "cannot be understood"},
          {"lease row damaged", [](Txn* t) { spoil(t, Table::leases, block_key(0)); },
           "checksum does not fit", "checksum does not fit"},
          {"lease row without a lease", raw_lease(std::string(3, '\0')), "a row without leases"},
          {"lease row of too many", raw_lease("\x90\x10\x01" + std::string(1, '\0')),
           "more than a block's leases", "more than a block's leases"},
          {"more sessions than leases", raw_lease(std::string("\1\2\0", 3)), "more than a block's leases",
           "more than a block's leases"},
          {"leases out of order", raw_lease(std::string("\2\1\0\1\3\0\1\0\3\0\1\0", 12)), "out of order",
           "out of order"},
          {"lease of a session that is not listed", raw_lease(std::string("\1\1\0\1\3\5\1\0", 8)),
           "out of order", "out of order"},
          {"number without an end", raw_lease(std::string(20, '\xff')), "more than ten bytes",
           "more than ten bytes"},
          {"lease of one that is gone", [](Txn* t) { t->erase(Table::leases, block_key(0)); },
           "leased is stored as 1"},
          {"lease below one that was given",
           [&](Txn* t) {
             lease(SessionNo{1}, 1)(t);
             change_block(t, 0, [](BlockState* b) { b->has_progress.set(3); });
             std::string row;
             encode_progress({.progress = {.lease_no = 5}}, &row);
             t->put(Table::progress, job_key(kLeased), row);
           },
           "a number that was used before"},
      });
}

TEST_CASE("progress, attempts and the dead") {
  DamagedStore store;
  judge(
      &store,
      {
          {"progress missing", [](Txn* t) { t->erase(Table::progress, job_key(kRetried)); },
           "its progress is missing", "", "its counts are lost"},
          {"progress damaged", [](Txn* t) { spoil(t, Table::progress, job_key(kRetried)); },
           "checksum does not fit", "", "its counts are lost"},
          {"progress too short", [](Txn* t) { cut(t, Table::progress, job_key(kRetried)); }, kShort.c_str(),
           "", "cannot be understood"},
          {"progress on no clock",
           [](Txn* t) {
             change_row(t, Table::progress, job_key(kRetried), [](std::string* r) { r->back() = 9; });
           },
           "outside of its enumeration", "", "cannot be understood"},
          {"progress of nobody",
           [](Txn* t) {
             t->put(Table::progress, job_key(kReady), value_of(t, Table::progress, job_key(kRetried)));
           },
           "progress of a job that has none"},
          {"progress of one to come",
           [](Txn* t) {
             t->put(Table::progress, job_key(JobId{9'999}), value_of(t, Table::progress, job_key(kRetried)));
           },
           "progress of a job that has none"},
          {"progress's key",
           [](Txn* t) { t->put(Table::progress, "abc", value_of(t, Table::progress, job_key(kRetried))); },
           "progress of a job that has none", "", "cannot be understood"},
          {"a leased one's progress missing",
           [](Txn* t) { change_block(t, 0, [](BlockState* b) { b->has_progress.set(3); }); },
           "its progress is missing", "its progress is missing", "its counts are lost"},
          {"attempt missing", [](Txn* t) { t->erase(Table::attempts, attempt_key(kRetried, 1)); },
           "attempt 1 is missing", "", "the history of its attempts is lost"},
          {"attempt damaged", [](Txn* t) { spoil(t, Table::attempts, attempt_key(kRetried, 1)); },
           "checksum does not fit", "", "the history of its attempts is lost"},
          {"attempt too short", [](Txn* t) { cut(t, Table::attempts, attempt_key(kRetried, 1)); },
           kShort.c_str(), "", "cannot be understood"},
          {"attempt in another's place",
           [](Txn* t) {
             t->put(Table::attempts, attempt_key(kRetried, 2),
                    value_of(t, Table::attempts, attempt_key(kRetried, 1)));
           },
           "attempt 1 is in the wrong place"},
          {"attempt of nobody",
           [](Txn* t) {
             t->put(Table::attempts, attempt_key(kReady, 1),
                    value_of(t, Table::attempts, attempt_key(kRetried, 1)));
           },
           "an attempt of a job that has none"},
          {"attempt's key",
           [](Txn* t) {
             t->put(Table::attempts, "abc", value_of(t, Table::attempts, attempt_key(kRetried, 1)));
           },
           "an attempt of a job that has none", "", "cannot be understood"},
          {"progress and attempt missing",
           [](Txn* t) {
             t->erase(Table::progress, job_key(kRetried));
             t->erase(Table::attempts, attempt_key(kRetried, 1));
           },
           "its progress is missing", "", "its counts are lost"},
          {"dead and not listed", [](Txn* t) { t->erase(Table::dead, dead_key(kMail, kDead)); },
           "it is dead and not listed", "", "why and when it died is lost"},
          {"dead damaged", [](Txn* t) { spoil(t, Table::dead, dead_key(kMail, kDead)); },
           "checksum does not fit", "", "why and when it died is lost"},
          {"dead too short", [](Txn* t) { cut(t, Table::dead, dead_key(kMail, kDead)); }, kShort.c_str(), "",
           "why and when it died is lost"},
          {"dead for no reason",
           [](Txn* t) {
             change_row(t, Table::dead, dead_key(kMail, kDead), [](std::string* r) { (*r)[0] = 99; });
           },
           "outside of its enumeration", "", "why and when it died is lost"},
          {"listed and not dead",
           [](Txn* t) {
             t->put(Table::dead, dead_key(kMail, kReady), value_of(t, Table::dead, dead_key(kMail, kDead)));
           },
           "listed among the dead"},
          {"dead in another queue",
           [](Txn* t) {
             t->put(Table::dead, dead_key(kBulk, kDead), value_of(t, Table::dead, dead_key(kMail, kDead)));
           },
           "listed among the dead"},
          {"dead's key",
           [](Txn* t) { t->put(Table::dead, "abc", value_of(t, Table::dead, dead_key(kMail, kDead))); },
           "listed among the dead", "", "cannot be understood"},
      });
}

}  // namespace
}  // namespace jobq::lmdb
