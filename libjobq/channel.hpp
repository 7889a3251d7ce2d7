// The library's only contact with ZeroMQ: a DEALER socket to one broker, and a poll over many of them. A
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
  Status send(std::string_view frame);
  // The next frame that waits; false when there is none. A message of several frames is skipped: not ours.
  bool receive(std::string* frame);
  // What happened to the connection since the last call.
  [[nodiscard]] std::vector<Event> take_events();

 private:
  friend class ChannelPoll;
  struct State;
  std::unique_ptr<State> state_;
};

// Waits for any of the channels or for the wake-up descriptor.
class ChannelPoll {
 public:
  // Returns the indexes of the channels that have something; null channels and closed ones never have.
  static std::vector<std::size_t> wait(const std::vector<Channel*>& channels, int wake_fd,
                                       std::int64_t timeout_ms);
};

}  // namespace jobq
