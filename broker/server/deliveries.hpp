// Turns the engine's plan of what to hand over into messages: fills in what is stored of each job and splits what would be
// too large for one message. A job whose record is damaged or missing is left out and reported.
//
// Not thread-safe. Errors: those of the store, which end the broker.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "broker/engine/engine.hpp"
#include "broker/store/store.hpp"
#include "libjobq/protocol/deliver_writer.hpp"

namespace jobq {

class DeliveryWriter {
 public:
  // A message of a plan is closed when its jobs reach this many bytes: workers begin with the first jobs of a large
  // hand-over while the rest is still on the way.
  static constexpr std::size_t kMessageBytes = std::size_t{1} << 20;
  // Of a delivery, besides its body and headers: at most 255 bytes for each of two names, and 12 numbers.
  static constexpr std::size_t kRoomForFields = 1024;

  DeliveryWriter(Store* store, const Engine* engine) : store_(store), engine_(engine) {}

  // Called for each message in order, and may take it away; the leases are those in it.
  using Emit = std::function<void(std::string* message, const std::vector<protocol::LeaseRef>& leases)>;
  Status write(const DeliverPlan& plan, const Emit& emit, std::vector<protocol::LeaseRef>* damaged);
  // A delivery with all that is stored of it but its body. Views of the store and of the engine.
  [[nodiscard]] protocol::Delivery describe(const PlannedDelivery& planned, const StoredJob& job) const;

 private:
  static constexpr std::size_t kKeptBytes = std::size_t{8} << 20;  // of the buffer, for the next message

  void begin(SessionNo session);
  void add(const PlannedDelivery& planned, const StoredJob& job);
  void close(const Emit& emit);

  Store* store_;
  const Engine* engine_;
  // The message being gathered. Views of the store hold for one visit only: each job is written down at once.
  std::string message_;
  protocol::DeliverWriter writer_{&message_};
  std::vector<protocol::LeaseRef> leases_;
  std::size_t room_ = 0;  // how large the message before was
};

}  // namespace jobq
