#include "broker/store/record.hpp"

#include <array>
#include <cstring>

#include "broker/store/record_type.hpp"
#include "libjobq/base/bytes.hpp"
#include "libjobq/base/check.hpp"

// record = version:u8 priority:u8 queue:u32 type:u32 enqueued_at:u64 fields:u16 headers:u16 body:u32 place:u8
//          field* header-bytes [body-bytes]
// field  = tag:u8 length:u16 bytes
namespace jobq::lmdb {
namespace {

constexpr std::uint8_t kRecordVersion = 1;
constexpr std::size_t kFixedBytes = 1 + 1 + 4 + 4 + 8 + 2 + 2 + 4 + 1;
constexpr std::size_t kTypeAt = 1 + 1 + 4;
constexpr std::size_t kFieldHeadBytes = 3;

// DO NOT RENUMBER. Readers skip a tag they do not know, unless its highest bit is set: then the record cannot
// be understood without it.
enum class Tag : std::uint8_t {
  due_engine = 1,
  due_wall = 2,
  expires_at = 3,
  max_attempts = 4,
  max_run_ms = 5,
  unique_key = 6,
  unique_for_ms = 7,
  // Reserved: ordering_key = 16, concurrency_key = 17, fairness_key = 18, group = 19, parent = 20, trace =
  // 21, encoding = 22, key_id = 23, enqueued_by = 24.
};
constexpr std::uint8_t kMustUnderstand = 0x80;

enum class Place : std::uint8_t { here = 0, parts = 1 };

class Writer {
 public:
  explicit Writer(char* at) : at_(at) {}
  template <std::unsigned_integral T>
  void put(T value) {
    const T big = to_big_endian(value);
    std::memcpy(at_, &big, sizeof big);
    at_ += sizeof big;
  }
  void bytes(std::string_view view) {
    if (!view.empty()) std::memcpy(at_, view.data(), view.size());
    at_ += view.size();
  }
  template <std::unsigned_integral T>
  void field(Tag tag, T value) {
    put(static_cast<std::uint8_t>(tag));
    put(static_cast<std::uint16_t>(sizeof value));
    put(value);
  }
  void field(Tag tag, std::string_view value) {
    put(static_cast<std::uint8_t>(tag));
    put(static_cast<std::uint16_t>(value.size()));
    bytes(value);
  }

 private:
  char* at_;
};

std::size_t field_bytes(const change::Enqueue& job) {
  std::size_t bytes = 0;
  if (job.meta.due.is_set()) bytes += kFieldHeadBytes + 8;
  if (job.meta.expires_at.is_set()) bytes += kFieldHeadBytes + 8;
  if (job.meta.max_attempts != 0) bytes += kFieldHeadBytes + 2;
  if (job.meta.max_run_ms != 0) bytes += kFieldHeadBytes + 4;
  if (!job.unique_key.empty()) bytes += kFieldHeadBytes + job.unique_key.size();
  if (job.meta.unique_for_ms != 0) bytes += kFieldHeadBytes + 8;
  return bytes;
}

struct Reader {
  std::string_view rest;
  bool ok = true;

