#include "libjobq/channel.hpp"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>
#include <zmq.hpp>

#include "jobq/error.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/tcp_liveness.hpp"
#include "libjobq/protocol/limits.hpp"

namespace jobq {

namespace {

constexpr int kReconnectMs = 100;
constexpr int kReconnectMaxMs = 2000;
constexpr int kHandshakeMs = 3000;
constexpr std::uint64_t kEventBit = 1;  // of an owner's address
constexpr int kMonitored = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED;

std::string next_monitor_address() {
  static std::atomic<std::uint64_t> next{1};
  return fmt::format("inproc://jobq-monitor-{}", next.fetch_add(1));
}

using Held = std::shared_ptr<SharedBytes>;

// By a thread of ZeroMQ, when the bytes are with the kernel.
void let_go(void* /*data*/, void* hint) {
  const std::unique_ptr<Held> held(static_cast<Held*>(hint));
  (*held)->readers.fetch_sub(1, std::memory_order_release);
}

zmq::message_t to_message(const Frame& frame) {
  const std::string_view bytes = frame.view();
  if (!frame.shared() || bytes.size() < Frame::kShareFrom) return zmq::message_t(bytes.data(), bytes.size());
  auto held = std::make_unique<Held>(frame.shared());
  // ZeroMQ takes no pointer to const, and only reads.
  zmq::message_t message(const_cast<char*>(bytes.data()), bytes.size(), let_go, held.get());
  (*held)->readers.fetch_add(1, std::memory_order_relaxed);
  (void)held.release();
  return message;
}

}  // namespace

struct ChannelContext::Sockets {
  zmq::context_t context{1};
};

ChannelContext::ChannelContext() : sockets_(std::make_unique<Sockets>()) {
  sockets_->context.set(zmq::ctxopt::max_sockets, 65'000);
}
ChannelContext::~ChannelContext() = default;

struct Channel::State {
  zmq::context_t* context = nullptr;
  std::string endpoint;
  zmq::socket_t socket;
  zmq::socket_t monitor;
  zmq::message_t received;  // what receive() showed last
};

Channel::Channel(ChannelContext* context, std::string endpoint) : state_(std::make_unique<State>()) {
  state_->context = &context->sockets_->context;
  state_->endpoint = std::move(endpoint);
}

Channel::~Channel() { close(0); }

bool Channel::is_open() const { return static_cast<bool>(state_->socket); }

Status Channel::open() {
  close(0);
  try {
    zmq::socket_t socket(*state_->context, zmq::socket_type::dealer);
    socket.set(zmq::sockopt::linger, 0);
    socket.set(zmq::sockopt::sndhwm, 0);  // Bounded by the state machines, which know what is still wanted.
    socket.set(zmq::sockopt::rcvhwm, 0);
    socket.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(limits::kMessageBytesMax));
    socket.set(zmq::sockopt::tcp_keepalive, 1);  // a broker that vanished without a word is noticed
    socket.set(zmq::sockopt::tcp_keepalive_idle, tcp_liveness::kIdleSeconds);
    socket.set(zmq::sockopt::tcp_keepalive_intvl, tcp_liveness::kBetweenSeconds);
    socket.set(zmq::sockopt::tcp_keepalive_cnt, tcp_liveness::kQuestions);
    socket.set(zmq::sockopt::tcp_maxrt, tcp_liveness::kUnacknowledgedMs);
    socket.set(zmq::sockopt::handshake_ivl, kHandshakeMs);
    socket.set(zmq::sockopt::reconnect_ivl, kReconnectMs);
    socket.set(zmq::sockopt::reconnect_ivl_max, kReconnectMaxMs);
    const std::string address = next_monitor_address();
    if (zmq_socket_monitor(socket.handle(), address.c_str(), kMonitored) != 0) throw zmq::error_t();
    zmq::socket_t monitor(*state_->context, zmq::socket_type::pair);
    monitor.set(zmq::sockopt::linger, 0);
    monitor.connect(address);
    socket.connect(state_->endpoint);
    state_->socket = std::move(socket);
    state_->monitor = std::move(monitor);
    return {};
  } catch (const zmq::error_t& error) {
    const bool ours = error.num() == EMFILE || error.num() == ENFILE || error.num() == ENOMEM;
    return Status(ours ? Code::io_error : Code::bad_endpoint,
                  fmt::format("cannot connect to '{}': {}; an endpoint is tcp://HOST:PORT or ipc://PATH",
                              state_->endpoint, error.what()));
  }
}

void Channel::close(int linger_ms) {
  if (!is_open()) return;
  zmq_socket_monitor(state_->socket.handle(), nullptr, 0);
  state_->monitor.close();
  state_->socket.set(zmq::sockopt::linger, linger_ms);
  state_->socket.close();
}

Status Channel::send(const Frame& frame) {
  if (!is_open()) return Status(Code::io_error, "the channel is closed");
  try {
    zmq::message_t message = to_message(frame);
    if (state_->socket.send(message, zmq::send_flags::dontwait)) return {};
    return Status(Code::io_error, "the socket takes no more");
  } catch (const zmq::error_t& error) {
    return Status(Code::io_error, error.what());
  }
}

bool Channel::receive(std::string_view* frame) {
  if (!is_open()) return false;
  zmq::message_t& message = state_->received;
  try {
    for (;;) {
      if (!state_->socket.recv(message, zmq::recv_flags::dontwait)) return false;
      bool several = false;
      while (message.more()) {
        several = true;
        if (!state_->socket.recv(message, zmq::recv_flags::dontwait)) return false;
      }
      if (several) continue;
      *frame = {message.data<char>(), message.size()};
      return true;
    }
  } catch (const zmq::error_t&) {
    return false;  // The monitor says what became of the connection.
  }
}

std::vector<Channel::Event> Channel::take_events() {
  std::vector<Event> events;
  if (!is_open()) return events;
  try {
    zmq::message_t message;
    while (state_->monitor.recv(message, zmq::recv_flags::dontwait)) {
      std::uint16_t number = 0;
      if (message.size() >= sizeof(number)) std::memcpy(&number, message.data(), sizeof(number));
      while (message.more()) {
        if (!state_->monitor.recv(message, zmq::recv_flags::dontwait)) break;
      }
      if (number == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) events.push_back(Event::connected);
      if (number == ZMQ_EVENT_DISCONNECTED) events.push_back(Event::disconnected);
    }
  } catch (const zmq::error_t&) {
    events.push_back(Event::disconnected);
  }
  return events;
}

bool Channel::readable() const {
  return is_open() && (state_->socket.get(zmq::sockopt::events) & ZMQ_POLLIN) != 0;
}

ChannelPoll::ChannelPoll(int wake_fd) : epoll_fd_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (epoll_fd_ < 0) throw Error(Code::io_error, fmt::format("epoll: {}", std::strerror(errno)));
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  JOBQ_CHECK(::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd, &event) == 0, "{}", std::strerror(errno));
}

