#include <fmt/format.h>

#include <msgpack.hpp>

#include "libjobq/protocol/codec.hpp"
#include "libjobq/protocol/field_readers.hpp"
#include "libjobq/protocol/packing.hpp"

namespace jobq::protocol {

std::string_view read_headers(Reader* reader) {
  if (reader->take_nil()) return {};
  const std::size_t start = reader->position();
  const std::uint32_t count = reader->map("headers", limits::kHeadersMax);
  for (std::uint32_t i = 0; i < count && reader->ok(); ++i) {
    (void)reader->text("headers: a name", SIZE_MAX);
    (void)reader->text("headers: a value", SIZE_MAX);
  }
  if (!reader->ok() || count == 0) return {};  // an empty map is the same as none
  return reader->since(start);
}

std::string pack_headers(const Headers& headers) {
  std::string packed;
  if (headers.empty()) return packed;
  StringSink sink(&packed);
  Packer packer(sink);
  packer.pack_map(static_cast<std::uint32_t>(headers.size()));
  for (const auto& [name, value] : headers) {
    pack_text(&packer, name);
    pack_text(&packer, value);
  }
  sink.flush();
  return packed;
}

Status check_headers(std::string_view packed) {
  if (packed.size() > limits::kHeaderBytesMax) {
    return {Code::headers_too_large,
            fmt::format("headers take {} bytes, at most {} are allowed; put large values "
                        "into the body",
                        packed.size(), limits::kHeaderBytesMax)};
  }
  if (packed.empty()) return {};
  Reader reader(packed);
  (void)read_headers(&reader);
  if (reader.ok() && reader.remaining() > 0)
    reader.fail(Code::bad_message, "headers", "bytes follow the map");
  if (reader.ok()) return {};
  // Too many of them is the only value out of range that there is in a map of strings.
  return reader.status().code() == Code::bad_argument
             ? Status(Code::headers_too_large, reader.status().text())
             : reader.status();
}

Result<Headers> unpack_headers(std::string_view packed) {
  if (Status status = check_headers(packed); !status.ok()) return status;
  Headers headers;
  if (packed.empty()) return headers;
  Reader reader(packed);
  const std::uint32_t count = reader.map("headers", limits::kHeadersMax);
  headers.reserve(count);
  for (std::uint32_t i = 0; i < count && reader.ok(); ++i) {
    const std::string_view name = reader.text("headers: a name", limits::kHeaderBytesMax);
    const std::string_view value = reader.text("headers: a value", limits::kHeaderBytesMax);
    headers.emplace_back(name, value);
  }
  return headers;
}

}  // namespace jobq::protocol
