// What the encoders of messages write with: msgpack's packer into a std::string, and the pieces that several messages have.
// Not installed; for the codec only.
//
// Small pieces are gathered in the sink and appended together: a message is mostly numbers of a byte or two, and appending
// each by itself cost more than all the rest. The string is whole after flush(), which needs memory and may throw: no destructor
// does it.
//
// Not thread-safe; the string belongs to the caller and outlives the sink.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <msgpack.hpp>
#include <span>
#include <string>
#include <string_view>

#include "libjobq/protocol/message.hpp"

namespace jobq::protocol {

class StringSink {
 public:
  explicit StringSink(std::string* out) : out_(out) {}
  StringSink(const StringSink&) = delete;
  StringSink& operator=(const StringSink&) = delete;

  void write(const char* data, std::size_t size) {
    if (size == 0) return;  // of an empty text, which may lie nowhere
    if (size > small_.size() - used_) {
      flush();
      if (size > small_.size()) {
        out_->append(data, size);
        return;
      }
    }
    std::memcpy(small_.data() + used_, data, size);
    used_ += size;
  }
  // The string itself, for what is appended to it by other means.
  std::string* out() {
    flush();
    return out_;
  }
  void flush() {
    out_->append(small_.data(), used_);
    used_ = 0;
  }

 private:
  std::string* out_;
  std::size_t used_ = 0;
  std::array<char, 256> small_;
};

using Packer = msgpack::packer<StringSink>;

inline void pack_count(Packer* packer, std::size_t count) {
  packer->pack_array(static_cast<std::uint32_t>(count));
}

inline void pack_text(Packer* packer, std::string_view text) {
  packer->pack_str(static_cast<std::uint32_t>(text.size()));
  packer->pack_str_body(text.data(), static_cast<std::uint32_t>(text.size()));
}

inline void pack_bytes(Packer* packer, std::string_view bytes) {
  packer->pack_bin(static_cast<std::uint32_t>(bytes.size()));
  packer->pack_bin_body(bytes.data(), static_cast<std::uint32_t>(bytes.size()));
}

inline void pack_job_id(Packer* packer, JobId id) {
  std::array<char, kJobIdTextBytesMax> room;
  pack_text(packer, to_text(id, &room));
}

// Headers are packed already (codec.hpp).
inline void pack_headers_as_they_are(Packer* packer, StringSink* sink, std::string_view headers) {
  if (headers.empty()) {
    packer->pack_nil();
  } else {
    sink->write(headers.data(), headers.size());
  }
}

// One job of a delivery. The order and the meaning of the elements: docs/protocol.md, "deliver".
// `body`: its parts, one behind the other.
void pack_delivery(Packer* packer, StringSink* sink, const Delivery& job,
                   std::span<const std::string_view> body);

// A message begins with the count of everything in it, its type and its request id.
template <typename Type>
void pack_header(Packer* packer, Type type, std::uint64_t request_id, std::uint32_t fields) {
  pack_count(packer, 3 + fields);
  packer->pack_uint32(kWireVersion);
  packer->pack_uint32(static_cast<std::uint32_t>(type));
  packer->pack_uint64(request_id);
}

}  // namespace jobq::protocol
