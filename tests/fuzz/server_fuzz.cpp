// What any peers may do to the broker: its real loop and engine over a memory store, with connections that send any bytes, are lost,
// and wait. Each answer must be a message, and the engine must stay in order.
//
// The input is a row of steps. The low three bits of a step's first byte say which, the upper ones of which peer (of four) or
// how long: 0 to 3 a frame (two bytes of length, the bytes), 4 a turn, 5 time passes, 6 the connection is lost, 7 a message of
// several frames. make_corpus.py writes such files.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "broker/server/log.hpp"
#include "broker/server/server.hpp"
#include "broker/store/memory_store.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/protocol/codec.hpp"
#include "tests/server/memory_transport.hpp"

namespace {

using namespace jobq;

constexpr std::uint64_t kPeers = 4;
constexpr std::int64_t kSpans[] = {0,      1,      50,        999,        1'000,          5'000,
                                   10'001, 60'000, 3'600'000, 86'400'000, 315'360'000'000};

class Broker {
 public:
  Broker() {
    const Result<Recovered> recovered = store_.recover();
    JOBQ_CHECK(recovered.ok());
    clock_ = std::make_unique<ServerClock>(
        recovered->mark.now, ServerClock::Source{[this] { return wall_ms_; }, [this] { return steady_ms_; }});
    engine_ = std::make_unique<Engine>(config_.engine, *recovered, 1);
    server_ = std::make_unique<Server>(
        config_, Server::Parts{&store_, engine_.get(), &transport_, clock_.get()}, *recovered);
    JOBQ_CHECK(server_->start().ok());
  }

  // What is left of the input.
  std::string_view step(std::string_view input) {
    const auto first = static_cast<std::uint8_t>(input[0]);
    const unsigned kind = first & 7U, upper = first >> 3U;
    PeerId& peer = peers_[upper % kPeers];
    input.remove_prefix(1);
    if (kind < 4) {
      if (input.size() < 2) return {};
      const std::size_t length = std::min<std::size_t>(
          static_cast<std::uint8_t>(input[0]) * 256U + static_cast<std::uint8_t>(input[1]), input.size() - 2);
      transport_.put(peer, std::string(input.substr(2, length)));
      return input.substr(2 + length);
    }
    if (kind == 5) {
      steady_ms_ += kSpans[upper % std::size(kSpans)];
      wall_ms_ += kSpans[upper % std::size(kSpans)];
    } else if (kind == 6) {
      transport_.lose(peer);
      peer = PeerId{peer.value + kPeers};  // its number is not used again
    } else if (kind == 7) {
      transport_.put_refused(peer);
    }
    turn();
    return input;
  }

  void turn() {
    const Status turned = server_->turn(DurationMs{0});
    JOBQ_CHECK(turned.ok(), "{}", turned.text());
    engine_->check_invariants();
    for (const PeerId peer : peers_) {
      for (const std::string& frame : transport_.take_sent(peer))
        JOBQ_CHECK(protocol::decode_reply(frame, {}).ok(), "an answer that is no message");
    }
  }

 private:
  Config config_;
  std::int64_t wall_ms_ = 1'700'000'000'000, steady_ms_ = 5'000;
  MemoryStore store_;
  MemoryTransport transport_;
  std::unique_ptr<ServerClock> clock_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Server> server_;
  PeerId peers_[kPeers] = {PeerId{1}, PeerId{2}, PeerId{3}, PeerId{4}};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool quiet = [] {
    log::set_level("error");
    return true;
  }();
  (void)quiet;
  Broker broker;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  while (!input.empty()) input = broker.step(input);
  for (int n = 0; n < 4; ++n) broker.turn();
  return 0;
}
