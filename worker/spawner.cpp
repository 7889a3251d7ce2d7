#include "worker/spawner.hpp"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "jobq/error.hpp"

namespace jobq::runner {

Spawner::Spawner(ProcessGroups* groups) : groups_(groups), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!wake_.open()) throw Error(Code::io_error, fmt::format("eventfd: {}", std::strerror(errno)));
}

Spawned Spawner::spawn(const SpawnRequest& request) {
  Wish wish{&request, {}, false};
  std::unique_lock lock(mutex_);
  if (closed_) return {-1, {}, ECANCELED};
  wishes_.push_back(&wish);
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
  served_.wait(lock, [&wish] { return wish.done; });
  return std::move(wish.outcome);
}

Spawned Spawner::start(const SpawnRequest& request) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return {-1, {}, ECANCELED};
  }
  Spawned spawned = spawn_process(request);
  if (spawned.pid > 0) groups_->add(spawned.pid);
  return spawned;
}

void Spawner::serve() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &count, sizeof count);
  std::unique_lock lock(mutex_);
  while (!wishes_.empty()) {
    Wish* wish = wishes_.front();
    wishes_.pop_front();
    lock.unlock();
    Spawned outcome = start(*wish->request);
    lock.lock();
    wish->outcome = std::move(outcome);
    wish->done = true;
    served_.notify_all();
  }
}

void Spawner::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  for (Wish* wish : wishes_) {
    wish->outcome = {-1, {}, ECANCELED};
    wish->done = true;
  }
  wishes_.clear();
  served_.notify_all();
}

}  // namespace jobq::runner
