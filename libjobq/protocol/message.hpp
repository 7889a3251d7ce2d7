// The one vocabulary of messages: what codec.hpp turns bytes into and back, what the broker's engine is
// given, and what the client's and the worker's state machines speak. docs/protocol.md is the same thing for
// strangers.
//
// Strings and bodies are views. In a decoded message they point into the frame it was decoded from, which the
// caller keeps alive; in a message to be encoded they point to whatever the sender owns.
//
// A request carries a request id chosen by its sender; the reply repeats it. Pushes carry request id 0.
// New fields are only ever added at the end of an array: readers skip what they do not know.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "jobq/status.hpp"
#include "libjobq/base/id.hpp"
#include "libjobq/base/time.hpp"
#include "libjobq/protocol/limits.hpp"

namespace jobq::protocol {

inline constexpr std::uint32_t kWireVersion = 1;

// Feature bits of hello and welcome. DO NOT RENUMBER. A feature is in use when both sides have it.
inline constexpr std::uint64_t kFeatureDrain = 1;  // drain_requested is understood (worker), is sent (broker)
inline constexpr std::uint64_t kFeatures = kFeatureDrain;  // what this source tree has, on both sides

// DO NOT RENUMBER. Requests are odd, their replies the even number after them; pushes begin at 64.
enum class MessageType : std::uint8_t {
  hello = 1,
  welcome = 2,
  register_worker = 3,
  registered = 4,
  enqueue = 5,
  enqueued = 6,
  outcomes = 7,
  outcomes_reply = 8,
  heartbeat = 9,
  heartbeat_reply = 10,
  goodbye = 11,
  goodbye_reply = 12,
  admin = 13,
  admin_reply = 14,
  error = 15,  // instead of any reply: the request as a whole was refused
  deliver = 64,
  bye = 65,      // the broker is stopping, or has ended this session: register again after retry_after
  revoked = 66,  // leases that the worker has lost: stop, an answer will be refused
  cancel_requested = 67,
  drain_requested = 68,  // finish, take nothing new, leave: only to those that have kFeatureDrain
};

using Secret = std::array<std::uint8_t, 16>;
using Incarnation = std::array<std::uint8_t, 16>;

// A job as it is held: every answer about a running job names this pair.
struct LeaseRef {
  JobId job;
  LeaseNo lease_no = 0;
  auto operator<=>(const LeaseRef&) const = default;
};

// ---- greeting ---------------------------------------------------------------------------------

struct Hello {
  std::uint32_t version_min = kWireVersion;
  std::uint32_t version_max = kWireVersion;
  std::uint64_t features = 0;  // bits, see kFeatures
  std::string_view client;     // "libjobq 0.1.0"
  std::string_view host;
  std::uint32_t pid = 0;
};

struct Welcome {
  std::uint32_t version = kWireVersion;
  std::uint64_t features = 0;
  Incarnation incarnation{};  // of the store: a new one after a restore
  std::string_view broker;    // "jobq-broker 0.1.0"
  std::uint32_t body_bytes_max = 0;
  std::uint32_t message_bytes_max = 0;
  std::uint32_t jobs_per_message_max = 0;
  std::uint32_t heartbeat_ms = 0;  // how often a worker is expected to say something
};

// ---- enqueue ----------------------------------------------------------------------------------

struct EnqueueJob {
  std::string_view type;
  std::string_view body;
  std::string_view headers;  // packed, see codec.hpp: checked at decode, opaque afterwards
  std::optional<std::uint8_t> priority;
  DurationMs delay{};              // > 0: not before this long from now
  TimeMs run_at{};                 // set: not before this date (wall clock); not together with delay
  DurationMs expires_in{};         // > 0: not to be started after this long from now
  std::uint32_t max_attempts = 0;  // 0: the queue's
  std::uint32_t max_run_ms = 0;    // 0: the queue's
  std::string_view unique_key;
  DurationMs unique_for{};  // how long the key stays taken after the job's end
};

// A group is all or nothing and lies in one queue: jobs [first, first + count) of the request.
struct EnqueueGroup {
  std::string_view queue;
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

struct Enqueue {
  ProducerId producer{};             // all zero: no resend identity, the request is never recognised again
  std::uint64_t sequence = 0;        // 1, 2, 3, ... per producer
  std::uint64_t lowest_open = 0;     // everything below was answered and may be forgotten
  bool resend = false;               // this sequence may have been sent before
  std::vector<EnqueueGroup> groups;  // REQUIRES: cover `jobs` exactly, in order, none empty
  std::vector<EnqueueJob> jobs;
  std::uint64_t content_hash = 0;  // not on the wire: the decoder's hash over everything that is stored
};

enum class EnqueueOutcome : std::uint8_t { created = 0, duplicate = 1, refused = 2 };

enum class JobState : std::uint8_t { scheduled = 0, ready = 1, leased = 2, dead = 3, gone = 4 };

struct EnqueueResult {
  EnqueueOutcome outcome = EnqueueOutcome::created;
  JobId id{};                        // created: the new job; duplicate: the one that holds the key
  JobState state = JobState::ready;  // of that job
  bool body_differs = false;         // duplicate: the stored body is another one
  Code code = Code::ok;              // refused: why
  std::uint32_t retry_after_ms = 0;  // refused and worth retrying: how long to wait first
  bool operator==(const EnqueueResult&) const = default;
};

struct Enqueued {
  std::uint64_t sequence = 0;
  std::vector<EnqueueResult> results;  // one per job, in the order of the request
};

// ---- working ----------------------------------------------------------------------------------

enum class OutcomeKind : std::uint8_t {
  ack = 0,
  nack = 1,
  release = 2,
  reject = 3,
  snooze = 4,
  no_handler = 5
};

struct Outcome {
  LeaseRef lease;
  OutcomeKind kind = OutcomeKind::ack;
  std::string_view text;  // nack, reject: the error, kept with the attempt
  DurationMs delay{};     // snooze: how long. nack: > 0 replaces the backoff
  DurationMs ran_for{};   // how long the handler ran, as the worker measured it
};

struct WeightedQueue {
  std::string_view name;
  std::uint32_t weight = 1;
};

struct Register {
  SessionNo session{};  // set: take this session up again
  Secret secret{};
  std::vector<WeightedQueue> queues;
  std::vector<std::string_view> types;  // empty: any type
  std::uint32_t credit_jobs = 0;        // absolute: at most so many jobs in this worker's hands
  std::uint64_t credit_bytes = 0;       // 0: no limit by bytes
  std::vector<LeaseRef> held;           // what it still works on
  std::vector<Outcome> outcomes;        // everything not yet answered
  std::string_view name;
  std::string_view host;
  std::uint32_t pid = 0;
  std::string_view build;
};

// owned: still yours, the lease runs anew. settled: this outcome is applied (now or before). stale: the lease
// is not yours any more. gone: the job has left the broker.
enum class ClaimResult : std::uint8_t { owned = 0, settled = 1, stale = 2, gone = 3 };

struct Registered {
  SessionNo session;
  Secret secret{};
  bool resumed = false;
  std::uint32_t heartbeat_ms = 0;
  std::vector<ClaimResult> held;      // one per claim, in order
  std::vector<ClaimResult> outcomes;  // one per outcome, in order
};

struct Outcomes {
  std::vector<Outcome> outcomes;
  std::optional<std::uint32_t> credit_jobs;  // a new absolute credit may ride along
};

struct OutcomesReply {
  std::vector<ClaimResult> results;
};

struct Extend {
  LeaseRef lease;
};

struct Heartbeat {
  std::vector<LeaseRef> extend;              // leases to run anew from now
  std::optional<std::uint32_t> credit_jobs;  // 0: draining
};

struct HeartbeatReply {
  std::vector<ClaimResult> extended;  // owned, or why not
  std::vector<Code> reasons;          // ok, stale_lease, gone or extend_limit; one per extend
};

struct Delivery {
  LeaseRef lease;
  std::uint32_t attempt = 1;  // failures so far + 1
  std::uint32_t max_attempts = 0;
  std::string_view queue;
  std::string_view type;
  std::string_view headers;  // packed
  std::string_view body;
  std::uint8_t priority = 0;
  TimeMs enqueued_at{};          // engine clock, near Unix time
  std::uint32_t lease_ms = 0;    // from the sending of this message on
  std::uint32_t max_run_ms = 0;  // 0: none
};

struct Deliver {
  SessionNo session;
  std::vector<Delivery> jobs;
};

struct Goodbye {};  // a worker leaves: what it holds goes back uncounted
struct GoodbyeReply {};
struct Bye {
  Code reason = Code::shutting_down;  // shutting_down, or unknown_session: register anew
  std::uint32_t retry_after_ms = 0;
};
struct Revoked {
  std::vector<LeaseRef> leases;
};
struct CancelRequested {
  std::vector<LeaseRef> leases;
};
struct DrainRequested {};

// ---- administration ---------------------------------------------------------------------------

// A flat map of parameters: enough for every verb, and nothing to recurse into.
using ParamValue = std::variant<std::monostate, bool, std::int64_t, std::string_view>;
struct Param {
  std::string_view name;
  ParamValue value;
};

struct Admin {
  std::string_view verb;  // "stats", "queue.set", ...: docs/protocol.md
  std::vector<Param> params;
};

struct AdminReply {
  std::string document;  // msgpack map, the same shape as the command line's --json
};

struct Error {
  Code code = Code::internal;
  std::string text;
  std::uint32_t retry_after_ms = 0;
};

using Request = std::variant<Hello, Register, Enqueue, Outcomes, Heartbeat, Goodbye, Admin>;
using Reply = std::variant<Welcome, Registered, Enqueued, OutcomesReply, HeartbeatReply, GoodbyeReply,
                           AdminReply, Error, Deliver, Bye, Revoked, CancelRequested, DrainRequested>;

struct RequestMessage {
  std::uint64_t request_id = 0;
  Request body;
};
struct ReplyMessage {
  std::uint64_t request_id = 0;
  Reply body;
};

}  // namespace jobq::protocol
