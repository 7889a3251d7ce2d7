// RabbitMQ with librabbitmq: persistent messages with publisher confirms into a quorum queue or a durable classic one; a
// consumer with a prefetch of the window acks all it has read by one frame.
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <sys/time.h>

#include "bench/peers/peer.hpp"
#include "libjobq/base/check.hpp"

namespace jobq::bench {
namespace {

constexpr amqp_channel_t kChannel = 1;

amqp_bytes_t queue_name() { return amqp_cstring_bytes("jobs"); }

class Connection {
 public:
  explicit Connection(const PeerArguments& arguments) : state_(amqp_new_connection()) {
    amqp_socket_t* socket = amqp_tcp_socket_new(state_);
    JOBQ_CHECK(amqp_socket_open(socket, arguments.host.c_str(), arguments.port) == AMQP_STATUS_OK,
               "RabbitMQ does not listen on port {}", arguments.port);
    constexpr int kFrameBytes = 131072;
    must(amqp_login(state_, "/", 0, kFrameBytes, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest"), "login");
    amqp_channel_open(state_, kChannel);
    check("channel");
  }
  ~Connection() { amqp_destroy_connection(state_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  amqp_connection_state_t get() { return state_; }
  void check(const char* what) { must(amqp_get_rpc_reply(state_), what); }
  static void must(const amqp_rpc_reply_t& reply, const char* what) {
    JOBQ_CHECK(reply.reply_type == AMQP_RESPONSE_NORMAL, "RabbitMQ: {} failed: {}", what,
               reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION ? amqp_error_string2(reply.library_error)
                                                                   : "refused by the server");
  }
  static void must(int status, const char* what) {
    JOBQ_CHECK(status == AMQP_STATUS_OK, "RabbitMQ: {} failed: {}", what, amqp_error_string2(status));
  }
  // False: none came in this time. The waiting is not left to the library, which spins through the last millisecond.
  bool next_frame(int timeout_ms, amqp_frame_t* frame) {
    if (amqp_frames_enqueued(state_) == 0 && amqp_data_in_buffer(state_) == 0 &&
        !wait_for_socket(amqp_get_sockfd(state_), false, timeout_ms))
      return false;
    timeval time{0, 0};
    const int status = amqp_simple_wait_frame_noblock(state_, frame, &time);
    if (status == AMQP_STATUS_TIMEOUT) return false;
    must(status, "reading");
    return true;
  }

 private:
  amqp_connection_state_t state_;
};

class Producer final : public PeerProducer {
 public:
  Producer(const PeerArguments& arguments, Confirmations* confirmations)
      : connection_(arguments), confirmations_(confirmations) {
    amqp_confirm_select(connection_.get(), kChannel);
    connection_.check("confirm.select");
    properties_._flags = AMQP_BASIC_DELIVERY_MODE_FLAG;
    properties_.delivery_mode = AMQP_DELIVERY_PERSISTENT;
  }
  void send(std::string_view body, std::size_t count) override {
    const amqp_bytes_t bytes{body.size(), const_cast<char*>(body.data())};
    for (std::size_t i = 0; i < count; ++i) {
      Connection::must(amqp_basic_publish(connection_.get(), kChannel, amqp_empty_bytes, queue_name(), 0, 0,
                                          &properties_, bytes),
                       "publish");
    }
  }
  void receive(int timeout_ms) override {
    amqp_frame_t frame;
    for (int wait = timeout_ms; connection_.next_frame(wait, &frame); wait = 0) {
      JOBQ_CHECK(frame.frame_type == AMQP_FRAME_METHOD && frame.payload.method.id == AMQP_BASIC_ACK_METHOD,
                 "RabbitMQ: not a confirmation but method {:#x}", frame.payload.method.id);
      const auto* ack = static_cast<const amqp_basic_ack_t*>(frame.payload.method.decoded);
      if (ack->multiple != 0) {
        confirmations_->up_to(ack->delivery_tag);
      } else {
        confirmations_->one(ack->delivery_tag);
      }
    }
    amqp_maybe_release_buffers(connection_.get());
  }

 private:
  Connection connection_;
  Confirmations* confirmations_;
  amqp_basic_properties_t properties_{};
};

class Worker final : public PeerWorker {
 public:
  explicit Worker(const PeerArguments& arguments) : connection_(arguments), window_(arguments.window) {
    amqp_basic_qos(connection_.get(), kChannel, 0, static_cast<std::uint16_t>(window_), 0);
    connection_.check("basic.qos");
    amqp_basic_consume(connection_.get(), kChannel, queue_name(), amqp_empty_bytes, 0, 0, 0,
                       amqp_empty_table);
    connection_.check("basic.consume");
  }
  std::size_t take(int timeout_ms, const std::function<void(std::string_view)>& handle) override {
    std::size_t count = 0;
    // Up to a quarter of the prefetch, so that the server has always some to send meanwhile.
    while (count < window_ / 4) {
      timeval time{0, count == 0 ? timeout_ms * 1000 : 0};
      amqp_envelope_t envelope;
      amqp_maybe_release_buffers(connection_.get());
      const amqp_rpc_reply_t reply = amqp_consume_message(connection_.get(), &envelope, &time, 0);
      if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION && reply.library_error == AMQP_STATUS_TIMEOUT)
        break;
      Connection::must(reply, "consume");
      handle({static_cast<const char*>(envelope.message.body.bytes), envelope.message.body.len});
      last_tag_ = envelope.delivery_tag;
      ++count;
      amqp_destroy_envelope(&envelope);
    }
    return count;
  }
  void ack() override { Connection::must(amqp_basic_ack(connection_.get(), kChannel, last_tag_, 1), "ack"); }

 private:
  Connection connection_;
  const std::size_t window_;
  std::uint64_t last_tag_ = 0;
};

}  // namespace

void prepare_peer(const PeerArguments& arguments) {
  Connection connection(arguments);
  amqp_queue_delete(connection.get(), kChannel, queue_name(), 0, 0);
  connection.check("queue.delete");
  amqp_table_entry_t entry{};
  entry.key = amqp_cstring_bytes("x-queue-type");
  entry.value.kind = AMQP_FIELD_KIND_UTF8;
  entry.value.value.bytes = amqp_cstring_bytes(arguments.variant.c_str());
  const amqp_table_t table{1, &entry};
  constexpr amqp_boolean_t kNo = 0, kDurable = 1;
  amqp_queue_declare(connection.get(), kChannel, queue_name(), kNo, kDurable, kNo, kNo, table);
  connection.check("queue.declare");
}
std::unique_ptr<PeerProducer> connect_producer(const PeerArguments& arguments, Confirmations* confirmations) {
  return std::make_unique<Producer>(arguments, confirmations);
}
std::unique_ptr<PeerWorker> connect_worker(const PeerArguments& arguments) {
  return std::make_unique<Worker>(arguments);
}

}  // namespace jobq::bench
