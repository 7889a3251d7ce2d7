// The broker under test: `jobq-broker` as a process of its own in a directory of its own, with default settings.
//
// Not thread-safe. It ends, and its directory goes, with the object.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "bench/measurement.hpp"

namespace jobq {
class Client;
}

namespace jobq::bench {

class Broker {
 public:
  // `transport`: tcp or ipc; `directory`: under which the store lies.
  Broker(std::string program, const std::string& transport, const std::string& directory);
  void start();
  void kill_9();
  // Ends the process with what is wrong when the broker is not there any more.
  void check_alive();
  // Commits since its start, as `stats` says them. REQUIRES: nothing is forked while a client lives; it makes threads.
  static std::uint64_t commits(Client* client);
  // What the store takes on the disk.
  [[nodiscard]] double disk_mb() const;
  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }
  [[nodiscard]] pid_t pid() const { return process_.pid(); }
  [[nodiscard]] std::int64_t started_ns() const { return started_ns_; }

 private:
  std::string program_;
  ScratchDirectory directory_;
  std::string endpoint_;
  Child process_;
  std::int64_t started_ns_ = 0;
};

}  // namespace jobq::bench
