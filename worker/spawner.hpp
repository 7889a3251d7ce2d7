// Brings the wish to start a process from the threads that handle jobs to the main thread, which starts all of them
// (process.hpp says why).
//
// Thread-safety: spawn() from any thread but the main one; the others from the main thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>

#include "worker/descriptor.hpp"
#include "worker/process.hpp"

namespace jobq::runner {

class Spawner {
 public:
  // Throws Error (io_error) without descriptors.
  explicit Spawner(ProcessGroups* groups);

  // Waits for the main thread. The group is in `groups` when it returns.
  Spawned spawn(const SpawnRequest& request);

  // Readable when there is something to do().
  [[nodiscard]] int fd() const { return wake_.get(); }
  void serve();
  // At once, on the main thread itself.
  Spawned start(const SpawnRequest& request);
  // Later wishes are refused (ECANCELED): the main thread is about to end.
  void close();

 private:
  struct Wish {
    const SpawnRequest* request = nullptr;
    Spawned outcome;
    bool done = false;
  };

  ProcessGroups* groups_;
  Descriptor wake_;
  std::mutex mutex_;
  std::condition_variable served_;
  std::deque<Wish*> wishes_;
  bool closed_ = false;
};

}  // namespace jobq::runner
