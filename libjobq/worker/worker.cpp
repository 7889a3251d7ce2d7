#include "jobq/worker.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "libjobq/base/endpoint.hpp"
#include "libjobq/identity.hpp"
#include "libjobq/protocol/codec.hpp"
#include "libjobq/protocol/limits.hpp"
#include "libjobq/worker/signal_watch.hpp"
#include "libjobq/worker/worker_peer.hpp"

namespace jobq {

namespace {

constexpr std::chrono::milliseconds kAtOnce{1000};  // what handing everything back at once may take

Status check_options(const WorkerOptions& options) {
  if (options.queues.empty())
    return Status(Code::bad_argument, "a worker serves at least one queue: set `queues`");
  if (options.queues.size() > limits::kQueuesPerWorkerMax) {
    return Status(Code::bad_argument, fmt::format("{} queues: a worker serves at most {}",
                                                  options.queues.size(), limits::kQueuesPerWorkerMax));
  }
  for (const WorkerQueue& queue : options.queues) {
    if (Status status = protocol::check_queue_name(queue.name); !status.ok()) return status;
    if (queue.weight < 1 || queue.weight > limits::kWeightMax) {
      return Status(Code::bad_argument, fmt::format("queue '{}' has weight {}: it must be from 1 to {}",
                                                    queue.name, queue.weight, limits::kWeightMax));
    }
  }
  if (options.concurrency < 1 || options.concurrency + options.prefetch > limits::kCreditJobsMax) {
    return Status(
        Code::bad_argument,
        fmt::format("concurrency is {} and prefetch {}: concurrency must be at least 1, both together at "
                    "most {}",
                    options.concurrency, options.prefetch, limits::kCreditJobsMax));
  }
  if (options.drain_timeout.count() < 0 || options.stop_grace.count() < 0) {
    return Status(Code::bad_argument, "drain_timeout and stop_grace must not be negative");
  }
  if (options.name.size() > limits::kNameBytesMax || options.build.size() > limits::kNameBytesMax) {
    return Status(Code::bad_argument,
                  fmt::format("name and build have at most {} bytes", limits::kNameBytesMax));
  }
  return {};
}

void log_to_stderr(std::string_view line) {
  const std::string text = fmt::format("jobq worker: {}\n", line);
  std::fputs(text.c_str(), stderr);
}

}  // namespace

class WorkerImpl {
 public:
  WorkerImpl(std::string endpoint, WorkerOptions options);
  ~WorkerImpl();
  WorkerImpl(const WorkerImpl&) = delete;
  WorkerImpl& operator=(const WorkerImpl&) = delete;

  void on(std::string_view type, Worker::Handler handler);
  void on_any(Worker::Handler handler);
  DrainReport run();
  void stop();
  [[nodiscard]] bool registered() const;
  [[nodiscard]] std::chrono::steady_clock::time_point last_turn() const;

 private:
  void refuse_late_handler() const;
  std::shared_ptr<WorkerPeer> make_peer();
  void wait_until_done(WorkerPeer* peer, SignalWatch* signals);