  std::string_view bytes(std::size_t count) {
    if (count > rest.size()) {
      ok = false;
      return {};
    }
    const std::string_view taken = rest.substr(0, count);
    rest.remove_prefix(count);
    return taken;
  }
  template <std::unsigned_integral T>
  T get() {
    const std::string_view taken = bytes(sizeof(T));
    return ok ? get_big_endian<T>(taken.data()) : T{0};
  }
};

bool apply_field(std::uint8_t tag, std::string_view value, JobRecord* record) {
  Reader reader{value};
  switch (static_cast<Tag>(tag)) {
    case Tag::due_engine:
    case Tag::due_wall:
      record->meta.due = TimeMs{static_cast<std::int64_t>(reader.get<std::uint64_t>())};
      record->meta.due_clock = static_cast<Tag>(tag) == Tag::due_wall ? Clock::wall : Clock::engine;
      return reader.ok;
    case Tag::expires_at:
      record->meta.expires_at = TimeMs{static_cast<std::int64_t>(reader.get<std::uint64_t>())};
      return reader.ok;
    case Tag::max_attempts:
      record->meta.max_attempts = reader.get<std::uint16_t>();
      return reader.ok;
    case Tag::max_run_ms:
      record->meta.max_run_ms = reader.get<std::uint32_t>();
      return reader.ok;
    case Tag::unique_key:
      if (value.size() > limits::kUniqueKeyBytesMax) return false;
      record->unique_key = value;
      record->meta.has_unique_key = true;
      return true;
    case Tag::unique_for_ms:
      record->meta.unique_for_ms = static_cast<std::int64_t>(reader.get<std::uint64_t>());
      return reader.ok;
  }
  return (tag & kMustUnderstand) == 0;
}

}  // namespace

std::size_t encoded_bytes(const change::Enqueue& job) {
  return kFixedBytes + field_bytes(job) + job.headers.size() +
         (has_body_parts(job.meta.bytes) ? 0 : job.body.size());
}

void encode_record(const change::Enqueue& job, char* room) {
  const bool parts = has_body_parts(job.meta.bytes);
  Writer out(room);
  out.put(kRecordVersion);
  out.put(job.meta.lane.priority);
  out.put(job.meta.lane.queue);
  out.put(job.meta.lane.type);
  out.put(static_cast<std::uint64_t>(job.meta.enqueued_at.ms));
  out.put(static_cast<std::uint16_t>(field_bytes(job)));
  out.put(static_cast<std::uint16_t>(job.headers.size()));
  out.put(static_cast<std::uint32_t>(job.body.size()));
  out.put(static_cast<std::uint8_t>(parts ? Place::parts : Place::here));
  if (job.meta.due.is_set()) {
    out.field(job.meta.due_clock == Clock::wall ? Tag::due_wall : Tag::due_engine,
              static_cast<std::uint64_t>(job.meta.due.ms));
  }
  if (job.meta.expires_at.is_set())
    out.field(Tag::expires_at, static_cast<std::uint64_t>(job.meta.expires_at.ms));
  if (job.meta.max_attempts != 0) out.field(Tag::max_attempts, job.meta.max_attempts);
  if (job.meta.max_run_ms != 0) out.field(Tag::max_run_ms, job.meta.max_run_ms);
  if (!job.unique_key.empty()) out.field(Tag::unique_key, job.unique_key);
  if (job.meta.unique_for_ms != 0)
    out.field(Tag::unique_for_ms, static_cast<std::uint64_t>(job.meta.unique_for_ms));
  out.bytes(job.headers);
  if (!parts) out.bytes(job.body);
}

std::optional<JobRecord> decode_record(JobId job, std::string_view bytes) {
  Reader in{bytes};
  if (in.get<std::uint8_t>() != kRecordVersion) return std::nullopt;
  JobRecord record;
  record.meta.id = job;
  record.meta.lane.priority = in.get<std::uint8_t>();
  record.meta.lane.queue = in.get<std::uint32_t>();
  record.meta.lane.type = in.get<std::uint32_t>();
  record.meta.enqueued_at = TimeMs{static_cast<std::int64_t>(in.get<std::uint64_t>())};
  const auto fields = in.get<std::uint16_t>();
  const auto headers = in.get<std::uint16_t>();
  record.body_bytes = in.get<std::uint32_t>();
  const auto place = in.get<std::uint8_t>();
  if (!in.ok || place > static_cast<std::uint8_t>(Place::parts)) return std::nullopt;
  if (record.meta.lane.priority > limits::kPriorityMax) return std::nullopt;

  Reader field_reader{in.bytes(fields)};
  while (in.ok && !field_reader.rest.empty()) {
    const auto tag = field_reader.get<std::uint8_t>();
    const auto length = field_reader.get<std::uint16_t>();
    const std::string_view value = field_reader.bytes(length);
    if (!field_reader.ok || !apply_field(tag, value, &record)) return std::nullopt;
  }
  record.headers = in.bytes(headers);
  record.body_in_parts = place == static_cast<std::uint8_t>(Place::parts);
  if (!record.body_in_parts) record.body = in.bytes(record.body_bytes);
  if (!in.ok || !in.rest.empty()) return std::nullopt;
  record.meta.bytes = record.body_bytes + headers;
  return record;
}

std::string with_type(std::string_view record, TypeNo type) {
  std::string changed(record);
  JOBQ_CHECK(changed.size() >= kFixedBytes);
  const TypeNo big = to_big_endian(type);
  std::memcpy(changed.data() + kTypeAt, &big, sizeof big);
  return changed;
}

}  // namespace jobq::lmdb
