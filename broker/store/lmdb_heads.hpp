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
#include <cstdint>
#include <optional>
#include <string>

#include "broker/store/lmdb_page_format.hpp"

namespace jobq::lmdb {

struct Head {
  std::uint64_t page = 0, transaction = 0, last_page = 0;
  std::uint64_t free_root = kNoPage, main_root = kNoPage;
  std::optional<std::uint64_t> newest_freed;  // the last transaction in its list of free pages
};

class Heads {
 public:
  explicit Heads(int fd);
  Heads(const Heads&) = delete;  // newest() points into it
  Heads& operator=(const Heads&) = delete;
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
