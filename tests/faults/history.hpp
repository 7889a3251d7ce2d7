// The history of a test run: what every client asked for and was told, one JSON object per line, written
// outside the broker, and the dump of the store at the end (`jobq check DIR --dump`). checker.hpp judges them.
//
//   {"n":17,"t":12034,"proc":"w3","op":"ack","type":"invoke","job":"j1a","token":5,"queue":"mail","seq":88}
//
//   n      rises within a process. t: milliseconds of CLOCK_MONOTONIC, one clock for all processes of a run.
//   proc   who; its operations are told apart by seq. A process that is started again takes another name.
//   type   invoke: asked. ok: the answer was read. fail: the broker said no. info: a timeout, a reset, or the
//          end of the client: it may have happened or not. An invoke without an answer is an info.
//   op     enqueue, deliver (only "ok"), ack, nack, release, reject, snooze, extend, revoked ("ok": the worker
//          was told), cancel, redrive, purge, pause, resume, retry, put_off, rm (of a queue), drain (of a
//          worker), task_cancel, get, stats, crash ("info": proc itself or the broker died; "proc" says
//          which), start.
//   job, token (our lease_no), attempt, queue, prio, key, hash: what it is about. hash: of the body; every
//          enqueue of a run has a body of its own.
// What an op needs beyond these is listed at struct Event. Unknown members are ignored.
//
// Where the run can look into the broker (the simulator can), it adds what happened there, all "ok":
//   made, ready, granted, returned, put_off, died, redriven, left   durable now; the line is written when the commit
//                  has returned. state: made and returned: ready, scheduled; died: the reason; left: acked, ...
//   removed        a queue is gone
//   task, task_over   a redrive or a purge of many jobs goes on after a restart from now on, and has ended
//   said           a message has been handed to the network that rests on one of these; state: created,
//                  delivered, settled
// and of the run itself: fault ("info": provoked, err says what; it may make the broker end), clock (the wall clock
// was set), exit ("ok": the broker ended by itself), healed, drained (ok or fail), trace (seq: the seed, hash: the
// fingerprint of the run).
//
// Thread-safety: plain values; a HistoryWriter may be called from many threads. Errors: a line that is not a
// history line is refused with its number, because a checker that skips lines proves nothing.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "jobq/status.hpp"

namespace jobq::faults {

enum class EventType : std::uint8_t { invoke, ok, fail, info };

struct Event {
  std::uint64_t n = 0;
  std::int64_t t = 0;
  std::string proc;
  std::string op;
  EventType type = EventType::invoke;
  std::uint64_t seq = 0;
  std::string job;  // as text; empty: not known
  std::uint32_t token = 0;
  std::uint32_t attempt = 0;
  std::string queue;
  int prio = -1;  // -1: not said
  std::string key;
  std::string hash;
  std::string err;

  std::int64_t delay_ms = 0;       // enqueue, nack, snooze, put_off (invoke): not before this long from now
  std::int64_t expires_ms = 0;     // enqueue (invoke): not started after this long from now
  std::string group;               // enqueue: all of a group or none
  bool duplicate = false;          // enqueue (ok): the job was there before
  std::int64_t lease_ms = 0;       // deliver: left of the lease at t; extend (ok): from its question on
  std::uint32_t max_attempts = 0;  // deliver
  std::uint32_t slots = 0;         // deliver: of this worker
  bool may_time_out = false;       // deliver: a max_run_time is set
  bool final_count = false;        // stats (ok): taken when nothing else was running
  std::string state;               // cancel (ok): "gone" when it is done; the broker's own lines: see above;
                                   // redrive, task_cancel (ok): of the task
  std::string kind;                // made: the job's type
  std::int64_t run_at = 0;         // enqueue (invoke): not before this date
  std::int64_t timeout_ms = 0;     // enqueue (invoke): how long the application waits
  std::int64_t wall =
      0;  // clock: Unix time from now on. The broker's lines: when their turn began, by its wall clock
  std::int64_t within_ms = 0;  // healed: everything has to be over in this time
  int code = 0;                // exit: the exit code
  int signal = 0;              // exit: what killed it; 0: nothing
  std::uint64_t session = 0;   // granted, drain: whose
  std::uint64_t task = 0;      // redrive, purge (ok), task_cancel; task, task_over
  std::uint64_t rate = 0;      // redrive (invoke): jobs per second at most; 0: no limit
  std::uint64_t limit = 0;     // redrive (invoke): jobs at most; 0: no limit
  std::uint64_t ready = 0, scheduled = 0, leased = 0, dead = 0;  // stats (ok), of "queue"

  std::size_t line = 0;  // where it was read
};

Result<Event> parse_event(const std::string& line);
std::string to_line(const Event& event);  // without a newline

// Every line of the stream, in the order of t (and n within a process). A line that ends without a newline at
// the end of the stream is left out: its writer was killed while writing it.
Result<std::vector<Event>> read_history(std::istream* in);

struct DumpedJob {
  std::string id;
  std::string queue;
  std::string state;  // scheduled, ready, leased, dead
  std::string hash;
  std::string key;
  int prio = -1;
  std::uint64_t failures = 0;
  std::int64_t attempts = -1;  // recorded attempts; -1: not in the dump
  std::string reason;          // dead: why
  std::size_t line = 0;
};

// The jobs of a dump, by id. Lines about other things than jobs are skipped; a line that is no JSON object,
// and a job that comes twice, are errors.
Result<std::map<std::string, DumpedJob>> read_dump(std::istream* in);

// Writes lines to a descriptor, each with one write() and as it happens, so that what was said before a kill
// is there. Fills in n, proc and, where it is 0, t. Aborts when the line cannot be written: a history with holes is worthless.
class HistoryWriter {
 public:
  // Does not own the descriptor.
  HistoryWriter(int fd, std::string proc);
  void write(Event event);
  [[nodiscard]] static std::int64_t now_ms();

 private:
  int fd_;
  std::string proc_;
  std::mutex mutex_;
  std::uint64_t n_ = 0;
};

}  // namespace jobq::faults
