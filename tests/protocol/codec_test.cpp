// Properties of the codec over random messages of every kind: what goes in comes out; a message cut anywhere
// is an error; changed bytes give a message or an error and never reach beyond the frame (each frame lies in
// a buffer of exactly its size, so that the sanitizers see one byte too many).
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <memory>

#include "libjobq/protocol/codec.hpp"
#include "libjobq/protocol/deliver_writer.hpp"
#include "tests/protocol/describe.hpp"
#include "tests/protocol/random_message.hpp"

namespace jobq::protocol {
namespace {

// A copy with nothing after its last byte.
class ExactFrame {
 public:
  explicit ExactFrame(std::string_view bytes) : size_(bytes.size()), data_(new char[bytes.size()]) {
    std::copy(bytes.begin(), bytes.end(), data_.get());
  }
  [[nodiscard]] std::string_view view() const { return {data_.get(), size_}; }

 private:
  std::size_t size_;
  std::unique_ptr<char[]> data_;
};

template <typename Message>
std::string encoded(const Message& message) {
  std::string bytes;
  encode(message, &bytes);
  return bytes;
}

Result<RequestMessage> decode_as(const RequestMessage&, std::string_view frame) {
  std::uint64_t request_id = 0;
  return decode_request(frame, {}, &request_id);
}
Result<ReplyMessage> decode_as(const ReplyMessage&, std::string_view frame) {
  return decode_reply(frame, {});
}

template <typename Property>
void for_every_kind(std::uint64_t seed, Property property) {
  for (std::uint64_t kind = 0; kind < MessageMaker::kRequestKinds; ++kind) {
    MessageMaker maker(seed);
    property(maker.request(kind));
  }
  for (std::uint64_t kind = 0; kind < MessageMaker::kReplyKinds; ++kind) {
    MessageMaker maker(seed);
    property(maker.reply(kind));
  }
}

TEST_CASE("what was encoded is what is decoded") {
  const bool holds = rc::check("round trip", [](std::uint64_t seed) {
    for_every_kind(seed, [](const auto& message) {
      const ExactFrame frame(encoded(message));
      const auto decoded = decode_as(message, frame.view());
      RC_ASSERT(decoded.status().text() == "");
      RC_ASSERT(describe(*decoded) == describe(message));
      RC_ASSERT(encoded(*decoded) == frame.view());
    });
  });
  CHECK(holds);
}

TEST_CASE("deliveries written one by one are the message that is encoded at once") {
  const bool holds = rc::check("deliver writer", [](std::uint64_t seed) {
    for (std::uint64_t kind = 0; kind < MessageMaker::kReplyKinds; ++kind) {
      MessageMaker maker(seed);
      const ReplyMessage message = maker.reply(kind);
      const auto* deliver = std::get_if<Deliver>(&message.body);
      if (deliver == nullptr) continue;
      std::string bytes = "what was there before";
      DeliverWriter writer(&bytes);
      writer.begin(deliver->session);
      for (const Delivery& job : deliver->jobs) {
        const std::size_t half = seed % (job.body.size() + 1);
        const std::string_view parts[] = {job.body.substr(0, half), {}, job.body.substr(half)};
        Delivery without = job;
        without.body = "not this one";
        if (seed % 2 == 0) {
          writer.add(without, parts);
        } else {
          writer.begin_job(without, job.body.size());
          for (const std::string_view& part : parts) writer.add_piece(std::span(&part, 1));
          writer.end_job(without);
        }
      }
      writer.finish();
      RC_ASSERT(writer.jobs() == deliver->jobs.size());
      const ExactFrame frame(bytes);
      const auto decoded = decode_reply(frame.view(), {});
      RC_ASSERT(decoded.status().text() == "");
      RC_ASSERT(decoded->request_id == 0U);
      RC_ASSERT(describe(*decoded) == describe(ReplyMessage{0, *deliver}));
    }
  });
  CHECK(holds);
}

TEST_CASE("unknown elements at the end of a message are skipped") {
  const bool holds = rc::check("extra elements", [](std::uint64_t seed) {
    for_every_kind(seed, [](const auto& message) {
      std::string bytes = encoded(message);
      RC_ASSERT((static_cast<unsigned char>(bytes[0]) & 0xF0) == 0x90);
      const auto elements = static_cast<unsigned char>(bytes[0]) & 0x0F;
      // As an array with a 16-bit count, and three elements more: nil, a nested one and an extension.
      bytes.replace(0, 1, std::string{'\xDC', '\0', static_cast<char>(elements + 3)});
      bytes += '\xC0';  // stands for an optional field that was left out
      using namespace std::string_view_literals;
      bytes += "\x92\x81\x01\x93\xC0\xC3\xCB........\xA2hi"sv;
      bytes += "\xD6\x05...."sv;
      const ExactFrame frame(bytes);
      const auto decoded = decode_as(message, frame.view());
      RC_ASSERT(decoded.status().text() == "");
      RC_ASSERT(describe(*decoded) == describe(message));
    });
  });
  CHECK(holds);
}

TEST_CASE("a message cut at any byte is an error, and so is one with a byte too many") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    for_every_kind(seed, [](const auto& message) {
      const std::string bytes = encoded(message);
      for (std::size_t size = 0; size < bytes.size(); ++size) {
        const ExactFrame frame(std::string_view(bytes).substr(0, size));
        const auto decoded = decode_as(message, frame.view());
        // One check per cut would cost more time than the decoding.
        if (decoded.code() != Code::bad_message) FAIL("cut at ", size, " of ", describe(message));
      }
      const auto decoded = decode_as(message, bytes + '\xC0');
      REQUIRE(decoded.code() == Code::bad_message);
    });
  }
}

