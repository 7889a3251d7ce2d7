#include "broker/net/zmq_transport.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <initializer_list>
#include <new>
#include <tuple>

#include "libjobq/base/check.hpp"
#include "libjobq/base/planted.hpp"
#include "libjobq/base/tcp_liveness.hpp"

namespace jobq {
namespace {

constexpr const char* kMonitorAddress = "inproc://jobq-monitor";
constexpr const char* kReadingThread = "ZMQbg/IO/0";  // ZeroMQ's name for it; there is one by default
// An end is announced once nothing more can be read; under a load that never ends, after this long all the same.
constexpr std::chrono::milliseconds kLossDelayMax{200};
constexpr int kUnsentMessagesMax = 20'000;
// ZeroMQ's one thread reads from a connection what the kernel has, at once: megabytes, while everybody else waits. On a
// line with a round trip of 10 ms this much still is 13 MB/s.
constexpr int kReceiveBufferBytes = 128 << 10;
// Below, a copy costs less than memory that another thread frees.
constexpr std::size_t kGivenBytes = std::size_t{32} << 10;
constexpr int kFrameHeaderShort = 2,
              kFrameHeaderLong = 9;  // ZMTP: bytes before a frame of up to 255 bytes, or more

void set_option(void* socket, int option, int value) {
  JOBQ_CHECK(zmq_setsockopt(socket, option, &value, sizeof(value)) == 0, "option {}: {}", option,
             zmq_strerror(errno));
}

// What ZeroMQ may answer at that place. Without memory it may have taken half of a message: nothing goes on from there.
void check_error(std::initializer_list<int> expected) {
  if (errno == ENOMEM) throw std::bad_alloc();
  JOBQ_CHECK(std::ranges::find(expected, errno) != expected.end(), "{}", zmq_strerror(errno));
}

std::uint64_t wire_bytes(std::size_t frame) {
  return frame + static_cast<std::uint64_t>(frame > 255 ? kFrameHeaderLong : kFrameHeaderShort);
}

// ZeroMQ removes a socket's file before it binds: without this a second broker would take the first one's peers.
bool somebody_listens(const std::string& path) {
  sockaddr_un address{};
  if (path.size() >= sizeof(address.sun_path)) return false;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return false;
  const bool answered = ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  ::close(probe);
  return answered;
}

std::string bind_failure_text(const std::string& endpoint, int error) {
  switch (error) {
    case EADDRINUSE:
      return fmt::format(
          "cannot listen on {}: it is in use; stop who holds it (`ss -ltnp`) or choose another with --listen",
          endpoint);
    case EACCES:
      return fmt::format(
          "cannot listen on {}: not permitted; ports below 1024 need privileges, a socket file a "
          "writable directory",
          endpoint);
    case EADDRNOTAVAIL:
    case ENODEV:
      return fmt::format("cannot listen on {}: no interface of this machine has that address", endpoint);
    case EINVAL:
    case EPROTONOSUPPORT:
      return fmt::format("cannot listen on {}: not an endpoint; write tcp://HOST:PORT or ipc://PATH",
                         endpoint);
    default:
      return fmt::format("cannot listen on {}: {}", endpoint, zmq_strerror(error));
  }
}

// Per frame. Somewhat above our own limit, so that a message a little too large is answered and not just cut off.
std::size_t frame_bytes_max(const ZmqOptions& options) {
  return options.message_bytes_max + (std::size_t{1} << 20);
}

GuardLimits guard_limits(const ZmqOptions& options) {
  GuardLimits limits = options.guard;
  limits.reading_thread = kReadingThread;
  limits.unfinished_bytes = frame_bytes_max(options) + (std::size_t{1} << 20);
  return limits;
}

}  // namespace

struct ZmqTransport::Wire {
  void* context = zmq_ctx_new();
  void* router = nullptr;
  void* monitor = nullptr;
  std::deque<zmq_msg_t> taken;  // frames handed out since the last wait()

