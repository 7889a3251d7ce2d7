// Bodies: the name of a type, raw bytes from whatever holds them, packing, and bytes that come from somebody else.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "jobq/msgpack_body.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "jobq/client.hpp"

namespace app {

struct SendReceipt {
  std::string to;
  std::uint64_t order = 0;
  MSGPACK_DEFINE_MAP(to, order)
};

struct Renamed {
  static constexpr const char* kJobType = "app.SendReceipt-2";
  std::string to;
  std::string note = "none";
  MSGPACK_DEFINE_MAP(to, note)
};

}  // namespace app

namespace {

struct Hidden {
  int number = 0;
  MSGPACK_DEFINE_MAP(number)
};

}  // namespace

using namespace jobq;

TEST_CASE("a type's name is its own without namespaces, or the one it gives itself") {
  CHECK(job_type<app::SendReceipt>() == "SendReceipt");
  CHECK(job_type<app::Renamed>() == "app.SendReceipt-2");
  CHECK(job_type<Hidden>() == "Hidden");
}

TEST_CASE(
    "a body comes back as it was packed; a missing field keeps its default, an unknown one is skipped") {
  const std::string packed = pack_body(app::SendReceipt{"a@example.org", 42});
  const auto same = unpack_body<app::SendReceipt>(packed);
  CHECK(same.to == "a@example.org");
  CHECK(same.order == 42);
  const auto other = unpack_body<app::Renamed>(packed);
  CHECK(other.to == "a@example.org");
  CHECK(other.note == "none");
}

TEST_CASE("bytes that are no such body give an error that names the type, whatever they claim to hold") {
  const std::vector<std::string> hostile = {
      "",
      "plain text",
      std::string("\xdd\xff\xff\xff\xff", 5),  // an array of 4 billion elements, none there
      std::string("\xdf\xff\xff\xff\xff", 5),  // a map of as many
      std::string("\xc6\xff\xff\xff\xff", 5),  // 4 GiB of bytes
      std::string(100'000, '\x91'),            // arrays in arrays
      std::string("\x81\xa2to\x01", 5),        // the right name with another type
      pack_body(Hidden{1}).substr(0, 4),       // cut off
  };
  for (const std::string& body : hostile) {
    CAPTURE(body.size());
    try {
      (void)unpack_body<app::SendReceipt>(body);
      FAIL("it was taken");
    } catch (const Error& error) {
      CHECK(error.code() == Code::bad_body);
      CHECK(std::string_view{error.what()}.find("SendReceipt") != std::string_view::npos);
    }
  }
}

TEST_CASE("raw bytes come from text and from ranges of bytes, whole") {
  const std::array<std::byte, 3> array = {std::byte{1}, std::byte{0}, std::byte{3}};
  const std::vector<unsigned char> vector = {1, 0, 3};
  const std::string text("a\0b", 3);
  CHECK(Bytes(array).size() == 3);
  CHECK(Bytes(std::span<const std::byte>{array}).view() == std::string_view("\1\0\3", 3));
  CHECK(Bytes(vector).view() == std::string_view("\1\0\3", 3));
  CHECK(Bytes(text).size() == 3);
  CHECK(Bytes("literal").view() == "literal");
  CHECK(Bytes(text.data(), 2).size() == 2);
}

TEST_CASE("a job of a batch takes the type of its body, unless it is told another") {
  CHECK(NewJob(app::SendReceipt{}).options.type == "SendReceipt");
  CHECK(NewJob(app::SendReceipt{}, {.type = "other"}).options.type == "other");
  CHECK(NewJob("raw").options.type.empty());
  CHECK(NewJob("raw").body == "raw");
}

TEST_CASE("a result is a value or says why not, and value() throws the same") {
  const EnqueueResult good = Enqueued{"j1", false, Enqueued::State::ready, false};
  CHECK(good.outcome() == Outcome::accepted);
  CHECK(EnqueueResult(good).value().id == "j1");
  EnqueueResult bad{Outcome::refused, Status(Code::queue_full, "full"), std::chrono::milliseconds{700}};
  CHECK(bad.retryable());
  try {
    (void)std::move(bad).value();
    FAIL("it did not throw");
  } catch (const Error& error) {
    CHECK(error.code() == Code::queue_full);
    CHECK(error.retryable());
    CHECK(error.retry_after() == std::chrono::milliseconds{700});
    CHECK(std::string_view{error.what()} == "full");
  }
  const EnqueueResult unknown{Outcome::unknown, Status(Code::timed_out, "late")};
  CHECK_FALSE(unknown.retryable());  // Not without a unique key.
}
