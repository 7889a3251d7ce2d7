// Writing and reading the values of rows: fixed big-endian numbers and variable-length ones (LEB128, small
// numbers take one byte; signed ones zigzag).
//
// Errors: a reader that runs out of bytes throws StoreError (corruption). It is only given values whose
// checksum fits, so that this means a bug or a newer writer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "broker/store/lmdb_env.hpp"
#include "libjobq/base/bytes.hpp"

namespace jobq::lmdb {

// Writes a variable-length number to `at`, where there is room for kNumberBytesMax; returns what is behind it.
inline constexpr std::size_t kNumberBytesMax = 10;
inline char* put_number(char* at, std::uint64_t value) {
  while (value >= 0x80) {
    *at++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *at++ = static_cast<char>(value);
  return at;
}

class ByteWriter {
 public:
  // Clears *out and appends to it: one string is used again and again.
  explicit ByteWriter(std::string* out) : out_(out) { out_->clear(); }
  template <std::unsigned_integral T>
  ByteWriter& fixed(T value) {
    put_big_endian(out_, value);
    return *this;
  }
  ByteWriter& number(std::uint64_t value) {
    char bytes[kNumberBytesMax];
    out_->append(bytes, put_number(bytes, value));
    return *this;
  }
  ByteWriter& signed_number(std::int64_t value) {
    return number((static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
  }
  ByteWriter& text(std::string_view bytes) {
    number(bytes.size());
    out_->append(bytes);
    return *this;
  }
  ByteWriter& raw(std::string_view bytes) {
    out_->append(bytes);
    return *this;
  }
  [[nodiscard]] std::string_view view() const { return *out_; }

 private:
  std::string* out_;
};

class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}
  [[nodiscard]] bool done() const { return rest_.empty(); }
  [[nodiscard]] std::string_view rest() const { return rest_; }

  template <std::unsigned_integral T>
  T fixed() {
    return get_big_endian<T>(raw(sizeof(T)).data());
  }
  std::uint64_t number() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<std::uint8_t>(raw(1)[0]);
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if ((byte & 0x80U) == 0) return value;
    }
    throw_damaged("a number in the store has more than ten bytes");
  }
  std::int64_t signed_number() {
    const std::uint64_t bits = number();
    return static_cast<std::int64_t>((bits >> 1) ^ (~(bits & 1) + 1));
  }
  std::uint32_t number32() { return static_cast<std::uint32_t>(number()); }
  std::string_view text() { return raw(number()); }
  std::string_view raw(std::uint64_t bytes) {
    if (bytes > rest_.size()) throw_damaged("a value in the store ends too early");
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }

 private:
  std::string_view rest_;
};

}  // namespace jobq::lmdb
