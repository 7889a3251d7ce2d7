#include "tests/faults/disk_log.hpp"

#include <algorithm>
#include <cstring>
#include <fstream>

#include "libjobq/base/check.hpp"

namespace jobq::faults {
namespace {

constexpr std::uint64_t kSectorBytes = 512;

struct RawEntry {
  std::uint32_t kind, file, length, unused;
  std::uint64_t offset;
};

}  // namespace

const char* to_string(Cut cut) {
  switch (cut) {
    case Cut::nothing_kept:
      return "nothing kept";
    case Cut::all_kept:
      return "all kept";
    case Cut::prefix_kept:
      return "a prefix kept";
    case Cut::some_kept:
      return "some kept";
    case Cut::torn:
      return "torn";
  }
  return "?";
}

std::vector<DiskEntry> read_disk_log(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  JOBQ_CHECK(in.good(), "cannot read {}", path);
  std::vector<DiskEntry> entries;
  RawEntry raw{};
  while (in.read(reinterpret_cast<char*>(&raw), sizeof raw)) {
    DiskEntry entry{static_cast<DiskEvent>(raw.kind), raw.file, raw.offset, std::string(raw.length, '\0')};
    in.read(entry.bytes.data(), raw.length);
    JOBQ_CHECK(in.gcount() == static_cast<std::streamsize>(raw.length), "{} is cut short", path);
    entries.push_back(std::move(entry));
  }
  JOBQ_CHECK(in.gcount() == 0, "{} is cut short", path);
  return entries;
}

void DiskModel::put(std::string* file, const Write& write) {
  switch (write.kind) {
    case DiskEvent::truncate:
      file->resize(write.offset);
      return;
    case DiskEvent::grow:
      if (file->size() < write.offset) file->resize(write.offset);
      return;
    default:
      if (file->size() < write.offset + write.bytes.size()) file->resize(write.offset + write.bytes.size());
      file->replace(write.offset, write.bytes.size(), write.bytes);
  }
}

void DiskModel::put_torn(std::string* file, const Write& write, Prng* prng) {
  if (write.bytes.empty()) return put(file, write);
  for (std::uint64_t at = 0; at < write.bytes.size();) {
    const std::uint64_t in_sector = kSectorBytes - (write.offset + at) % kSectorBytes;
    const std::uint64_t size = std::min<std::uint64_t>(in_sector, write.bytes.size() - at);
    if (prng->below(2) == 0) put(file, {write.kind, write.offset + at, write.bytes.substr(at, size)});
    at += size;
  }
}

void DiskModel::apply(const DiskEntry& entry) {
  File& file = files_[entry.file];
  switch (entry.kind) {
    case DiskEvent::write:
    case DiskEvent::durable_write:
    case DiskEvent::truncate:
    case DiskEvent::grow:
      file.pending.push_back({entry.kind, entry.offset, entry.bytes});
      return;
    case DiskEvent::write_returned: {
      // The last one; what was written before it to the same place must not come after it again.
      JOBQ_CHECK(!file.pending.empty() && file.pending.back().kind == DiskEvent::durable_write);
      put(&file.durable, file.pending.back());
      file.pending.pop_back();
      return;
    }
    case DiskEvent::sync:
      for (const Write& write : file.pending) put(&file.durable, write);
      file.pending.clear();
      return;
    case DiskEvent::create:
    case DiskEvent::rename:
    case DiskEvent::unlink:
      names_.push_back(entry);
      return;
    case DiskEvent::sync_directory:
      durable_names_ = names_.size();
      return;
    case DiskEvent::confirm:
      return;
  }
  JOBQ_CHECK(false, "entry of kind {}", static_cast<std::uint32_t>(entry.kind));
}

std::size_t DiskModel::pending() const {
  std::size_t count = names_.size() - durable_names_;
  for (const auto& [number, file] : files_) count += file.pending.size();
  return count;
}

void DiskModel::write_image(const std::string& directory, Cut cut, Prng* prng) const {
  std::size_t names = durable_names_;
  if (cut == Cut::all_kept) {
    names = names_.size();
  } else if (cut != Cut::nothing_kept) {
    names += prng->below(names_.size() - durable_names_ + 1);
  }
  std::map<std::string, std::uint32_t> found;
  for (std::size_t i = 0; i < names; ++i) {
    const DiskEntry& change = names_[i];
    if (change.kind == DiskEvent::create) {
      found[change.bytes] = change.file;
    } else if (change.kind == DiskEvent::unlink) {
      found.erase(change.bytes);
    } else {
      const std::string from = change.bytes.c_str(), to = change.bytes.substr(from.size() + 1);
      found.erase(from);
      found[to] = change.file;
    }
  }
  for (const auto& [name, number] : found) {
    std::string content;
    if (const auto file = files_.find(number); file != files_.end()) {
      content = file->second.durable;
      const auto& pending = file->second.pending;
      const std::size_t prefix = prng->below(pending.size() + 1);
      for (std::size_t i = 0; i < pending.size(); ++i) {
        const bool keep = cut == Cut::all_kept || (cut == Cut::prefix_kept && i < prefix) ||
                          ((cut == Cut::some_kept || cut == Cut::torn) && prng->below(2) == 0);
        if (!keep) continue;
        if (cut == Cut::torn) {
          put_torn(&content, pending[i], prng);
        } else {
          put(&content, pending[i]);
        }
      }
    }
    std::ofstream out{directory + "/" + name, std::ios::binary};
    out.write(content.data(), static_cast<std::streamsize>(content.size()));
    out.close();
    JOBQ_CHECK(out.good(), "cannot write {}/{}", directory, name);
  }
}

}  // namespace jobq::faults
