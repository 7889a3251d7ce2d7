// The recorder's log, and a model of the disk below it: what could be there after a power cut.
//
// Model: a write to a file may be lost, kept, or kept in some of its 512-byte sectors, in any combination,
// until the file is synced; a write to an O_DSYNC descriptor is kept once it has returned. Creations, renames
// and removals are kept in their order, some last ones may be lost until the directory is synced. Not
// modelled: disks that lie about a sync, and garbage in half-written sectors.
//
// Not thread-safe. A log that cannot be read ends the process.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "libjobq/base/prng.hpp"

namespace jobq::faults {

// The same numbers are in recorder.c.
enum class DiskEvent : std::uint32_t {
  write = 1,
  durable_write = 2,
  write_returned = 3,
  sync = 4,
  truncate = 5,
  grow = 6,
  create = 7,
  rename = 8,
  confirm = 9,
  sync_directory = 10,
  unlink = 11,
};

struct DiskEntry {
  DiskEvent kind = DiskEvent::write;
  std::uint32_t file = 0;
  std::uint64_t offset = 0;
  std::string bytes;
};

std::vector<DiskEntry> read_disk_log(const std::string& path);

// What happens to the writes that no sync has covered.
enum class Cut : std::uint8_t { nothing_kept, all_kept, prefix_kept, some_kept, torn };
inline constexpr Cut kCuts[] = {Cut::nothing_kept, Cut::all_kept, Cut::prefix_kept, Cut::some_kept,
                                Cut::torn};
const char* to_string(Cut cut);

class DiskModel {
 public:
  void apply(const DiskEntry& entry);
  // Writes the files as they could be found into an empty directory.
  void write_image(const std::string& directory, Cut cut, Prng* prng) const;
  // Writes that a power cut could undo.
  [[nodiscard]] std::size_t pending() const;

 private:
  struct Write {
    DiskEvent kind = DiskEvent::write;
    std::uint64_t offset = 0;
    std::string bytes;
  };
  struct File {
    std::string durable;
    std::vector<Write> pending;
  };
  static void put(std::string* file, const Write& write);
  static void put_torn(std::string* file, const Write& write, Prng* prng);

  std::map<std::uint32_t, File> files_;
  std::vector<DiskEntry> names_;  // creations, renames, removals
  std::size_t durable_names_ = 0;
};

}  // namespace jobq::faults
