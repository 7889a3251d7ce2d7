// The workers as the broker knows them: who serves what, with how much credit, and which jobs each holds.
//
// A session outlives its connection: a lost one waits for its worker until the leases it holds have ended. That it
// was to leave outlives the session too: a worker that comes back with its number later is still to leave.
// Iteration is by session number. Pointers hold until erase(). Not thread-safe.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/engine/command.hpp"
#include "broker/engine/types.hpp"

namespace jobq {

struct Subscription {
  QueueNo queue = 0;
  std::uint32_t weight = 1;
  std::uint32_t deficit = 0;  // jobs left in this round of the deficit round robin
};

struct Session {
  SessionNo number{};
  PeerId peer{};  // REQUIRES connected
  bool connected = false;
  std::string worker;  // "name@host:pid"
  std::string build;
  std::vector<Subscription> subscriptions;
  std::size_t cursor = 0;   // into subscriptions: whose turn it is
  std::set<TypeNo> types;   // empty: any
  std::set<TypeNo> struck;  // types it said it has no handler for
  std::vector<std::string> type_names;
  std::uint32_t credit_jobs = 0;
  std::uint64_t credit_bytes = 0;
  std::uint64_t held_bytes = 0;
  std::vector<JobId> held;      // in no order that matters
  std::set<JobId> cancelling;   // held ones whose cancellation was asked for
  bool draining = false;        // an operator wants it to leave: its credit stays 0
  bool asked_to_leave = false;  // ... and it understands being asked
  TimeMs heard_at{};
  std::list<SessionNo>::iterator by_silence{};

  [[nodiscard]] bool serves(TypeNo type) const {
    return (types.empty() || types.contains(type)) && !struck.contains(type);
  }
  [[nodiscard]] bool hungry() const { return connected && held.size() < credit_jobs; }
};

class SessionTable {
 public:
  [[nodiscard]] Session* find(SessionNo number);
  [[nodiscard]] const Session* find(SessionNo number) const;
  [[nodiscard]] Session* of_peer(PeerId peer);
  // One that was erased while it was draining, and comes back, is draining.
  Session* insert(SessionNo number);
  void erase(SessionNo number);

  // Binds the session to a connection (taking it from any other).
  void connect(Session* session, PeerId peer, TimeMs now);
  void disconnect(Session* session);
  void heard(Session* session, TimeMs now);

  // The connected session that has been silent longest.
  [[nodiscard]] Session* most_silent();
  [[nodiscard]] std::optional<TimeMs> most_silent_since() const;

  [[nodiscard]] const std::map<SessionNo, Session>& all() const { return sessions_; }
  [[nodiscard]] std::map<SessionNo, Session>& all() { return sessions_; }

 private:
  std::map<SessionNo, Session> sessions_;
  // What comes together is mostly of one session, and each of its jobs asks for it.
  Session* found_last_ = nullptr;
  std::map<PeerId, SessionNo> peers_;
  std::list<SessionNo> by_silence_;  // connected ones, longest silent first
  std::map<SessionNo, bool>
      gone_draining_;  // whether each had been asked to leave; the newest kGoneDrainingMax
};

}  // namespace jobq
