// Redis Streams with hiredis: XADD pipelined; a consumer group reads up to a window of entries, and acks and deletes them
// with the command that asks for the next ones.
#include <hiredis/hiredis.h>
#include <sys/time.h>

#include <vector>

#include "bench/peers/peer.hpp"
#include "libjobq/base/check.hpp"

namespace jobq::bench {
namespace {

class Connection {
 public:
  explicit Connection(const PeerArguments& arguments)
      : context_(redisConnect(arguments.host.c_str(), arguments.port)) {
    JOBQ_CHECK(context_ != nullptr && context_->err == 0, "Redis: {}",
               context_ ? context_->errstr : "no memory");
  }
  ~Connection() { redisFree(context_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  redisContext* get() { return context_; }
  void append(const std::vector<std::string_view>& words) {
    pointers_.clear();
    sizes_.clear();
    for (const std::string_view word : words) {
      pointers_.push_back(word.data());
      sizes_.push_back(word.size());
    }
    must(redisAppendCommandArgv(context_, static_cast<int>(words.size()), pointers_.data(), sizes_.data()));
  }
  void must(int status) { JOBQ_CHECK(status == REDIS_OK, "Redis: {}", context_->errstr); }
  // Sends what was appended and waits for the next reply, which is the caller's.
  redisReply* next() {
    void* reply = nullptr;
    must(redisGetReply(context_, &reply));
    return checked(reply);
  }
  // A reply that is there already, or null.
  redisReply* ready() {
    void* reply = nullptr;
    must(redisGetReplyFromReader(context_, &reply));
    return reply == nullptr ? nullptr : checked(reply);
  }
  void run(const std::vector<std::string_view>& words) {
    append(words);
    freeReplyObject(next());
  }

 private:
  static redisReply* checked(void* reply) {
    auto* answer = static_cast<redisReply*>(reply);
    JOBQ_CHECK(answer->type != REDIS_REPLY_ERROR, "Redis: {}", answer->str);
    return answer;
  }
  redisContext* context_;
  std::vector<const char*> pointers_;
  std::vector<std::size_t> sizes_;
};

class Producer final : public PeerProducer {
 public:
  Producer(const PeerArguments& arguments, Confirmations* confirmations)
      : redis_(arguments), confirmations_(confirmations) {}
  void send(std::string_view body, std::size_t count) override {
    for (std::size_t i = 0; i < count; ++i) redis_.append({"XADD", "jobs", "*", "b", body});
  }
  void receive(int timeout_ms) override {
    for (int all_written = 0; all_written == 0;) {
      redis_.must(redisBufferWrite(redis_.get(), &all_written));
      if (all_written == 0) wait_for_socket(redis_.get()->fd, true, 100);
    }
    if (!wait_for_socket(redis_.get()->fd, false, timeout_ms)) return;
    redis_.must(redisBufferRead(redis_.get()));
    const std::uint64_t before = confirmed_;
    while (redisReply* reply = redis_.ready()) {
      freeReplyObject(reply);
      ++confirmed_;
    }
    if (confirmed_ > before) confirmations_->up_to(confirmed_);
  }

 private:
  Connection redis_;
  Confirmations* confirmations_;
  std::uint64_t confirmed_ = 0;
};

class Worker final : public PeerWorker {
 public:
  explicit Worker(const PeerArguments& arguments)
      : redis_(arguments), count_(std::to_string(arguments.window)) {}
  std::size_t take(int timeout_ms, const std::function<void(std::string_view)>& handle) override {
    const std::string block = std::to_string(timeout_ms);
    redis_.append({"XREADGROUP", "GROUP", "workers", "worker", "COUNT", count_, "BLOCK", block, "STREAMS",
                   "jobs", ">"});
    for (; acks_open_ > 0; --acks_open_) freeReplyObject(redis_.next());
    redisReply* reply = redis_.next();
    ids_.clear();
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1) {
      const redisReply* entries = reply->element[0]->element[1];
      for (std::size_t i = 0; i < entries->elements; ++i) {
        const redisReply* entry = entries->element[i];
        const redisReply* body = entry->element[1]->element[1];
        handle({body->str, body->len});
        ids_.emplace_back(entry->element[0]->str, entry->element[0]->len);
      }
    }
    freeReplyObject(reply);
    return ids_.size();
  }
  void ack() override {
    std::vector<std::string_view> words{"XACK", "jobs", "workers"};
    words.insert(words.end(), ids_.begin(), ids_.end());
    redis_.append(words);
    words.erase(words.begin() + 2);
    words[0] = "XDEL";
    redis_.append(words);
    acks_open_ = 2;
  }

 private:
  Connection redis_;
  std::string count_;
  std::vector<std::string> ids_;
  int acks_open_ = 0;
};

}  // namespace

void prepare_peer(const PeerArguments& arguments) {
  Connection redis(arguments);
  redis.run({"DEL", "jobs"});
  redis.run({"XGROUP", "CREATE", "jobs", "workers", "0", "MKSTREAM"});
}
std::unique_ptr<PeerProducer> connect_producer(const PeerArguments& arguments, Confirmations* confirmations) {
  return std::make_unique<Producer>(arguments, confirmations);
}
std::unique_ptr<PeerWorker> connect_worker(const PeerArguments& arguments) {
  return std::make_unique<Worker>(arguments);
}

}  // namespace jobq::bench
