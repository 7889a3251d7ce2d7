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

  void put(std::size_t part, std::vector<EnqueueResult> results) {
    const std::lock_guard lock(mutex_);
    results_[part] = std::move(results);
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

ClientImpl::ClientImpl(std::string its_endpoint, ClientOptions its_options)
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

Result<ClientPeer::Submission> ClientImpl::prepare(std::string_view queue, std::string_view body,
                                                   const EnqueueOptions& job_options) const {
  const milliseconds timeout = job_options.timeout.value_or(options.timeout);
  if (Status status = check_timeout(timeout); !status.ok()) return status;
  if (Status status = protocol::check_queue_name(queue); !status.ok()) return status;
  Result<OwnedJob> job = make_job(body, job_options);
  if (!job.ok()) return job.status();
  ClientPeer::Submission submission;
  submission.group.queue = queue;
  submission.group.jobs.push_back(*std::move(job));
  submission.group.timeout = to_ms(timeout);
  submission.group.deadline = runtime->driver().now() + to_ms(timeout);
  return submission;
}

void ClientImpl::submit(ClientPeer::Submission* submission) {
  peer->submit({submission, 1}, &runtime->driver());
}

Client::Client(std::string endpoint, ClientOptions options)
    : impl_(std::make_unique<ClientImpl>(std::move(endpoint), std::move(options))) {}

Client::~Client() = default;

EnqueueResult Client::try_enqueue(std::string_view queue, Bytes body, const EnqueueOptions& options) {
  const auto gather = std::make_shared<Gather>(1);
  auto submission = impl_->prepare(queue, body.view(), options);
  if (!submission.ok()) return {Outcome::refused, submission.status()};
  submission->done.many = [gather](std::vector<EnqueueResult> results) {
    gather->put(0, std::move(results));
  };
  const milliseconds timeout{submission->group.timeout.ms};
  submission->waiter = gather.get();
  impl_->submit(&*submission);
  if (!gather->wait(timeout + kBeyondDeadline)) return stuck(impl_->endpoint);
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
  auto submission = impl_->prepare(queue, body.view(), options);
  if (!submission.ok()) return done({Outcome::refused, submission.status()});
  submission->done.one = std::move(done);
  impl_->submit(&*submission);
}

std::vector<EnqueueResult> Client::enqueue_many(std::string_view queue, std::span<const NewJob> jobs,
                                                const ManyOptions& options) {
  std::vector<EnqueueResult> results;
  if (jobs.empty()) return results;
  const milliseconds timeout = options.timeout.value_or(impl_->options.timeout);
  const std::size_t parts = options.all_or_nothing ? 1 : jobs.size();
  const auto gather = std::make_shared<Gather>(parts);
  std::vector<ClientPeer::Submission> submissions;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    EnqueueOptions job_options = jobs[i].options;
    job_options.timeout = timeout;
    const std::size_t part = options.all_or_nothing ? 0 : i;
    auto submission = impl_->prepare(queue, jobs[i].body, job_options);
    if (submission.ok()) {
      submission->done.many = [gather, part](std::vector<EnqueueResult> part_results) {
        gather->put(part, std::move(part_results));
      };
    }
    if (!submission.ok() && options.all_or_nothing) {
      // As the broker does it: the one that is wrong says why, the others are not done.
      results.assign(jobs.size(),
                     {Outcome::refused, Status(Code::not_done,
                                               "another job of the same group was refused, so this one "
                                               "was not stored")});
      results[i] = {Outcome::refused, submission.status()};
      return results;
    }
    if (!submission.ok()) {
      gather->put(i, {EnqueueResult{Outcome::refused, submission.status()}});
    } else if (!options.all_or_nothing || submissions.empty()) {
      submission->waiter = gather.get();
      submissions.push_back(*std::move(submission));
    } else {
      submissions.front().group.jobs.push_back(std::move(submission->group.jobs.front()));
    }
  }
  impl_->peer->submit(submissions, &impl_->runtime->driver());
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
