// Writes msgpack heads and numbers at a place in memory, without a test for room at each: for what is encoded once per
// job. What comes out is what msgpack::packer writes: the shortest form of each number and length. Not installed.
//
// Not thread-safe. REQUIRES: the caller has made room for all that is written; k*Most say how much one value takes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "libjobq/base/bytes.hpp"

namespace jobq::protocol {

class PackWriter {
 public:
  static constexpr std::size_t kHeadMost = 5;    // of a text, bytes or an array
  static constexpr std::size_t kNumberMost = 9;  // of a number

  explicit PackWriter(char* at) : at_(at) {}
  [[nodiscard]] char* at() const { return at_; }

  void nil() { byte(0xC0); }
  void boolean(bool value) { byte(value ? 0xC3 : 0xC2); }

  void number(std::uint64_t value) {
    if (value < 0x80) {
      byte(static_cast<std::uint8_t>(value));
    } else if (value <= UINT8_MAX) {
      sized<std::uint8_t>(0xCC, value);
    } else if (value <= UINT16_MAX) {
      sized<std::uint16_t>(0xCD, value);
    } else if (value <= UINT32_MAX) {
      sized<std::uint32_t>(0xCE, value);
    } else {
      sized<std::uint64_t>(0xCF, value);
    }
  }

  void integer(std::int64_t value) {
    if (value >= 0) return number(static_cast<std::uint64_t>(value));
    const auto bits = static_cast<std::uint64_t>(value);
    if (value >= -32) {
      byte(static_cast<std::uint8_t>(bits));
    } else if (value >= INT8_MIN) {
      sized<std::uint8_t>(0xD0, bits);
    } else if (value >= INT16_MIN) {
      sized<std::uint16_t>(0xD1, bits);
    } else if (value >= INT32_MIN) {
      sized<std::uint32_t>(0xD2, bits);
    } else {
      sized<std::uint64_t>(0xD3, bits);
    }
  }

  void array(std::size_t count) {
    if (count < 16) {
      byte(static_cast<std::uint8_t>(0x90 | count));
    } else if (count <= UINT16_MAX) {
      sized<std::uint16_t>(0xDC, count);
    } else {
      sized<std::uint32_t>(0xDD, count);
    }
  }

  // The head of a text, or of bytes, of that size; they follow.
  void text(std::size_t size) {
    if (size < 32) {
      byte(static_cast<std::uint8_t>(0xA0 | size));
    } else if (size <= UINT8_MAX) {
      sized<std::uint8_t>(0xD9, size);
    } else if (size <= UINT16_MAX) {
      sized<std::uint16_t>(0xDA, size);
    } else {
      sized<std::uint32_t>(0xDB, size);
    }
  }
  void bytes(std::size_t size) {
    if (size <= UINT8_MAX) {
      sized<std::uint8_t>(0xC4, size);
    } else if (size <= UINT16_MAX) {
      sized<std::uint16_t>(0xC5, size);
    } else {
      sized<std::uint32_t>(0xC6, size);
    }
  }

  // What is packed already, or the content of a text.
  void raw(std::string_view packed) {
    if (packed.empty()) return;
    std::memcpy(at_, packed.data(), packed.size());
    at_ += packed.size();
  }

 private:
  void byte(std::uint8_t value) { *at_++ = static_cast<char>(value); }
  template <typename T>
  void sized(std::uint8_t tag, std::uint64_t value) {
    byte(tag);
    const T big = to_big_endian(static_cast<T>(value));
    std::memcpy(at_, &big, sizeof big);
    at_ += sizeof big;
  }

  char* at_;
};

}  // namespace jobq::protocol
