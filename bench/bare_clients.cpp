#include <zmq.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "bench/bare_loop.hpp"

namespace jobq::bench {
namespace {

std::string_view view_of(zmq_msg_t* message) {
  return {static_cast<const char*>(zmq_msg_data(message)), zmq_msg_size(message)};
}

class BareClient {
 public:
  explicit BareClient(const std::string& endpoint) {
    context_ = zmq_ctx_new();
    socket_ = zmq_socket(context_, ZMQ_DEALER);
    const int unlimited = 0;
    zmq_setsockopt(socket_, ZMQ_SNDHWM, &unlimited, sizeof unlimited);
    zmq_setsockopt(socket_, ZMQ_RCVHWM, &unlimited, sizeof unlimited);
    JOBQ_CHECK(zmq_connect(socket_, endpoint.c_str()) == 0, "{}", zmq_strerror(errno));
    zmq_msg_init(&frame_);
  }
  void send(std::string_view bytes) { zmq_send(socket_, bytes.data(), bytes.size(), 0); }
  bool receive(Parser* parser) {
    zmq_msg_close(&frame_);
    zmq_msg_init(&frame_);
    if (zmq_msg_recv(&frame_, socket_, ZMQ_DONTWAIT) < 0) return false;
    parser->rest = view_of(&frame_);
    return true;
  }
  void wait(long timeout_ms) {
    zmq_pollitem_t item{socket_, 0, ZMQ_POLLIN, 0};
    zmq_poll(&item, 1, timeout_ms);
  }

 private:
  void* context_;
  void* socket_;
  zmq_msg_t frame_;
};

}  // namespace

void produce_bare(const BareArguments& arguments, const std::string& endpoint, SharedState* shared) {
  BareClient client(endpoint);
  ++shared->ready;
  std::string body(arguments.body_bytes, 'x');
  Builder message;
  std::deque<std::pair<std::int64_t, std::uint32_t>> open;  // when it was sent, of how many jobs
  std::uint64_t sent = 0, confirmed = 0;
  const bool paced = arguments.mode == "latency";
  const bool consumed = arguments.mode == "cycle";
  const std::size_t window = arguments.mode == "sync" ? 1 : arguments.window;
  const std::size_t pack = std::min(arguments.jobs_per_message, window);
  const std::int64_t begun = now_ns();
  while (!shared->stop) {
    for (;;) {
      const std::int64_t now = now_ns();
      if (paced && static_cast<double>(sent) > static_cast<double>(now - begun) / 1e9 * arguments.rate) break;
      if (!paced && sent - confirmed + pack > window) break;
      if (consumed && sent - shared->done.load(std::memory_order_relaxed) >= arguments.in_flight) break;
      message.begin('E');
      for (std::size_t i = 0; i < pack; ++i) {
        std::memcpy(body.data(), &now, sizeof now);
        message.text(body);
        message.count_one();
      }
      client.send(message.view());
      open.emplace_back(now, static_cast<std::uint32_t>(pack));
      sent += pack;
    }
    client.wait(paced || consumed ? 1 : 100);
    for (Parser parser; client.receive(&parser);) {
      confirmed += open.front().second;
      if (shared->measuring) shared->confirm_latency.add(now_ns() - open.front().first);
      open.pop_front();
    }
    shared->confirmed.store(confirmed, std::memory_order_relaxed);
  }
}

void work_bare(const BareArguments& arguments, const std::string& endpoint, SharedState* shared) {
  BareClient client(endpoint);
  Builder message;
  message.begin('W');
  message.number(arguments.credit);
  client.send(message.view());
  ++shared->ready;
  std::uint64_t done = 0;
  while (!shared->stop) {
    client.wait(100);
    for (Parser parser; client.receive(&parser);) {
      if (parser.kind() != 'D') continue;
      const std::uint32_t count = parser.count();
      message.begin('A');
      for (std::uint32_t i = 0; i < count; ++i) {
        message.number(parser.number());
        message.count_one();
        std::int64_t sent = 0;
        std::memcpy(&sent, parser.text().data(), sizeof sent);
        if (shared->measuring && arguments.mode == "latency") shared->delivery_latency.add(now_ns() - sent);
      }
      client.send(message.view());
      done += count;
    }
    shared->done.store(done, std::memory_order_relaxed);
  }
}

}  // namespace jobq::bench
