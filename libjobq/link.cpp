#include "libjobq/link.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "libjobq/base/utf8.hpp"
#include "libjobq/protocol/codec.hpp"

namespace jobq {

void Link::connected(TimeMs now) {
  frames_.clear();
  reconnect_ = false;
  reconnect_at_ = {};
  state_ = State::greeting;
  hello_deadline_ = now + kHelloTimeout;
  protocol::Hello hello;
  hello.features = protocol::kFeatures;
  hello.client = identity_.client;
  hello.host = identity_.host;
  hello.pid = identity_.pid;
  hello_id_ = send(hello);
}

void Link::disconnected() {
  state_ = State::down;
  reconnect_ = false;
  reconnect_at_ = {};
  frames_.clear();
}

Link::Event Link::receive(const protocol::ReplyMessage& message, TimeMs now) {
  if (const auto* welcome = std::get_if<protocol::Welcome>(&message.body)) {
    if (state_ != State::greeting || message.request_id != hello_id_) return Event::consumed;
    if (welcome->version != protocol::kWireVersion) {
      return refuse(
          Status(Code::unsupported_version,
                 fmt::format("{} at {} answered hello with wire version {}, this side speaks {} to {}; "
                             "upgrade the older one",
                             valid_utf8(welcome->broker), identity_.endpoint, welcome->version,
                             protocol::kWireVersion, protocol::kWireVersion)),
          now + kRetryAfterRefusal);
    }
    state_ = State::up;
    ever_up_ = true;
    refusal_ = {};
    broker_ = {welcome->incarnation, welcome->body_bytes_max, welcome->message_bytes_max,
               welcome->jobs_per_message_max};
    return Event::up;
  }
  const auto* error = std::get_if<protocol::Error>(&message.body);
  if (error == nullptr || state_ != State::greeting || message.request_id != hello_id_) return Event::none;
  return refuse(Status(error->code, error->text),
                now + DurationMs{std::max<std::int64_t>(error->retry_after_ms, kRetryAfterRefusal.ms)});
}

Link::Event Link::refuse(Status why, TimeMs again_at) {
  state_ = State::down;
  refusal_ = std::move(why);
  reconnect_at_ = again_at;
  return Event::refused;
}

void Link::tick(TimeMs now) {
  const bool mute = state_ == State::greeting && hello_deadline_ <= now;
  const bool planned = reconnect_at_.is_set() && reconnect_at_ <= now;
  if (!mute && !planned) return;
  state_ = State::down;
  reconnect_at_ = {};
  reconnect_ = true;
}

std::optional<TimeMs> Link::next_deadline() const {
  std::optional<TimeMs> next;
  if (state_ == State::greeting) next = hello_deadline_;
  if (reconnect_at_.is_set()) next = earlier(next, reconnect_at_);
  return next;
}

std::uint64_t Link::send(protocol::Request body, std::size_t bytes) {
  const std::uint64_t id = next_request_id_++;
  std::string frame;
  frame.reserve(bytes);
  protocol::encode(protocol::RequestMessage{id, std::move(body)}, &frame);
  frames_.emplace_back(std::move(frame));
  return id;
}

}  // namespace jobq
