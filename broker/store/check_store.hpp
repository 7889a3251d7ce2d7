// The offline checker behind `jobq check`: reads a whole store that no broker has open, recounts everything that is
// stored twice, and says what does not agree; with dump it also says what is in the store, line by line.
//
//   CheckCounts counts;
//   const Status done = check_store({.path = dir}, [](std::string_view line) { puts(line); }, &counts);
//   // done is not ok: the store could not be read to its end.  counts.problems > 0: it could, and something is wrong.
//
// The store is not changed. It is read in a child process, so that a damaged page, which LMDB may not survive, is
// reported and not suffered. Call it from a process with one thread.
//
// A line is a JSON object without a line break. Its "kind" is
//   problem   {"kind","table","key","text"}: what is wrong, where, and what to do; key may be empty
//   job       one per stored job (dump): id, number, queue, type, priority, state, bytes, headers_hash, body_hash,
//             lease_no, session (while leased), failures, crashes, snoozes, redrives, attempts, unique_key, enqueued_at,
//             expires_at, due, due_clock, reason (of the dead)
//   queue     one per queue (dump): name, number and its counters as stored
//   mark      (dump) next_job, next_session, engine_now, wall_now, incarnation
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "broker/store/lmdb_options.hpp"
#include "broker/store/reading_child.hpp"
#include "jobq/status.hpp"
#include "libjobq/base/time.hpp"

namespace jobq {

struct CheckOptions {
  std::string path;  // the store's directory, or the file of a backup
  bool dump = false;
  bool locked = false;  // the caller holds the directory's lock, and path is the data file itself
  std::function<bool()>
      go_on{};  // asked about five times a second; false: give up (StoreProblem::interrupted)
};
struct CheckCounts {
  std::uint64_t jobs = 0, ready = 0, scheduled = 0, leased = 0, dead = 0;
  std::uint64_t awaiting_sweep = 0;  // finished jobs whose records are still in the file
  std::uint64_t queues = 0;
  std::uint64_t problems = 0;
  TimeMs as_of{};  // the wall clock at the last commit
};
using CheckSink = LineSink;

// *problem (when given) says why a store could not be read: already_open, not_a_store, newer_format, damaged, io.
Status check_store(const CheckOptions& options, const CheckSink& sink, CheckCounts* counts,
                   StoreProblem* problem = nullptr);

}  // namespace jobq