TEST_CASE("changed bytes give a message that encodes again, or an error") {
  std::size_t accepted = 0;
  std::size_t refused = 0;
  for (std::uint64_t seed = 0; seed < 15; ++seed) {
    Prng prng(seed);
    for_every_kind(seed, [&](const auto& message) {
      const std::string bytes = encoded(message);
      for (int round = 0; round < 25; ++round) {
        std::string changed = bytes;
        for (std::uint64_t changes = 1 + prng.below(3); changes > 0; --changes) {
          changed[prng.below(changed.size())] = static_cast<char>(prng.below(256));
        }
        const ExactFrame frame(changed);
        const auto decoded = decode_as(message, frame.view());
        if (!decoded.ok()) {
          ++refused;
          continue;
        }
        ++accepted;
        (void)describe(*decoded);  // touches every view
        const std::string again = encoded(*decoded);
        const auto second = decode_as(message, again);
        if (!second.ok() || describe(*second) != describe(*decoded)) FAIL(describe(*decoded));
      }
    });
  }
  CHECK(accepted > 1000);
  CHECK(refused > 1000);
}

TEST_CASE("random bytes never decode by accident") {
  Prng prng(1);
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes;
    for (std::uint64_t size = prng.below(60); size > 0; --size) bytes += static_cast<char>(prng.below(256));
    const ExactFrame frame(bytes);
    std::uint64_t request_id = 0;
    const bool refused =
        !decode_request(frame.view(), {}, &request_id).ok() && !decode_reply(frame.view(), {}).ok();
    if (!refused) FAIL("round ", round);
  }
}

TEST_CASE("the content hash is of what is stored, not of how often it was sent") {
  MessageMaker maker(7);
  RequestMessage message = maker.request(2);
  const auto hash_of = [](const RequestMessage& sent) {
    const std::string bytes = encoded(sent);
    std::uint64_t request_id = 0;
    const auto decoded = decode_request(bytes, {}, &request_id);
    REQUIRE(decoded.ok());
    return std::get<Enqueue>(decoded->body).content_hash;
  };
  const std::uint64_t first = hash_of(message);
  CHECK(first != 0);
  auto& request = std::get<Enqueue>(message.body);
  message.request_id += 5;
  request.resend = !request.resend;
  request.lowest_open += 9;
  CHECK(hash_of(message) == first);
  request.jobs.back().body = "another body altogether";
  CHECK(hash_of(message) != first);
}

TEST_CASE("integers are taken in every width that msgpack has, bodies as str and as bin") {
  for (const int width : {0, 1, 2, 3}) {
    std::string bytes;
    const auto put = [&](std::uint64_t value) {
      bytes += static_cast<char>(0xCC + width);
      for (int shift = (8 << width) - 8; shift >= 0; shift -= 8)
        bytes += static_cast<char>(value >> shift & 0xFF);
    };
    bytes += '\x98';
    put(1);   // version
    put(5);   // enqueue
    put(42);  // request_id
    bytes += '\xC0';
    put(7);  // sequence
    put(6);  // lowest_open
    bytes += "\xC2\x91\x92\xA1q\x92\x92\xA1t\xA2hi";
    bytes += std::string("\x96\xA0\xC4\x02yo\xC0\xD3\0\0\0\0\0\0\0\x09\xC0\xD0\x05", 19);
    std::uint64_t request_id = 0;
    const auto decoded = decode_request(bytes, {}, &request_id);
    CHECK(decoded.status().text() == "");
    CHECK(request_id == 42);
    CHECK(describe(*decoded) ==
          "enqueue, request_id 42\n  producer: none\n  sequence: 7\n  lowest_open: 6\n  resend: false\n"
          "  group: queue \"q\"\n    - type \"t\", body \"hi\"\n    - type \"\", body \"yo\", priority 9, "
          "delay_ms 5\n");
  }
}

TEST_CASE("encode appends") {
  std::string bytes = "before";
  encode(RequestMessage{1, Goodbye{}}, &bytes);
  CHECK(bytes == std::string("before\x93\x01\x0b\x01"));
}

}  // namespace
}  // namespace jobq::protocol
