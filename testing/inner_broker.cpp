#include "testing/inner_broker.hpp"

#include "libjobq/base/check.hpp"
#include "libjobq/protocol/codec.hpp"

namespace jobq::testing {
namespace {

constexpr DurationMs kLongest{3'600'000};
constexpr std::uint64_t kMoreThanThereIs = std::uint64_t{1} << 62;

}  // namespace

InnerBroker::InnerBroker(Wire* wire, const TimeMs* now, std::int64_t wall_at_zero, std::uint64_t seed)
    : wire_(wire), now_(now), wall_at_zero_(wall_at_zero), seed_(seed), store_(seed) {}

void InnerBroker::start() {
  wire_->reset();
  store_.restart();
  const Result<Recovered> recovered = store_.recover();
  JOBQ_CHECK(recovered.ok(), "{}", recovered.status().text());
  clock_ = std::make_unique<ServerClock>(
      recovered->mark.now,
      ServerClock::Source{[this] { return wall_at_zero_ + now_->ms; }, [this] { return now_->ms; }});
  engine_ = std::make_unique<Engine>(config_.engine, *recovered, seed_++);
  server_ = std::make_unique<Server>(config_, Server::Parts{&store_, engine_.get(), wire_, clock_.get()},
                                     *recovered);
  const Status started = server_->start();
  JOBQ_CHECK(started.ok(), "{}", started.text());
  deadline_ = *now_;
}

void InnerBroker::crash() {
  server_.reset();
  engine_.reset();
  clock_.reset();
  desk_ = {};
  wire_->cut_all();
}

void InnerBroker::turn() {
  const Status turned = server_->turn(kLongest);
  JOBQ_CHECK(turned.ok(), "{}", turned.text());
  // What it did may have brought the deadline nearer: only a turn that had nothing to do tells.
  const bool idle = !wire_->took_something() && wire_->last_wait().ms > 0;
  deadline_ = idle ? *now_ + wire_->last_wait() : *now_;
  if (wire_->fell_silent()) crash();
}

void InnerBroker::refuse_enqueues(bool on) {
  config_.store_min_free_bytes = on ? kMoreThanThereIs : Config{}.store_min_free_bytes;
  if (running()) {
    server_->reload(config_);
    deadline_ = *now_;
  }
}

std::uint64_t InnerBroker::send(protocol::Request request) {
  std::string frame;
  protocol::encode(protocol::RequestMessage{next_request_, std::move(request)}, &frame);
  wire_->to_broker(desk_, std::move(frame));
  return next_request_++;
}

Result<std::string> InnerBroker::answer_to(std::uint64_t request_id) {
  for (int turns = 0; running() && turns < 100; ++turns) {
    turn();
    std::string frame;
    while (wire_->receive(desk_, &frame)) {
      const Result<protocol::ReplyMessage> reply = protocol::decode_reply(frame, {limits::kMessageBytesMax});
      if (!reply.ok()) return reply.status();
      if (reply->request_id != request_id) continue;
      if (const auto* error = std::get_if<protocol::Error>(&reply->body))
        return Status(error->code, error->text);
      if (const auto* document = std::get_if<protocol::AdminReply>(&reply->body)) return document->document;
      return std::string{};
    }
  }
  return Status(Code::unreachable, "the broker of this test was killed (crash()): restart() it first");
}

Result<std::string> InnerBroker::ask(std::string_view verb, const std::vector<protocol::Param>& params) {
  if (!running()) return answer_to(0);
  if (!wire_->is_up(desk_)) {
    desk_ = wire_->connect(true);
    if (Result<std::string> greeted = answer_to(send(protocol::Hello{})); !greeted.ok()) return greeted;
  }
  return answer_to(send(protocol::Admin{verb, params}));
}

}  // namespace jobq::testing
