// One row of a sound store is made wrong, each in one way: what a check says of it, whether a broker starts with it, and what
// a repair saves. The checksums fit unless the case is about them: such rows are what a fault of our own, of memory or of
// a newer version would leave.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "tests/store/damaged_store.hpp"

namespace jobq::lmdb {
namespace {

TEST_CASE("the store that is made wrong is sound") {
  DamagedStore store;
  const Outcome found = store.with([](Txn*) {});
  CHECK_MESSAGE(found.problems.empty(), found.problems);
  CHECK(found.check.ok());
  CHECK(found.start.empty());
  CHECK_MESSAGE(found.said.empty(), found.said);
  CHECK(found.saved.size() == kJobs - 2);
}

std::string record_of(Txn* txn, JobId job) { return value_of(txn, Table::jobs, job_key(job)); }
// The record of job 1 with other bytes in its head.
std::function<void(Txn*)> record_with(std::size_t at, char byte) {
  return [=](Txn* txn) {
    change_row(txn, Table::jobs, job_key(kReady), [&](std::string* row) { (*row)[at] = byte; });
  };
}
// A record with a field of its own in front of its body.
std::function<void(Txn*)> record_with_field(std::string field) {
  return [field = std::move(field)](Txn* txn) {
    change_row(txn, Table::jobs, job_key(kReady), [&](std::string* row) {
      (*row)[19] = static_cast<char>(field.size());
      row->insert(27, field);
    });
  };
}

TEST_CASE("records") {
  DamagedStore store;
  judge(
      &store,
      {
          {"checksum",
           [](Txn* t) { spoil(t, Table::jobs, job_key(kReady)); },
           "its record is damaged",
           "",
           "was ready",
           {1}},
          {"missing",
           [](Txn* t) { t->erase(Table::jobs, job_key(kOther)); },
           "252 have a record",
           "",
           "was ready",
           {11}},
          {"short",
           [](Txn* t) { cut(t, Table::jobs, job_key(kReady)); },
           "its record is damaged",
           "",
           "was ready",
           {1}},
          {"version", record_with(0, 9), "its record is damaged", "", "was ready", {1}},
          {"priority", record_with(1, 10), "its record is damaged", "", "was ready", {1}},
          {"place of the body", record_with(26, 7), "its record is damaged", "", "was ready", {1}},
          {"trailing bytes",
           [](Txn* t) { change_row(t, Table::jobs, job_key(kReady), [](std::string* r) { *r += "more"; }); },
           "its record is damaged",
           "",
           "",
           {1}},
          {"an unknown field that can be skipped", record_with_field(std::string("\x30\0\1x", 4)), ""},
          {"an unknown field that must be understood",
           record_with_field(std::string("\x90\0\1x", 4)),
           "its record is damaged",
           "",
           "",
           {1}},
          {"a field behind the end of the fields",
           record_with_field(std::string("\1\0\x08x", 4)),
           "its record is damaged",
           "",
           "",
           {1}},
          {"a time that is too short",
           record_with_field(std::string("\1\0\1x", 4)),
           "its record is damaged",
           "",
           "",
           {1}},
          {"an expiry that is too short",
           record_with_field(std::string("\3\0\1x", 4)),
           "its record is damaged",
           "",
           "",
           {1}},
          {"attempts that are too short",
           record_with_field(std::string("\4\0\1x", 4)),
           "its record is damaged",
           "",
           "",
           {1}},
          {"a run time that is too short",
           record_with_field(std::string("\5\0\1x", 4)),
           "its record is damaged",
           "",
           "",
           {1}},
          {"a hold that is too short",
           record_with_field(std::string("\7\0\1x", 4)),
           "its record is damaged",
           "",
           "",
           {1}},
          {"a field's head that is cut",
           record_with_field(std::string("\1\0", 2)),
           "its record is damaged",
           "",
           "",
           {1}},
          {"number 0", [](Txn* t) { t->put(Table::jobs, job_key(JobId{0}), record_of(t, kReady)); },
           "never given out", "", "cannot be understood"},
          {"a number to come",
           [](Txn* t) { t->put(Table::jobs, job_key(JobId{5'000}), record_of(t, kReady)); },
           "never given out"},
          {"key", [](Txn* t) { t->put(Table::jobs, "abc", record_of(t, kReady)); }, "never given out", "key",
           "cannot be understood"},
          {"queue",
           [](Txn* t) { change_row(t, Table::jobs, job_key(kReady), [](std::string* r) { (*r)[5] = 77; }); },
           "which is not there", "", "repaired-77"},
          {"type",
           [](Txn* t) { change_row(t, Table::jobs, job_key(kReady), [](std::string* r) { (*r)[9] = 3; }); },
           "it has type 3", "", "repaired-3"},
          {"type far away",
           [](Txn* t) { change_row(t, Table::jobs, job_key(kReady), [](std::string* r) { (*r)[8] = 3; }); },
           "it has type 769", "", "job types number 2 to 768: their names are lost"},
          {"type of no store",  // a row for each number below it took hours and the disk
           [](Txn* t) {
             change_row(t, Table::jobs, job_key(kReady), [](std::string* r) { (*r)[6] = '\xf0'; });
           },
           "it has type 4026531841", "", "it is number 2 and called 'repaired-4026531841' now"},
          {"moved and not marked",
           [](Txn* t) { t->put(Table::moved, job_key(kReady), record_of(t, kReady)); },
           "nothing refers to it"},
          {"marked as moved and in its old place",
           [](Txn* t) { change_block(t, 0, [](BlockState* b) { b->moved.set(1); }); }, "252 have a record"},
          {"a swept record",
           [](Txn* t) {
             t->put(Table::moved, job_key(kReady), record_of(t, kReady));
             change_block(t, 0, [](BlockState* b) {
               b->moved.set(1);
               b->swept = true;
             });
           },
           "was to be removed"},
          {"a moved one whose record is in its old place too is sound",
           [](Txn* t) {
             t->put(Table::moved, job_key(kReady), record_of(t, kReady));
             change_block(t, 0, [](BlockState* b) { b->moved.set(1); });
           },
           ""},
          {"a moved one that is damaged, with its old record",
           [](Txn* t) {
             t->put_unsound(Table::moved, job_key(kReady), record_of(t, kReady));
             change_block(t, 0, [](BlockState* b) { b->moved.set(1); });
           },
           "its record is damaged"},
          {"a leased one's",
           [](Txn* t) { cut(t, Table::jobs, job_key(kLeased)); },
           "its record is damaged",
           "record of a leased job",
           "",
           {3}},
          {"a leased one's checksum",
           [](Txn* t) { spoil(t, Table::jobs, job_key(kLeased)); },
           "its record is damaged",
           "",
           "was leased",
           {3}},
      });
}

TEST_CASE("bodies in parts, unique keys and timers") {
  DamagedStore store;
  const TimeMs later{kStart.ms + 1'000'000};
  const std::string held = std::string(std::string_view(unique_row_key(kMail, "held")));
  judge(
      &store,
      {
          {"part missing",
           [](Txn* t) { t->erase(Table::bodies, body_key(kLarge, 1)); },
           "a part of its body is missing",
           "",
           "a part of its body",
           {7}},
          {"part damaged",
           [](Txn* t) { spoil(t, Table::bodies, body_key(kLarge, 1)); },
           "a part of its body is missing",
           "",
           "a part of its body",
           {7}},
          {"part too short",
           [](Txn* t) { cut(t, Table::bodies, body_key(kLarge, 1)); },
           "a part of its body is missing",
           "",
           "a part of its body",
           {7}},
          {"part of nobody", [](Txn* t) { t->put(Table::bodies, body_key(kReady, 0), "x"); },
           "that no job has"},
          {"part too many", [](Txn* t) { t->put(Table::bodies, body_key(kLarge, 9), "x"); },
           "that no job has"},
          {"part of a job to come", [](Txn* t) { t->put(Table::bodies, body_key(JobId{9'999}, 0), "x"); },
           "that no job has"},
          {"part's key", [](Txn* t) { t->put(Table::bodies, "abc", "x"); }, "that no job has", "",
           "cannot be understood"},
          {"key not held", [](Txn* t) { t->erase(Table::unique, unique_row_key(kMail, "only one")); },
           "its unique key is not held"},
          {"key damaged", [](Txn* t) { spoil(t, Table::unique, unique_row_key(kMail, "only one")); },
           "its unique key is not held"},
          {"key of another",
           [](Txn* t) {
             std::string row;
             encode_unique({.holder = kReady}, &row);
             t->put(Table::unique, unique_row_key(kMail, "only one"), row);
           },
           "its unique key is held by"},
          {"key of another body",
           [](Txn* t) {
             std::string row;
             encode_unique({.holder = kUnique}, &row);
             t->put(Table::unique, unique_row_key(kMail, "only one"), row);
           },
           "stands for another body"},
          {"key in another queue",
           [](Txn* t) {
             std::string row;
             encode_unique({.holder = kUnique}, &row);
             t->put(Table::unique, unique_row_key(kBulk, "only one"), row);
           },
           "which is gone or has another"},
          {"key of one that is gone",
           [](Txn* t) {
             std::string row;
             encode_unique({.holder = kFinished}, &row);
             t->put(Table::unique, unique_row_key(kBulk, "k"), row);
           },
           "which is gone or has another"},
          {"key without a key", [](Txn* t) { t->put(Table::unique, queue_key(kMail), "x"); }, "without a key",
           "", "cannot be understood"},
          {"key's value", [](Txn* t) { cut(t, Table::unique, unique_row_key(kMail, "only one")); },
           kShort.c_str(), "", "cannot be understood"},
          {"held key without its timer",
           [](Txn* t) {
             t->erase(Table::timers, timer_key({Clock::engine, TimeMs{kStart.ms + 500'000}, kHolding,
                                                TimerKind::unique_hold}));
           },
           "held for ever"},
          {"held key in a queue that is not there",
           [&](Txn* t) {
             t->put(Table::unique, unique_row_key(77, "held"), value_of(t, Table::unique, held));
           },
           "held for ever"},
          {"timer of a key that is not held", [&](Txn* t) { t->erase(Table::unique, held); },
           "not held until then"},
          {"timer of a key that another holds",
           [&](Txn* t) {
             std::string row;
             encode_unique({.holder = kReady, .held_until = TimeMs{kStart.ms + 500'000}}, &row);
             t->put(Table::unique, held, row);
           },
           "not held until then"},
          {"timer of a key that is held longer",
           [&](Txn* t) {
             std::string row;
             encode_unique({.holder = kHolding, .held_until = later}, &row);
             t->put(Table::unique, held, row);
           },
           "not held until then"},
          {"timer of a key that is too long",
           [](Txn* t) {
             std::string row;
             encode_held_key({.queue = kMail, .key = std::string(300, 'k')}, &row);
             t->put(Table::timers, timer_key({Clock::engine, kStart, kHolding, TimerKind::unique_hold}), row);
           },
           "longer than keys are"},
          {"timer's key", [](Txn* t) { t->put(Table::timers, "abc", ""); }, "a timer whose key is none", "",
           "cannot be understood"},
          {"timer of nobody",
           [&](Txn* t) {
             t->put(Table::timers, timer_key({Clock::engine, later, kReady, TimerKind::due}), "");
           },
           "does not belong to it"},
          {"timer at another time",
           [&](Txn* t) {
             t->put(Table::timers, timer_key({Clock::engine, kStart, kScheduled, TimerKind::due}), "");
           },
           "does not belong to it"},
          {"timer on another clock",
           [&](Txn* t) {
             t->put(Table::timers, timer_key({Clock::wall, later, kScheduled, TimerKind::due}), "");
           },
           "does not belong to it"},
          {"expiry of one that has none",
           [&](Txn* t) {
             t->put(Table::timers, timer_key({Clock::engine, later, kReady, TimerKind::expiry}), "");
           },
           "does not belong to it"},
          {"expiry of one that is gone",
           [&](Txn* t) {
             t->put(Table::timers, timer_key({Clock::engine, later, kFinished, TimerKind::expiry}), "");
           },
           "does not belong to it"},
          {"timer damaged",
           [&](Txn* t) {
             spoil(t, Table::timers, timer_key({Clock::engine, later, kScheduled, TimerKind::due}));
           },
           "checksum does not fit"},
          {"due timer missing",
           [&](Txn* t) {
             t->erase(Table::timers, timer_key({Clock::engine, later, kScheduled, TimerKind::due}));
           },
           "its due timer at"},
          {"expiry timer missing",
           [&](Txn* t) {
             t->erase(Table::timers, timer_key({Clock::engine, later, kExpiring, TimerKind::expiry}));
           },
           "its expiry timer at"},
      });
}

}  // namespace
}  // namespace jobq::lmdb
