#include "libjobq/protocol/reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "libjobq/base/bytes.hpp"
#include "libjobq/base/planted.hpp"
#include "libjobq/protocol/limits.hpp"

namespace jobq::protocol {
namespace {

constexpr std::string_view kTruncated = "the message ends before it does";

const char* name_of(Reader::Kind kind) {
  switch (kind) {
    case Reader::Kind::nothing:
      return "nothing";
    case Reader::Kind::nil:
      return "nil";
    case Reader::Kind::boolean:
      return "a boolean";
    case Reader::Kind::integer:
      return "an integer";
    case Reader::Kind::real:
      return "a floating-point number";
    case Reader::Kind::text:
      return "a str";
    case Reader::Kind::bytes:
      return "a bin";
    case Reader::Kind::array:
      return "an array";
    case Reader::Kind::map:
      return "a map";
    case Reader::Kind::extension:
      return "an extension";
  }
  return "nothing";
}

std::string instead_of(const char* wanted, Reader::Kind found) {
  return fmt::format("must be {}, is {}", wanted, name_of(found));
}

}  // namespace

void Reader::fail(Code code, const char* field, std::string_view problem) {
  if (!status_.ok()) return;
  status_ = Status(code, fmt::format("field '{}' at byte {}: {}", field, position(), problem));
  at_ = end_;
}

bool Reader::take(std::size_t count, const char* field, const char** data) {
  if (remaining() < count) {
    fail(Code::bad_message, field, kTruncated);
    return false;
  }
  *data = at_;
  at_ += count;
  return true;
}

bool Reader::sized(std::size_t width, const char* field, std::uint64_t* value) {
  const char* data = nullptr;
  if (!take(width, field, &data)) return false;
  switch (width) {
    case 1:
      *value = static_cast<std::uint8_t>(*data);
      break;
    case 2:
      *value = get_big_endian<std::uint16_t>(data);
      break;
    case 4:
      *value = get_big_endian<std::uint32_t>(data);
      break;
    default:
      *value = get_big_endian<std::uint64_t>(data);
      break;
  }
  return true;
}

Reader::Kind Reader::peek() const {
  if (at_ == end_) return Kind::nothing;
  const auto tag = static_cast<std::uint8_t>(*at_);
  if (tag <= 0x7F || tag >= 0xE0) return Kind::integer;
  if (tag <= 0x8F) return Kind::map;
  if (tag <= 0x9F) return Kind::array;
  if (tag <= 0xBF) return Kind::text;
  if (tag == 0xC0) return Kind::nil;
  if (tag == 0xC1) return Kind::nothing;  // never used by msgpack
  if (tag <= 0xC3) return Kind::boolean;
  if (tag <= 0xC6) return Kind::bytes;
  if (tag <= 0xC9) return Kind::extension;
  if (tag <= 0xCB) return Kind::real;
  if (tag <= 0xD3) return Kind::integer;
  if (tag <= 0xD8) return Kind::extension;
  if (tag <= 0xDB) return Kind::text;
  if (tag <= 0xDD) return Kind::array;
  return Kind::map;
}

bool Reader::integer(const char* field, Integer* out) {
  if (at_ == end_) {
    fail(Code::bad_message, field, kTruncated);
    return false;
  }
  const auto tag = static_cast<std::uint8_t>(*at_);
  if (tag <= 0x7F) {
    ++at_;
    *out = {tag, false};
    return true;
  }
  if (tag >= 0xE0) {
    ++at_;
    *out = {static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int8_t>(tag))), true};
    return true;
  }
  if (tag < 0xCC || tag > 0xD3) {
    fail(Code::bad_message, field, instead_of("an integer", peek()));
    return false;
  }
  ++at_;
  const std::size_t width = std::size_t{1} << (tag & 3);  // cc..cf and d0..d3: 1, 2, 4, 8 bytes
  std::uint64_t bits = 0;
  if (!sized(width, field, &bits)) return false;
  if (tag >= 0xD0) {
    const std::uint64_t sign = std::uint64_t{1} << (8 * width - 1);
    bits = (bits ^ sign) - sign;  // extends the sign
    *out = {bits, bits >> 63 != 0};
  } else {
    *out = {bits, false};
  }
  return true;
}

