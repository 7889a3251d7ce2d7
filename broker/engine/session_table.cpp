#include "broker/engine/session_table.hpp"

#include "libjobq/base/check.hpp"
#include "libjobq/base/planted.hpp"

namespace jobq {
namespace {

// Far more than workers are drained within the minutes in which a lost one may come back.
constexpr std::size_t kGoneDrainingMax = 16'384;

}  // namespace

Session* SessionTable::find(SessionNo number) {
  if (found_last_ != nullptr && found_last_->number == number) return found_last_;
  const auto found = sessions_.find(number);
  return found_last_ = found == sessions_.end() ? nullptr : &found->second;
}

const Session* SessionTable::find(SessionNo number) const {
  const auto found = sessions_.find(number);
  return found == sessions_.end() ? nullptr : &found->second;
}

Session* SessionTable::of_peer(PeerId peer) {
  const auto found = peers_.find(peer);
  return found == peers_.end() ? nullptr : find(found->second);
}

Session* SessionTable::insert(SessionNo number) {
  const auto [place, fresh] = sessions_.emplace(number, Session{});
  JOBQ_CHECK(fresh, "session {} exists", number.value);
  place->second.number = number;
  if (const auto gone = gone_draining_.find(number); gone != gone_draining_.end()) {
    place->second.draining = true;
    place->second.asked_to_leave = gone->second;
    gone_draining_.erase(gone);
  }
  return &place->second;
}

void SessionTable::erase(SessionNo number) {
  Session* session = find(number);
  JOBQ_CHECK(session != nullptr && session->held.empty(), "{}", number.value);
  disconnect(session);
  if (session->draining && !JOBQ_PLANTED(drain_forgotten)) {
    gone_draining_.emplace(number, session->asked_to_leave);
    if (gone_draining_.size() > kGoneDrainingMax) gone_draining_.erase(gone_draining_.begin());
  }
  found_last_ = nullptr;
  sessions_.erase(number);
}

void SessionTable::connect(Session* session, PeerId peer, TimeMs now) {
  disconnect(session);
  if (Session* other = of_peer(peer); other != nullptr) disconnect(other);
  peers_[peer] = session->number;
  session->peer = peer;
  session->connected = true;
  session->heard_at = now;
  session->by_silence = by_silence_.insert(by_silence_.end(), session->number);
}

void SessionTable::disconnect(Session* session) {
  if (!session->connected) return;
  session->connected = false;
  peers_.erase(session->peer);
  by_silence_.erase(session->by_silence);
}

void SessionTable::heard(Session* session, TimeMs now) {
  JOBQ_CHECK(session->connected);
  session->heard_at = now;
  by_silence_.splice(by_silence_.end(), by_silence_, session->by_silence);
}

Session* SessionTable::most_silent() { return by_silence_.empty() ? nullptr : find(by_silence_.front()); }

std::optional<TimeMs> SessionTable::most_silent_since() const {
  if (by_silence_.empty()) return std::nullopt;
  return find(by_silence_.front())->heard_at;
}

}  // namespace jobq
