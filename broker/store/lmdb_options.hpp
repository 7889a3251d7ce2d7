// How to open the store that the product uses, and why it could not be opened.
//
// A store is a directory with data.mdb (all data), lock.mdb (LMDB's readers) and lock (held by the one
// process that has the store open, with its pid in it). A store that is not there yet is created whole or not
// at all: it is made under another name, synced and renamed.
//
// Thread-safety: open_lmdb_store may be called from any thread; one store must not be opened twice in one
// process (the second attempt answers already_open). Do not fork while a store is open. Units: bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "broker/store/store.hpp"
#include "jobq/status.hpp"

namespace jobq {

// Why a store could not be opened: a program that starts a broker wants to tell these apart by exit code.
enum class StoreProblem : std::uint8_t {
  none,
  already_open,  // another process holds it; the text names its pid
  not_a_store,   // a file that is not ours
  newer_format,  // written by a newer jobq; the text names both versions
  damaged,
  no_space,
  read_only,
  network_fs,  // locks and mapped files cannot be relied on there
  io,
  not_empty,    // a directory that something is to be restored into
  interrupted,  // offline work that its caller did not want to go on
};
const char* to_string(StoreProblem problem);

struct LmdbOptions {
  std::string path;  // the directory; its parents are created too

  // What the data may grow to. Only address space is taken. Admission should stop enqueues at about 85 % of
  // it: acks and deletes need free pages as well.
  std::uint64_t map_bytes = std::uint64_t{1} << 38;

  // The file is grown ahead of its use in steps, so that a full disk is met while growing, when one step is
  // still left for acks, and not in a commit. Switched off by itself on file systems that cannot.
  bool preallocate = true;
  std::uint64_t preallocate_step_bytes = std::uint64_t{64} << 20;

  bool allow_network_fs = false;
  std::uint32_t cached_blocks_max =
      65'536;  // of 256 jobs each, about 300 bytes: the memory bound for job states
  // Delays that are over within so long have no row of their own, and are found by their blocks at a start; at most so many.
  std::int64_t soon_ms = 10'000;
  std::size_t soon_timers_max = 524'288;
  // A backup is given up when the store has grown by more than this since it began (0: never).
  std::uint64_t backup_growth_bytes_max = std::uint64_t{4} << 30;

  std::function<void(std::string_view)> log;  // notices for people; may be empty
};

// Opens, or creates when the directory holds no store. On failure *problem (when given) says which kind.
Result<std::unique_ptr<Store>> open_lmdb_store(const LmdbOptions& options, StoreProblem* problem = nullptr);

}  // namespace jobq
