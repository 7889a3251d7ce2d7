// The tables of the store. docs/storage_format.md is the grammar of their keys and values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace jobq::lmdb {

// The number goes into every checksum: DO NOT RENUMBER.
enum class Table : std::uint8_t {
  meta = 0,              // name -> value: format, identity, mark
  queues = 1,            // queue -> name, settings
  counters = 2,          // queue -> counters
  types = 3,             // type -> name
  lanes = 4,             // lane -> ready count
  jobs = 5,              // job -> immutable record, in arrival order
  moved = 6,             // job -> the same record, moved out of the way of the sweep
  bodies = 7,            // (job, part) -> piece of a large body
  blocks = 8,            // block of 256 jobs -> bitmaps of their states
  leases = 9,            // block -> leases
  lane_index = 10,       // (lane, range of 16,384 jobs) -> jobs that may be ready
  timers = 11,           // (clock, time, job, kind)
  unique = 12,           // (queue, key) -> holder
  progress = 13,         // job -> counts of what went wrong
  attempts = 14,         // (job, slot) -> one failed attempt
  dead = 15,             // (queue, job) -> reason
  producers = 16,        // producer -> window
  answers = 17,          // (producer, sequence) -> answers given
  finished = 18,         // (queue, number) -> durable history
  finished_by_job = 19,  // job -> its row in finished
};
inline constexpr std::size_t kTables = 20;

inline constexpr std::array<const char*, kTables> kTableNames = {
    "meta",     "queues", "counters",  "types",      "lanes",    "jobs",           "moved",
    "bodies",   "blocks", "leases",    "lane_index", "timers",   "unique",         "progress",
    "attempts", "dead",   "producers", "answers",    "finished", "finished_by_job"};

constexpr const char* name_of(Table table) { return kTableNames[static_cast<std::size_t>(table)]; }

}  // namespace jobq::lmdb
