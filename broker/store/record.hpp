// The job record: written once, at enqueue, and never changed. docs/storage_format.md has its bytes.
//
// Views in a decoded record point into the bytes it was decoded from. Units: bytes, milliseconds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "broker/engine/change.hpp"
#include "broker/engine/types.hpp"

namespace jobq::lmdb {

// A body larger than this is stored in pieces in a table of its own: long runs of neighbouring free pages are
// hard to find in an old file, and such a body is deleted at once when its job ends, not when its block is
// swept.
inline constexpr std::uint32_t kInlineBytesMax = 16'000;  // body and headers (JobMeta::bytes)
// A piece fills four pages of 4 KiB to the last byte: 16 of page header, 8 of checksum.
inline constexpr std::size_t kBodyPartBytes = 4 * 4096 - 16 - 8;

constexpr bool has_body_parts(std::uint32_t bytes) { return bytes > kInlineBytesMax; }
constexpr std::size_t body_parts(std::size_t body_bytes) {
  return (body_bytes + kBodyPartBytes - 1) / kBodyPartBytes;
}

struct JobRecord {
  JobMeta meta;  // without progress; due as of the enqueue
  std::uint32_t body_bytes = 0;
  bool body_in_parts = false;
  std::string_view headers;
  std::string_view body;  // empty when in parts
  std::string_view unique_key;
};

std::size_t encoded_bytes(const change::Enqueue& job);
// REQUIRES: encoded_bytes(job) bytes at room.
void encode_record(const change::Enqueue& job, char* room);
// nullopt: not a job record of this version. `job` is its key.
std::optional<JobRecord> decode_record(JobId job, std::string_view bytes);

}  // namespace jobq::lmdb
