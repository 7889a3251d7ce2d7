#include "testing/lapse.hpp"

#include "libjobq/protocol/codec.hpp"

namespace jobq::testing {

std::string LapseFilter::to_broker(PeerId from, std::string frame) {
  if (!on_) return frame;
  std::uint64_t request_id = 0;
  Result<protocol::RequestMessage> request =
      protocol::decode_request(frame, {limits::kMessageBytesMax}, &request_id);
  if (!request.ok()) return frame;
  auto* heartbeat = std::get_if<protocol::Heartbeat>(&request->body);
  if (heartbeat == nullptr || heartbeat->extend.empty()) return frame;
  held_back_[{from.value, request_id}] = heartbeat->extend.size();
  heartbeat->extend.clear();
  std::string changed;
  protocol::encode(*request, &changed);
  return changed;
}

std::string LapseFilter::to_peer(PeerId to, std::string frame) {
  if (held_back_.empty()) return frame;
  Result<protocol::ReplyMessage> reply = protocol::decode_reply(frame, {limits::kMessageBytesMax});
  if (!reply.ok()) return frame;
  const auto held_back = held_back_.extract({to.value, reply->request_id});
  auto* heartbeat = std::get_if<protocol::HeartbeatReply>(&reply->body);
  if (held_back.empty() || heartbeat == nullptr) return frame;
  heartbeat->extended.assign(held_back.mapped(), protocol::ClaimResult::owned);
  heartbeat->reasons.assign(held_back.mapped(), Code::ok);
  std::string changed;
  protocol::encode(*reply, &changed);
  return changed;
}

}  // namespace jobq::testing
