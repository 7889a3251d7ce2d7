// What the decoder refuses, one line per reason: the bytes, the code and a word of the sentence; and what it
// leaves for the engine to refuse.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <limits>

#include "libjobq/protocol/codec.hpp"
#include "libjobq/protocol/packing.hpp"
#include "tests/protocol/describe.hpp"

namespace jobq::protocol {
namespace {

using Bytes = std::string;

// Writes msgpack by hand: values in a row, so that a message can be wrong in exactly one place.
class Maker {
 public:
  Maker& array(std::size_t count) {
    return write([&](Packer* to) { pack_count(to, count); });
  }
  Maker& map(std::size_t count) {
    return write([&](Packer* to) { to->pack_map(static_cast<std::uint32_t>(count)); });
  }
  Maker& text(std::string_view value) {
    return write([&](Packer* to) { pack_text(to, value); });
  }
  Maker& bin(std::string_view value) {
    return write([&](Packer* to) { pack_bytes(to, value); });
  }
  template <typename T>
  Maker& number(T value) {
    return write([&](Packer* to) { to->pack(value); });
  }
  Maker& flag(bool value) {
    return write([&](Packer* to) { to->pack(value); });
  }
  Maker& nil() {
    return write([](Packer* to) { to->pack_nil(); });
  }
  Maker& raw(std::string_view bytes) { return (bytes_.append(bytes), *this); }
  Maker& header(int type, std::size_t fields) { return array(3 + fields).number(1).number(type).number(77); }
  [[nodiscard]] Bytes bytes() const { return bytes_; }

