// The client's side of a connection as one pure state machine: the link, the producer and administrative
// calls. Bytes and time in; frames (link().take_frames()), completions and the next deadline out.
//
// Not thread-safe. No I/O.
#pragma once

#include <utility>

#include "libjobq/client/admin_calls.hpp"
#include "libjobq/client/producer_core.hpp"
#include "libjobq/link.hpp"

namespace jobq {

class ClientCore final : public PeerCore {
 public:
  ClientCore(LinkIdentity identity, ProducerId producer, bool pack = true)
      : link_(std::move(identity)), producer_(&link_, producer, pack), admin_(&link_) {}
  ClientCore(const ClientCore&) = delete;
  ClientCore& operator=(const ClientCore&) = delete;

  void connected(TimeMs now) override { link_.connected(now); }
  void disconnected(TimeMs now) override;
  void receive(std::string_view frame, TimeMs now) override;
  void tick(TimeMs now) override;
  [[nodiscard]] std::optional<TimeMs> next_deadline() const override;
  [[nodiscard]] Link& link() override { return link_; }
  void crowded(bool on) override { producer_.crowded(on); }

  [[nodiscard]] ProducerCore& producer() { return producer_; }
  [[nodiscard]] AdminCalls& admin() { return admin_; }
  // Frames that were no message of the protocol.
  [[nodiscard]] std::uint64_t bad_frames() const { return bad_frames_; }

 private:
  Link link_;
  ProducerCore producer_;
  AdminCalls admin_;
  std::uint64_t bad_frames_ = 0;
};

}  // namespace jobq
