// PostgreSQL with libpq: a batch of rows by one INSERT; a worker takes a batch with FOR UPDATE SKIP LOCKED in a
// transaction that deletes the rows, and commits it when the jobs are done (the cheapest way there is: a crash rolls it
// back). An empty queue is asked again after a millisecond.
#include <arpa/inet.h>
#include <libpq-fe.h>

#include <cstring>
#include <thread>

#include "bench/peers/peer.hpp"
#include "libjobq/base/check.hpp"

namespace jobq::bench {
namespace {

constexpr std::size_t kBatch = 1000;
constexpr Oid kByteaArray = 1001, kBytea = 17;

class Connection {
 public:
  explicit Connection(const PeerArguments& arguments) {
    const std::string words = "host=" + arguments.host + " port=" + std::to_string(arguments.port) +
                              " user=postgres dbname=postgres";
    connection_ = PQconnectdb(words.c_str());
    JOBQ_CHECK(PQstatus(connection_) == CONNECTION_OK, "PostgreSQL: {}", PQerrorMessage(connection_));
  }
  ~Connection() { PQfinish(connection_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  PGconn* get() { return connection_; }
  PGresult* checked(PGresult* result) {
    const ExecStatusType status = PQresultStatus(result);
    JOBQ_CHECK(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "PostgreSQL: {}",
               PQerrorMessage(connection_));
    return result;
  }
  void run(const char* statement) { PQclear(checked(PQexec(connection_, statement))); }

 private:
  PGconn* connection_;
};

void append_int(std::string* bytes, std::size_t value) {
  const std::uint32_t big = htonl(static_cast<std::uint32_t>(value));
  bytes->append(reinterpret_cast<const char*>(&big), sizeof big);
}

class Producer final : public PeerProducer {
 public:
  Producer(const PeerArguments& arguments, Confirmations* confirmations)
      : connection_(arguments), confirmations_(confirmations) {
    PQclear(connection_.checked(PQprepare(connection_.get(), "enqueue",
                                          "INSERT INTO jobs (body) SELECT unnest($1::bytea[])", 1,
                                          &kByteaArray)));
  }
  [[nodiscard]] std::size_t jobs_per_send() const override { return kBatch; }
  [[nodiscard]] bool can_send() const override { return open_ == 0; }
  void send(std::string_view body, std::size_t count) override {
    array_.clear();  // the binary form of a one-dimensional array
    append_int(&array_, 1);
    append_int(&array_, 0);
    append_int(&array_, kBytea);
    append_int(&array_, count);
    append_int(&array_, 1);
    for (std::size_t i = 0; i < count; ++i) {
      append_int(&array_, body.size());
      array_.append(body);
    }
    const char* value = array_.data();
    const int size = static_cast<int>(array_.size()), binary = 1;
    JOBQ_CHECK(PQsendQueryPrepared(connection_.get(), "enqueue", 1, &value, &size, &binary, 1) == 1,
               "PostgreSQL: {}", PQerrorMessage(connection_.get()));
    open_ = count;
  }
  void receive(int timeout_ms) override {
    if (open_ == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds{100});
      return;
    }
    while (PQisBusy(connection_.get()) == 1) {
      if (!wait_for_socket(PQsocket(connection_.get()), false, timeout_ms)) return;
      JOBQ_CHECK(PQconsumeInput(connection_.get()) == 1, "PostgreSQL: {}", PQerrorMessage(connection_.get()));
    }
    while (PGresult* result = PQgetResult(connection_.get())) PQclear(connection_.checked(result));
    confirmed_ += open_;
    open_ = 0;
    confirmations_->up_to(confirmed_);
  }

 private:
  Connection connection_;
  Confirmations* confirmations_;
  std::string array_;
  std::size_t open_ = 0;
  std::uint64_t confirmed_ = 0;
};

class Worker final : public PeerWorker {
 public:
  explicit Worker(const PeerArguments& arguments) : connection_(arguments) {
    PQclear(connection_.checked(PQprepare(connection_.get(), "take",
                                          "DELETE FROM jobs WHERE id = ANY (ARRAY(SELECT id FROM jobs ORDER "
                                          "BY id FOR UPDATE SKIP LOCKED LIMIT 1000)) "
                                          "RETURNING body",
                                          0, nullptr)));
  }
  std::size_t take(int /*timeout_ms*/, const std::function<void(std::string_view)>& handle) override {
    connection_.run("BEGIN");
    PGresult* rows =
        connection_.checked(PQexecPrepared(connection_.get(), "take", 0, nullptr, nullptr, nullptr, 1));
    const int count = PQntuples(rows);
    for (int i = 0; i < count; ++i)
      handle({PQgetvalue(rows, i, 0), static_cast<std::size_t>(PQgetlength(rows, i, 0))});
    PQclear(rows);
    if (count == 0) {
      ack();
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
    return static_cast<std::size_t>(count);
  }
  void ack() override { connection_.run("COMMIT"); }

 private:
  Connection connection_;
};

}  // namespace

void prepare_peer(const PeerArguments& arguments) {
  Connection connection(arguments);
  connection.run("SET client_min_messages = error");
  connection.run("DROP TABLE IF EXISTS jobs");
  connection.run("CREATE TABLE jobs (id bigserial PRIMARY KEY, body bytea NOT NULL)");
  connection.run("CHECKPOINT");
}
std::unique_ptr<PeerProducer> connect_producer(const PeerArguments& arguments, Confirmations* confirmations) {
  return std::make_unique<Producer>(arguments, confirmations);
}
std::unique_ptr<PeerWorker> connect_worker(const PeerArguments& arguments) {
  return std::make_unique<Worker>(arguments);
}

}  // namespace jobq::bench
