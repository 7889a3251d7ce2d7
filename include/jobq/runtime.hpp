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

namespace jobq {

class IoThread;

class Runtime {
 public:
  // Starts the thread. Throws Error (io_error) when the system has no descriptors or threads left.
  Runtime();
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  [[nodiscard]] IoThread& io_thread() { return *io_thread_; }  // the library's own

 private:
  std::shared_ptr<IoThread> io_thread_;
};

}  // namespace jobq