ChannelPoll::~ChannelPoll() { ::close(epoll_fd_); }

void ChannelPoll::add(const Channel& channel, void* owner) {
  for (const zmq::socket_t* socket : {&channel.state_->socket, &channel.state_->monitor}) {
    const bool is_event = socket == &channel.state_->monitor;
    epoll_event event{.events = EPOLLIN,
                      .data = {.u64 = reinterpret_cast<std::uintptr_t>(owner) | (is_event ? kEventBit : 0)}};
    const int descriptor = socket->get(zmq::sockopt::fd);
    JOBQ_CHECK(::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, descriptor, &event) == 0, "{}", std::strerror(errno));
  }
}

void ChannelPoll::remove(const Channel& channel) {
  if (!channel.is_open()) return;
  for (const zmq::socket_t* socket : {&channel.state_->socket, &channel.state_->monitor}) {
    ::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, socket->get(zmq::sockopt::fd), nullptr);
  }
}

void ChannelPoll::wait(std::int64_t timeout_ms, std::vector<Ready>* owners) {
  std::array<epoll_event, 256> events;
  owners->clear();
  const int ready =
      ::epoll_wait(epoll_fd_, events.data(), static_cast<int>(events.size()), static_cast<int>(timeout_ms));
  for (int i = 0; i < ready; ++i) {
    const std::uint64_t tagged = events.at(static_cast<std::size_t>(i)).data.u64;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): it was one, and its lowest bit was free
    owners->push_back({reinterpret_cast<void*>(tagged & ~kEventBit), (tagged & kEventBit) != 0});
  }
}

}  // namespace jobq
