// Typed bodies with msgpack: every type with a MSGPACK_DEFINE_MAP can be enqueued and handled.
//
//   struct SendReceipt { std::string to; std::uint64_t order; MSGPACK_DEFINE_MAP(to, order) };
//   std::string packed = jobq::pack_body(SendReceipt{"a@example.org", 42});
//   auto receipt = jobq::unpack_body<SendReceipt>(packed);   // throws jobq::Error, code bad_body
//
// With MSGPACK_DEFINE_MAP a body is a map by field name: fields may be added later (an old worker skips what it does
// not know; a new worker leaves a missing field at its default).
//
// The only public header that needs msgpack-cxx (Debian: libmsgpack-cxx-dev), besides jobq.hpp, which includes it.
// Thread-safety: functions without state. Units: bytes.
#pragma once

#ifndef MSGPACK_NO_BOOST
#define MSGPACK_NO_BOOST
#endif
#include <cstddef>
#include <exception>
#include <memory>
#include <msgpack.hpp>
#include <string>
#include <string_view>

#include "jobq/body.hpp"
#include "jobq/error.hpp"

namespace jobq {

namespace body_detail {

struct StringSink {
  std::string* out;
  void write(const char* data, std::size_t size) { out->append(data, size); }
};

}  // namespace body_detail

template <typename T>
struct BodyFormat {
  static std::string pack(const T& value) {
    std::string packed;
    body_detail::StringSink sink{&packed};
    msgpack::pack(sink, value);
    return packed;
  }

  // Throws Error (bad_body) when the bytes are no msgpack or have another shape than T. Memory stays in proportion to
  // the body: no count in it is believed beyond the bytes that are there.
  static T unpack(std::string_view packed) {
    try {
      const std::size_t most = packed.size();
      const msgpack::object_handle handle =
          msgpack::unpack(packed.data(), packed.size(), nullptr, nullptr,
                          msgpack::unpack_limit(most, most, most, most, most, 64));
      return handle.get().as<T>();
    } catch (const std::exception& error) {
      throw Error(Code::bad_body, "the body (" + std::to_string(packed.size()) +
                                      " bytes) does not decode as " + std::string{job_type<T>()} + ": " +
                                      error.what());
    }
  }
};

}  // namespace jobq
