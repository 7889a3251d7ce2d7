// What idle peers cost with nothing but libzmq: a ROUTER that answers each message, and clients that send one each so
// often as jobq's sessions do.
#include <unistd.h>
#include <zmq.h>

#include <vector>

#include "bench/bare_loop.hpp"

namespace jobq::bench {

void echo_bare(const BareArguments& /*arguments*/, const std::string& endpoint, SharedState* shared) {
  void* context = zmq_ctx_new();
  void* router = zmq_socket(context, ZMQ_ROUTER);
  JOBQ_CHECK(zmq_bind(router, endpoint.c_str()) == 0, "{}: {}", endpoint, zmq_strerror(errno));
  ++shared->ready;
  for (;;) {
    zmq_msg_t peer, body;
    zmq_msg_init(&peer);
    zmq_msg_init(&body);
    if (zmq_msg_recv(&peer, router, 0) >= 0 && zmq_msg_recv(&body, router, 0) >= 0) {
      zmq_msg_send(&peer, router, ZMQ_SNDMORE);
      zmq_msg_send(&body, router, 0);
    }
    zmq_msg_close(&peer);
    zmq_msg_close(&body);
  }
}

void idle_bare(const BareArguments& arguments, const std::string& endpoint, SharedState* shared) {
  void* context = zmq_ctx_new();
  zmq_ctx_set(context, ZMQ_MAX_SOCKETS, static_cast<int>(arguments.peers) + 16);
  std::vector<void*> sockets;
  for (std::size_t i = 0; i < arguments.peers; ++i) {
    sockets.push_back(zmq_socket(context, ZMQ_DEALER));
    JOBQ_CHECK(sockets.back() != nullptr, "{}", zmq_strerror(errno));
    JOBQ_CHECK(zmq_connect(sockets.back(), endpoint.c_str()) == 0, "{}", zmq_strerror(errno));
  }
  ++shared->ready;
  constexpr std::int64_t kPeriodNs = 4'500'000'000;  // the library's heartbeats
  const std::int64_t begun = now_ns();
  for (std::uint64_t sent = 0; !shared->stop;) {
    const auto due = static_cast<std::uint64_t>(static_cast<double>(now_ns() - begun) / kPeriodNs *
                                                static_cast<double>(sockets.size()));
    for (; sent < due; ++sent) {
      void* socket = sockets[sent % sockets.size()];
      char heartbeat[32] = {};
      while (zmq_recv(socket, heartbeat, sizeof heartbeat, ZMQ_DONTWAIT) >= 0) {
      }
      zmq_send(socket, heartbeat, sizeof heartbeat, 0);
    }
    sleep_ms(5);
  }
  _exit(0);
}

}  // namespace jobq::bench
