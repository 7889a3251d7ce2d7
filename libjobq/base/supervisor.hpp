// Tells the supervisor how a service (broker, jobq-worker) is doing: systemd's notification protocol (sd_notify(3): one datagram to the socket
// that $NOTIFY_SOCKET names), and endpoints on a descriptor for whoever started it with --ready-fd.
//
// Not thread-safe. Without a supervisor every call does nothing.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libjobq/base/time.hpp"

namespace jobq {

class Supervisor {
 public:
  Supervisor();
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  void ready() { notify("READY=1"); }
  void stopping() { notify("STOPPING=1"); }
  // One line for `systemctl status`.
  void status(std::string_view line) { notify(std::string("STATUS=").append(line)); }
  // The loop turns. At most so often as the supervisor wants to hear it.
  void alive(TimeMs now);
  [[nodiscard]] bool there() const { return socket_ >= 0; }
  // How often alive() wants to be called; nullopt: never.
  [[nodiscard]] std::optional<DurationMs> alive_every() const { return alive_every_; }

 private:
  void notify(std::string_view text) const;

  int socket_ = -1;
  std::string address_;
  std::optional<DurationMs> alive_every_;
  TimeMs last_alive_{};
};

// Writes one endpoint per line and closes the descriptor. false: it cannot be written to.
bool write_ready(int descriptor, const std::vector<std::string>& endpoints);

}  // namespace jobq
