#include "broker/store/store_files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>
#include <utility>

#include "broker/store/lmdb_env.hpp"
#include "broker/store/rows.hpp"
#include "libjobq/base/planted.hpp"

namespace jobq::lmdb {
namespace {

// Not in linux/magic.h.
constexpr std::uint32_t kCifsMagic = 0xFF534D42;
constexpr std::uint32_t kCephMagic = 0x00C36400;
constexpr std::uint32_t kLustreMagic = 0x0BD00BD0;
constexpr std::uint32_t kGpfsMagic = 0x47504653;
constexpr std::uint32_t kFuseMagic = 0x65735546;

constexpr mode_t kDirectoryMode = 0750;
constexpr mode_t kFileMode = 0640;

[[noreturn]] void fail(int error, const std::string& doing) {
  const std::string text = fmt::format("{}: {}", doing, std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) {
    throw StoreError(Code::disk_full, StoreProblem::no_space, text + "; free disk space");
  }
  if (error == EROFS) throw StoreError(Code::io_error, StoreProblem::read_only, text);
  if (error == EACCES || error == EPERM) {
    throw StoreError(Code::io_error, StoreProblem::read_only, text + "; check owner and mode");
  }
  throw StoreError(Code::io_error, StoreProblem::io, text);
}

const char* network_name(std::uint32_t magic) {
  switch (magic) {
    case NFS_SUPER_MAGIC:
      return "NFS";
    case SMB_SUPER_MAGIC:
    case SMB2_SUPER_MAGIC:
    case kCifsMagic:
      return "SMB";
    case AFS_SUPER_MAGIC:
    case AFS_FS_MAGIC:
      return "AFS";
    case CODA_SUPER_MAGIC:
      return "Coda";
    case V9FS_MAGIC:
      return "9p";
    case kCephMagic:
      return "Ceph";
    case kLustreMagic:
      return "Lustre";
    case kGpfsMagic:
      return "GPFS";
    case kFuseMagic:
      return "FUSE";
    default:
      return nullptr;
  }
}

void write_first_rows(Env* env) {
  Txn txn(env, Txn::Kind::write);
  std::string row;
  encode_format(kFormatVersion, &row);
  txn.put(Table::meta, meta_key::kFormat, row);
  std::random_device entropy;
  IdentityRow identity;
  for (auto& byte : identity.incarnation) byte = static_cast<std::uint8_t>(entropy());
  identity.secret = (std::uint64_t{entropy()} << 32) | entropy();
  encode_identity(identity, &row);
  txn.put(Table::meta, meta_key::kIdentity, row);
  encode_mark({}, &row);
  txn.put(Table::meta, meta_key::kMark, row);
  txn.commit();
}

void sync_file(const std::string& file) {
  const Fd fd(open(file.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.open() || fsync(fd.get()) != 0) fail(errno, fmt::format("cannot sync {}", file));
}

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}
Fd::Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
Fd& Fd::operator=(Fd&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

std::string data_file(const std::string& directory) { return fmt::format("{}/{}", directory, kDataFile); }

// Before anything is made: a directory that is refused is not left behind.
static void refuse_network_fs(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::path place = std::filesystem::absolute(directory, error);
  while (!std::filesystem::exists(place, error) && place.has_relative_path()) place = place.parent_path();
  struct statfs fs {};
  if (statfs(place.c_str(), &fs) != 0) fail(errno, fmt::format("cannot look at {}", place.string()));
  if (const char* name = network_name(static_cast<std::uint32_t>(fs.f_type))) {
    throw StoreError(
        Code::io_error, StoreProblem::network_fs,
        fmt::format("{} is on a {} file system, where locks and mapped files cannot be relied on; "
                    "use a local disk (or, at your own risk, set store.allow_network_fs = true)",
                    directory.string(), name));
  }
}

void prepare_directory(const std::string& directory, bool allow_network_fs) {
  if (!allow_network_fs) refuse_network_fs(directory);
  std::error_code error;
  const std::filesystem::path path(directory);
  if (!std::filesystem::exists(path, error)) {
    if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
    if (mkdir(directory.c_str(), kDirectoryMode) != 0 && errno != EEXIST) {
      fail(errno, fmt::format("cannot make the directory {} (choose another with --data)", directory));
    }
    if (path.has_parent_path()) sync_directory(path.parent_path());
  }
  if (!std::filesystem::is_directory(path, error)) {
    throw StoreError(
        Code::io_error, StoreProblem::not_a_store,
        fmt::format("{} is a file; --data names the directory that the store is kept in", directory));
  }
}

Fd lock_directory(const std::string& directory) {
  const std::string file = fmt::format("{}/{}", directory, kLockFile);
  Fd fd(open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kFileMode));
  if (!fd.open()) fail(errno, fmt::format("cannot open {}", file));
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0 && !JOBQ_PLANTED(two_brokers_on_one_store)) {
    if (errno != EWOULDBLOCK) fail(errno, fmt::format("cannot lock {}", file));
    std::array<char, 32> text{};
    const ssize_t got = pread(fd.get(), text.data(), text.size() - 1, 0);
    std::string pid(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    pid = pid.substr(0, pid.find('\n'));
    throw StoreError(Code::io_error, StoreProblem::already_open,
                     fmt::format("{} is in use by process {}; stop it first", directory,
                                 pid.empty() ? std::string("(pid unknown)") : pid));
  }
  const std::string pid = fmt::format("{}\n", getpid());
  if (ftruncate(fd.get(), 0) != 0 ||
      pwrite(fd.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    fail(errno, fmt::format("cannot write {}", file));
  }
  return fd;
}

void sync_directory(const std::string& directory) {
  const Fd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.open() || fsync(fd.get()) != 0) fail(errno, fmt::format("cannot sync the directory {}", directory));
}

void make_store_file(const std::string& file, std::uint64_t map_bytes) {
  {
    Env env(file, map_bytes, Env::Mode::create);
    write_first_rows(&env);
  }
  sync_file(file);
}

bool create_if_absent(const std::string& directory, std::uint64_t map_bytes) {
  const std::string file = data_file(directory);
  struct stat found {};
  std::error_code ignored;
  if (stat(file.c_str(), &found) == 0) {
    // The old store is whole: a compaction that was cut short has left its copy.
    std::filesystem::remove(fmt::format("{}/{}", directory, kCompactingFile), ignored);
    if (found.st_size == 0) {  // LMDB would take it for a new store
      throw StoreError(
          Code::corruption, StoreProblem::damaged,
          fmt::format("{} is empty; restore it from a backup, or remove it to begin anew", file));
    }
    return false;
  }
  if (errno != ENOENT) fail(errno, fmt::format("cannot look at {}", file));

  // An empty store in the place of one that was to be restored would look like the loss of all jobs.
  if (const auto half = fmt::format("{}/{}", directory, kRestoringFile); stat(half.c_str(), &found) == 0) {
    throw StoreError(Code::wrong_state, StoreProblem::damaged,
                     fmt::format("a restore into {} was cut short; run it again, or remove {} to begin with "
                                 "an empty store",
                                 directory, half));
  }
  const std::string aside = JOBQ_PLANTED(store_made_in_place) ? file : file + ".new";
  std::filesystem::remove(aside, ignored);  // of an attempt that was cut short
  std::filesystem::remove(aside + "-lock", ignored);
  make_store_file(aside, map_bytes);
  if (rename(aside.c_str(), file.c_str()) != 0) fail(errno, fmt::format("cannot rename {}", aside));
  sync_directory(directory);
  std::filesystem::remove(aside + "-lock", ignored);
  return true;
}

void require_format(Env* env, const std::string& file) {
  const Txn txn(env, Txn::Kind::read);
  const auto format = txn.get(Table::meta, meta_key::kFormat);
  if (!format) {
    throw StoreError(Code::corruption, StoreProblem::not_a_store,
                     fmt::format("{} does not say which format it has: this is not a store of jobq", file));
  }
  if (const std::uint32_t version = decode_format(*format); version != kFormatVersion) {
    throw StoreError(
        Code::not_supported, StoreProblem::newer_format,
        fmt::format("{} has format {}, this version of jobq reads format {}; start the newer version", file,
                    version, kFormatVersion));
  }
}

FileIdentity identify(const std::string& file) {
  struct statx info {};
  if (statx(AT_FDCWD, file.c_str(), 0, STATX_INO | STATX_BTIME, &info) != 0) {
    fail(errno, fmt::format("cannot look at {}", file));
  }
  FileIdentity identity{.inode = info.stx_ino, .born_ns = 0};
  if ((info.stx_mask & STATX_BTIME) != 0) {
    identity.born_ns = info.stx_btime.tv_sec * 1'000'000'000 + info.stx_btime.tv_nsec;
  }
  return identity;
}

std::uint64_t disk_free_bytes(const std::string& directory) {
  struct statvfs fs {};
  if (statvfs(directory.c_str(), &fs) != 0) return 0;
  return std::uint64_t{fs.f_bavail} * fs.f_frsize;
}

Preallocation::Preallocation(const std::string& file, std::uint64_t step_bytes, std::uint64_t map_bytes,
                             const std::function<void(std::string_view)>& log)
    : fd_(open(file.c_str(), O_RDWR | O_CLOEXEC)), step_bytes_(step_bytes), map_bytes_(map_bytes), log_(log) {
  struct stat found {};
  if (!fd_.open() || fstat(fd_.get(), &found) != 0) fail(errno, fmt::format("cannot open {}", file));
  file_bytes_ = static_cast<std::uint64_t>(found.st_size);
}

void Preallocation::keep_ahead(std::uint64_t end, std::uint64_t needed) {
  file_bytes_ = std::max(file_bytes_, end);
  if (step_bytes_ == 0) return;
  const std::uint64_t wanted = std::min(end + needed + step_bytes_ / 2, map_bytes_);
  if (file_bytes_ >= wanted) {
    disk_full_ = false;
    return;
  }
  const std::uint64_t steps = (wanted - file_bytes_ + step_bytes_ - 1) / step_bytes_;
  const std::uint64_t grow = std::min(steps * step_bytes_, map_bytes_ - file_bytes_);
  // Not posix_fallocate: where the file system cannot, that one writes every block itself.
  if (fallocate(fd_.get(), 0, static_cast<off_t>(file_bytes_), static_cast<off_t>(grow)) == 0) {
    file_bytes_ += grow;
    disk_full_ = false;
    return;
  }
  if (errno == ENOSPC || errno == EDQUOT) {
    if (!disk_full_ && log_) log_("the disk is full: the store's file cannot grow; free disk space");
    disk_full_ = true;
    return;
  }
  if (log_) log_(fmt::format("the store's file is not grown ahead: {}", std::strerror(errno)));
  step_bytes_ = 0;
}

}  // namespace jobq::lmdb
