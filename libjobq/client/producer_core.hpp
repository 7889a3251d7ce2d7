// The producer's protocol as a pure state machine: jobs and time in, messages and completions out. Packs what
// waits into one message, sends again what is unanswered under the same identity, and ends everything at its
// deadline.
//
//   ProducerCore producer(&link, id, &texts...);
//   producer.submit({.token = 1, .queue = "receipts", .jobs = {...}, .deadline = now + DurationMs{5000}});
//   producer.welcomed(now); producer.receive(reply, now); producer.tick(now);
//   for (Completion& done : producer.take_completions()) ...
//
// RESEND IDENTITY (semantics 3). A request keeps its sequence and its jobs from its first sending until it is
// closed; each later sending says `resend`. Until the broker has stored something for this producer lowest_open
// stays 1, which tells it that it cannot have forgotten us: what a broker read and lost before its first commit is
// then stored when it is sent again.
//
// Jobs are encoded when they are submitted and stay bytes (encoded_groups.hpp): what waits is joined to messages by
// copying, and a message that is full when it comes is sent as it is.
//
// Not thread-safe. Ownership: jobs are owned here from submit() to completion or, once sent, until their
// request is closed. Time: milliseconds of a clock that only goes forward. No I/O.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "jobq/client.hpp"
#include "libjobq/base/id.hpp"
#include "libjobq/base/time.hpp"
#include "libjobq/client/encoded_groups.hpp"
#include "libjobq/link.hpp"
#include "libjobq/protocol/message.hpp"

namespace jobq {

// A checked job that owns its bytes.
struct OwnedJob {
  std::string type;
  std::string body;
  std::string headers;  // packed
  std::string unique_key;
  std::optional<std::uint8_t> priority;
  DurationMs delay{};
  TimeMs run_at{};
  DurationMs expires_in{};
  DurationMs unique_for{};
  std::uint32_t max_attempts = 0;
  std::uint32_t max_run_ms = 0;

  [[nodiscard]] protocol::EnqueueJob view() const {
    return {type,       body,         headers,    priority,   delay,     run_at,
            expires_in, max_attempts, max_run_ms, unique_key, unique_for};
  }
};

// Jobs that are stored together or not at all; one job of a plain enqueue.
struct SubmittedGroup {
  std::uint64_t token = 0;  // the caller's name for it, never used twice
  std::string queue;
  std::vector<OwnedJob> jobs;
  TimeMs deadline{};
  DurationMs timeout{};  // what the deadline was made of, for the text
};

// The results of a group, one per job. A single one, as nearly always, needs no memory of its own.
class Results {
 public:
  explicit Results(EnqueueResult one) : one_(std::move(one)) {}
  explicit Results(std::vector<EnqueueResult> several) : several_(std::move(several)) {}
  // The same for all.
  Results(std::size_t jobs, const EnqueueResult& each) {
    if (jobs == 1) {
      one_ = each;
    } else {
      several_.assign(jobs, each);
    }
  }

  [[nodiscard]] std::size_t size() const { return one_ ? 1 : several_.size(); }
  [[nodiscard]] EnqueueResult* begin() { return one_ ? &*one_ : several_.data(); }
  [[nodiscard]] EnqueueResult* end() { return begin() + size(); }
  [[nodiscard]] const EnqueueResult* begin() const { return one_ ? &*one_ : several_.data(); }
  [[nodiscard]] const EnqueueResult* end() const { return begin() + size(); }
  [[nodiscard]] const EnqueueResult& operator[](std::size_t at) const { return begin()[at]; }

 private:
  std::optional<EnqueueResult> one_;
  std::vector<EnqueueResult> several_;
};

struct Completion {
  std::uint64_t token = 0;
  Results results;
};

class ProducerCore {
 public:
  static constexpr std::size_t kInFlightMax = 8;    // messages unanswered at a time
  static constexpr std::size_t kEagerInFlight = 2;  // under so many a message goes out however small
  static constexpr std::size_t kPackJobs = 1000;    // jobs of a full message
  static constexpr std::size_t kPackBytes = std::size_t{256}
                                            << 10;  // bytes of a full message; one job may be larger
  static constexpr DurationMs kResendAfter{2000};   // doubled each time, on a connection that is up

  static constexpr std::size_t kUnpackedInFlightMax = 1000;  // messages unanswered when each carries one call
  // From the oldest unanswered sequence on so many are used: the broker remembers kOpenRequestsMax of them.
  static constexpr std::size_t kSequencesMax = limits::kOpenRequestsMax - 1000;

  // `link` is kept and must outlive this. `pack` off: each group is a message of its own.
  ProducerCore(Link* link, ProducerId id, bool pack)
      : link_(link),
        id_(id),
        pack_jobs_(pack ? kPackJobs : 1),
        in_flight_max_(pack ? kInFlightMax : kUnpackedInFlightMax),
        eager_in_flight_(pack ? kEagerInFlight : kUnpackedInFlightMax) {}

