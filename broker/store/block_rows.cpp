// The bytes of the rows of `blocks` and `leases`.
//
//   block row = flags:u8 (type:u8 bitmap:32 bytes)*         bitmaps without a bit are left out
//   lease row = count sessions first_granted_at session* (bit:u8 session_index lease_no granted_after)*
// Numbers without a width are variable-length (bytes_io.hpp).
#include <algorithm>

#include "broker/store/block_table.hpp"
#include "broker/store/bytes_io.hpp"

namespace jobq::lmdb {
namespace {

constexpr std::uint8_t kFlagSwept = 1;

// DO NOT RENUMBER. An unknown type means a newer store.
enum class BitmapType : std::uint8_t {
  finished = 1,
  scheduled = 2,
  dead = 3,
  moved = 4,
  has_progress = 5,
  soon = 6
};

struct Typed {
  BitmapType type;
  Bits256 BlockState::*bits;
};
constexpr std::array<Typed, 6> kBitmaps = {{{BitmapType::finished, &BlockState::finished},
                                            {BitmapType::scheduled, &BlockState::scheduled},
                                            {BitmapType::dead, &BlockState::dead},
                                            {BitmapType::moved, &BlockState::moved},
                                            {BitmapType::has_progress, &BlockState::has_progress},
                                            {BitmapType::soon, &BlockState::soon}}};

[[noreturn]] void throw_newer(unsigned what) {
  throw StoreError(Code::corruption, StoreProblem::newer_format,
                   "a block row has a part of type " + std::to_string(what) +
                       " that this version does not know: the store was written by a newer jobq");
}

}  // namespace

JobState BlockState::state(std::uint8_t bit) const {
  if (finished.test(bit)) return JobState::gone;
  if (leased.test(bit)) return JobState::leased;
  if (scheduled.test(bit)) return JobState::scheduled;
  if (dead.test(bit)) return JobState::dead;
  return JobState::ready;
}

void encode_block_row(const BlockState& block, std::string* out) {
  ByteWriter writer(out);
  const bool all_gone = block.finished == kAllBits && block.swept;
  if (all_gone) return;
  writer.fixed(static_cast<std::uint8_t>(block.swept ? kFlagSwept : 0));
  for (const Typed& typed : kBitmaps) {
    const Bits256& bits = block.*typed.bits;
    if (bits.none()) continue;
    writer.fixed(static_cast<std::uint8_t>(typed.type));
    for (const std::uint64_t word : bits.words) writer.fixed(word);
  }
  if (out->size() == 1 && !block.swept) out->clear();
}

void decode_block_row(std::string_view row, BlockState* block) {
  ByteReader reader(row);
  const auto flags = reader.fixed<std::uint8_t>();
  if ((flags & ~kFlagSwept) != 0) throw_newer(flags);
  block->swept = (flags & kFlagSwept) != 0;
  while (!reader.done()) {
    const auto type = reader.fixed<std::uint8_t>();
    const auto* typed = std::ranges::find_if(
        kBitmaps, [&](const Typed& one) { return static_cast<std::uint8_t>(one.type) == type; });
    if (typed == kBitmaps.end()) throw_newer(type);
    for (std::uint64_t& word : (block->*(typed->bits)).words) word = reader.fixed<std::uint64_t>();
  }
}

void encode_lease_row(const BlockState& block, std::string* out) {
  ByteWriter writer(out);
  if (block.leases.empty()) return;
  std::vector<std::uint64_t> sessions;
  TimeMs first = block.leases.front().granted_at;
  for (const LeaseEntry& lease : block.leases) {
    if (lease.granted_at < first) first = lease.granted_at;
    if (!sessions.empty() && sessions.back() == lease.session.value) continue;
    if (std::ranges::find(sessions, lease.session.value) == sessions.end())
      sessions.push_back(lease.session.value);
  }
  writer.number(block.leases.size()).number(sessions.size()).signed_number(first.ms);
  for (const std::uint64_t session : sessions) writer.number(session);
  // One resize for all of them: with many leases a block, and acks in any order, this is where a commit's time goes.
  const std::size_t head = out->size();
  out->resize(head + block.leases.size() * (1 + 3 * kNumberBytesMax));
  char* at = out->data() + head;
  std::size_t next = 0;
  std::size_t index = 0;  // of the lease before, mostly the same
  for (unsigned word = 0; word < 4; ++word) {
    for (std::uint64_t left = block.leased.words[word]; left != 0; left &= left - 1) {
      const LeaseEntry& lease = block.leases[next++];
      if (sessions[index] != lease.session.value) {
        index = static_cast<std::size_t>(std::ranges::find(sessions, lease.session.value) - sessions.begin());
      }
      *at++ = static_cast<char>(word * 64 + static_cast<unsigned>(std::countr_zero(left)));
      at = put_number(at, index);
      at = put_number(at, lease.lease_no);
      at = put_number(at,
                      static_cast<std::uint64_t>(lease.granted_at.ms) - static_cast<std::uint64_t>(first.ms));
    }
  }
  out->resize(static_cast<std::size_t>(at - out->data()));
}

void decode_lease_row(std::string_view row, BlockState* block) {
  ByteReader reader(row);
  const std::uint64_t count = reader.number();
  const std::uint64_t session_count = reader.number();
  const std::int64_t first = reader.signed_number();
  if (count > kBlockJobs || session_count > count)
    throw_damaged("a lease row holds more than a block's leases");
  std::array<std::uint64_t, kBlockJobs> sessions{};
  for (std::uint64_t i = 0; i < session_count; ++i) sessions[i] = reader.number();
  block->leases.reserve(count);
  int previous = -1;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto bit = reader.fixed<std::uint8_t>();
    const std::uint64_t index = reader.number();
    if (int{bit} <= previous || index >= session_count) throw_damaged("a lease row is out of order");
    previous = bit;
    const std::uint32_t lease_no = reader.number32();
    const auto granted = static_cast<std::int64_t>(static_cast<std::uint64_t>(first) + reader.number());
    block->leased.set(bit);
    block->entries.set(bit);
    block->leases.push_back(
        {.lease_no = lease_no, .session = SessionNo{sessions[index]}, .granted_at = TimeMs{granted}});
  }
}

}  // namespace jobq::lmdb
