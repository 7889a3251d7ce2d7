#include "libjobq/base/supervisor.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace jobq {

Supervisor::Supervisor() {
  const char* address = std::getenv("NOTIFY_SOCKET");
  if (address == nullptr || (address[0] != '/' && address[0] != '@')) return;
  address_ = address;
  socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const char* watchdog = std::getenv("WATCHDOG_USEC");
  if (watchdog == nullptr) return;
  const long long period_us = std::atoll(watchdog);
  if (period_us > 0) alive_every_ = DurationMs{period_us / 2000};  // twice per period
}

Supervisor::~Supervisor() {
  if (socket_ >= 0) ::close(socket_);
}

void Supervisor::alive(TimeMs now) {
  if (!alive_every_ || now - last_alive_ < *alive_every_) return;
  last_alive_ = now;
  notify("WATCHDOG=1");
}

void Supervisor::notify(std::string_view text) const {
  if (socket_ < 0) return;
  sockaddr_un address{};
  if (address_.size() >= sizeof(address.sun_path)) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, address_.data(), address_.size());
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';  // an abstract name
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
  // A supervisor that does not listen is not our trouble.
  (void)::sendto(socket_, text.data(), text.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address),
                 size);
}

bool write_ready(int descriptor, const std::vector<std::string>& endpoints) {
  std::string text;
  for (const std::string& endpoint : endpoints) text += endpoint + "\n";
  const bool written = ::write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(descriptor);
  return written;
}

}  // namespace jobq