 private:
  template <typename Write>
  Maker& write(Write write) {
    StringSink sink(&bytes_);
    Packer packer(sink);
    write(&packer);
    sink.flush();
    return *this;
  }
  std::string bytes_;
};

Maker enqueue_of(std::size_t groups) {
  Maker maker;
  maker.header(5, 5).nil().number(1).number(1).flag(false).array(groups);
  return maker;
}

Bytes enqueue_job(const Maker& job) {
  return enqueue_of(1).array(2).text("q").array(1).raw(job.bytes()).bytes();
}

Bytes register_with(std::string_view queues, std::string_view types, std::uint64_t credit,
                    std::string_view tail) {
  return Maker().header(3, 12).nil().nil().raw(queues).raw(types).number(credit).number(0).raw(tail).bytes();
}

const Bytes kOneQueue = Maker().array(1).array(2).text("q").number(1).bytes();
const Bytes kTail = Maker().array(0).array(0).text("w").text("h").number(1).text("b").bytes();
const Bytes kNone = Maker().array(0).bytes();

Bytes outcome(const Maker& one) { return Maker().header(7, 1).array(1).raw(one.bytes()).bytes(); }

struct Reject {
  std::string what;
  Bytes bytes;
  Code code;
  const char* word;  // is in the text
};

void check_rejects(const std::vector<Reject>& rejects) {
  for (const Reject& reject : rejects) {
    CAPTURE(reject.what);
    std::uint64_t request_id = 0;
    const auto decoded = decode_request(reject.bytes, {}, &request_id);
    CHECK(decoded.code() == reject.code);
    CHECK_MESSAGE(decoded.status().text().find(reject.word) != std::string::npos, decoded.status().text());
  }
}

TEST_CASE("what is no message") {
  check_rejects({
      {"nothing", "", Code::bad_message, "message"},
      {"not an array", "hello", Code::bad_message, "array"},
      {"a byte that msgpack never uses", "\xC1", Code::bad_message, "array"},
      {"four billion elements in five bytes", "\xDD\xFF\xFF\xFF\xFF", Code::bad_message, "ends"},
      {"a map", Maker().map(3).bytes(), Code::bad_message, "array"},
      {"no request id", Maker().array(2).number(1).number(1).bytes(), Code::bad_message, "too few"},
      {"a version that is a text", Maker().array(3).text("1").number(1).number(1).bytes(), Code::bad_message,
       "version"},
      {"a negative request id", Maker().array(3).number(1).number(11).number(-1).bytes(), Code::bad_argument,
       "request_id"},
      {"a float as request id", Maker().array(3).number(1).number(11).number(1.5).bytes(), Code::bad_message,
       "request_id"},
      {"another version", Maker().array(3).number(2).number(11).number(1).bytes(), Code::unsupported_version,
       "2"},
      {"a reply", Maker().header(12, 0).bytes(), Code::unknown_verb, "12"},
      {"an unknown type", Maker().header(4711, 0).bytes(), Code::unknown_verb, "4711"},
      {"two messages", Maker().header(11, 0).header(11, 0).bytes(), Code::bad_message, "bytes follow"},
      {"hello without its fields", Maker().header(1, 0).bytes(), Code::bad_message, "6"},
      {"a name that is too long",
       Maker().header(1, 6).number(1).number(1).number(0).text(Bytes(129, 'x')).text("").number(1).bytes(),
       Code::bad_argument, "client"},
      {"a name that is a bin",
       Maker().header(1, 6).number(1).number(1).number(0).bin("x").text("").number(1).bytes(),
       Code::bad_message, "client"},
      {"a pid over 32 bits",
       Maker()
           .header(1, 6)
           .number(1)
           .number(1)
           .number(0)
           .text("x")
           .text("")
           .number(std::uint64_t{1} << 32)
           .bytes(),
       Code::bad_argument, "pid"},
  });
}

TEST_CASE("the request id is known as soon as the header was read") {
  std::uint64_t request_id = 0;
  CHECK(decode_request(Maker().header(1, 0).bytes(), {}, &request_id).code() == Code::bad_message);
  CHECK(request_id == 77);
  CHECK(decode_request(Maker().header(99, 0).bytes(), {}, &request_id).code() == Code::unknown_verb);
  CHECK(request_id == 77);
  const Bytes large = enqueue_job(Maker().array(2).text("").bin(Bytes(100, 'x')));
  request_id = 0;
  CHECK(decode_request(large, {.message_bytes_max = 100}, &request_id).code() == Code::too_large);
  CHECK(request_id == 77);
  CHECK(decode_request("\xC1", {}, &request_id).code() == Code::bad_message);
  CHECK(request_id == 0);
  CHECK(decode_reply(large, {.message_bytes_max = 100}).code() == Code::too_large);
}

TEST_CASE("an enqueue that is refused as a whole") {
  const Bytes job = Maker().array(2).text("").bin("b").bytes();
  Bytes too_many = enqueue_of(1).array(2).text("q").array(10'001).bytes();
  Bytes two_groups = enqueue_of(2).array(2).text("q").array(6'000).bytes();
  for (int i = 0; i < 6'000; ++i) two_groups += job;
  two_groups += Maker().array(2).text("q").array(6'000).bytes();
  for (int i = 0; i < 10'001; ++i) too_many += job;
  for (int i = 0; i < 6'000; ++i) two_groups += job;
  Maker headers;
  headers.array(3).text("").bin("b").map(65);
  for (int i = 0; i < 65; ++i) headers.text("n").text("v");
  check_rejects({
      {"no groups", enqueue_of(0).bytes(), Code::bad_message, "too few"},
      {"a group without jobs", enqueue_of(1).array(2).text("q").array(0).bytes(), Code::bad_message, "jobs"},
      {"a group that is no array", enqueue_of(1).text("q").bytes(), Code::bad_message, "group"},
      {"more groups than a message has", enqueue_of(10'001).raw(Bytes(20'000, '\xC0')).bytes(),
       Code::bad_argument, "groups"},
      {"more groups than there are bytes", enqueue_of(9'000).bytes(), Code::bad_message, "ends"},
      {"more jobs than a message may have", too_many, Code::bad_argument, "at most 10000"},
      {"the same over two groups", two_groups, Code::bad_argument, "at most 4000"},
      {"more jobs than there are bytes", enqueue_of(1).array(2).text("q").array(9'000).bytes(),
       Code::bad_message, "ends"},
      {"a producer of 15 bytes",
       Maker().header(5, 5).bin(Bytes(15, 'p')).number(1).number(1).flag(false).array(0).bytes(),
       Code::bad_argument, "producer"},
      {"resend as a number", Maker().header(5, 5).nil().number(1).number(1).number(0).array(0).bytes(),
       Code::bad_message, "resend"},
      {"a body that is an integer", enqueue_job(Maker().array(2).text("").number(5)), Code::bad_message,
       "body"},
      {"a body that is nil", enqueue_job(Maker().array(2).text("").nil()), Code::bad_message, "body"},
      {"a job without a body", enqueue_job(Maker().array(1).text("")), Code::bad_message, "job"},
      {"headers that are an array", enqueue_job(Maker().array(3).text("").bin("b").array(0)),
       Code::bad_message, "headers"},
      {"a header that is a number",
       enqueue_job(Maker().array(3).text("").bin("b").map(1).text("n").number(1)), Code::bad_message,
       "headers"},
      {"65 headers", enqueue_job(headers), Code::bad_argument, "headers"},
      {"a priority that is a text", enqueue_job(Maker().array(4).text("").bin("b").nil().text("9")),
       Code::bad_message, "priority"},
      {"a body that ends early", enqueue_job(Maker().array(2).text("").raw(Bytes("\xC6\x7F\xFF\xFF\xFF", 5))),
       Code::bad_message, "body"},
  });
}

TEST_CASE("what one job got wrong is left to the engine") {
  const Bytes bytes = enqueue_of(1)
                          .array(2)
                          .text("no such name!")
                          .array(1)
                          .array(11)
                          .text(Bytes(100, 't'))
                          .bin("b")
                          .map(1)
                          .text("n")
                          .text(Bytes(5000, 'v'))
                          .number(300)
                          .text(Bytes(300, 'k'))
                          .number(std::numeric_limits<std::uint64_t>::max())
                          .number(-5)
                          .number(std::numeric_limits<std::int64_t>::min())
                          .number(-1)
                          .number(std::uint64_t{1} << 40)
                          .number(-7)
                          .bytes();
  std::uint64_t request_id = 0;
  const auto decoded = decode_request(bytes, {}, &request_id);
  REQUIRE(decoded.status().text() == "");
  const auto& request = std::get<Enqueue>(decoded->body);
  CHECK(request.groups[0].queue == "no such name!");
  const EnqueueJob& job = request.jobs[0];
  CHECK(job.type.size() == 100);
  CHECK(job.headers.size() > limits::kHeaderBytesMax);
  CHECK(job.priority == 255);
  CHECK(job.unique_key.size() == 300);
  CHECK(job.delay.ms == std::numeric_limits<std::int64_t>::max());
  CHECK(job.run_at.ms == -5);
  CHECK(job.expires_in.ms == std::numeric_limits<std::int64_t>::min());
  CHECK(job.max_attempts == std::numeric_limits<std::uint32_t>::max());
  CHECK(job.max_run_ms == std::numeric_limits<std::uint32_t>::max());
  CHECK(job.unique_for.ms == -7);
}

TEST_CASE("a registration that is refused") {
  Maker many_queues;
  many_queues.array(1001);
  for (int i = 0; i < 1001; ++i) many_queues.array(1).text("q");
  Maker many_types;
  many_types.array(201);
  for (int i = 0; i < 201; ++i) many_types.text("t");
  check_rejects({
      {"no queues", register_with(kNone, kNone, 1, kTail), Code::bad_message, "queues"},
      {"too many queues", register_with(many_queues.bytes(), kNone, 1, kTail), Code::bad_argument,
       "at most 1000"},
      {"a queue's name", register_with(Maker().array(1).array(1).text("a b").bytes(), kNone, 1, kTail),
       Code::bad_argument, "queues"},
      {"weight 0", register_with(Maker().array(1).array(2).text("q").number(0).bytes(), kNone, 1, kTail),
       Code::bad_argument, "weight"},
      {"weight 101", register_with(Maker().array(1).array(2).text("q").number(101).bytes(), kNone, 1, kTail),
       Code::bad_argument, "weight"},
      {"too many types", register_with(kOneQueue, many_types.bytes(), 1, kTail), Code::bad_argument, "types"},
      {"a type's name", register_with(kOneQueue, Maker().array(1).text("-t").bytes(), 1, kTail),
       Code::bad_argument, "types"},
      {"too much credit", register_with(kOneQueue, kNone, 10'001, kTail), Code::bad_argument, "credit_jobs"},
      {"a held job that is none",
       register_with(kOneQueue, kNone, 1, Maker().array(1).array(2).text("k12").number(1).bytes()),
       Code::bad_argument, "held"},
      {"a lease without a number",
       register_with(kOneQueue, kNone, 1, Maker().array(1).array(1).text("j12").bytes()), Code::bad_message,
       "held"},
  });
}

TEST_CASE("outcomes, heartbeats and administration that are refused") {
  Maker many_params;
  many_params.header(13, 2).text("stats").map(65);
  for (int i = 0; i < 65; ++i) many_params.text(std::to_string(i)).nil();
  check_rejects({
      {"an unknown kind", outcome(Maker().array(3).text("j1").number(1).number(6)), Code::bad_argument,
       "kind"},
      {"an error text over 4 KiB",
       outcome(Maker().array(5).text("j1").number(1).number(1).nil().text(Bytes(4097, 'e'))),
       Code::bad_argument, "text"},
      {"a job id of 17 bytes", outcome(Maker().array(3).text(Bytes(17, 'j')).number(1).number(0)),
       Code::bad_argument, "job"},
      {"a job id that is a number", outcome(Maker().array(3).number(12).number(1).number(0)),
       Code::bad_message, "job"},
      {"no kind", outcome(Maker().array(2).text("j1").number(1)), Code::bad_message, "outcome"},
      {"a lease number over 32 bits",
       outcome(Maker().array(3).text("j1").number(std::uint64_t{1} << 32).number(0)), Code::bad_argument,
       "lease_no"},
      {"10,001 outcomes", Maker().header(7, 1).array(10'001).raw(Bytes(20'000, '\x90')).bytes(),
       Code::bad_argument, "at most 10000"},
      {"10,001 extends", Maker().header(9, 1).array(10'001).raw(Bytes(20'000, '\x90')).bytes(),
       Code::bad_argument, "extend"},
      {"heartbeat credit", Maker().header(9, 2).array(0).number(10'001).bytes(), Code::bad_argument,
       "credit_jobs"},
      {"a nested parameter", Maker().header(13, 2).text("stats").map(1).text("queue").array(0).bytes(),
       Code::bad_message, "params"},
      {"a float as parameter", Maker().header(13, 2).text("stats").map(1).text("queue").number(1.5).bytes(),
       Code::bad_message, "params"},
      {"a parameter twice", Maker().header(13, 2).text("v").map(2).text("a").nil().text("a").nil().bytes(),
       Code::bad_argument, "twice"},
      {"a parameter over 63 bits",
       Maker().header(13, 2).text("v").map(1).text("a").number(std::uint64_t{1} << 63).bytes(),
       Code::bad_argument, "63 bits"},
      {"65 parameters", many_params.bytes(), Code::bad_argument, "params"},
      {"a map of four billion", Maker().header(13, 2).text("v").raw(Bytes("\xDF\xFF\xFF\xFF\xFF", 5)).bytes(),
       Code::bad_argument, "params"},
  });
}

TEST_CASE("what is skipped may be nested to a limit and no further") {
  const auto nested = [](std::size_t levels) {
    return Maker().header(11, 1).raw(Bytes(levels, '\x91')).nil().bytes();
  };
  std::uint64_t request_id = 0;
  CHECK(decode_request(nested(limits::kNestingMax), {}, &request_id).ok());
  const auto refused = decode_request(nested(limits::kNestingMax + 1), {}, &request_id);
  CHECK(refused.code() == Code::bad_message);
  CHECK(refused.status().text().find("nested") != std::string::npos);
  // Five million levels: neither recursion nor memory.
  CHECK(decode_request(nested(5'000'000), {}, &request_id).code() == Code::bad_message);
}

TEST_CASE("replies that are refused") {
  const auto code_of = [](const Maker& maker) { return decode_reply(maker.bytes(), {}).code(); };
  CHECK(code_of(Maker().header(6, 2).number(1).array(1).array(3).number(3).text("j1").number(1)) ==
        Code::bad_argument);
  CHECK(code_of(Maker().header(6, 2).number(1).array(1).array(3).number(0).text("j1").number(5)) ==
        Code::bad_argument);
  CHECK(code_of(Maker().header(6, 2).number(1).array(1).array(3).number(0).text("j0").number(1)) ==
        Code::bad_argument);
  CHECK(code_of(Maker().header(8, 1).array(1).number(4)) == Code::bad_argument);
  CHECK(code_of(Maker().header(14, 1).array(0)) == Code::bad_message);
  CHECK(code_of(Maker().header(15, 3).number(65536).text("x").number(0)) == Code::bad_argument);
  CHECK(code_of(Maker().header(64, 2).number(1).array(1).array(11).raw(Bytes(11, '\xC0'))) ==
        Code::bad_message);
  CHECK(code_of(Maker().header(5, 5).nil().number(1).number(1).flag(false).array(0)) == Code::unknown_verb);
  CHECK(code_of(Maker().header(69, 2).number(1).array(0)) == Code::unknown_verb);
  CHECK(code_of(Maker().header(300, 0)) == Code::unknown_verb);
  CHECK(code_of(Maker().array(3).number(2).number(2).number(1)) == Code::unsupported_version);
}

}  // namespace
}  // namespace jobq::protocol
