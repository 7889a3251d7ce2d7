#include "broker/store/lmdb_pages.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "broker/store/lmdb_env.hpp"
#include "broker/store/lmdb_heads.hpp"
#include "broker/store/lmdb_page_format.hpp"

namespace jobq::lmdb {
namespace {

constexpr std::uint16_t kKindMask = 0x6f;  // branch, leaf, overflow, meta, leaf2, subpage
constexpr std::uint16_t kBigValue = 0x01;
constexpr std::uint64_t kRunMax = 32'768;  // pages of one value: 128 MiB, for the list of free pages

}  // namespace

PageFile::PageFile(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)), path_(path) {
  struct stat found {};
  if (!fd_.open() || fstat(fd_.get(), &found) != 0) {
    throw StoreError(Code::io_error, StoreProblem::io,
                     fmt::format("cannot read {}: {}", path, std::strerror(errno)));
  }
  const auto bytes = static_cast<std::uint64_t>(found.st_size);
  pages_ = bytes / kPageBytes;
  const Heads heads(fd_.get());
  const Head* head = heads.newest();
  if (head == nullptr) {
    throw StoreError(
        Code::corruption, StoreProblem::not_a_store,
        fmt::format(
            "{} has no usable head (two pages that say where everything is): either it is not a store "
            "of jobq, or nothing of it can be found; restore a backup",
            path));
  }
  head_damage_ = heads.damage();
  last_page_ = head->last_page;
  pages_ = std::min(pages_, last_page_ + 1);
  seen_.assign(pages_, false);
  free_.assign(pages_, false);
  read_free_list(head->free_root);
  read_table_list(head->main_root);
}

bool PageFile::read_page(std::uint64_t page, std::string* out) const {
  return lmdb::read_page(fd_.get(), page, out);
}

// Not whether it says its own number: what it holds is what counts, and rows have checksums.
const char* PageFile::check_page(std::string_view bytes, Kind* kind) const {
  const auto flags = static_cast<std::uint16_t>(field<std::uint16_t>(bytes, 10) & kKindMask);
  if (flags != kBranch && flags != kLeaf) return "it is neither a branch nor a leaf";
  const auto lower = field<std::uint16_t>(bytes, 12), upper = field<std::uint16_t>(bytes, 14);
  if (lower < kHead || lower > upper || upper > kPageBytes || (lower & 1) != 0)
    return "its limits make no sense";
  *kind = flags == kBranch ? Kind::branch : Kind::leaf;
  if (*kind == Kind::branch && nodes(bytes) < 1) return "it is a branch without a child";
  return nullptr;
}

std::uint16_t PageFile::nodes(std::string_view bytes) const {
  return static_cast<std::uint16_t>((field<std::uint16_t>(bytes, 12) - kHead) / 2);
}

std::optional<PageFile::Node> PageFile::node(std::string_view bytes, std::uint16_t index, Kind kind) const {
  const std::size_t at = field<std::uint16_t>(bytes, kHead + std::size_t{2} * index);
  if (at < kHead || at + kNodeHead > bytes.size()) return std::nullopt;
  const auto low = field<std::uint16_t>(bytes, at), high = field<std::uint16_t>(bytes, at + 2);
  Node found;
  found.flags = field<std::uint16_t>(bytes, at + 4);
  const std::size_t key_bytes = field<std::uint16_t>(bytes, at + 6);
  if (at + kNodeHead + key_bytes > bytes.size()) return std::nullopt;
  found.key = bytes.substr(at + kNodeHead, key_bytes);
  if (kind == Kind::branch) {
    found.child = std::uint64_t{low} | std::uint64_t{high} << 16 | std::uint64_t{found.flags} << 32;
    return found;
  }
  found.bytes = std::uint32_t{low} | std::uint32_t{high} << 16;
  const std::size_t value_at = at + kNodeHead + key_bytes;
  found.big = (found.flags & kBigValue) != 0;
  const std::size_t here = found.big ? sizeof(std::uint64_t) : found.bytes;
  if (value_at + here > bytes.size()) return std::nullopt;
  found.value = bytes.substr(value_at, here);
  if (found.big) found.child = field<std::uint64_t>(bytes, value_at);
  return found;
}

std::optional<std::string_view> PageFile::value_of(const Node& node) {
  if (!node.big) return node.value;
  const std::uint64_t run = (kHead + node.bytes + kPageBytes - 1) / kPageBytes;
  if (node.child < kFirstPage || run > kRunMax || run > pages_ || node.child > pages_ - run)
    return std::nullopt;
  value_.clear();
  std::string bytes;
  for (std::uint64_t page = node.child; page < node.child + run; ++page) {
    if (!read_page(page, &bytes)) return std::nullopt;
    seen_[page] = true;
    value_ += page == node.child ? std::string_view(bytes).substr(kHead) : std::string_view(bytes);
  }
  value_.resize(std::min<std::size_t>(value_.size(), node.bytes));
  return std::string_view(value_);
}

