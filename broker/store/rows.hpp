// The values of the small tables: what is written there and how it is read back. The grammar is in
// docs/storage_format.md; every value is written by exactly one function here and read by its neighbour.
//
// Lists of counters and settings are stored with their length, so that a later version can append to them.
// Errors: readers throw StoreError (corruption) for bytes that are not such a value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "broker/engine/change.hpp"
#include "broker/engine/types.hpp"
#include "broker/store/store.hpp"

namespace jobq::lmdb {

// The format that this version writes, and the only one it reads. How to raise it: docs/storage_format.md,
// "upgrades".
inline constexpr std::uint32_t kFormatVersion = 1;

namespace meta_key {
inline constexpr std::string_view kFormat = "format";
inline constexpr std::string_view kIdentity = "identity";
inline constexpr std::string_view kMark = "mark";
}  // namespace meta_key

// Written with every batch.
struct MarkRow {
  Mark mark;
  std::uint64_t indexed_below = 0;  // lane_index is complete for ready jobs below; a multiple of the range
};
// Made with the store, and anew when its file turns out to be another one (a copy that was put in its place).
struct IdentityRow {
  protocol::Incarnation incarnation{};
  std::uint64_t secret = 0;
  std::uint64_t file_inode = 0;
  std::int64_t file_born_ns = 0;
};
struct QueueRow {
  std::string name;
  QueueSettings settings;
};
struct UniqueRow {
  JobId holder;
  std::uint64_t body_hash = 0;
  TimeMs held_until{};  // set: its job has left
};
struct HeldKey {  // the value of a timer of kind unique_hold
  QueueNo queue = 0;
  std::string_view key;
};
// What changes about a job besides its state. `due` is set when it is not the one in the record.
struct ProgressRow {
  JobProgress progress;
  TimeMs due{};
  Clock due_clock = Clock::engine;
};
struct DeadRow {
  DeadReason reason = DeadReason::attempts;
  TimeMs died_at{};
};
struct ProducerRow {
  TimeMs seen_at{};
  std::uint64_t lowest_open = 0;
};

void encode_format(std::uint32_t version, std::string* out);
std::uint32_t decode_format(std::string_view row);
void encode_mark(const MarkRow& row, std::string* out);
MarkRow decode_mark(std::string_view row);
void encode_identity(const IdentityRow& row, std::string* out);
IdentityRow decode_identity(std::string_view row);
void encode_queue(std::string_view name, const QueueSettings& settings, std::string* out);
QueueRow decode_queue(std::string_view row);
void encode_counters(const QueueCounters& counters, std::string* out);
QueueCounters decode_counters(std::string_view row);
void encode_count(std::uint64_t count, std::string* out);
std::uint64_t decode_count(std::string_view row);
void encode_unique(const UniqueRow& row, std::string* out);
UniqueRow decode_unique(std::string_view row);
void encode_held_key(const HeldKey& row, std::string* out);
HeldKey decode_held_key(std::string_view row);
void encode_progress(const ProgressRow& row, std::string* out);
ProgressRow decode_progress(std::string_view row);
void encode_attempt(const AttemptRecord& attempt, std::string* out);
AttemptRecord decode_attempt(std::string_view row);
void encode_dead(const DeadRow& row, std::string* out);
DeadRow decode_dead(std::string_view row);
void encode_producer(const ProducerRow& row, std::string* out);
ProducerRow decode_producer(std::string_view row);
void encode_answers(const std::vector<change::ProducerAnswer>& answers, std::string* out);
std::vector<change::ProducerAnswer> decode_answers(std::string_view row);
// The highest sequence among them; 0: there is none.
std::uint64_t newest_sequence(std::string_view row);
void encode_finished(const change::AddFinished& finished, std::string* out);
change::AddFinished decode_finished(std::string_view row);  // queue and seq are in the key

}  // namespace jobq::lmdb
