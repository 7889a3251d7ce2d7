#include "jobq/client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "libjobq/client/client_impl.hpp"
#include "libjobq/client/new_job.hpp"
#include "libjobq/protocol/codec.hpp"

namespace jobq {

namespace {

using std::chrono::milliseconds;

// The I/O thread ends every call at its deadline; only a thread that gets no processor is later than this.
constexpr milliseconds kBeyondDeadline{1000};

// Collects the results of a blocking call.
class Gather {
 public:
  explicit Gather(std::size_t parts) : missing_(parts), results_(parts) {}

  void put(std::size_t part, const Results& results) {
    const std::lock_guard lock(mutex_);
    results_[part].assign(results.begin(), results.end());
    if (--missing_ == 0) all_.notify_all();
  }

  // False when the time was over first: what is missing is an empty part.
  bool wait(milliseconds timeout) {
    std::unique_lock lock(mutex_);
    return all_.wait_for(lock, timeout, [this] { return missing_ == 0; });
  }

  std::vector<std::vector<EnqueueResult>> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(results_, {});
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_;
  std::size_t missing_;
  std::vector<std::vector<EnqueueResult>> results_;
};

EnqueueResult stuck(const std::string& endpoint) {
  return {
      Outcome::unknown,
      Status(Code::timed_out, fmt::format("the I/O thread of the client of {} did not answer in time: is a "
                                          "callback blocking it?",
                                          endpoint))};
}

Status check_options(const ClientOptions& options) {
  if (Status status = check_timeout(options.timeout); !status.ok()) return status;
  if (options.buffer_jobs == 0 || options.buffer_bytes == 0) {
    return Status(Code::bad_argument, "buffer_jobs and buffer_bytes must be over 0");
  }
  if (options.linger.count() < 0) return Status(Code::bad_argument, "linger must not be negative");
  return {};
}

const ClientOptions& checked(const ClientOptions& options) {
  if (const Status status = check_options(options); !status.ok()) throw Error(status);
  return options;
}

}  // namespace

ClientImpl::ClientImpl(std::string its_endpoint, const ClientOptions& its_options)
    : endpoint(std::move(its_endpoint)),
      options(checked(its_options)),
      runtime(options.runtime ? options.runtime : std::make_shared<Runtime>()),
      peer(std::make_shared<ClientPeer>(endpoint, options)) {
  if (const Status added = runtime->driver().add(peer, endpoint); !added.ok()) throw Error(added);
}

ClientImpl::~ClientImpl() {
  (void)peer->flush(options.linger, &runtime->driver());
  peer->close(&runtime->driver());
  runtime->driver().remove(peer.get(), 0);
}

Status ClientImpl::check(std::string_view queue, std::string_view body, const EnqueueOptions& job_options,
                         CheckedJob* job) const {
  if (Status status = protocol::check_queue_name(queue); !status.ok()) return status;
  return make_job(body, job_options, job);
}

Client::Client(std::string endpoint, ClientOptions options)
    : impl_(std::make_unique<ClientImpl>(std::move(endpoint), std::move(options))) {}

Client::~Client() = default;

EnqueueResult Client::try_enqueue(std::string_view queue, Bytes body, const EnqueueOptions& options) {
  CheckedJob job;
  if (Status status = impl_->check_call(queue, body.view(), options, &job); !status.ok())
    return {Outcome::refused, status};
  const auto gather = std::make_shared<Gather>(1);
  const DurationMs timeout = impl_->timeout_of(options);
  ClientPeer::Submission submission{queue, {&job, 1}, timeout, {}, gather.get()};
  submission.done.many = [gather](const Results& results) { gather->put(0, results); };
  impl_->submit({&submission, 1});
  if (!gather->wait(milliseconds{timeout.ms} + kBeyondDeadline)) return stuck(impl_->endpoint);
  return std::move(gather->take().front().front());
}

std::future<EnqueueResult> Client::enqueue_async(std::string_view queue, Bytes body,
                                                 const EnqueueOptions& options) {
  const auto promise = std::make_shared<std::promise<EnqueueResult>>();
  std::future<EnqueueResult> future = promise->get_future();
  enqueue_async(queue, body, options,
                [promise](EnqueueResult result) { promise->set_value(std::move(result)); });
  return future;
}

void Client::enqueue_async(std::string_view queue, Bytes body, const EnqueueOptions& options, Callback done) {
  CheckedJob job;
  if (Status status = impl_->check_call(queue, body.view(), options, &job); !status.ok())
    return done({Outcome::refused, status});
  ClientPeer::Submission submission{queue, {&job, 1}, impl_->timeout_of(options), {std::move(done), {}}};
  impl_->submit({&submission, 1});
}

namespace {

// The parts of a call with many jobs, and what they point to.
struct Many {
  std::vector<CheckedJob> jobs;
  std::vector<ClientPeer::Submission> submissions;
};

// As the broker does it: the one that is wrong says why, the others are not done.
std::vector<EnqueueResult> none_done(std::size_t jobs, std::size_t wrong, const Status& why) {
  std::vector<EnqueueResult> results(
      jobs, {Outcome::refused, Status(Code::not_done,
                                      "another job of the same group was refused, so this one "
                                      "was not stored")});
  results[wrong] = {Outcome::refused, why};
  return results;
}

}  // namespace

std::vector<EnqueueResult> Client::enqueue_many(std::string_view queue, std::span<const NewJob> jobs,
                                                const ManyOptions& options) {
  std::vector<EnqueueResult> results;
  if (jobs.empty()) return results;
  const milliseconds timeout = options.timeout.value_or(impl_->options.timeout);
  const Status timeout_status = check_timeout(timeout);
  const std::size_t parts = options.all_or_nothing ? 1 : jobs.size();
  const auto gather = std::make_shared<Gather>(parts);
  Many many;
  many.jobs.resize(jobs.size());  // never moved: the submissions point to them
  const auto submission = [&](std::span<const CheckedJob> its_jobs, std::size_t part) {
    ClientPeer::Submission& made =
        many.submissions.emplace_back(queue, its_jobs, to_ms(timeout), ClientPeer::Done{}, gather.get());
    made.done.many = [gather, part](const Results& part_results) { gather->put(part, part_results); };
  };
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    Status status = timeout_status;
    if (status.ok()) status = impl_->check(queue, jobs[i].body, jobs[i].options, &many.jobs[i]);
    if (status.ok() && !options.all_or_nothing) submission({&many.jobs[i], 1}, i);
    if (status.ok()) continue;
    if (options.all_or_nothing) return none_done(jobs.size(), i, status);
    gather->put(i, Results(EnqueueResult{Outcome::refused, status}));
  }
  if (options.all_or_nothing) submission(many.jobs, 0);
  impl_->submit(many.submissions);
  (void)gather->wait(timeout + kBeyondDeadline);
  for (std::vector<EnqueueResult>& part : gather->take()) {
    if (part.empty()) part.push_back(stuck(impl_->endpoint));
    for (EnqueueResult& result : part) results.push_back(std::move(result));
  }
  results.resize(jobs.size(), stuck(impl_->endpoint));
  return results;
}

bool Client::flush(milliseconds timeout) { return impl_->peer->flush(timeout, &impl_->runtime->driver()); }
bool Client::connected() const { return impl_->peer->connected(); }
const std::string& Client::endpoint() const { return impl_->endpoint; }

}  // namespace jobq
