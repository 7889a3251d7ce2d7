// NATS JetStream with libnats: a work-queue stream on file, asynchronous publishes, and a push consumer with explicit acks
// whose limit of unacked messages is the window.
#include <nats/nats.h>

#include <condition_variable>
#include <mutex>
#include <vector>

#include "bench/peers/peer.hpp"
#include "libjobq/base/check.hpp"

namespace jobq::bench {
namespace {

void must(natsStatus status, const char* what) {
  JOBQ_CHECK(status == NATS_OK, "NATS: {} failed: {}", what, natsStatus_GetText(status));
}

class Connection {
 public:
  explicit Connection(const PeerArguments& arguments) {
    const std::string url = "nats://" + arguments.host + ":" + std::to_string(arguments.port);
    natsOptions* options = nullptr;
    must(natsOptions_Create(&options), "options");
    must(natsOptions_SetURL(options, url.c_str()), "the address");
    // By default the library gathers what is sent for a millisecond, which is good for rates only.
    must(natsOptions_SetSendAsap(options, arguments.mode == "sync" || arguments.mode == "latency"),
         "options");
    must(natsConnection_Connect(&connection_, options), "connect");
    natsOptions_Destroy(options);
  }
  ~Connection() {
    jsCtx_Destroy(stream_);
    natsConnection_Destroy(connection_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  void use(jsOptions* options) {
    must(natsConnection_JetStream(&stream_, connection_, options), "JetStream");
  }
  jsCtx* stream() { return stream_; }
  natsConnection* get() { return connection_; }

 private:
  natsConnection* connection_ = nullptr;
  jsCtx* stream_ = nullptr;
};

class Producer final : public PeerProducer {
 public:
  Producer(const PeerArguments& arguments, Confirmations* confirmations)
      : confirmations_(confirmations), connection_(arguments) {
    jsOptions options;
    must(jsOptions_Init(&options), "options");
    options.PublishAsync.MaxPending = static_cast<std::int64_t>(2 * arguments.window);
    options.PublishAsync.AckHandler = &Producer::acked;
    options.PublishAsync.AckHandlerClosure = this;
    connection_.use(&options);
  }
  void send(std::string_view body, std::size_t count) override {
    for (std::size_t i = 0; i < count; ++i) {
      must(js_PublishAsync(connection_.stream(), "jobs", body.data(), static_cast<int>(body.size()), nullptr),
           "publish");
    }
  }
  // The library writes and reads on threads of its own.
  void receive(int timeout_ms) override {
    std::unique_lock lock(mutex_);
    news_.wait_for(lock, std::chrono::milliseconds{timeout_ms}, [this] { return has_news_; });
    has_news_ = false;
  }

 private:
  static void acked(jsCtx* /*stream*/, natsMsg* message, jsPubAck* ack, jsPubAckErr* error, void* closure) {
    auto* self = static_cast<Producer*>(closure);
    JOBQ_CHECK(ack != nullptr, "NATS: a message was refused: {}",
               error != nullptr && error->ErrText != nullptr ? error->ErrText : "no reason");
    natsMsg_Destroy(message);
    self->confirmations_->up_to(++self->confirmed_);  // one stream answers in order
    const std::lock_guard lock(self->mutex_);
    self->has_news_ = true;
    self->news_.notify_one();
  }
  Confirmations* confirmations_;
  std::uint64_t confirmed_ = 0;
  std::mutex mutex_;
  std::condition_variable news_;
  bool has_news_ = false;
  Connection connection_;
};

class Worker final : public PeerWorker {
 public:
  explicit Worker(const PeerArguments& arguments) : connection_(arguments), most_(arguments.window / 4) {
    connection_.use(nullptr);
    jsSubOptions options;
    must(jsSubOptions_Init(&options), "options");
    options.Stream = "jobs";
    options.ManualAck = true;
    options.Config.Durable = "workers";
    options.Config.AckPolicy = js_AckExplicit;
    options.Config.MaxAckPending = static_cast<std::int64_t>(arguments.window);
    jsErrCode code{};
    must(js_SubscribeSync(&subscription_, connection_.stream(), "jobs", nullptr, &options, &code),
         "subscribe");
    must(natsSubscription_SetPendingLimits(subscription_, -1, -1), "limits");
  }
  ~Worker() override { natsSubscription_Destroy(subscription_); }
  std::size_t take(int timeout_ms, const std::function<void(std::string_view)>& handle) override {
    messages_.clear();
    natsMsg* message = nullptr;
    while (messages_.size() < most_ &&
           natsSubscription_NextMsg(&message, subscription_, messages_.empty() ? timeout_ms : 0) == NATS_OK) {
      handle({natsMsg_GetData(message), static_cast<std::size_t>(natsMsg_GetDataLength(message))});
      messages_.push_back(message);
    }
    return messages_.size();
  }
  void ack() override {
    for (natsMsg* message : messages_) {
      must(natsMsg_Ack(message, nullptr), "ack");
      natsMsg_Destroy(message);
    }
  }

 private:
  Connection connection_;
  const std::size_t most_;
  natsSubscription* subscription_ = nullptr;
  std::vector<natsMsg*> messages_;
};

}  // namespace

void prepare_peer(const PeerArguments& arguments) {
  Connection connection(arguments);
  connection.use(nullptr);
  jsErrCode code{};
  js_DeleteStream(connection.stream(), "jobs", nullptr, &code);  // NATS_NOT_FOUND the first time
  jsStreamConfig config;
  must(jsStreamConfig_Init(&config), "config");
  const char* subjects[] = {"jobs"};
  config.Name = "jobs";
  config.Subjects = subjects;
  config.SubjectsLen = 1;
  config.Retention = js_WorkQueuePolicy;
  config.Storage = js_FileStorage;
  must(js_AddStream(nullptr, connection.stream(), &config, nullptr, &code), "making the stream");
}
std::unique_ptr<PeerProducer> connect_producer(const PeerArguments& arguments, Confirmations* confirmations) {
  return std::make_unique<Producer>(arguments, confirmations);
}
std::unique_ptr<PeerWorker> connect_worker(const PeerArguments& arguments) {
  return std::make_unique<Worker>(arguments);
}

}  // namespace jobq::bench
