// The pages of a data file of LMDB 0.9 on 64-bit little-endian machines, which have not changed since 2011:
//
// page  = number:u64 pad:u16 flags:u16 lower:u16 upper:u16 offset:u16*        of a branch or a leaf; lower: end of the offsets
//         number:u64 pad:u16 flags:u16 pages:u32 bytes                       of an overflow run
// node  = low:u16 high:u16 flags:u16 key_bytes:u16 key value                 low, high: size of the value, or (with flags) a page
// meta  = page header, magic:u32 version:u32 address:u64 map:u64 tree tree last_page:u64 transaction:u64
// tree  = pad:u32 flags:u16 depth:u16 branches:u64 leaves:u64 overflows:u64 entries:u64 root:u64
// All little-endian. The first tree is the free list (transaction -> count, page*), the second the list of tables.
//
// For what reads a file without LMDB. Pure, but for read_page().
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace jobq::lmdb {

inline constexpr std::uint64_t kPageBytes = 4096, kNoPage = ~std::uint64_t{0};
inline constexpr std::uint64_t kFirstPage = 2;  // behind the two heads
inline constexpr std::size_t kHead = 16, kNodeHead = 8, kTreeBytes = 48, kTreeRoot = 40;
inline constexpr std::uint16_t kBranch = 0x01, kLeaf = 0x02;
inline constexpr int kDepthMax = 64;

// A number of a page; 0 behind its end.
template <typename T>
T field(std::string_view bytes, std::size_t at) {
  T value{};
  if (at + sizeof value <= bytes.size()) std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// False: the page is behind the end of the file, or the disk cannot read it.
inline bool read_page(int fd, std::uint64_t page, std::string* out) {
  out->resize(kPageBytes);
  std::size_t have = 0;
  while (have < kPageBytes) {
    const ssize_t got =
        pread(fd, out->data() + have, kPageBytes - have, static_cast<off_t>(page * kPageBytes + have));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    have += static_cast<std::size_t>(got);
  }
  return true;
}

}  // namespace jobq::lmdb
