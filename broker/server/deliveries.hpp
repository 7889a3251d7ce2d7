// Turns the engine's plan of what to hand over into messages: fills in what is stored of each job and splits what would be
// too large for one message. A job whose record is damaged or missing is left out and reported.
//
// Not thread-safe. Errors: those of the store, which end the broker.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/engine/engine.hpp"
#include "broker/store/store.hpp"
#include "libjobq/protocol/message.hpp"

namespace jobq {

class DeliveryWriter {
 public:
  // A message of a plan is closed when its jobs reach this many bytes: workers begin with the first jobs of a large
  // hand-over while the rest is still on the way.
  static constexpr std::size_t kMessageBytes = std::size_t{1} << 20;

  DeliveryWriter(Store* store, const Engine* engine) : store_(store), engine_(engine) {}

  // Called for each message in order; the leases are those in it.
  using Emit = std::function<void(std::string_view message, const std::vector<protocol::LeaseRef>& leases)>;
  Status write(const DeliverPlan& plan, const Emit& emit, std::vector<protocol::LeaseRef>* damaged);

 private:
  void add(const PlannedDelivery& planned, const StoredJob& job);
  void close(const Emit& emit);

  Store* store_;
  const Engine* engine_;
  // The message being gathered. Views of the store hold for one visit only: texts_ owns copies, and the deliveries
  // get their views when the message is closed and texts_ moves no more.
  struct Texts {
    std::size_t headers = 0, body = 0, end = 0;
  };
  protocol::Deliver message_;
  std::vector<Texts> places_;
  std::vector<protocol::LeaseRef> leases_;
  std::string texts_;
  std::string encoded_;
};

}  // namespace jobq