  ~Wire() {
    release_frames();
    if (router != nullptr) zmq_socket_monitor(router, nullptr, 0);
    if (monitor != nullptr) zmq_close(monitor);
    if (router != nullptr) zmq_close(router);
    while (zmq_ctx_term(context) != 0 && errno == EINTR) {
    }
  }
  void release_frames() {
    for (zmq_msg_t& frame : taken) zmq_msg_close(&frame);
    taken.clear();
  }
};

ZmqTransport::ZmqTransport(const ZmqOptions& options)
    : options_(options), wire_(std::make_unique<Wire>()), guard_(guard_limits(options)) {
  if (wire_->context == nullptr) throw std::bad_alloc();  // nothing else ends it so
  wire_->router = zmq_socket(wire_->context, ZMQ_ROUTER);
  if (wire_->router == nullptr) check_error({});
  void* router = wire_->router;
  set_option(router, ZMQ_ROUTER_MANDATORY, 1);  // otherwise what cannot be delivered is dropped in silence
  // A name that somebody has stays his: whoever comes with it as well is not heard.
  set_option(router, ZMQ_ROUTER_HANDOVER, JOBQ_PLANTED(routing_id_handed_over) ? 1 : 0);
  set_option(router, ZMQ_LINGER, options.linger_ms);  // the default waits for ever
  // A producer may have 10,000 requests open, and a turn answers thousands of them in one go: the default of 1,000
  // messages would cut it off. How much memory unread answers may take is the guard's to judge.
  set_option(router, ZMQ_SNDHWM, kUnsentMessagesMax);
  set_option(router, ZMQ_RCVBUF, kReceiveBufferBytes);
  set_option(router, ZMQ_BACKLOG, 4096);     // thousands reconnect at once after a restart
  set_option(router, ZMQ_TCP_KEEPALIVE, 1);  // a peer that vanished without a word is noticed
  set_option(router, ZMQ_TCP_KEEPALIVE_IDLE, tcp_liveness::kIdleSeconds);
  set_option(router, ZMQ_TCP_KEEPALIVE_INTVL, tcp_liveness::kBetweenSeconds);
  set_option(router, ZMQ_TCP_KEEPALIVE_CNT, tcp_liveness::kQuestions);
  set_option(router, ZMQ_TCP_MAXRT, tcp_liveness::kUnacknowledgedMs);
  set_option(router, ZMQ_HANDSHAKE_IVL, options.handshake_ms);
  const auto frame_max = static_cast<std::int64_t>(frame_bytes_max(options));
  JOBQ_CHECK(zmq_setsockopt(router, ZMQ_MAXMSGSIZE, &frame_max, sizeof(frame_max)) == 0);

  const int events = ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED;
  JOBQ_CHECK(zmq_socket_monitor(router, kMonitorAddress, events) == 0, "{}", zmq_strerror(errno));
  wire_->monitor = zmq_socket(wire_->context, ZMQ_PAIR);
  JOBQ_CHECK(wire_->monitor != nullptr, "{}", zmq_strerror(errno));
  set_option(wire_->monitor, ZMQ_LINGER, 0);
  set_option(wire_->monitor, ZMQ_RCVHWM, 0);  // a full pipe would stop ZeroMQ's I/O thread
  JOBQ_CHECK(zmq_connect(wire_->monitor, kMonitorAddress) == 0, "{}", zmq_strerror(errno));
}

ZmqTransport::~ZmqTransport() = default;

Result<std::unique_ptr<ZmqTransport>> ZmqTransport::open(const ZmqOptions& options) {
  std::unique_ptr<ZmqTransport> transport(new ZmqTransport(options));
  for (const std::string& endpoint : options.listen) {
    if (Status bound = transport->bind(endpoint); !bound.ok()) return bound;
  }
  return transport;
}

Status ZmqTransport::bind(const std::string& endpoint) {
  constexpr std::string_view kIpc = "ipc://";
  if (endpoint.starts_with(kIpc) && somebody_listens(endpoint.substr(kIpc.size()))) {
    return {Code::bad_endpoint, bind_failure_text(endpoint, EADDRINUSE)};
  }
  // With it a plain 127.0.0.1 would be shown as [::ffff:127.0.0.1].
  set_option(wire_->router, ZMQ_IPV6, endpoint.find('[') != std::string::npos ? 1 : 0);
  if (zmq_bind(wire_->router, endpoint.c_str()) != 0) {
    return {Code::bad_endpoint, bind_failure_text(endpoint, errno)};
  }
  char bound[512];
  std::size_t size = sizeof(bound);
  JOBQ_CHECK(zmq_getsockopt(wire_->router, ZMQ_LAST_ENDPOINT, bound, &size) == 0, "{}", zmq_strerror(errno));
  endpoints_.emplace_back(bound);
  return {};
}

void ZmqTransport::wait(std::optional<DurationMs> span) {
  wire_->release_frames();
  guard_.let_go();
  poll(span);
}

void ZmqTransport::poll(std::optional<DurationMs> span) {
  std::vector<zmq_pollitem_t> items;
  items.push_back({wire_->router, 0, ZMQ_POLLIN, 0});
  items.push_back({wire_->monitor, 0, ZMQ_POLLIN, 0});
  items.push_back({nullptr, guard_.wake_descriptor(), ZMQ_POLLIN, 0});
  for (const int descriptor : watched_) items.push_back({nullptr, descriptor, ZMQ_POLLIN, 0});
  long timeout = span ? static_cast<long>(std::max<std::int64_t>(0, span->ms)) : -1;
  if (!leaving_.empty()) timeout = 0;
  const int ready = zmq_poll(items.data(), static_cast<int>(items.size()), timeout);
  if (ready < 0) check_error({EINTR});
  if (ready > 0 && items[2].revents != 0) guard_.woken();
  drain_monitor();
}

bool ZmqTransport::next(TransportEvent* event) {
  if (announce_lost(event, false)) return true;
  if (receive(event)) return true;
  guard_.emptied();
  drain_monitor();
  return announce_lost(event, true);
}

// Reads one message; whatever has more frames than one is swallowed whole and reported as refused.
bool ZmqTransport::receive(TransportEvent* event) {
  zmq_msg_t id;
  zmq_msg_init(&id);
  if (zmq_msg_recv(&id, wire_->router, ZMQ_DONTWAIT) < 0) {
    check_error({EAGAIN, EINTR});
    zmq_msg_close(&id);
    return false;
  }
  zmq_msg_t frame;
  zmq_msg_init(&frame);
  JOBQ_CHECK(zmq_msg_recv(&frame, wire_->router, ZMQ_DONTWAIT) >= 0, "{}", zmq_strerror(errno));
  const int descriptor = zmq_msg_get(&frame, ZMQ_SRCFD);
  std::uint64_t bytes = wire_bytes(zmq_msg_size(&frame));
  bool single = true;
  for (bool more = zmq_msg_more(&frame) != 0; more;) {
    single = false;
    zmq_msg_t part;
    zmq_msg_init(&part);
    JOBQ_CHECK(zmq_msg_recv(&part, wire_->router, ZMQ_DONTWAIT) >= 0, "{}", zmq_strerror(errno));
    bytes += wire_bytes(zmq_msg_size(&part));
    more = zmq_msg_more(&part) != 0;
    zmq_msg_close(&part);
  }

  const PeerId peer = peer_of({static_cast<const char*>(zmq_msg_data(&id)), zmq_msg_size(&id)}, descriptor);
  zmq_msg_close(&id);
  if (const auto& account = peers_.at(peer.value).account) guard_.taken(account.get(), bytes);
  stats_.bytes_in += bytes;
  if (!single) {
    zmq_msg_close(&frame);
    ++stats_.rejected_messages;
    *event = {TransportEventKind::refused, peer, {}};
    return true;
  }
  ++stats_.messages_in;
  zmq_msg_t& kept = wire_->taken.emplace_back();
  zmq_msg_init(&kept);
  zmq_msg_move(&kept, &frame);
  *event = {TransportEventKind::message,
            peer,
            {static_cast<const char*>(zmq_msg_data(&kept)), zmq_msg_size(&kept)}};
  return true;
}

// The first message by a routing id, or one by another connection under the same id (peers may choose their ids),
// begins a peer. The monitor is read first: a descriptor's number may have had an owner before.
PeerId ZmqTransport::peer_of(std::string_view routing_id, int descriptor) {
  if (const auto known = by_routing_id_.find(routing_id); known != by_routing_id_.end()) {
    Peer& before = peers_.at(known->second.value);
    if (before.descriptor == descriptor) return known->second;
    before.connected = false;
    leaving_.push_front({known->second, {}});
    by_routing_id_.erase(known);
  }
  drain_monitor();
  const PeerId peer{next_peer_++};
  Peer& made = peers_[peer.value];
  made.routing_id = routing_id;
  made.descriptor = descriptor;
  by_routing_id_.emplace(made.routing_id, peer);
  if (const auto connection = connections_.find(descriptor); connection != connections_.end()) {
    connection->second.peer = peer;
    made.account = connection->second.account;
  } else {
    // Its end has been seen already: this is what it had sent before.
    made.connected = false;
    leaving_.push_back({peer, std::chrono::steady_clock::now()});
  }
  return peer;
}

void ZmqTransport::drain_monitor() {
  for (;;) {
    zmq_msg_t head;
    zmq_msg_init(&head);
    if (zmq_msg_recv(&head, wire_->monitor, ZMQ_DONTWAIT) < 0) {
      zmq_msg_close(&head);
      return;
    }
    std::uint16_t event = 0;
    std::uint32_t value = 0;
    JOBQ_CHECK(zmq_msg_size(&head) == sizeof(event) + sizeof(value));
    std::memcpy(&event, zmq_msg_data(&head), sizeof(event));
    std::memcpy(&value, static_cast<const char*>(zmq_msg_data(&head)) + sizeof(event), sizeof(value));
    zmq_msg_recv(&head, wire_->monitor, ZMQ_DONTWAIT);  // the address
    zmq_msg_close(&head);
    if (event == ZMQ_EVENT_ACCEPTED) accepted(static_cast<int>(value));
    if (event == ZMQ_EVENT_DISCONNECTED) disconnected(static_cast<int>(value));
  }
}

void ZmqTransport::accepted(int descriptor) {
  connections_[descriptor] = {guard_.added(descriptor), {}};
  if (connections_.size() > options_.connections_max) {
    ++stats_.cut_connections;
    ::shutdown(descriptor, SHUT_RDWR);
  }
}

void ZmqTransport::disconnected(int descriptor) {
  guard_.removed(descriptor);
  const auto connection = connections_.find(descriptor);
  if (connection == connections_.end()) return;
  const PeerId peer = connection->second.peer;
  connections_.erase(connection);
  if (peer.value == 0) return;
  if (const auto found = peers_.find(peer.value); found != peers_.end() && found->second.connected) {
    found->second.connected = false;
    leaving_.push_back({peer, std::chrono::steady_clock::now()});
  }
}

bool ZmqTransport::announce_lost(TransportEvent* event, bool all) {
  if (leaving_.empty()) return false;
  const Leaving leaving = leaving_.front();
  if (!all && std::chrono::steady_clock::now() - leaving.since < kLossDelayMax) return false;
  leaving_.pop_front();
  forget(leaving.peer);
  *event = {TransportEventKind::lost, leaving.peer, {}};
  return true;
}

void ZmqTransport::forget(PeerId peer) {
  const auto found = peers_.find(peer.value);
  if (found == peers_.end()) return;
  const auto named = by_routing_id_.find(found->second.routing_id);
  if (named != by_routing_id_.end() && named->second == peer) by_routing_id_.erase(named);
  if (const auto connection = connections_.find(found->second.descriptor);
      connection != connections_.end() && connection->second.peer == peer) {
    connection->second.peer = {};
  }
  peers_.erase(found);
}

// ZeroMQ may have closed the descriptor, and its number may be another connection's by now. The monitor tells of an end
// before the number is free again: who is connected after all it had to tell still has it.
void ZmqTransport::cut(Peer* peer) {
  drain_monitor();
  if (!peer->connected || peer->descriptor < 0) return;
  ++stats_.cut_connections;
  ::shutdown(peer->descriptor, SHUT_RDWR);
}

// The peer, when a message of so many bytes may be sent to it.
ZmqTransport::Peer* ZmqTransport::receiver(PeerId to, std::size_t bytes) {
  const auto found = peers_.find(to.value);
  if (found == peers_.end() || !found->second.connected) return nullptr;
  Peer* peer = &found->second;
  if (peer->account && !guard_.has_room(peer->account.get(), wire_bytes(bytes))) {
    cut(peer);
    return nullptr;
  }
  return peer;
}

// Behind zmq_send and zmq_msg_send alike.
bool ZmqTransport::handed_over(Peer* peer, int result, std::size_t bytes) {
  if (result < 0) {
    check_error({EHOSTUNREACH, EAGAIN, EINTR});
    cut(peer);
    return false;
  }
  if (peer->account) guard_.handed_over(peer->account.get(), wire_bytes(bytes));
  ++stats_.messages_out;
  stats_.bytes_out += bytes;
  return true;
}

bool ZmqTransport::address(Peer* peer) {
  const int flags = ZMQ_DONTWAIT | ZMQ_SNDMORE;
  if (zmq_send(wire_->router, peer->routing_id.data(), peer->routing_id.size(), flags) >= 0) return true;
  check_error({EHOSTUNREACH, EAGAIN, EINTR});
  cut(peer);
  return false;
}

bool ZmqTransport::send(PeerId to, std::string_view message) {
  Peer* peer = receiver(to, message.size());
  if (peer == nullptr || !address(peer)) return false;
  return handed_over(peer, zmq_send(wire_->router, message.data(), message.size(), ZMQ_DONTWAIT),
                     message.size());
}

bool ZmqTransport::give(PeerId to, std::string* message) {
  if (message->size() < kGivenBytes) return send(to, *message);
  Peer* peer = receiver(to, message->size());
  if (peer == nullptr || !address(peer)) return false;
  const std::size_t bytes = message->size();
  auto owned = std::make_unique<std::string>(std::move(*message));
  message->clear();
  const auto let_go = [](void* /*data*/, void* string) { delete static_cast<std::string*>(string); };
  zmq_msg_t frame;
  char* data = owned->data();
  // On ZeroMQ's own thread, when the bytes are on their way.
  if (zmq_msg_init_data(&frame, data, bytes, let_go, owned.get()) != 0) throw std::bad_alloc();
  std::ignore = owned.release();
  const int sent = zmq_msg_send(&frame, wire_->router, ZMQ_DONTWAIT);
  const bool over = handed_over(peer, sent, bytes);
  if (sent < 0) zmq_msg_close(&frame);
  return over;
}

TransportStats ZmqTransport::stats() const {
  TransportStats stats = stats_;
  stats.connections = connections_.size();
  stats.cut_connections += guard_.cut();
  return stats;
}

}  // namespace jobq
