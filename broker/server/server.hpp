// The broker's loop: receive, decode, apply, tick, commit, then send. The only place where engine, store and transport
// meet; it decides nothing about jobs.
//
//   Server server(config, parts);
//   if (Status started = server.start(); !started.ok()) return fail_stop(started);
//   while (!stop_asked) if (Status turned = server.turn(); !turned.ok()) return fail_stop(turned);
//   server.say_goodbye();
//
// A turn whose commit fails returns that failure, and nothing of it was said to anybody: memory is ahead of the disk, so
// the process has to end. A restart is safe.
//
// Not thread-safe: one thread owns the server and everything that it was given.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "broker/config.hpp"
#include "broker/engine/engine.hpp"
#include "broker/net/transport.hpp"
#include "broker/server/admin.hpp"
#include "broker/server/clock.hpp"
#include "broker/server/delivery_queue.hpp"
#include "broker/server/rates.hpp"
#include "broker/server/rights.hpp"
#include "broker/store/store.hpp"
#include "jobq/status.hpp"
#include "libjobq/protocol/codec.hpp"

namespace jobq {

class Server {
 public:
  struct Parts {  // outlive the server
    Store* store;
    Engine* engine;
    Transport* transport;
    ServerClock* clock;
  };
  // recovered: what the engine was made from.
  Server(const Config& config, const Parts& parts, const Recovered& recovered);

  // Gives the recovered leases their grace. Once, before the first turn.
  Status start();
  // Waits for something to do, at most `wait_at_most`, and does it.
  Status turn(DurationMs wait_at_most);
  // Tells every peer that has greeted that the broker stops. After the last turn.
  void say_goodbye();
  // Takes over what may change while serving (config.hpp says what).
  void reload(const Config& config);

 private:
  // A command that could not be carried out in its turn. One that came from a peer is kept as its frame, because its
  // views point there, and decoded again.
  struct Kept {
    Command command;
    std::string frame;
  };
  struct Incoming {
    Command command;
    std::string_view frame;
  };
  struct Question {
    PeerId peer;
    std::uint64_t request_id = 0;
    protocol::Admin admin;
  };
  struct Answer {  // made by the server itself
    PeerId peer;
    std::uint64_t request_id = 0;
    protocol::Reply reply;
  };

  [[nodiscard]] DurationMs time_to_wait(DurationMs at_most);
  void begin_turn();
  void gather();
  [[nodiscard]] bool can_wait_for_more() const;
  void lost(PeerId peer);
  // What a frame asks of the engine; nullopt: it was dealt with here.
  std::optional<Command> understand(PeerId peer, std::string_view frame);
  void greet(PeerId peer, std::uint64_t request_id, const protocol::Hello& hello);
  void refuse(PeerId peer, std::uint64_t request_id, const Status& status);

  Status apply_all();
  Status apply(Command command, std::string_view frame);
  void keep(Command command, std::string_view frame);
  // corruption: the command cannot be carried out; anything else ends the broker.
  Status look_up(const Command& command, Facts* facts);
  Status commit();
  void watch_changes();
  Status send_all();
  void send(PeerId to, std::uint64_t request_id, protocol::Reply reply);
  void answer_questions();
  Status do_reads();
  Status do_read(const Read& wanted);
  void check_admission();

  Config config_;
  Store* store_;
  Engine* engine_;
  Transport* transport_;
  ServerClock* clock_;
  protocol::Incarnation incarnation_;
  protocol::DecodeLimits decode_limits_;

  // This turn.
  Now now_{};
  Output out_;
  std::vector<Incoming> incoming_;
  std::deque<Kept> kept_now_;  // alive until the commit: changes point into the frames
  std::vector<Answer> answers_;
  std::vector<Question> questions_;
  std::unordered_set<std::uint64_t>
      held_back_;  // peers of whom a command was kept: their later ones wait behind it
  std::uint64_t jobs_gathered_ = 0, bytes_gathered_ = 0;

  // From turn to turn.
  std::vector<Command> done_reads_;  // the next turn's first commands,
  std::deque<Kept> kept_;            // then these,
  std::vector<Command> failures_;    // then what went wrong while sending
  Mark written_;                     // what the last batch carried
  PeerFeatures greeted_;
  std::uint64_t turns_ = 0;
  TimeMs admission_checked_{};
  std::uint64_t slow_commits_told_ = 0;
  std::uint64_t bytes_since_check_ = 0;
  Admission admission_;
  Rates rates_;
  EventRing events_;
  AdminDesk desk_;
  DeliveryQueue deliveries_;
  bool large_held_ = false;  // in this turn: the next one is due at once
  const Principal principal_ = local_principal();
  std::string encoded_;
};

}  // namespace jobq
