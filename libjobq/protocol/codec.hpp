// Bytes <-> messages. Total: any bytes give a message or a Status that says what is wrong with them; depth,
// counts and sizes are checked before memory is taken for them. Nothing here allocates in proportion to a
// number that was read but not yet backed by bytes.
//
// A message is one msgpack array: [version, type, request_id, fields...] (https://github.com/msgpack/msgpack,
// spec.md).
//
// Thread-safety: functions without state.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jobq/status.hpp"
#include "libjobq/protocol/message.hpp"

namespace jobq::protocol {

struct DecodeLimits {
  std::size_t message_bytes_max = limits::kMessageBytesDefault;
  // Bodies over the broker's own limit are refused per job by the engine, not here.
};

// What a broker reads and what a client reads. Views in the result point into `frame`.
// A failure in the fields still fills *request_id when the header could be read, so that the error can be
// answered.
Result<RequestMessage> decode_request(std::string_view frame, const DecodeLimits& limits,
                                      std::uint64_t* request_id);
Result<ReplyMessage> decode_reply(std::string_view frame, const DecodeLimits& limits);

// Appends the encoded message to *out (not cleared).
// REQUIRES: an Enqueue's groups cover its jobs; job ids are set; headers and an AdminReply's document are
// packed.
void encode(const RequestMessage& message, std::string* out);
void encode(const ReplyMessage& message, std::string* out);

// Headers travel and are stored packed, as one msgpack map of strings to strings; none at all is the empty
// string. The limit kHeaderBytesMax counts the packed bytes.
using Headers = std::vector<std::pair<std::string, std::string>>;
std::string pack_headers(const Headers& headers);
// Refuse what is over kHeaderBytesMax or kHeadersMax (headers_too_large) or is not a map of strings
// (bad_message).
Result<Headers> unpack_headers(std::string_view packed);
Status check_headers(std::string_view packed);

// Names of queues and types: 1 to 64 of [A-Za-z0-9._-], the first a letter or a digit. Types may be empty.
Status check_queue_name(std::string_view name);
Status check_type(std::string_view type);

}  // namespace jobq::protocol
