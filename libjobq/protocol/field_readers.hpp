// The pieces that several messages are made of, read from the wire: shared by decode_request.cpp,
// decode_reply.cpp and headers.cpp. Errors stick to the Reader (reader.hpp). Not installed.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "libjobq/protocol/codec.hpp"
#include "libjobq/protocol/reader.hpp"

namespace jobq::protocol {

// [version, type, request_id, fields...]: the first three, and how many fields follow.
struct MessageHeader {
  std::uint64_t version = 0;
  std::uint64_t type = 0;
  std::uint64_t request_id = 0;
  std::uint32_t fields = 0;
};
MessageHeader read_header(Reader* reader);

// Refuses a message with fewer than `least` fields. What is over is skipped by the caller at the end.
void need_fields(Reader* reader, const MessageHeader& header, std::uint32_t least);

// For optional elements at the end of an array: whether there is one more and it is not nil. Counts *left
// down.
bool present(Reader* reader, std::uint32_t* left);

JobId read_job_id(Reader* reader, const char* field);
std::vector<LeaseRef> read_leases(Reader* reader, const char* field);
std::vector<Outcome> read_outcomes(Reader* reader, const char* field);

// Checks that it is a map of strings and returns its bytes; empty for nil and for an empty map. Its size is
// judged by whoever takes the job, so that one job's headers do not refuse a whole message.
std::string_view read_headers(Reader* reader);

}  // namespace jobq::protocol
