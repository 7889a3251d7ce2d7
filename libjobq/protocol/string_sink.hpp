// Lets msgpack::packer append to a std::string. Not installed; for the codec only.
//
// Not thread-safe; the string belongs to the caller and outlives the sink.
#pragma once

#include <cstddef>
#include <cstdint>
#include <msgpack.hpp>
#include <string>
#include <string_view>

namespace jobq::protocol {

struct StringSink {
  std::string* out;
  void write(const char* data, std::size_t size) { out->append(data, size); }
};

inline void pack_text(msgpack::packer<StringSink>* packer, std::string_view text) {
  packer->pack_str(static_cast<std::uint32_t>(text.size()));
  packer->pack_str_body(text.data(), static_cast<std::uint32_t>(text.size()));
}

inline void pack_bytes(msgpack::packer<StringSink>* packer, std::string_view bytes) {
  packer->pack_bin(static_cast<std::uint32_t>(bytes.size()));
  packer->pack_bin_body(bytes.data(), static_cast<std::uint32_t>(bytes.size()));
}

}  // namespace jobq::protocol
