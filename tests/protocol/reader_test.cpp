// The positional reader by itself, packed headers, and the names of queues and types.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "libjobq/protocol/reader.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "libjobq/protocol/codec.hpp"

namespace jobq::protocol {
namespace {

TEST_CASE("headers are packed, checked and unpacked") {
  const Headers headers = {{"trace", "abc"}, {"", ""}, {"name", std::string(40, 'x')}};
  const std::string packed = pack_headers(headers);
  CHECK(check_headers(packed).ok());
  CHECK(*unpack_headers(packed) == headers);
  CHECK(pack_headers({}).empty());
  CHECK(unpack_headers("")->empty());
  CHECK(unpack_headers("\x80")->empty());

  CHECK(check_headers(pack_headers({{"n", std::string(4000, 'v')}})).ok());
  CHECK(check_headers(pack_headers({{"n", std::string(4096, 'v')}})).code() == Code::headers_too_large);
  CHECK(check_headers(pack_headers(Headers(64, {"n", "v"}))).ok());
  CHECK(check_headers(pack_headers(Headers(65, {"n", "v"}))).code() == Code::headers_too_large);
  CHECK(check_headers("\x93").code() == Code::bad_message);
  CHECK(check_headers(packed + "x").code() == Code::bad_message);
  CHECK(unpack_headers(std::string_view(packed).substr(0, packed.size() - 1)).code() == Code::bad_message);
}

TEST_CASE("names of queues and types") {
  for (const char* good : {"q", "0", "receipts", "Mail.v2", "a-b_c.d", "9lives"}) {
    CHECK(check_queue_name(good).ok());
    CHECK(check_type(good).ok());
  }
  CHECK(check_queue_name(std::string(64, 'q')).ok());
  CHECK(check_type(std::string(64, 't')).ok());
  CHECK(check_type("").ok());
  for (const std::string& bad :
       {std::string(".a"), std::string("-a"), std::string("_a"), std::string("a b"), std::string("a/b"),
        std::string("q\xC3\xBC"), std::string(65, 'q'), std::string("a\0b", 3)}) {
    CHECK(check_queue_name(bad).code() == Code::bad_queue_name);
    CHECK(check_type(bad).code() == Code::bad_type);
  }
  CHECK(check_queue_name("").code() == Code::bad_queue_name);
  const std::string text = check_queue_name("a\x1B[2Jb").text();
  CHECK(text.find('\x1B') == std::string::npos);  // nothing that a terminal would obey
}

TEST_CASE("the reader keeps its first error and then reads nothing") {
  Reader reader("\xA1x\x05");
  CHECK(reader.u64("first") == 0);
  CHECK(reader.text("second", 10).empty());
  CHECK(reader.remaining() == 0);
  CHECK(reader.status().text().find("first") != std::string::npos);
}

TEST_CASE("integers at the edges") {
  const auto signed_of = [](std::string_view bytes) { return Reader(bytes).i64("n"); };
  CHECK(signed_of("\x7F") == 127);
  CHECK(signed_of("\xE0") == -32);
  CHECK(signed_of("\xFF") == -1);
  CHECK(signed_of("\xD0\x80") == -128);
  CHECK(signed_of(std::string_view("\xD1\x80\x00", 3)) == -32768);
  CHECK(signed_of(std::string_view("\xD2\x80\x00\x00\x00", 5)) == std::numeric_limits<std::int32_t>::min());
  CHECK(signed_of(std::string_view("\xD3\x80\x00\x00\x00\x00\x00\x00\x00", 9)) ==
        std::numeric_limits<std::int64_t>::min());
  CHECK(signed_of("\xD3\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF") == std::numeric_limits<std::int64_t>::max());
  CHECK(signed_of("\xCC\xFF") == 255);
  CHECK(signed_of("\xCE\xFF\xFF\xFF\xFF") == 4294967295);
  CHECK(Reader("\xCF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF").u64("n") == std::numeric_limits<std::uint64_t>::max());
  Reader negative("\xFF");
  CHECK(negative.u64("n") == 0);
  CHECK(negative.status().code() == Code::bad_argument);
}

TEST_CASE("nothing is read beyond the end by any header that promises more") {
  const std::string_view promises[] = {"\xC4\xFF",
                                       "\xC5\xFF\xFF",
                                       "\xC6\xFF\xFF\xFF\xFF",
                                       "\xC7\xFF",
                                       "\xC8\xFF\xFF",
                                       "\xC9\xFF\xFF\xFF\xFF",
                                       "\xD4",
                                       "\xD8\x01",
                                       "\xD9\xFF",
                                       "\xDA\xFF\xFF",
                                       "\xDB\xFF\xFF\xFF\xFF",
                                       "\xDC\xFF\xFF",
                                       "\xDD\xFF\xFF\xFF\xFF",
                                       "\xDE\xFF\xFF",
                                       "\xDF\xFF\xFF\xFF\xFF",
                                       "\xCA\x01",
                                       "\xCB\x01",
                                       "\xCC",
                                       "\xCD\x01",
                                       "\xCE\x01",
                                       "\xCF\x01",
                                       "\xBF",
                                       "\x9F",
                                       "\x8F",
                                       "\xC1",
                                       ""};
  for (const std::string_view promise : promises) {
    Reader reader(promise);
    CHECK(reader.skip("value").empty());
    CHECK(reader.status().code() == Code::bad_message);
  }
}

}  // namespace
}  // namespace jobq::protocol
