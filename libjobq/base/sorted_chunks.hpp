// A sorted set of small entries, kept as a list of sorted arrays of up to 128. What a tree with a node for each entry does
// by following pointers, a miss of the caches each, is done here by searching two arrays; an insert moves some kilobytes.
//
// KeyOf()(entry) gives an entry's key; keys are unique. Iterators and references hold until the next change. Ownership: of
// its entries, which are default-constructible and movable. Thread-safety: none. Memory: a chunk is at least a quarter
// full, or its neighbour is more than half full.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace jobq {

template <typename Entry, typename Key, typename KeyOf>
class SortedChunks {
 public:
  static constexpr std::size_t kChunkMax = 128;

  class Iterator {
   public:
    Iterator() = default;
    const Entry& operator*() const { return all_->chunks_[chunk_].entries[at_]; }
    const Entry* operator->() const { return &**this; }
    Iterator& operator++() {
      ++at_;
      *this = all_->settled(chunk_, at_);
      return *this;
    }
    bool operator==(const Iterator& other) const { return chunk_ == other.chunk_ && at_ == other.at_; }

   private:
    friend class SortedChunks;
    Iterator(const SortedChunks* all, std::size_t chunk, std::size_t at)
        : all_(all), chunk_(chunk), at_(at) {}
    const SortedChunks* all_ = nullptr;
    std::size_t chunk_ = 0, at_ = 0;
  };

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] Iterator begin() const {
    return chunks_.empty() ? end() : Iterator(this, 0, chunks_[0].first);
  }
  [[nodiscard]] Iterator end() const { return Iterator(this, chunks_.size(), 0); }
  // REQUIRES: not empty.
  [[nodiscard]] const Entry& front() const { return chunks_.front().entries[chunks_.front().first]; }
  [[nodiscard]] const Entry& back() const { return chunks_.back().entries.back(); }
  // The one so many behind the front, when it is in the same array: to have it fetched before it is wanted.
  [[nodiscard]] const Entry* ahead(std::size_t places) const {
    if (chunks_.empty() || chunks_.front().count() <= places) return nullptr;
    return &chunks_.front().entries[chunks_.front().first + places];
  }

  // The first entry whose key is not below, or above.
  [[nodiscard]] Iterator lower_bound(const Key& key) const {
    if (chunks_.empty()) return end();
    const std::size_t chunk = chunk_of(key);
    return settled(chunk, place_in(chunks_[chunk], key));
  }
  [[nodiscard]] Iterator upper_bound(const Key& key) const {
    Iterator at = lower_bound(key);
    if (at != end() && KeyOf()(*at) == key) ++at;
    return at;
  }
  [[nodiscard]] bool contains(const Key& key) const {
    const Iterator at = lower_bound(key);
    return at != end() && KeyOf()(*at) == key;
  }

  // False: there is one with this key already.
  bool insert(Entry entry) {
    const Key key = KeyOf()(entry);
    if (chunks_.empty()) {
      add_chunk(0, key);
      chunks_[0].entries.push_back(std::move(entry));
      ++size_;
      return true;
    }
    std::size_t number = chunk_of(key);
    std::size_t at = place_in(chunks_[number], key);
    if (at < chunks_[number].entries.size() && KeyOf()(chunks_[number].entries[at]) == key) return false;
    if (chunks_[number].count() >= kChunkMax) split(&number, &at, key);
    Chunk& chunk = chunks_[number];
    if (key < lows_[number]) lows_[number] = key;
    if (at == chunk.first && chunk.first > 0) {
      chunk.entries[--chunk.first] = std::move(entry);
    } else {
      chunk.entries.insert(chunk.entries.begin() + static_cast<std::ptrdiff_t>(at), std::move(entry));
    }
    ++size_;
    return true;
  }

  // Returns the entry behind it.
  Iterator erase(const Iterator& at) {
    const Key key = KeyOf()(*at);
    take(at);
    return upper_bound(key);
  }
  bool erase(const Key& key) {
    const Iterator at = lower_bound(key);
    if (at == end() || KeyOf()(*at) != key) return false;
    take(at);
    return true;
  }
  // REQUIRES: not empty.
  Entry pop_front() { return take(begin()); }
  Entry pop_back() { return take(Iterator(this, chunks_.size() - 1, chunks_.back().entries.size() - 1)); }

 private:
  struct Chunk {
    std::vector<Entry> entries;
    std::size_t first = 0;  // those in front of it were taken
    [[nodiscard]] std::size_t count() const { return entries.size() - first; }
  };

  Iterator settled(std::size_t chunk, std::size_t at) const {
    if (at < chunks_[chunk].entries.size()) return Iterator(this, chunk, at);
    return chunk + 1 == chunks_.size() ? end() : Iterator(this, chunk + 1, chunks_[chunk + 1].first);
  }
  std::size_t chunk_of(const Key& key) const {
    const auto above = std::upper_bound(lows_.begin(), lows_.end(), key);
    return above == lows_.begin() ? 0 : static_cast<std::size_t>(above - lows_.begin()) - 1;
  }
  static std::size_t place_in(const Chunk& chunk, const Key& key) {
    const auto from = chunk.entries.begin() + static_cast<std::ptrdiff_t>(chunk.first);
    const auto place =
        std::lower_bound(from, chunk.entries.end(), key,
                         [](const Entry& entry, const Key& than) { return KeyOf()(entry) < than; });
    return static_cast<std::size_t>(place - chunk.entries.begin());
  }

  void add_chunk(std::size_t number, const Key& low) {
    chunks_.emplace(chunks_.begin() + static_cast<std::ptrdiff_t>(number));
    lows_.insert(lows_.begin() + static_cast<std::ptrdiff_t>(number), low);
  }
  void drop_chunk(std::size_t number) {
    chunks_.erase(chunks_.begin() + static_cast<std::ptrdiff_t>(number));
    lows_.erase(lows_.begin() + static_cast<std::ptrdiff_t>(number));
  }
  // Makes room where *at of chunk *number is; ascending keys fill whole chunks.
  void split(std::size_t* number, std::size_t* at, const Key& key) {
    if (*number + 1 == chunks_.size() && *at == chunks_[*number].entries.size()) {
      add_chunk(++*number, key);
      *at = 0;
      return;
    }
    const std::size_t half = chunks_[*number].first + chunks_[*number].count() / 2;
    add_chunk(*number + 1, KeyOf()(chunks_[*number].entries[half]));
    Chunk& lower = chunks_[*number];
    Chunk& upper = chunks_[*number + 1];
    const auto middle = lower.entries.begin() + static_cast<std::ptrdiff_t>(half);
    upper.entries.reserve(kChunkMax);
    upper.entries.assign(std::make_move_iterator(middle), std::make_move_iterator(lower.entries.end()));
    lower.entries.erase(middle, lower.entries.end());
    if (*at > half) {
      *at -= half;
      ++*number;
    }
  }
  Entry take(Iterator at) {
    Chunk& chunk = chunks_[at.chunk_];
    Entry taken = std::move(chunk.entries[at.at_]);
    if (at.at_ == chunk.first) {
      if (++chunk.first >= kChunkMax) forget_taken(&chunk);
    } else {
      chunk.entries.erase(chunk.entries.begin() + static_cast<std::ptrdiff_t>(at.at_));
    }
    --size_;
    if (chunk.count() == 0) {
      drop_chunk(at.chunk_);
    } else if (chunk.count() < kChunkMax / 4) {
      if (at.chunk_ + 1 < chunks_.size()) {
        join(at.chunk_);
      } else if (at.chunk_ > 0) {
        join(at.chunk_ - 1);
      }
    }
    return taken;
  }
  static void forget_taken(Chunk* chunk) {
    chunk->entries.erase(chunk->entries.begin(),
                         chunk->entries.begin() + static_cast<std::ptrdiff_t>(chunk->first));
    chunk->first = 0;
  }
  // A chunk with the one behind it, when there is room.
  void join(std::size_t number) {
    Chunk& lower = chunks_[number];
    Chunk& upper = chunks_[number + 1];
    if (lower.count() + upper.count() > kChunkMax * 3 / 4) return;
    forget_taken(&lower);
    lower.entries.insert(
        lower.entries.end(),
        std::make_move_iterator(upper.entries.begin() + static_cast<std::ptrdiff_t>(upper.first)),
        std::make_move_iterator(upper.entries.end()));
    drop_chunk(number + 1);
  }

  std::vector<Chunk> chunks_;  // none is empty
  std::vector<Key> lows_;      // of each chunk: no key in it is below, and all in the chunk before are
  std::size_t size_ = 0;
};

}  // namespace jobq
