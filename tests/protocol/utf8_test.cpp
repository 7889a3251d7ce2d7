#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "libjobq/base/utf8.hpp"

namespace jobq {
namespace {

TEST_CASE("well-formed text stays as it is") {
  for (const char* text :
       {"", "plain", "na\u00EFve", "\u20AC", "\U0001F600", "\uD7FF\uE000", "\U0010FFFF", "a\nb"}) {
    CHECK(is_valid_utf8(text));
    CHECK(valid_utf8(text) == text);
  }
  CHECK(is_valid_utf8(std::string_view("\0", 1)));
}

TEST_CASE("every byte that belongs to nothing is replaced") {
  const std::string_view wrong[] = {
      "\x80",
      "\xBF",
      "\xC0\x80",
      "\xC1\xBF",
      "\xC3",
      "\xE0\x80\x80",
      "\xE2\x82",
      "\xED\xA0\x80",
      "\xF0\x80\x80\x80",
      "\xF4\x90\x80\x80",
      "\xF5\x80\x80\x80",
      "\xFF",
  };
  for (const std::string_view bytes : wrong) {
    CHECK_FALSE(is_valid_utf8(bytes));
    std::string expected = "<";
    for (std::size_t i = 0; i < bytes.size(); ++i) expected += "\uFFFD";
    const std::string between = "<" + std::string(bytes) + ">";
    CHECK(valid_utf8(between) == expected + ">");
    CHECK(is_valid_utf8(valid_utf8(between)));
  }
}

}  // namespace
}  // namespace jobq
