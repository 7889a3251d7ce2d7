#include "broker/store/lmdb_heads.hpp"

#include <fmt/format.h>

#include <string_view>

namespace jobq::lmdb {
namespace {

constexpr std::uint32_t kMagic = 0xBEEFC0DE, kVersion = 1;
constexpr std::size_t kTrees = 40, kLastPage = 136, kTransaction = 144;

std::optional<Head> head_of(std::uint64_t page, std::string_view bytes) {
  if (field<std::uint32_t>(bytes, kHead) != kMagic || field<std::uint32_t>(bytes, kHead + 4) != kVersion ||
      field<std::uint32_t>(bytes, kTrees) != kPageBytes)
    return std::nullopt;
  Head head;
  head.page = page;
  head.transaction = field<std::uint64_t>(bytes, kTransaction);
  head.last_page = field<std::uint64_t>(bytes, kLastPage);
  head.free_root = field<std::uint64_t>(bytes, kTrees + kTreeRoot);
  head.main_root = field<std::uint64_t>(bytes, kTrees + kTreeBytes + kTreeRoot);
  if (head.last_page > std::uint64_t{1} << 40) return std::nullopt;
  return head;
}

std::optional<Head> read_head(int fd, std::uint64_t page) {
  std::string bytes;
  return read_page(fd, page, &bytes) ? head_of(page, bytes) : std::nullopt;
}

// Down the right side of the list, whose keys are transactions.
std::optional<std::uint64_t> newest_freed(int fd, std::uint64_t page) {
  std::string bytes;
  for (int depth = 0; depth < kDepthMax; ++depth) {
    if (page < kFirstPage || page == kNoPage || !read_page(fd, page, &bytes)) return std::nullopt;
    const auto flags = field<std::uint16_t>(bytes, 10), lower = field<std::uint16_t>(bytes, 12);
    if (lower < kHead + 2 || lower > kPageBytes) return std::nullopt;
    const std::size_t at = field<std::uint16_t>(bytes, lower - 2U);
    if (at < kHead || at + kNodeHead > kPageBytes) return std::nullopt;
    if ((flags & kLeaf) != 0) {
      if (field<std::uint16_t>(bytes, at + 6) != sizeof(std::uint64_t)) return std::nullopt;
      return field<std::uint64_t>(bytes, at + kNodeHead);
    }
    if ((flags & kBranch) == 0) return std::nullopt;
    page = std::uint64_t{field<std::uint16_t>(bytes, at)} |
           std::uint64_t{field<std::uint16_t>(bytes, at + 2)} << 16 |
           std::uint64_t{field<std::uint16_t>(bytes, at + 4)} << 32;
  }
  return std::nullopt;
}

// Each transaction frees a page, the root of the list of tables at least, but for the first one.
bool is_its_own(const Head& head) { return !head.newest_freed || *head.newest_freed == head.transaction; }

bool follow_each_other(const Head& a, const Head& b) {
  return a.transaction == b.transaction + 1 || b.transaction == a.transaction + 1 ||
         (a.transaction == 0 && b.transaction == 0);  // a file that was just made
}

std::string name_of(const Head& head) {
  return fmt::format(
      "page {} names transaction {}{}", head.page, head.transaction,
      head.newest_freed ? fmt::format(" (its list of free pages {})", *head.newest_freed) : "");
}

}  // namespace

// The newer of the two is the state that counts: pages of the older one may have been used again.
Heads::Heads(int fd) : heads_{read_head(fd, 0), read_head(fd, 1)} {
  for (std::optional<Head>& head : heads_) {
    if (head) head->newest_freed = newest_freed(fd, head->free_root);
  }
  const auto& [first, second] = heads_;
  if (!first || !second) {
    newest_ = first ? &*first : second ? &*second : nullptr;
    if (newest_ != nullptr) {
      damage_ = fmt::format(
          "page {}, a head, cannot be used: unless it was the older one, what the last transaction changed "
          "is lost",
          1 - newest_->page);
    }
    return;
  }
  // What LMDB would take. Of the other one the list may be newer than it says: when a head cannot be written, LMDB puts the number
  // that was there before back, and nothing else.
  newest_ = first->transaction >= second->transaction ? &*first : &*second;
  if (follow_each_other(*first, *second) && is_its_own(*newest_)) return;
  const bool lists = first->newest_freed && second->newest_freed;
  const auto number = [lists](const Head& head) { return lists ? *head.newest_freed : head.transaction; };
  newest_ = number(*first) >= number(*second) ? &*first : &*second;
  contradict_ = true;
  damage_ = fmt::format(
      "the heads contradict each other: {}, {}; the number of one is damaged, and page {} is taken for the "
      "newer",
      name_of(*first), name_of(*second), newest_->page);
}

}  // namespace jobq::lmdb
