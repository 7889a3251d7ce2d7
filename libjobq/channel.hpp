// The library's only contact with ZeroMQ: a DEALER socket to one broker, and a poll over any number of them. A
// Channel is one connection at a time: when it is lost the socket is closed and a fresh one opened, so that
// nothing that waited in the old one can arrive late (reliability: what is open is sent again by the state
// machines).
//
// Errors: a Status; no exception of ZeroMQ leaves. Thread-safety: one thread at a time (a Channel may be made
// by one thread and handed to another). Units: milliseconds.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "jobq/status.hpp"
#include "libjobq/frame.hpp"

namespace jobq {

// One per I/O thread; outlives its channels.
class ChannelContext {
 public:
  ChannelContext();
  ~ChannelContext();
  ChannelContext(const ChannelContext&) = delete;
  ChannelContext& operator=(const ChannelContext&) = delete;

 private:
  friend class Channel;
  struct Sockets;
  std::unique_ptr<Sockets> sockets_;
};

class Channel {
 public:
  enum class Event : std::uint8_t { connected, disconnected };

  Channel(ChannelContext* context, std::string endpoint);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // bad_endpoint, io_error (no descriptors left). Connects in the background, again and again.
  Status open();
  // What was handed to send() may still go out for `linger_ms`.
  void close(int linger_ms);
  [[nodiscard]] bool is_open() const;

  // Never blocks. io_error: the connection should be given up.
  Status send(const Frame& frame);
  // The next frame that waits; false when there is none. A message of several frames is skipped: not ours. The bytes are
  // there until the next call, or until the channel is closed.
  bool receive(std::string_view* frame);
  // What happened to the connection since the last call.
  [[nodiscard]] std::vector<Event> take_events();
  // Whether a frame waits. To be asked after sending: ZeroMQ may notice what arrives while it sends, and then
  // ChannelPoll does not report it any more.
  [[nodiscard]] bool readable() const;

 private:
  friend class ChannelPoll;
  struct State;
  std::unique_ptr<State> state_;
};

// Waits for any of the channels or for the wake-up descriptor; what it costs depends on how many have something, not
// on how many there are. A channel that was reported has to be read until receive() and take_events() have
// nothing more, or it is not reported again (ZMQ_FD is edge-triggered: zmq_getsockopt(3)).
//
// Thread-safety: one thread at a time, but another one may add and remove while one waits.
class ChannelPoll {
 public:
  // Throws Error(io_error) when no descriptor is left.
  explicit ChannelPoll(int wake_fd);
  ~ChannelPoll();
  ChannelPoll(const ChannelPoll&) = delete;
  ChannelPoll& operator=(const ChannelPoll&) = delete;

  // What has something: frames, or events of its connection.
  struct Ready {
    void* owner = nullptr;
    bool is_event = false;
  };

  // REQUIRES: the channel is open. `owner` is what wait() reports, at an even address; not null, which is the wake-up
  // descriptor.
  void add(const Channel& channel, void* owner);
  // Before the channel is closed.
  void remove(const Channel& channel);
  // Replaces `owners` by those who have something; the same one may be there twice. -1: no time limit.
  void wait(std::int64_t timeout_ms, std::vector<Ready>* owners);

 private:
  int epoll_fd_ = -1;
};

}  // namespace jobq
