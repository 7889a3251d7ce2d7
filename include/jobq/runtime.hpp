// The I/O thread of the library. Every Client and Worker has one of its own unless it is given a shared one:
//
//   auto runtime = std::make_shared<jobq::Runtime>();
//   jobq::Client a{"tcp://127.0.0.1:7710", {.runtime = runtime}};
//   jobq::Client b{"tcp://127.0.0.1:7720", {.runtime = runtime}};
//
// One thread carries thousands of clients: it only moves bytes; handlers of a Worker run in threads of their
// own. Callbacks of Client::enqueue_async run on it and hold up everything else that it carries: keep them
// short.
//
// Thread-safety: may be shared freely. Ownership: clients and workers keep it alive; the thread ends with the
// last of them. Not usable across fork(): make it in the child.
#pragma once

#include <memory>

#include "jobq/export.hpp"

namespace jobq {

class IoDriver;

class JOBQ_API Runtime {
 public:
  // Starts the thread. Throws Error (io_error) when the system has no descriptors or threads left.
  Runtime();
  // The library's own: what jobq/testing.hpp makes a runtime of, which reaches a broker in this process.
  explicit Runtime(std::shared_ptr<IoDriver> driver);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  [[nodiscard]] IoDriver& driver() { return *driver_; }  // the library's own

 private:
  std::shared_ptr<IoDriver> driver_;
};

}  // namespace jobq
