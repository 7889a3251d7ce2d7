// The producing side: puts jobs into queues and says what became of each.
//
//   jobq::Client client{"tcp://127.0.0.1:7710"};
//   auto made = client.enqueue("receipts", SendReceipt{"a@example.org", 42},   // needs jobq/msgpack_body.hpp
//                              {.delay = 5s, .unique_key = "receipt:42"});
//   log("job {}{}", made.id, made.duplicate ? " was there already" : "");
//
// OUTCOMES. Every call ends, at its deadline at the latest, in one of three ways:
//   accepted  the job is on disk (fsynced) at the broker: created now, or `duplicate` of a live job with the
//   same
//             unique key.
//   refused   nothing was stored; code() says why, retryable() and retry_after() whether waiting helps. Also
//             `unreachable` (no broker was reached in time, the job was never sent), `buffer_full` and
//             `bad_argument`, which are decided here.
//   unknown   the job was sent and no answer came in time (`timed_out`), or the broker has forgotten this
//   client
//             (`unknown_producer`), or the client was closed (`closed`): it may be stored or not. Enqueue
//             again with the same unique key to be sure of one.
//
// While a call waits, the library reconnects and sends again by itself under the same identity: a restart of
// the broker within the deadline is a pause, not an error, and makes no second job. What waits at the same
// time travels in one message, each job with an outcome of its own.
//
// THREADS. All members may be called from many threads at once, except the destructor. Calls from a callback
// (on the I/O thread): only the non-blocking forms. OWNERSHIP. Bodies and options are copied before a call
// returns. Blocking calls that run when the client is destroyed are a mistake of the caller's.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jobq/body.hpp"
#include "jobq/error.hpp"
#include "jobq/export.hpp"
#include "jobq/options.hpp"
#include "jobq/status.hpp"

namespace jobq {

// An accepted job.
struct Enqueued {
  enum class State : std::uint8_t { scheduled = 0, ready = 1, leased = 2, dead = 3, gone = 4 };

  std::string id;              // of the job; of the one that holds the key when `duplicate`
  bool duplicate = false;      // the unique key was taken: no job was made
  State state = State::ready;  // of that job
  bool body_differs = false;   // duplicate: the job that holds the key has another body
};

enum class Outcome : std::uint8_t { accepted = 0, refused = 1, unknown = 2 };

JOBQ_API const char* to_string(Outcome outcome);

// What became of one job: an Enqueued, or the Status why not.
class [[nodiscard]] EnqueueResult : public Result<Enqueued> {
 public:
  EnqueueResult(Enqueued enqueued)  // NOLINT(google-explicit-constructor)
      : Result<Enqueued>(std::move(enqueued)) {}
  EnqueueResult(Outcome outcome, Status status, std::chrono::milliseconds retry_after = {})
      : Result<Enqueued>(std::move(status)), outcome_(outcome), retry_after_(retry_after) {}

  [[nodiscard]] Outcome outcome() const { return outcome_; }
  // Refused, and the same call may succeed later.
  [[nodiscard]] bool retryable() const { return outcome_ == Outcome::refused && is_retryable(code()); }
  // How long the broker asks to wait first; zero when it has no opinion.
  [[nodiscard]] std::chrono::milliseconds retry_after() const { return retry_after_; }
  // The Enqueued, or throws the Error.
  [[nodiscard]] Enqueued value() && {
    if (!ok()) throw Error(status(), retry_after_);
    return *std::move(*this);
  }

 private:
  Outcome outcome_ = Outcome::accepted;
  std::chrono::milliseconds retry_after_{};
};

// One job of enqueue_many(): a body that is owned, and its options (`timeout` in them is ignored).
struct NewJob {
  template <typename Raw>
    requires std::convertible_to<const Raw&, Bytes>
  NewJob(const Raw& raw, EnqueueOptions its_options = {})  // NOLINT(google-explicit-constructor)
      : body(Bytes(raw).view()), options(std::move(its_options)) {}
  template <TypedBody T>
    requires(!std::same_as<T, NewJob>)
  NewJob(const T& typed, EnqueueOptions its_options = {})  // NOLINT(google-explicit-constructor)
      : body(pack_body(typed)), options(std::move(its_options)) {
    if (options.type.empty()) options.type = job_type<T>();
  }

  std::string body;
  EnqueueOptions options;
};

class ClientImpl;

class JOBQ_API Client {
 public:
  using Callback = std::function<void(EnqueueResult)>;

  // `endpoint`: "tcp://HOST:PORT" or "ipc://PATH". Connects in the background: a broker that is not there yet
  // is no error. Throws Error: bad_endpoint, bad_argument (an option out of its range).
  explicit Client(std::string endpoint, ClientOptions options = {});
  // Waits up to `linger` for what is unanswered.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Blocks until the job is accepted; throws Error otherwise, at the deadline at the latest.
  Enqueued enqueue(std::string_view queue, Bytes body, const EnqueueOptions& options = {}) {
    return try_enqueue(queue, body, options).value();
  }
  template <TypedBody T>
  Enqueued enqueue(std::string_view queue, const T& body, const EnqueueOptions& options = {}) {
    return try_enqueue(queue, body, options).value();
  }

  // The same without exceptions.
  EnqueueResult try_enqueue(std::string_view queue, Bytes body, const EnqueueOptions& options = {});
  template <TypedBody T>
  EnqueueResult try_enqueue(std::string_view queue, const T& body, const EnqueueOptions& options = {}) {
    return try_enqueue(queue, Bytes{pack_body(body)}, with_type(options, job_type<T>()));
  }

  // Returns at once. The future is always completed, at the deadline at the latest, and never with an
  // exception.
  std::future<EnqueueResult> enqueue_async(std::string_view queue, Bytes body,
                                           const EnqueueOptions& options = {});
  template <TypedBody T>
  std::future<EnqueueResult> enqueue_async(std::string_view queue, const T& body,
                                           const EnqueueOptions& options = {}) {
    return enqueue_async(queue, Bytes{pack_body(body)}, with_type(options, job_type<T>()));
  }

  // Returns at once. The callback is called exactly once: on the I/O thread, or on this one before the call
  // returns when it is refused here (buffer_full, bad_argument). It must not block and must not throw.
  void enqueue_async(std::string_view queue, Bytes body, const EnqueueOptions& options, Callback done);
  template <TypedBody T>
  void enqueue_async(std::string_view queue, const T& body, const EnqueueOptions& options, Callback done) {
    enqueue_async(queue, Bytes{pack_body(body)}, with_type(options, job_type<T>()), std::move(done));
  }

  // Many at once, in order: a result per job. Blocks until all have one. Jobs that do not fit into the buffer
  // answer buffer_full; the others are not touched by that, unless all_or_nothing.
  std::vector<EnqueueResult> enqueue_many(std::string_view queue, std::span<const NewJob> jobs,
                                          const ManyOptions& options = {});

  // Waits until nothing is unanswered; false when the time was over first.
  bool flush(std::chrono::milliseconds timeout);

  // Whether the broker has greeted this client on the connection that is up now.
  [[nodiscard]] bool connected() const;
  [[nodiscard]] const std::string& endpoint() const;

  [[nodiscard]] ClientImpl& impl() { return *impl_; }  // the library's own (libjobq/admin.hpp)

 private:
  static EnqueueOptions with_type(EnqueueOptions options, std::string_view type) {
    if (options.type.empty()) options.type = type;
    return options;
  }

  std::unique_ptr<ClientImpl> impl_;
};

}  // namespace jobq
