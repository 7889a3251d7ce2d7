// Any bytes as a message: the decoders give a message or an error, and a message that was accepted encodes into bytes that
// mean the same. `tests/soak.sh fuzz` runs it under libFuzzer; its corpus is a unit test everywhere (run_corpus.cpp).
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "libjobq/base/check.hpp"
#include "libjobq/protocol/codec.hpp"
#include "tests/protocol/describe.hpp"

namespace {

using namespace jobq::protocol;

template <typename Message, typename Decode>
void check_again(const Message& message, Decode decode) {
  std::string bytes;
  encode(message, &bytes);
  const auto again = decode(bytes);
  JOBQ_CHECK(again.ok(), "{} of: {}", again.status().text(), describe(message));
  JOBQ_CHECK(describe(*again) == describe(message), "{}", describe(message));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view frame(reinterpret_cast<const char*>(data), size);
  // Encoding may take more room than was read (bodies as bin), never more than this.
  const DecodeLimits limits{.message_bytes_max = size + size / 2 + 1024};
  const auto as_request = [&limits](std::string_view bytes) {
    std::uint64_t request_id = 0;
    return decode_request(bytes, limits, &request_id);
  };
  const auto as_reply = [&limits](std::string_view bytes) { return decode_reply(bytes, limits); };

  const auto request = as_request(frame);
  JOBQ_CHECK(request.ok() || !request.status().text().empty());
  if (request.ok()) check_again(*request, as_request);
  const auto reply = as_reply(frame);
  JOBQ_CHECK(reply.ok() || !reply.status().text().empty());
  if (reply.ok()) check_again(*reply, as_reply);

  const auto headers = unpack_headers(frame);
  JOBQ_CHECK(headers.ok() == check_headers(frame).ok());
  // Packed in the shortest way it may only become shorter.
  if (headers.ok()) JOBQ_CHECK(pack_headers(*headers).size() <= frame.size());
  return 0;
}