  const std::string endpoint_;
  const WorkerOptions options_;
  std::shared_ptr<Runtime> runtime_;
  // The pool's callbacks reach the peer through this: they may run longer than the Worker lives.
  std::shared_ptr<std::weak_ptr<WorkerPeer>> peer_slot_ = std::make_shared<std::weak_ptr<WorkerPeer>>();
  std::shared_ptr<JobPool> pool_;
  int changed_fd_ = -1;
  std::atomic<int> stops_{0};
  std::atomic<bool> begun_{false};
  mutable std::mutex mutex_;
  std::shared_ptr<WorkerPeer> peer_;
};

WorkerImpl::WorkerImpl(std::string endpoint, WorkerOptions options)
    : endpoint_(std::move(endpoint)), options_(std::move(options)) {
  if (const Status status = check_options(options_); !status.ok()) throw Error(status);
  if (!is_endpoint(endpoint_)) {
    throw Error(Code::bad_endpoint,
                fmt::format("'{}' is no endpoint: tcp://HOST:PORT or ipc://PATH", endpoint_));
  }
  runtime_ = options_.runtime ? options_.runtime : std::make_shared<Runtime>();
  changed_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (changed_fd_ < 0) throw Error(Code::io_error, fmt::format("eventfd: {}", std::strerror(errno)));
  pool_ = std::make_shared<JobPool>(
      [slot = peer_slot_](const protocol::LeaseRef& lease) {
        if (const auto peer = slot->lock()) peer->started(lease);
      },
      [slot = peer_slot_](JobOutcome outcome) {
        if (const auto peer = slot->lock()) peer->finished(std::move(outcome));
      },
      [runtime = std::weak_ptr<Runtime>(runtime_)] {
        const auto driver = runtime.lock();
        return driver ? steady_time(driver->driver().now()) : JobRun::Clock::now();
      });
}

WorkerImpl::~WorkerImpl() { ::close(changed_fd_); }

void WorkerImpl::refuse_late_handler() const {
  if (begun_.load()) throw Error(Code::bad_argument, "handlers are given before run()");
}

void WorkerImpl::on(std::string_view type, Worker::Handler handler) {
  refuse_late_handler();
  if (const Status status = protocol::check_type(type); !status.ok()) throw Error(status);
  if (pool_->types().size() >= limits::kTypesPerWorkerMax) {
    throw Error(Code::bad_argument,
                fmt::format("a worker has handlers for at most {} types", limits::kTypesPerWorkerMax));
  }
  if (!pool_->on(type, std::move(handler))) {
    throw Error(Code::bad_argument, fmt::format("the type '{}' has a handler already", type));
  }
}

void WorkerImpl::on_any(Worker::Handler handler) {
  refuse_late_handler();
  if (pool_->has_any()) throw Error(Code::bad_argument, "there is an on_any() handler already");
  pool_->on_any(std::move(handler));
}

std::shared_ptr<WorkerPeer> WorkerImpl::make_peer() {
  WorkerSetup setup;
  setup.queues = options_.queues;
  if (!pool_->has_any()) setup.types = pool_->types();
  setup.credit_jobs = static_cast<std::uint32_t>(options_.concurrency + options_.prefetch);
  setup.credit_bytes = options_.credit_bytes;
  setup.extend_leases = options_.extend_leases;
  setup.name = options_.name.empty() ? program_name() : options_.name;
  setup.build = options_.build;
  return std::make_shared<WorkerPeer>(this_process(endpoint_), std::move(setup), pool_, runtime_,
                                      options_.log ? options_.log : LogSink{log_to_stderr}, changed_fd_);
}

DrainReport WorkerImpl::run() {
  if (!pool_->has_any() && pool_->types().empty()) {
    throw Error(Code::bad_argument, "a worker without handlers: give it on() or on_any() before run()");
  }
  if (begun_.exchange(true)) throw Error(Code::bad_argument, "run() was called already: make another Worker");
  const std::shared_ptr<WorkerPeer> peer = make_peer();
  *peer_slot_ = peer;
  {
    const std::lock_guard lock(mutex_);
    peer_ = peer;
  }
  std::optional<SignalWatch> signals;
  if (options_.handle_signals) signals.emplace();
  pool_->start(options_.concurrency);
  if (const Status added = runtime_->driver().add(peer, endpoint_); !added.ok()) {
    (void)pool_->stop();
    throw Error(added);
  }
  wait_until_done(peer.get(), signals ? &*signals : nullptr);
  runtime_->driver().remove(peer.get(), 0);
  DrainReport report;
  report.abandoned = pool_->stop();
  report.handed_back = peer->idle_core().handed_back();
  report.unanswered = peer->idle_core().unanswered();
  if (const Status refusal = peer->refusal(); !refusal.ok()) throw Error(refusal);
  return report;
}

// Until the drain is over: begun by a signal, by stop(), by a refusal or by an operator's wish.
void WorkerImpl::wait_until_done(WorkerPeer* peer, SignalWatch* signals) {
  int drains = 0;
  for (;;) {
    int asked = stops_.load();
    if (!peer->refusal().ok() || peer->asked_to_leave()) asked = std::max(asked, 1);
    for (; drains < std::min(asked, 2); ++drains) {
      if (drains == 0) peer->log("draining: takes no more jobs");
      if (drains == 1) peer->log("handing everything back at once");
      peer->drain(drains == 0 ? options_.drain_timeout : kAtOnce, options_.stop_grace, drains == 1);
    }
    if (peer->done()) return;
    pollfd fds[2] = {{changed_fd_, POLLIN, 0}, {signals != nullptr ? signals->fd() : -1, POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0) continue;  // EINTR: a signal, whose descriptor is readable next.
    std::uint64_t count = 0;
    if (fds[0].revents != 0) [[maybe_unused]]
      const ssize_t got = ::read(changed_fd_, &count, sizeof(count));
    if (fds[1].revents != 0) stops_ += signals->take(StopWishes::Clock::now());
  }
}

void WorkerImpl::stop() {
  ++stops_;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(changed_fd_, &one, sizeof(one));
}

bool WorkerImpl::registered() const {
  const std::lock_guard lock(mutex_);
  return peer_ && peer_->registered();
}

std::chrono::steady_clock::time_point WorkerImpl::last_turn() const {
  const std::lock_guard lock(mutex_);
  if (!peer_) return std::chrono::steady_clock::time_point::min();
  return peer_->last_turn();
}

Worker::Worker(std::string endpoint, WorkerOptions options)
    : impl_(std::make_unique<WorkerImpl>(std::move(endpoint), std::move(options))) {}
Worker::~Worker() = default;

void Worker::on(std::string_view type, Handler handler) { impl_->on(type, std::move(handler)); }
void Worker::on_any(Handler handler) { impl_->on_any(std::move(handler)); }
DrainReport Worker::run() { return impl_->run(); }
void Worker::stop() { impl_->stop(); }
bool Worker::registered() const { return impl_->registered(); }
std::chrono::steady_clock::time_point Worker::last_turn() const { return impl_->last_turn(); }

}  // namespace jobq