void PageFile::walk_leaf(std::uint64_t page, std::string_view bytes, const std::string& from,
                         const std::string& below, const OnRow& row, const OnLost& lost) {
  std::string last = from;
  for (std::uint16_t index = 0; index < nodes(bytes); ++index) {
    const std::optional<Node> found = node(bytes, index, Kind::leaf);
    const std::optional<std::string_view> value = found ? value_of(*found) : std::nullopt;
    if (!value) {
      // Up to the next key that can be read.
      std::string next = below;
      for (auto after = static_cast<std::uint16_t>(index + 1); after < nodes(bytes); ++after) {
        if (const auto other = node(bytes, after, Kind::leaf)) {
          next = other->key;
          break;
        }
      }
      lost({found ? std::string(found->key) : last, next, page,
            found ? "the pages of a large value cannot be read" : "an entry makes no sense"});
      continue;
    }
    last = found->key;
    row({found->key, *value, {page, index}});
  }
}

void PageFile::walk_page(std::uint64_t page, const std::string& from, const std::string& below, int depth,
                         const OnRow& row, const OnLost& lost) {
  const auto give_up = [&](const std::string& why) { lost({from, below, page, why}); };
  if (page < kFirstPage || page >= pages_) return give_up("it lies outside the file");
  if (depth > kDepthMax) return give_up("the tree is too deep");
  if (seen_[page]) return give_up("another part of the file refers to it as well");
  if (free_[page]) return give_up("it is in the list of free pages");
  std::string bytes;
  if (!read_page(page, &bytes)) return give_up("it cannot be read");
  Kind kind{};
  if (const char* wrong = check_page(bytes, &kind)) return give_up(wrong);
  seen_[page] = true;
  if (kind == Kind::leaf) return walk_leaf(page, bytes, from, below, row, lost);
  const std::uint16_t count = nodes(bytes);
  for (std::uint16_t index = 0; index < count; ++index) {
    const std::optional<Node> child = node(bytes, index, Kind::branch);
    const auto next =
        index + 1 < count ? node(bytes, static_cast<std::uint16_t>(index + 1), Kind::branch) : std::nullopt;
    const std::string child_from = index == 0 || !child ? from : std::string(child->key);
    const std::string child_below = next ? std::string(next->key) : below;
    if (!child) {
      lost({child_from, child_below, page, "an entry of the branch makes no sense"});
      continue;
    }
    walk_page(child->child, child_from, child_below, depth + 1, row, lost);
  }
}

void PageFile::walk(std::uint64_t root, const OnRow& row, const OnLost& lost) {
  if (root != 0) walk_page(root, {}, {}, 0, row, lost);
}

void PageFile::read_free_list(std::uint64_t root) {
  free_known_ = true;
  if (root == kNoPage) return;
  std::vector<std::uint64_t> listed;
  const auto take = [&](const StoredRow& row) {
    const auto count = field<std::uint64_t>(row.stored, 0);
    if (row.stored.size() < 8 || count > (row.stored.size() - 8) / 8) {
      free_known_ = false;
      return;
    }
    std::uint64_t above = kNoPage;  // they are listed in falling order
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto page = field<std::uint64_t>(row.stored, 8 + 8 * i);
      if (page >= above || page < kFirstPage || page > last_page_) {
        free_known_ = false;
        return;
      }
      above = page;
      listed.push_back(page);
    }
  };
  walk(root, take, [&](const LostKeys&) { free_known_ = false; });
  for (const std::uint64_t page : listed) {
    if (page < pages_) free_[page] = true;
  }
  if (!free_known_) std::fill(free_.begin(), free_.end(), false);
}

void PageFile::read_table_list(std::uint64_t root) {
  if (root == kNoPage) return;
  const auto take = [&](const StoredRow& row) {
    for (std::size_t table = 0; table < kTables; ++table) {
      if (row.key != kTableNames[table] || row.stored.size() != kTreeBytes) continue;
      const auto at = field<std::uint64_t>(row.stored, kTreeRoot);
      roots_[table] = at == kNoPage ? 0 : at;
    }
  };
  walk(root, take, [&](const LostKeys& lost) { lost_tables_.push_back(lost); });
}

void PageFile::orphans(const OnRow& row) {
  std::string bytes;
  const OnLost ignore = [](const LostKeys&) {};
  for (std::uint64_t page = kFirstPage; page < pages_; ++page) {
    if (seen_[page] || free_[page] || !read_page(page, &bytes)) continue;
    Kind kind{};
    if (check_page(bytes, &kind) != nullptr || kind != Kind::leaf) continue;
    seen_[page] = true;
    walk_leaf(page, bytes, {}, {}, row, ignore);
  }
}

std::optional<StoredRow> PageFile::row_at(const RowPlace& place) {
  if (cached_page_ != place.page) {
    cached_page_ = 0;
    if (place.page < kFirstPage || place.page >= pages_ || !read_page(place.page, &cached_))
      return std::nullopt;
    cached_page_ = place.page;
  }
  Kind kind{};
  if (check_page(cached_, &kind) != nullptr || kind != Kind::leaf || place.index >= nodes(cached_)) {
    return std::nullopt;
  }
  const std::optional<Node> found = node(cached_, place.index, Kind::leaf);
  const auto value = found ? value_of(*found) : std::nullopt;
  if (!value) return std::nullopt;
  return StoredRow{found->key, *value, place};
}

}  // namespace jobq::lmdb
