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
// Not thread-safe. Ownership: jobs are owned here from submit() to completion or, once sent, until their
// request is closed. Time: milliseconds of a clock that only goes forward. No I/O.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory_resource>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "jobq/client.hpp"
#include "libjobq/base/id.hpp"
#include "libjobq/base/time.hpp"
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

  [[nodiscard]] std::size_t wire_bytes() const {  // an upper bound of what it takes in a message
    return type.size() + body.size() + headers.size() + unique_key.size() + 96;
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

struct Completion {
  std::uint64_t token = 0;
  std::vector<EnqueueResult> results;  // one per job
};

class ProducerCore {
 public:
  static constexpr std::size_t kInFlightMax = 8;         // messages unanswered at a time
  static constexpr std::size_t kEagerInFlight = 2;       // under so many a message goes out however small
  static constexpr std::size_t kPackJobs = 1000;         // jobs of a full message
  static constexpr std::size_t kPackBytes = 256 * 1024;  // bytes of a full message; one job may be larger
  static constexpr DurationMs kResendAfter{2000};        // doubled each time, on a connection that is up

  static constexpr std::size_t kUnpackedInFlightMax = 1000;  // messages unanswered when each carries one call

  // `link` is kept and must outlive this. `pack` off: each group is a message of its own.
  ProducerCore(Link* link, ProducerId id, bool pack)
      : link_(link),
        id_(id),
        pack_jobs_(pack ? kPackJobs : 1),
        in_flight_max_(pack ? kInFlightMax : kUnpackedInFlightMax),
        eager_in_flight_(pack ? kEagerInFlight : kUnpackedInFlightMax) {}

  // REQUIRES: a fresh token, at least one job.
  void submit(SubmittedGroup group);
  // The link has come up: everything open goes out again with the next tick.
  void welcomed();
  // The broker does not want this client at all (link.refusal()): what waits ends with that.
  void refused();
  // False when the message is no answer to a request of this producer.
  bool receive(const protocol::ReplyMessage& message, TimeMs now);
  void tick(TimeMs now);
  [[nodiscard]] std::optional<TimeMs> next_deadline() const;
  [[nodiscard]] std::vector<Completion> take_completions() { return std::exchange(completions_, {}); }

  // Ends everything that is not yet answered.
  void close();
  // Submitted and not completed.
  [[nodiscard]] std::size_t open_groups() const { return groups_.size(); }
  [[nodiscard]] std::size_t open_requests() const { return open_.size(); }

 private:
  struct Group {
    SubmittedGroup data;         // its jobs move into the request when it is sent
    std::uint64_t sequence = 0;  // of that request; 0: waits
  };
  // Sent at least once, and not yet answered.
  struct Request {
    std::vector<SubmittedGroup> groups;  // completed ones too: the content must not change
    std::size_t unanswered = 0;          // groups
    std::size_t jobs = 0, bytes = 0;     // of all groups
    std::uint64_t request_id = 0;        // of the last sending; 0: not sent on this connection
    bool send_as_new = false;            // the broker said that it has nothing of it
    bool sent_as_new = false;            // the last sending did not say `resend`
    std::uint32_t sendings = 0;
    TimeMs send_again_at{};
    TimeMs hold_until{};  // the broker asked to wait
  };
  using Requests = std::map<std::uint64_t, Request>;  // by sequence

  void expire(TimeMs now);
  void fail_waiting(const Status& status);
  void pump(TimeMs now);
  void resend(TimeMs now);
  void send_again_at(TimeMs time) { next_send_at_ = earlier(next_send_at_, time); }
  void pack(TimeMs now);
  void send(std::uint64_t sequence, Request* request, TimeMs now);
  void on_enqueued(const protocol::Enqueued& reply);
  void on_error(const protocol::Error& error, Requests::iterator request, TimeMs now);
  void complete(std::uint64_t token, std::vector<EnqueueResult> results);
  void complete_all(Requests::iterator request, const EnqueueResult& result);
  void forget_done_deadlines();
  [[nodiscard]] std::size_t message_bytes_max() const;
  [[nodiscard]] EnqueueResult expired_result(const Group& group) const;
  void refuse_too_large(const SubmittedGroup& group, std::size_t bytes);

  Link* link_;
  ProducerId id_;
  const std::size_t pack_jobs_, in_flight_max_, eager_in_flight_;
  bool established_ = false;  // the broker has stored something of this producer
  std::uint64_t next_sequence_ = 1;
  protocol::Incarnation incarnation_{};
  Requests open_;
  std::optional<TimeMs> next_send_at_;  // no open request has to be sent again before this
  std::size_t waiting_bytes_ = 0;
  std::deque<std::uint64_t> waiting_;  // tokens; one that is no longer in groups_ has expired
  std::pmr::unsynchronized_pool_resource memory_;
  std::pmr::unordered_map<std::uint64_t, Group> groups_{&memory_};
  // A heap by time, earliest first; entries of completed tokens are skipped and swept now and then.
  std::vector<std::pair<TimeMs, std::uint64_t>> deadlines_;
  std::vector<Completion> completions_;
};

// Sentences for people: what happened to a job, and what to do.
std::string refusal_text(Code code, std::string_view queue, std::string_view endpoint);
std::string unreachable_text(const Link& link, DurationMs waited);

}  // namespace jobq