  // One small message at a time instead of kEagerInFlight.
  void crowded(bool on) {
    if (pack_jobs_ > 1) eager_in_flight_ = on ? 1 : kEagerInFlight;
  }

  // REQUIRES: a fresh token, at least one job.
  void submit(const SubmittedGroup& group);
  // The same for many, which are taken out of *groups. What is left there is empty, with memory for the next ones.
  void submit(EncodedGroups* groups);
  // The link has come up: everything open goes out again with the next tick.
  void welcomed();
  // The broker does not want this client at all (link.refusal()): what waits ends with that.
  void refused();
  // False when the message is no answer to a request of this producer.
  bool receive(const protocol::ReplyMessage& message, TimeMs now);
  void tick(TimeMs now);
  [[nodiscard]] std::optional<TimeMs> next_deadline() const;
  [[nodiscard]] std::vector<Completion> take_completions() { return std::exchange(completions_, {}); }

  // What would have to be submitted for a message to go out with the next tick.
  struct Needs {
    bool at_once = false;           // anything
    bool idle = false;              // anything, and hardly anything else is on its way
    std::size_t groups = SIZE_MAX;  // or so many groups
    std::size_t bytes = SIZE_MAX;   // or so many bytes
  };
  [[nodiscard]] Needs needs() const;
  [[nodiscard]] bool has_completions() const { return !completions_.empty(); }

  // Ends everything that is not yet answered.
  void close();
  // Submitted and not completed.
  [[nodiscard]] std::size_t open_groups() const { return open_groups_; }
  [[nodiscard]] std::size_t open_requests() const { return unanswered_; }

 private:
  using Group = EncodedGroups::Group;
  // Sent at least once. A closed one (answered, or given up by all) stays until those before it are closed.
  struct Request {
    EncodedGroups content;  // completed groups too: it must not change
    bool is_open = true;
    std::uint64_t request_id = 0;  // of the last sending; 0: not sent on this connection
    std::uint32_t sendings = 0;
    TimeMs send_again_at{};
    TimeMs hold_until{};  // the broker asked to wait
  };
  // Groups that wait, from `first` on, which begins at byte `offset`.
  struct Waiting {
    EncodedGroups groups;
    std::size_t first = 0;
    std::size_t offset = 0;
  };

  void expire(TimeMs now);
  void expire_in(EncodedGroups* groups, std::size_t first, bool sent, TimeMs now);
  void fail_waiting(const Status& status);
  void pump(TimeMs now);
  void resend(TimeMs now);
  void send_again_at(TimeMs time) { next_send_at_ = earlier(next_send_at_, time); }
  void pack(TimeMs now);
  bool take_message(EncodedGroups* message);
  void leave_waiting(const Group& group);
  void send(Request* request, std::uint64_t sequence, TimeMs now);
  void on_enqueued(const protocol::Enqueued& reply);
  void on_error(const protocol::Error& error, Request* request, TimeMs now);
  void complete(Group* group, Results results);
  void complete_all(Request* request, const EnqueueResult& result);
  void close(Request* request);
  [[nodiscard]] Request* open_request(std::uint64_t sequence);
  [[nodiscard]] std::uint64_t oldest_open() const { return next_sequence_ - open_.size(); }
  // Empty ones that are kept for their memory.
  void keep(EncodedGroups groups);
  [[nodiscard]] EncodedGroups fresh();
  [[nodiscard]] std::size_t message_bytes_max() const;
  [[nodiscard]] EnqueueResult expired_result(bool sent, DurationMs waited) const;
  void refuse_too_large(Group* group);

  Link* link_;
  ProducerId id_;
  const std::size_t pack_jobs_, in_flight_max_;
  std::size_t eager_in_flight_;
  bool established_ = false;  // the broker has stored something of this producer
  std::uint64_t next_sequence_ = 1;
  protocol::Incarnation incarnation_{};
  std::deque<Request> open_;            // by sequence, without gaps; the last one is next_sequence_ - 1
  std::size_t unanswered_ = 0;          // of open_, those that are not closed
  std::optional<TimeMs> next_send_at_;  // no open request has to be sent again before this
  std::deque<Waiting> waiting_;
  std::size_t waiting_groups_ = 0, waiting_bytes_ = 0;  // without those that were completed
  std::size_t open_groups_ = 0;
  std::optional<TimeMs> next_expiry_;  // no deadline is before this, and it is set while anything is open
  std::vector<EncodedGroups> spare_;   // what was given to keep()
  std::size_t spare_bytes_ = 0;
  std::vector<Completion> completions_;
};

// Sentences for people: what happened to a job, and what to do.
std::string refusal_text(Code code, std::string_view queue, std::string_view endpoint);
std::string unreachable_text(const Link& link, DurationMs waited);

}  // namespace jobq
