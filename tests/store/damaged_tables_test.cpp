// The small tables: names, counts, marks, index, history, producers. One row of a sound store is made wrong, each in one way: what a check says of it, whether a broker starts with it, and what
// a repair saves. The checksums fit unless the case is about them: such rows are what a fault of our own, of memory or of
// a newer version would leave.
#include <doctest/doctest.h>

#include "tests/store/damaged_store.hpp"

namespace jobq::lmdb {
namespace {

TEST_CASE("names, counts and marks") {
  DamagedStore store;
  const auto count = [](const Lane& lane, std::uint64_t ready) {
    return [=](Txn* t) {
      std::string row;
      encode_count(ready, &row);
      t->put(Table::lanes, lane_key(lane), row);
    };
  };
  judge(
      &store,
      {
          {"queue to come",
           [](Txn* t) { t->put(Table::queues, queue_key(99), value_of(t, Table::queues, queue_key(kMail))); },
           "a queue under a number"},
          {"queue's key",
           [](Txn* t) { t->put(Table::queues, "abc", value_of(t, Table::queues, queue_key(kMail))); },
           "a queue under a number", "key or a row that is none", "cannot be understood"},
          {"queue missing", [](Txn* t) { t->erase(Table::queues, queue_key(kBulk)); },
           "it is in queue 2, which is not there", "", "repaired-2"},
          {"queue damaged", [](Txn* t) { spoil(t, Table::queues, queue_key(kBulk)); },
           "checksum does not fit", "checksum does not fit", "repaired-2"},
          {"queue too short", [](Txn* t) { cut(t, Table::queues, queue_key(kBulk)); }, kShort.c_str(),
           kShort.c_str(), "its row cannot be understood"},
          {"queue of an older version",
           [](Txn* t) {
             change_row(t, Table::queues, queue_key(kBulk), [](std::string* r) {
               std::string row;
               ByteWriter(&row).text("bulk").number(0);
               *r = row;
             });
           },
           ""},
          {"counters of an older version",
           [](Txn* t) { t->put(Table::counters, queue_key(kBulk), std::string(1, '\0')); }, "is stored as 0"},
          {"counters too short", [](Txn* t) { cut(t, Table::counters, queue_key(kBulk)); },
           "queue bulk: a value in the store ends too early", kShort.c_str(), "its totals are lost"},
          {"counters damaged", [](Txn* t) { spoil(t, Table::counters, queue_key(kBulk)); },
           "its counters are damaged", "checksum does not fit", "its totals are lost"},
          {"counters missing", [](Txn* t) { t->erase(Table::counters, queue_key(kBulk)); }, "is stored as 0"},
          {"counters under another key",
           [](Txn* t) {
             t->put_unsound(Table::counters, queue_key(99), value_of(t, Table::counters, queue_key(kBulk)));
           },
           "counters of a queue that is not there", "checksum does not fit", "its checksum does not fit"},
          {"counters of a queue that is gone",
           [](Txn* t) {
             t->put(Table::counters, queue_key(99), value_of(t, Table::counters, queue_key(kBulk)));
           },
           "counters of a queue that is not there"},
          {"counters that do not add up",
           [](Txn* t) {
             change_row(t, Table::counters, queue_key(kBulk), [](std::string* r) {
               QueueCounters c = decode_counters(*r);
               c.enqueued_total += 5;
               encode_counters(c, r);
             });
           },
           "states and exits add up to"},
          {"type to come", [](Txn* t) { t->put(Table::types, type_key(9), "nine"); }, "a type under a number",
           "table types has a gap", "repaired-8"},
          {"type of no store", [](Txn* t) { t->put(Table::types, type_key(~TypeNo{0}), "far"); },
           "a type under a number", "table types has a gap", "its row is left out"},
          {"type's key", [](Txn* t) { t->put(Table::types, "abc", "x"); }, "a type under a number",
           "key or a row that is none", "cannot be understood"},
          {"type missing", [](Txn* t) { t->erase(Table::types, type_key(1)); }, "it has type 1", "",
           "repaired-1"},
          {"type damaged", [](Txn* t) { spoil(t, Table::types, type_key(1)); }, "checksum does not fit",
           "checksum does not fit", "repaired-1"},
          {"lane of another count", count(kMailLane, 7), "7 ready jobs are counted"},
          {"lane without a job", count({.queue = kBulk, .type = 1, .priority = 9}, 7), "and 0 are there"},
          {"lane of no priority", count({.queue = kBulk, .type = 1, .priority = 10}, 7),
           "a lane whose key is none", "key or a row that is none"},
          {"lane's key", [](Txn* t) { t->put(Table::lanes, "abc", std::string(1, '\1')); },
           "a lane whose key is none", "key or a row that is none"},
          {"lane missing", [](Txn* t) { t->erase(Table::lanes, lane_key(kMailLane)); },
           "ready jobs are there and the lane is not"},
          {"lane damaged", [](Txn* t) { spoil(t, Table::lanes, lane_key(kMailLane)); },
           "checksum does not fit", "checksum does not fit"},
          {"mark missing", [](Txn* t) { t->erase(Table::meta, meta_key::kMark); }, kShort.c_str(),
           "key or a row that is none", "where the store stood"},
          {"mark damaged", [](Txn* t) { spoil(t, Table::meta, meta_key::kMark); }, "checksum does not fit",
           "checksum does not fit", "where the store stood"},
          {"mark too short", [](Txn* t) { cut(t, Table::meta, meta_key::kMark); }, kShort.c_str(),
           kShort.c_str(), "where the store stood"},
          {"mark before the first job",
           [](Txn* t) { set_mark(t, [](MarkRow* m) { m->mark.next_job = {}; }); }, "the mark's next job is 0",
           "the next job is 0", "where the store stood"},
          {"mark before the last job",
           [](Txn* t) { set_mark(t, [](MarkRow* m) { m->mark.next_job = JobId{200}; }); }, "never given out"},
          {"identity missing", [](Txn* t) { t->erase(Table::meta, meta_key::kIdentity); }, kShort.c_str(),
           "key or a row that is none"},
          {"format missing", [](Txn* t) { t->erase(Table::meta, meta_key::kFormat); },
           "does not say which format", "does not say which format"},
          {"format too short", [](Txn* t) { t->put(Table::meta, meta_key::kFormat, "x"); }, kShort.c_str(),
           kShort.c_str(), "cannot be understood"},
          {"task of no kind",
           [](Txn* t) {
             change_row(t, Table::meta, std::string("task\0\0\0\0\0\0\0\1", 12),
                        [](std::string* r) { (*r)[0] = 99; });
           },
           "task 1 is of kind 99", "task 1 is of kind 99"},
          {"task too short", [](Txn* t) { cut(t, Table::meta, std::string("task\0\0\0\0\0\0\0\1", 12)); },
           kShort.c_str(), kShort.c_str()},
          {"task damaged", [](Txn* t) { spoil(t, Table::meta, std::string("task\0\0\0\0\0\0\0\1", 12)); },
           "checksum does not fit", "checksum does not fit"},
          {"number of the next task damaged", [](Txn* t) { spoil(t, Table::meta, "next_task"); },
           "checksum does not fit", "checksum does not fit"},
          {"a name that has changed",
           [](Txn* t) {
             const std::string task("task\0\0\0\0\0\0\0\1", 12), other("lask\0\0\0\0\0\0\0\1", 12);
             t->put_unsound(Table::meta, other, value_of(t, Table::meta, task));
             t->erase(Table::meta, task);
           },
           "checksum does not fit", "checksum does not fit"},
          {"row like a task", [](Txn* t) { t->put(Table::meta, "tasks", "x"); }, ""},
      });
}

TEST_CASE("index, history and producers") {
  DamagedStore store;
  const auto index = [](std::uint64_t below, const Lane& lane, std::uint64_t range,
                        std::vector<std::uint16_t> offsets) {
    return [=](Txn* t) {
      set_mark(t, [&](MarkRow* m) { m->indexed_below = below; });
      std::string row;
      encode_lane_row(offsets, &row);
      t->put(Table::lane_index, lane_index_key(lane, range), row);
    };
  };
  const std::string made = std::string(1, '\1') + std::string(8, 'h');
  const auto answers = [=](std::string results) {
    return [=](Txn* t) { t->put(Table::answers, answer_key(kProducer, 1), made + results); };
  };
  const std::string first = std::string(std::string_view(finished_key(kMail, 0)));
  judge(
      &store,
      {
          {"ready and not in the index", index(kRangeJobs, kMailLane, 0, {5}),
           "not in the index of its lane"},
          {"in the index of another lane", index(kRangeJobs, {.queue = kBulk, .priority = 5}, 0, {1}),
           "is in the index of another lane"},
          {"index of one that is not ready", index(kRangeJobs, {.queue = kBulk, .priority = 5}, 0, {2}),
           "not in the index of its lane"},
          {"index above the watermark", index(0, kMailLane, 0, {1}), "a row above the watermark"},
          {"index of no priority", index(kRangeJobs, {.queue = kBulk, .priority = 10}, 0, {1}),
           "a row above the watermark"},
          {"index's key",
           [](Txn* t) {
             std::string row;
             encode_lane_row({1}, &row);
             t->put(Table::lane_index, "abc", row);
           },
           "a row above the watermark"},
          {"index damaged",
           [&](Txn* t) {
             index(kRangeJobs, kMailLane, 0, {1})(t);
             spoil(t, Table::lane_index, lane_index_key(kMailLane, 0));
           },
           "checksum does not fit"},
          {"index out of order", index(kRangeJobs, kMailLane, 0, {5, 1}),
           "a row of lane_index is out of order"},
          {"index beyond its range", index(kRangeJobs, kMailLane, 0, {20'000}),
           "a row of lane_index is out of order"},
          {"index of no form",
           [](Txn* t) { t->put(Table::lane_index, lane_index_key(kMailLane, 0), std::string("\x09", 1)); },
           "unknown form"},
          {"dense index of another size",
           [](Txn* t) { t->put(Table::lane_index, lane_index_key(kMailLane, 0), std::string("\x01xx", 3)); },
           "unknown form"},
          {"history not found by its id",
           [](Txn* t) { t->erase(Table::finished_by_job, job_key(kFinished)); }, "cannot be found by its id"},
          {"history found elsewhere",
           [&](Txn* t) { t->put(Table::finished_by_job, job_key(kFinished), finished_key(kMail, 77)); },
           "history that is not there"},
          {"history of another job", [&](Txn* t) { t->put(Table::finished_by_job, job_key(kReady), first); },
           "history that is not there"},
          {"history by an empty key", [](Txn* t) { t->put(Table::finished_by_job, job_key(kFinished), ""); },
           "cannot read the store"},
          {"history missing", [&](Txn* t) { t->erase(Table::finished, first); }, "history that is not there"},
          {"history too short", [&](Txn* t) { cut(t, Table::finished, first); }, kShort.c_str(), "",
           "cannot be understood"},
          {"history's exit",
           [&](Txn* t) { change_row(t, Table::finished, first, [](std::string* r) { (*r)[1] = 99; }); },
           "outside of its enumeration", "", "cannot be understood"},
          {"history's key",
           [&](Txn* t) { t->put(Table::finished, queue_key(kMail), value_of(t, Table::finished, first)); },
           "cannot be found by its id", "", "cannot be understood"},
          {"history of no queue",
           [&](Txn* t) { t->put(Table::finished, finished_key(77, 0), value_of(t, Table::finished, first)); },
           "cannot be found by its id"},
          {"producer's key",
           [](Txn* t) {
             t->put(Table::producers, "abc", value_of(t, Table::producers, producer_key(kProducer)));
           },
           "a producer whose key is none", "key of another length", "the memory of enqueues"},
          {"producer too short", [](Txn* t) { cut(t, Table::producers, producer_key(kProducer)); },
           kShort.c_str(), kShort.c_str(), "the memory of enqueues"},
          {"producer damaged", [](Txn* t) { spoil(t, Table::producers, producer_key(kProducer)); },
           "checksum does not fit", "checksum does not fit", "the memory of enqueues"},
          {"answers to nobody", [](Txn* t) { t->erase(Table::producers, producer_key(kProducer)); },
           "answers to a producer that is not there"},
          {"answers' key",
           [](Txn* t) {
             t->put(Table::answers, "abc", value_of(t, Table::answers, answer_key(kProducer, 1)));
           },
           "answers to a producer that is not there", "", "the memory of enqueues"},
          {"no answer", [](Txn* t) { t->put(Table::answers, answer_key(kProducer, 1), ""); },
           "a row without answers", "", "the memory of enqueues"},
          {"answers that end", answers("\1"), kShort.c_str(), kShort.c_str(), "the memory of enqueues"},
          {"answers of no form", answers("\1\7"), "outside of its enumeration", "outside of its enumeration",
           "the memory of enqueues"},
          {"too many answers", answers("\xff\xff\xff\1"), "more answers than a request has jobs",
           "more answers", "the memory of enqueues"},
          {"a run of none", answers(std::string("\1\0\0\1\0", 5)), "a run of a wrong length",
           "a run of a wrong length", "the memory of enqueues"},
          {"a run of too many", answers(std::string("\1\0\0\1\5", 5)), "a run of a wrong length",
           "a run of a wrong length", "the memory of enqueues"},
          {"answers damaged", [](Txn* t) { spoil(t, Table::answers, answer_key(kProducer, 1)); },
           "checksum does not fit", "checksum does not fit", "the memory of enqueues"},
      });
}

}  // namespace
}  // namespace jobq::lmdb