std::uint64_t Reader::bounded(const char* field, std::uint64_t maximum) {
  Integer value;
  if (!integer(field, &value)) return 0;
  if (value.negative) {
    fail(Code::bad_argument, field,
         fmt::format("{} is negative; give 0 to {}", static_cast<std::int64_t>(value.bits), maximum));
    return 0;
  }
  if (value.bits > maximum) {
    fail(Code::bad_argument, field, fmt::format("{} is too large; give 0 to {}", value.bits, maximum));
    return 0;
  }
  return value.bits;
}

std::uint64_t Reader::u64(const char* field) { return bounded(field, UINT64_MAX); }

std::int64_t Reader::i64(const char* field) {
  Integer value;
  if (!integer(field, &value)) return 0;
  if (!value.negative && value.bits > static_cast<std::uint64_t>(INT64_MAX)) {
    fail(Code::bad_argument, field, fmt::format("{} does not fit into 63 bits", value.bits));
    return 0;
  }
  return static_cast<std::int64_t>(value.bits);
}

std::int64_t Reader::i64_saturated(const char* field) {
  Integer value;
  if (!integer(field, &value)) return 0;
  if (!value.negative && value.bits > static_cast<std::uint64_t>(INT64_MAX)) return INT64_MAX;
  return static_cast<std::int64_t>(value.bits);
}

std::uint32_t Reader::u32_saturated(const char* field) {
  Integer value;
  if (!integer(field, &value)) return 0;
  if (value.negative || value.bits > UINT32_MAX) return UINT32_MAX;
  return static_cast<std::uint32_t>(value.bits);
}

bool Reader::boolean(const char* field) {
  if (at_ == end_) {
    fail(Code::bad_message, field, kTruncated);
    return false;
  }
  const auto tag = static_cast<std::uint8_t>(*at_);
  if (tag != 0xC2 && tag != 0xC3) {
    fail(Code::bad_message, field, instead_of("a boolean", peek()));
    return false;
  }
  ++at_;
  return tag == 0xC3;
}

bool Reader::blob(const char* field, bool bin_too, std::string_view* out) {
  if (at_ == end_) {
    fail(Code::bad_message, field, kTruncated);
    return false;
  }
  const auto tag = static_cast<std::uint8_t>(*at_);
  std::uint64_t size = 0;
  if (tag >= 0xA0 && tag <= 0xBF) {
    ++at_;
    size = tag & 0x1FU;
  } else if (tag >= 0xD9 && tag <= 0xDB) {
    ++at_;
    if (!sized(std::size_t{1} << (tag - 0xD9), field, &size)) return false;
  } else if (bin_too && tag >= 0xC4 && tag <= 0xC6) {
    ++at_;
    if (!sized(std::size_t{1} << (tag - 0xC4), field, &size)) return false;
  } else {
    fail(Code::bad_message, field, instead_of(bin_too ? "a bin or a str" : "a str", peek()));
    return false;
  }
  const char* data = nullptr;
  if (!take(size, field, &data)) return false;
  *out = {data, size};
  return true;
}

std::string_view Reader::text(const char* field, std::size_t bytes_max) {
  std::string_view value;
  if (!blob(field, false, &value)) return {};
  if (value.size() > bytes_max) {
    fail(Code::bad_argument, field,
         fmt::format("{} bytes are too long; give at most {}", value.size(), bytes_max));
    return {};
  }
  return value;
}

std::string_view Reader::opaque(const char* field) {
  std::string_view value;
  return blob(field, true, &value) ? value : std::string_view{};
}

std::array<std::uint8_t, 16> Reader::id16(const char* field) {
  std::array<std::uint8_t, 16> id{};
  if (take_nil()) return id;
  const std::string_view value = opaque(field);
  if (!ok()) return id;
  if (value.size() != id.size()) {
    fail(Code::bad_argument, field, fmt::format("{} bytes; give exactly 16", value.size()));
    return id;
  }
  std::memcpy(id.data(), value.data(), id.size());
  return id;
}

std::uint32_t Reader::array(const char* field, std::uint64_t least, std::uint64_t most) {
  const Kind kind = peek();
  if (kind != Kind::array) {
    if (kind == Kind::nothing && at_ == end_) {
      fail(Code::bad_message, field, kTruncated);
    } else {
      fail(Code::bad_message, field, instead_of("an array", kind));
    }
    return 0;
  }
  const auto tag = static_cast<std::uint8_t>(*at_++);
  std::uint64_t count = tag & 0x0FU;
  if (tag >= 0xDC && !sized(tag == 0xDC ? 2 : 4, field, &count)) return 0;
  if (count > most) {
    fail(Code::bad_argument, field, fmt::format("{} entries are too many; give at most {}", count, most));
    return 0;
  }
  if (count < least) {
    fail(Code::bad_message, field, fmt::format("{} entries are too few; {} are needed", count, least));
    return 0;
  }
  if (count > remaining()) {
    fail(Code::bad_message, field, kTruncated);
    return 0;
  }
  return static_cast<std::uint32_t>(count);
}

