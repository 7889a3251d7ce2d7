// Any bytes as what is stored: a value that is written back the same, or a refusal, whatever the checksum of its row says. The
// first byte says which kind of row.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "broker/store/block_table.hpp"
#include "broker/store/lmdb_env.hpp"
#include "broker/store/record.hpp"
#include "broker/store/rows.hpp"
#include "libjobq/base/check.hpp"

namespace {

using namespace jobq;
using namespace jobq::lmdb;

// What was read is written, read again and written again: the same bytes from then on.
template <typename Decode, typename Encode>
void there_and_back(std::string_view row, Decode decode, Encode encode) {
  std::string once, twice;
  encode(decode(row), &once);
  encode(decode(once), &twice);
  JOBQ_CHECK(once == twice);
}

void read_row(unsigned kind, std::string_view row) {
  switch (kind) {
    case 0:
      return there_and_back(row, decode_mark, encode_mark);
    case 1:
      return there_and_back(row, decode_identity, encode_identity);
    case 2:
      return there_and_back(row, decode_queue, [](const QueueRow& queue, std::string* out) {
        encode_queue(queue.name, queue.settings, out);
      });
    case 3:
      return there_and_back(row, decode_counters, encode_counters);
    case 4:
      return there_and_back(row, decode_unique, encode_unique);
    case 5:
      return there_and_back(row, decode_held_key, encode_held_key);
    case 6:
      return there_and_back(row, decode_progress, encode_progress);
    case 7:
      return there_and_back(row, decode_attempt, encode_attempt);
    case 8:
      return there_and_back(row, decode_dead, encode_dead);
    case 9:
      return there_and_back(row, decode_producer, encode_producer);
    case 10:
      return there_and_back(row, decode_answers, encode_answers);
    case 11:
      return there_and_back(row, decode_finished, encode_finished);
    case 12:
      return there_and_back(row, decode_count, encode_count);
    case 13:
      return there_and_back(row, decode_format, encode_format);
    case 14:
    case 15: {
      BlockState block;
      kind == 14 ? decode_block_row(row, &block) : decode_lease_row(row, &block);
      return;
    }
    default: {
      const auto record = decode_record(JobId{7}, row);
      if (record) JOBQ_CHECK(record->body.size() <= row.size() && record->headers.size() <= row.size());
      return;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  try {
    read_row(data[0] % 17U, {reinterpret_cast<const char*>(data) + 1, size - 1});
  } catch (const StoreError& error) {
    JOBQ_CHECK(error.status().code() == Code::corruption, "{}", error.status().text());
  }
  return 0;
}
