// Whether this thread runs a handler of a Worker just now. For drivers with virtual time, which wait for handlers: one that
// is blocked in a call of a Client must not be waited for.
//
// Thread-safety: about the calling thread only.
#pragma once

namespace jobq {

bool on_handler_thread();

// Marks the thread for its lifetime.
class HandlerThreadMark {
 public:
  HandlerThreadMark();
  ~HandlerThreadMark();
  HandlerThreadMark(const HandlerThreadMark&) = delete;
  HandlerThreadMark& operator=(const HandlerThreadMark&) = delete;
};

}  // namespace jobq
