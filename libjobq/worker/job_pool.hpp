// The threads that run handlers, and the jobs that wait for one of them. The threads share this object, so
// that a handler that never ends can be left behind without taking anything away from under it.
//
// Thread-safety: all members may be called from many threads, on() only before start().
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "jobq/worker.hpp"
#include "libjobq/worker/job_run.hpp"

namespace jobq {

class JobPool : public std::enable_shared_from_this<JobPool> {
 public:
  using Run = std::shared_ptr<JobRun>;
  using Started = std::function<void(const protocol::LeaseRef&)>;
  using Finished = std::function<void(JobOutcome)>;
  using Now = std::function<JobRun::Clock::time_point()>;

  // All are called from the pool's threads; `started` only for jobs whose time is limited. `now`: by which the time of handlers is counted.
  JobPool(Started started, Finished finished, Now now)
      : started_(std::move(started)), finished_(std::move(finished)), now_(std::move(now)) {}

  // False when the type has a handler already.
  bool on(std::string_view type, Worker::Handler handler);
  void on_any(Worker::Handler handler) { any_ = std::move(handler); }
  [[nodiscard]] bool has_any() const { return static_cast<bool>(any_); }
  [[nodiscard]] std::vector<std::string> types() const;

  void start(std::size_t threads);
  void push(std::vector<Run>* runs);  // in order; leaves *runs empty
  // True when the job had not begun: it will not any more.
  bool take_back(const JobRun* run);
  std::vector<Run> take_back_all();
  // Jobs that wait because every thread is in a handler.
  [[nodiscard]] std::size_t without_thread();
  // Ends the idle threads. Threads in a handler are left behind; how many.
  std::size_t stop();

 private:
  struct Thread {
    std::thread thread;
    std::shared_ptr<std::atomic<bool>> busy;  // set under the mutex
  };

  void work(const std::shared_ptr<std::atomic<bool>>& busy);
  // `begun`: when the handler begins; when it has ended is left there.
  JobOutcome run(JobRun* run, JobRun::Clock::time_point* begun);

  Started started_;
  Finished finished_;
  Now now_;
  std::map<std::string, Worker::Handler, std::less<>> handlers_;
  Worker::Handler any_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Run> waiting_;
  std::size_t idle_ = 0;  // threads that wait for work
  std::vector<Thread> threads_;
  bool stopping_ = false;
};

}  // namespace jobq
