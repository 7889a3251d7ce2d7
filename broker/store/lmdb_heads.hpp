// The two heads of a data file: the pages that say where everything is, each for the transaction that wrote it. LMDB takes the one
// with the larger number for the newer and has no checksum on either: with one flipped bit in a number an older state is the
// store, without a word. The list of free pages ends with the number of its transaction, and so knows better.
//
//   Heads heads(fd);
//   heads.newest();    // nullptr: neither can be used
//   heads.contradict() // one's number is damaged: not for LMDB
//   heads.damage();    // what is wrong; empty: nothing
//
// Any bytes give an answer. Thread-safety: none.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace jobq::lmdb {

// The format of a page, see lmdb_pages.cpp.
inline constexpr std::uint64_t kPageBytes = 4096, kNoPage = ~std::uint64_t{0}, kFirstPage = 2;

// A little-endian number of a page; 0 behind its end.
template <typename T>
T field(std::string_view bytes, std::size_t at) {
  T value{};
  if (at + sizeof value <= bytes.size()) std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// False: the page is behind the end of the file, or the disk cannot read it.
bool read_page(int fd, std::uint64_t page, std::string* out);

struct Head {
  std::uint64_t page = 0, transaction = 0, last_page = 0;
  std::uint64_t free_root = kNoPage, main_root = kNoPage;
  std::optional<std::uint64_t> newest_freed;  // the last transaction in its list of free pages
};

class Heads {
 public:
  explicit Heads(int fd);
  [[nodiscard]] const Head* newest() const { return newest_; }
  // Both can be used, and the number of one is damaged: LMDB may take the older for the newer one.
  [[nodiscard]] bool contradict() const { return contradict_; }
  // What is wrong, and what that means.
  [[nodiscard]] const std::string& damage() const { return damage_; }

 private:
  std::array<std::optional<Head>, 2> heads_;
  const Head* newest_ = nullptr;
  bool contradict_ = false;
  std::string damage_;
};

}  // namespace jobq::lmdb
