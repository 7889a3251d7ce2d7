#include "tests/server/server_world.hpp"

#include <doctest/doctest.h>

namespace jobq {

ServerWorld::ServerWorld(const Config& config) {
  const Result<Recovered> recovered = store.recover();
  REQUIRE(recovered.ok());
  clock = std::make_unique<ServerClock>(
      recovered->mark.now, ServerClock::Source{[this] { return wall_ms; }, [this] { return steady_ms; }});
  engine = std::make_unique<Engine>(config.engine, *recovered, 1);
  server = std::make_unique<Server>(config, Server::Parts{&store, engine.get(), &transport, clock.get()},
                                    *recovered);
  REQUIRE(server->start().ok());
}

std::uint64_t ServerWorld::send(PeerId peer, protocol::Request request) {
  std::string frame;
  protocol::encode(protocol::RequestMessage{next_request_, std::move(request)}, &frame);
  transport.put(peer, std::move(frame));
  return next_request_++;
}

void ServerWorld::settle() {
  for (int turns = 0; turns < 100; ++turns) {
    const Status turned = turn();
    REQUIRE_MESSAGE(turned.ok(), turned.text());
    engine->check_invariants();
    if (transport.waiting() == 0 && transport.last_wait() && transport.last_wait()->ms != 0) return;
    if (transport.waiting() == 0 && turns > 10) return;
  }
}

std::vector<protocol::ReplyMessage> ServerWorld::received(PeerId peer) {
  frames_[peer.value] = transport.take_sent(peer);
  std::vector<protocol::ReplyMessage> messages;
  for (const std::string& frame : frames_[peer.value]) {
    Result<protocol::ReplyMessage> message = protocol::decode_reply(frame, {});
    REQUIRE_MESSAGE(message.ok(), message.status().text());
    messages.push_back(*std::move(message));
  }
  return messages;
}

nlohmann::json ServerWorld::ask(PeerId peer, std::string_view verb, std::vector<protocol::Param> params) {
  received(peer);
  send(peer, protocol::Admin{verb, std::move(params)});
  settle();
  const auto messages = received(peer);
  REQUIRE(messages.size() == 1);
  if (const auto* error = std::get_if<protocol::Error>(&messages[0].body)) {
    return {{"error", to_string(error->code)}, {"text", error->text}};
  }
  return nlohmann::json::from_msgpack(std::get<protocol::AdminReply>(messages[0].body).document);
}

protocol::Enqueue enqueue_one(std::string_view queue, std::string_view body, std::string_view unique_key) {
  protocol::Enqueue enqueue;
  enqueue.groups.push_back({queue, 0, 1});
  protocol::EnqueueJob& job = enqueue.jobs.emplace_back();
  job.body = body;
  job.unique_key = unique_key;
  return enqueue;
}

protocol::Register worker_of(std::string_view queue, std::uint32_t credit) {
  protocol::Register request;
  request.queues.push_back({queue, 1});
  request.credit_jobs = credit;
  request.name = "w";
  request.host = "h";
  request.pid = 7;
  return request;
}

}  // namespace jobq
