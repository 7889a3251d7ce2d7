// What stands between callers on many threads and the client's state machine on the I/O thread: an inbox, the
// bounds of the buffer, and who waits for which completion.
//
// Thread-safety: all public members may be called from many threads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "jobq/client.hpp"
#include "jobq/runtime.hpp"
#include "libjobq/client/client_core.hpp"
#include "libjobq/client/new_job.hpp"
#include "libjobq/io_driver.hpp"

namespace jobq {

class ClientPeer final : public IoPeer {
 public:
  // Who is told what became of a group: of one job, or of several.
  struct Done {
    Client::Callback one;
    std::function<void(Results)> many;  // when `one` is empty

    void operator()(Results results) {
      if (one) {
        one(std::move(*results.begin()));
      } else {
        many(std::move(results));
      }
    }
  };
  using AdminDone = std::function<void(Result<std::string>)>;

  // Points to what its caller holds: it is encoded before submit() returns.
  struct Submission {
    std::string_view queue;
    std::span<const CheckedJob> jobs;  // of one group
    DurationMs timeout{};
    Done done;
    const void* waiter = nullptr;  // who is blocked until it is done; several submissions may have the same
  };

  ClientPeer(std::string endpoint, const ClientOptions& options);

  // Takes each or, when the buffer has no room for it, completes it with buffer_full before it returns.
  void submit(std::span<Submission> submissions, IoDriver* io);
  void submit_admin(AdminCall call, AdminDone done, IoDriver* io);
  bool flush(std::chrono::milliseconds timeout, IoDriver* io);
  // Completes everything; nothing is taken any more.
  void close(IoDriver* io);
  [[nodiscard]] bool connected() const { return connected_.load(); }

  PeerCore& core() override { return core_; }
  void before_turn(TimeMs now) override;
  bool after_turn(TimeMs now) override;
  bool turn_ended() override;
  [[nodiscard]] bool has_outputs() override;
  void log(std::string_view line) override;
  [[nodiscard]] PeerUse use() override;

 private:
  struct Pending {
    Done done;
    std::size_t bytes = 0;
    std::size_t jobs = 0;  // 0: nothing is in this place
    const void* waiter = nullptr;
    bool from_handler = false;
  };

  // What a submission asks of the I/O thread.
  enum class Wish : std::uint8_t { nothing, turn, send };
  // What waits for the next turn.
  struct Inbox {
    std::size_t groups = 0;
    std::size_t bytes = 0;
    TimeMs deadline = kNever;  // the earliest
  };

  [[nodiscard]] Status room_for(std::size_t jobs, std::size_t bytes) const;
  void take_in(Submission* submission, std::size_t bytes, TimeMs deadline, EncodedGroups* large);
  Wish note(std::size_t bytes, TimeMs deadline, bool real_time);
  EncodedGroups take_spare();
  std::uint64_t remember(Pending pending);

  const std::size_t jobs_max_;
  const std::size_t bytes_max_;
  const LogSink log_;
  std::atomic<bool> connected_{false};

  // The I/O thread's own.
  ClientCore core_;
  std::unordered_map<std::uint64_t, AdminDone> admin_pending_;
  std::vector<EncodedGroups> taken_full_;  // these two are empty between turns: their memory is used again
  EncodedGroups taken_;
  std::vector<std::pair<Done, Results>> ended_;

  std::mutex mutex_;
  std::condition_variable idle_;
  // The inbox: what is full, in order, and then what is being filled.
  std::vector<EncodedGroups> full_;
  EncodedGroups filling_;
  Inbox inbox_;
  std::atomic<bool> others_wait_{false};  // something is in it; read without the mutex
  std::vector<EncodedGroups> spare_;      // empty: their memory is used again
  // As of the end of the last turn: what would go out, and when the next one is at the latest.
  ProducerCore::Needs needs_;
  TimeMs next_turn_ = kNever;
  std::vector<std::pair<AdminCall, AdminDone>> admin_inbox_;
  // By token, which is a place in it. A place is given again when its group is done, the last one first.
  std::vector<Pending> pending_;
  std::vector<std::uint64_t> free_;
  std::uint64_t next_admin_token_ = 1;
  std::size_t jobs_ = 0;  // taken and not completed
  std::size_t bytes_ = 0;
  bool closing_ = false;
  bool closing_taken_ = false;  // the core knows
  std::size_t flushes_ = 0;     // threads that wait until jobs_ is 0
};

class ClientImpl {
 public:
  ClientImpl(std::string its_endpoint, const ClientOptions& its_options);
  ~ClientImpl();
  ClientImpl(const ClientImpl&) = delete;
  ClientImpl& operator=(const ClientImpl&) = delete;

  const std::string endpoint;
  const ClientOptions options;
  const std::shared_ptr<Runtime> runtime;
  const std::shared_ptr<ClientPeer> peer;

  // Refusals that are decided before anything is submitted end in the Status. REQUIRES: queue, body and options outlive
  // *job.
  Status check(std::string_view queue, std::string_view body, const EnqueueOptions& job_options,
               CheckedJob* job) const;
  // The same for a call of one job, which has a timeout.
  Status check_call(std::string_view queue, std::string_view body, const EnqueueOptions& job_options,
                    CheckedJob* job) const {
    if (job_options.timeout) {
      if (Status status = check_timeout(*job_options.timeout); !status.ok()) return status;
    }
    return check(queue, body, job_options, job);
  }
  [[nodiscard]] DurationMs timeout_of(const EnqueueOptions& job_options) const {
    return to_ms(job_options.timeout.value_or(options.timeout));
  }
  void submit(std::span<ClientPeer::Submission> submissions) {
    peer->submit(submissions, &runtime->driver());
  }
};

}  // namespace jobq