std::uint32_t Reader::map(const char* field, std::uint64_t most) {
  const Kind kind = peek();
  if (kind != Kind::map) {
    if (at_ == end_) {
      fail(Code::bad_message, field, kTruncated);
    } else {
      fail(Code::bad_message, field, instead_of("a map", kind));
    }
    return 0;
  }
  const auto tag = static_cast<std::uint8_t>(*at_++);
  std::uint64_t count = tag & 0x0FU;
  if (tag >= 0xDE && !sized(tag == 0xDE ? 2 : 4, field, &count)) return 0;
  if (count > most) {
    fail(Code::bad_argument, field, fmt::format("{} pairs are too many; give at most {}", count, most));
    return 0;
  }
  if (count > remaining() / 2) {
    fail(Code::bad_message, field, kTruncated);
    return 0;
  }
  return static_cast<std::uint32_t>(count);
}

bool Reader::value_header(const char* field, std::uint64_t* bytes, std::uint64_t* values) {
  const Kind kind = peek();
  *bytes = 0;
  *values = 0;
  const char* data = nullptr;
  if (kind == Kind::nothing) {
    fail(Code::bad_message, field, at_ == end_ ? kTruncated : "0xc1 is no msgpack value");
    return false;
  }
  if (!take(1, field, &data)) return false;
  const auto tag = static_cast<std::uint8_t>(*data);
  switch (kind) {
    case Kind::integer:
      if (tag >= 0xCC && tag <= 0xD3) *bytes = std::uint64_t{1} << (tag & 3);
      return true;
    case Kind::real:
      *bytes = tag == 0xCA ? 4 : 8;
      return true;
    case Kind::text:
      if (tag <= 0xBF) {
        *bytes = tag & 0x1FU;
        return true;
      }
      return sized(std::size_t{1} << (tag - 0xD9), field, bytes);
    case Kind::bytes:
      return sized(std::size_t{1} << (tag - 0xC4), field, bytes);
    case Kind::extension:
      if (tag >= 0xD4) {
        *bytes = 1 + (std::uint64_t{1} << (tag - 0xD4));
        return true;
      }
      if (!sized(std::size_t{1} << (tag - 0xC7), field, bytes)) return false;
      *bytes += 1;  // the extension's type
      return true;
    case Kind::array:
      *values = tag & 0x0FU;
      return tag < 0xDC || sized(tag == 0xDC ? 2 : 4, field, values);
    case Kind::map:
      *values = tag & 0x0FU;
      if (tag >= 0xDE && !sized(tag == 0xDE ? 2 : 4, field, values)) return false;
      *values *= 2;
      return true;
    default:
      return true;  // nil and booleans are their tag
  }
}

std::string_view Reader::skip(const char* field) {
  const std::size_t start = position();
  std::array<std::uint64_t, limits::kNestingMax> open{};  // values still to come at each level
  std::size_t depth = 0;
  while (true) {
    std::uint64_t bytes = 0;
    std::uint64_t values = 0;
    if (!value_header(field, &bytes, &values)) return {};
    const char* data = nullptr;
    if (!take(bytes, field, &data)) return {};
    if (values > remaining()) {
      fail(Code::bad_message, field, kTruncated);
      return {};
    }
    if (values > 0) {
      if (JOBQ_PLANTED(nesting_unlimited) && depth == open.size()) --depth;
      if (depth == open.size()) {
        fail(Code::bad_message, field, fmt::format("nested deeper than {} levels", limits::kNestingMax));
        return {};
      }
      open[depth++] = values;
      continue;
    }
    while (depth > 0 && --open[depth - 1] == 0) --depth;
    if (depth == 0) return since(start);
  }
}

void Reader::skip_many(const char* field, std::uint32_t count) {
  for (std::uint32_t i = 0; i < count && ok(); ++i) (void)skip(field);
}

}  // namespace jobq::protocol
