// Reads msgpack by position: a cursor over bytes that come from outside. Total: whatever the bytes are, every
// call returns, reads nothing beyond the end and allocates nothing (but the text of the first error).
//
// Errors stick: after the first one every call returns zero or empty and the cursor stands at the end, so
// that callers read a whole message in a row and ask ok() once. A loop over counted elements ends with it,
// since each element takes at least one byte: counts are checked against the bytes that are left.
//
// Integers are accepted in any width that msgpack has. Structure that does not fit is bad_message, a value
// out of its range bad_argument; the text names the field. Views point into the bytes given. Belongs to one
// thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "jobq/status.hpp"

namespace jobq::protocol {

class Reader {
 public:
  explicit Reader(std::string_view bytes)
      : begin_(bytes.data()), at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  [[nodiscard]] bool ok() const { return status_.ok(); }
  [[nodiscard]] const Status& status() const { return status_; }
  [[nodiscard]] std::size_t remaining() const { return static_cast<std::size_t>(end_ - at_); }
  [[nodiscard]] std::size_t position() const { return static_cast<std::size_t>(at_ - begin_); }
  [[nodiscard]] std::string_view since(std::size_t position) const {
    return {begin_ + position, static_cast<std::size_t>(at_ - begin_) - position};
  }

  // Steps over a nil and says so; anything else is left where it is.
  bool take_nil() {
    if (at_ == end_ || static_cast<std::uint8_t>(*at_) != 0xC0) return false;
    ++at_;
    return true;
  }

  std::uint64_t u64(const char* field);
  std::uint32_t u32(const char* field) { return static_cast<std::uint32_t>(bounded(field, UINT32_MAX)); }
  std::uint16_t u16(const char* field) { return static_cast<std::uint16_t>(bounded(field, UINT16_MAX)); }
  std::uint64_t bounded(const char* field, std::uint64_t maximum);
  // Values that somebody else judges: what does not fit becomes the nearest that does.
  std::int64_t i64_saturated(const char* field);
  std::uint32_t u32_saturated(const char* field);  // a negative number becomes the maximum
  std::int64_t i64(const char* field);
  bool boolean(const char* field);

  // A str of at most `bytes_max`.
  std::string_view text(const char* field, std::size_t bytes_max);
  // A bin or a str, of any length that is there.
  std::string_view opaque(const char* field);
  // 16 bytes, bin or str; nil is all zero.
  std::array<std::uint8_t, 16> id16(const char* field);

  // The header of an array of `least` to `most` elements; of a map of at most `most` pairs.
  std::uint32_t array(const char* field, std::uint64_t least, std::uint64_t most);
  std::uint32_t map(const char* field, std::uint64_t most);

  // Steps over one value of any kind, nested at most kNestingMax deep, without recursion. Returns its bytes.
  std::string_view skip(const char* field);
  void skip_many(const char* field, std::uint32_t count);

  // What the next value is, without reading it.
  enum class Kind : std::uint8_t { nothing, nil, boolean, integer, real, text, bytes, array, map, extension };
  [[nodiscard]] Kind peek() const;

  void fail(Code code, const char* field, std::string_view problem);

 private:
  struct Integer {
    std::uint64_t bits = 0;  // two's complement when negative
    bool negative = false;
  };
  bool integer(const char* field, Integer* out);
  bool take(std::size_t count, const char* field, const char** data);
  bool sized(std::size_t width, const char* field, std::uint64_t* value);
  bool blob(const char* field, bool bin_too, std::string_view* out);
  // Reads the header of one value for skip(): how many bytes and how many values follow it.
  bool value_header(const char* field, std::uint64_t* bytes, std::uint64_t* values);

  const char* begin_;
  const char* at_;
  const char* end_;
  Status status_;
};

}  // namespace jobq::protocol
