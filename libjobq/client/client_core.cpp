#include "libjobq/client/client_core.hpp"

#include "libjobq/protocol/codec.hpp"

namespace jobq {

void ClientCore::disconnected(TimeMs /*now*/) {
  link_.disconnected();
  admin_.disconnected();
}

void ClientCore::receive(std::string_view frame, TimeMs now) {
  const Result<protocol::ReplyMessage> message = protocol::decode_reply(frame, {limits::kMessageBytesMax});
  if (!message.ok()) {
    ++bad_frames_;
    return;
  }
  switch (link_.receive(*message, now)) {
    case Link::Event::up:
      producer_.welcomed();
      admin_.welcomed();
      return;
    case Link::Event::refused:
      producer_.refused();
      admin_.refused();
      return;
    case Link::Event::consumed:
      return;
    case Link::Event::none:
      break;
  }
  if (producer_.receive(*message, now) || admin_.receive(*message, now)) return;
  // The broker stops: it will close the connection, or we do when it is late with that.
  if (const auto* bye = std::get_if<protocol::Bye>(&message->body)) {
    link_.reconnect_at(now + DurationMs{std::max<std::int64_t>(bye->retry_after_ms, 1000)});
  }
}

void ClientCore::tick(TimeMs now) {
  link_.tick(now);
  producer_.tick(now);
  admin_.tick(now);
}

std::optional<TimeMs> ClientCore::next_deadline() const {
  return earlier(link_.next_deadline(), earlier(producer_.next_deadline(), admin_.next_deadline()));
}

}  // namespace jobq
