// Hands deliveries to the transport: small ones at once, large ones a little in each turn, so that a job of 64 MiB does not
// hold up everybody else's for the tenth of a second that it takes to copy it.
//
//   queue.hand_over(peer, plan);              // in the order of the engine's messages
//   if (!queue.append(peer, bytes)) send(...) // what else goes to a peer stays behind what waits for it
//   queue.go_on(share, now);                  // at the end of the turn; waiting(): another turn is due at once
//
// One large message is written at a time: memory holds one that is not with the transport yet. What cannot be handed over, or
// is damaged, comes back as a command for the next turn.
//
// Not thread-safe. Errors: those of the store, which end the broker.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "broker/engine/engine.hpp"
#include "broker/net/transport.hpp"
#include "broker/server/deliveries.hpp"

namespace jobq {

// A delivery that is written in pieces.
struct BegunDelivery {
  protocol::Delivery job;
  std::uint64_t body_bytes = 0, copied = 0;
};

class DeliveryQueue {
 public:
  struct Parts {  // outlive the queue
    Store* store;
    const Engine* engine;
    Transport* transport;
    std::vector<Command>* failures;  // to which is added what went wrong
  };
  DeliveryQueue(const Parts& parts, std::uint32_t large_job_bytes)
      : parts_(parts), large_job_bytes_(large_job_bytes), writer_(parts.store, parts.engine) {}

  Status hand_over(PeerId to, DeliverPlan plan);
  // False: nothing waits for this peer, and the message was not taken.
  bool append(PeerId to, std::string_view message);
  // Goes on with what waits until about so many bytes of jobs are copied, a piece at least.
  Status go_on(std::uint64_t bytes, const Now& now);
  [[nodiscard]] bool waiting() const { return !waiting_.empty(); }

 private:
  struct Waiting {
    PeerId to;
    std::variant<DeliverPlan, std::string> what;
  };

  [[nodiscard]] bool is_large(const DeliverPlan& plan) const;
  void wait(PeerId to, std::variant<DeliverPlan, std::string> what);
  void done_with_first();
  Status write(PeerId to, const DeliverPlan& plan);
  Status write_piece(PeerId to, const DeliverPlan& plan, std::uint64_t bytes, const Now& now, bool* done);
  void add_piece(const PlannedDelivery& planned, const StoredJob& stored);
  void close(PeerId to, const DeliverPlan& plan, const Now& now);
  void fail(PeerId to, std::vector<protocol::LeaseRef> leases);
  void report_damage(SessionNo session, const std::vector<protocol::LeaseRef>& leases);
  [[nodiscard]] std::optional<LeaseView> current(SessionNo session, const protocol::LeaseRef& lease) const;

  Parts parts_;
  std::uint32_t large_job_bytes_;
  DeliveryWriter writer_;
  std::deque<Waiting> waiting_;
  std::unordered_map<std::uint64_t, std::uint64_t> waiting_for_;  // peer -> how much
  std::optional<BegunDelivery> begun_;                            // the first of those who wait
  std::string message_;
  protocol::DeliverWriter piecewise_{&message_};
};

}  // namespace jobq
