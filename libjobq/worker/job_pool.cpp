#include "libjobq/worker/job_pool.hpp"

#include <algorithm>
#include <chrono>
#include <exception>

#include "libjobq/worker/handler_thread.hpp"

namespace jobq {

using protocol::OutcomeKind;

namespace {
thread_local bool in_handler = false;
}  // namespace

bool on_handler_thread() { return in_handler; }
HandlerThreadMark::HandlerThreadMark() { in_handler = true; }
HandlerThreadMark::~HandlerThreadMark() { in_handler = false; }

bool JobPool::on(std::string_view type, Worker::Handler handler) {
  return handlers_.emplace(type, std::move(handler)).second;
}

std::vector<std::string> JobPool::types() const {
  std::vector<std::string> types;
  types.reserve(handlers_.size());
  for (const auto& [type, handler] : handlers_) types.push_back(type);
  return types;
}

void JobPool::start(std::size_t threads) {
  for (std::size_t i = 0; i < threads; ++i) {
    auto busy = std::make_shared<std::atomic<bool>>(false);
    threads_.push_back({std::thread([self = shared_from_this(), busy] { self->work(busy); }), busy});
  }
}

void JobPool::push(std::vector<Run>* runs) {
  std::size_t idle = 0;
  {
    const std::lock_guard lock(mutex_);
    for (Run& run : *runs) waiting_.push_back(std::move(run));
    idle = std::min(idle_, runs->size());
  }
  runs->clear();
  for (; idle > 0; --idle) work_.notify_one();
}

bool JobPool::take_back(const JobRun* run) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                  [&](const Run& waiting) { return waiting.get() == run; });
  if (found == waiting_.end()) return false;
  waiting_.erase(found);
  return true;
}

std::vector<JobPool::Run> JobPool::take_back_all() {
  const std::lock_guard lock(mutex_);
  std::vector<Run> all(waiting_.begin(), waiting_.end());
  waiting_.clear();
  return all;
}

std::size_t JobPool::without_thread() {
  const std::lock_guard lock(mutex_);
  const auto idle = static_cast<std::size_t>(
      std::count_if(threads_.begin(), threads_.end(), [](const Thread& thread) { return !*thread.busy; }));
  return waiting_.size() - std::min(waiting_.size(), idle);
}

std::size_t JobPool::stop() {
  std::vector<Thread> threads;
  std::size_t left_behind = 0;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    threads.swap(threads_);
    for (Thread& thread : threads) {
      if (!*thread.busy) continue;
      ++left_behind;
      thread.thread.detach();
    }
  }
  work_.notify_all();
  for (Thread& thread : threads) {
    if (thread.thread.joinable()) thread.thread.join();
  }
  return left_behind;
}

void JobPool::work(const std::shared_ptr<std::atomic<bool>>& busy) {
  JobRun::Clock::time_point last_end{};  // of a handler, when the next one begins right after it
  for (;;) {
    Run run;
    {
      std::unique_lock lock(mutex_);
      while (!stopping_ && waiting_.empty()) {
        last_end = {};
        ++idle_;
        work_.wait(lock);
        --idle_;
      }
      if (stopping_) return;
      run = std::move(waiting_.front());
      waiting_.pop_front();
      *busy = true;
    }
    if (last_end == JobRun::Clock::time_point{}) last_end = now_();
    JobOutcome outcome = this->run(run.get(), &last_end);
    run.reset();
    *busy = false;  // before anybody hears of it: what is reported is not left behind
    finished_(std::move(outcome));
  }
}

JobOutcome JobPool::run(JobRun* run, JobRun::Clock::time_point* begun) {
  JobOutcome outcome;
  outcome.lease = run->job.lease;
  const auto found = handlers_.find(run->job.type);
  const Worker::Handler* handler = found != handlers_.end() ? &found->second : has_any() ? &any_ : nullptr;
  if (handler == nullptr) {
    outcome.kind = OutcomeKind::no_handler;
    return outcome;
  }
  run->begin(*begun);
  if (run->job.max_run.ms != 0) started_(run->job.lease);
  Context context(run);
  std::string error;
  bool threw = true;
  try {
    const HandlerThreadMark mark;
    (*handler)(context);
    threw = false;
  } catch (const std::exception& thrown) {
    error = thrown.what();
  } catch (...) {
    error = "the handler threw something that is no std::exception";
  }
  if (std::optional<JobOutcome> decided = run->decided()) {
    outcome = std::move(*decided);
  } else if (threw) {
    const StopReason reason = run->stop_reason();
    const bool interrupted = reason == StopReason::drain || reason == StopReason::lost_lease;
    outcome.kind = interrupted ? OutcomeKind::release : OutcomeKind::nack;
    if (!interrupted) outcome.text = std::move(error);
  }
  const auto ended = now_();
  outcome.ran_for = to_ms(std::chrono::duration_cast<std::chrono::milliseconds>(ended - *begun));
  *begun = ended;
  return outcome;
}

}  // namespace jobq
