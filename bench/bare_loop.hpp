// The parts of the bare loop: its arguments, its messages, its broker and its clients (bare_loop.cpp says what it is for).
//
// Each of the three functions is the body of a process of its own. Not thread-safe.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>

#include "bench/measurement.hpp"
#include "libjobq/base/check.hpp"

namespace jobq::bench {

struct BareArguments {
  std::string mode = "cycle";
  std::string name;
  std::string transport = "tcp";
  std::string directory = std::filesystem::temp_directory_path().string();
  std::size_t jobs_per_message = 1;
  std::size_t jobs_per_delivery = 1000;
  std::size_t window = 1000;       // jobs without a confirmation
  std::size_t in_flight = 20'000;  // jobs whose worker is not through with them
  std::size_t credit = 1000;
  std::size_t body_bytes = 256;
  std::size_t peers = 1000;  // of mode idle
  double rate = 1000;
  double seconds = 3, warm_up = 1;
  int io_threads = 1;
  bool json = false;
};

// ---- messages: a letter, a count, then count times what the letter says ----------------------

class Builder {
 public:
  void begin(char kind) {
    bytes_.assign(1, kind);
    bytes_.append(4, '\0');
    count_ = 0;
  }
  void number(std::uint64_t value) { bytes_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void text(std::string_view text) {
    const auto size = static_cast<std::uint32_t>(text.size());
    bytes_.append(reinterpret_cast<const char*>(&size), sizeof size);
    bytes_.append(text);
  }
  void count_one() { ++count_; }
  [[nodiscard]] std::uint32_t count() const { return count_; }
  [[nodiscard]] std::string_view view() {
    std::memcpy(bytes_.data() + 1, &count_, sizeof count_);
    return bytes_;
  }

 private:
  std::string bytes_;
  std::uint32_t count_ = 0;
};

struct Parser {
  std::string_view rest;
  char kind() { return take(1)[0]; }
  std::uint32_t count() { return get<std::uint32_t>(); }
  std::uint64_t number() { return get<std::uint64_t>(); }
  std::string_view text() { return take(get<std::uint32_t>()); }
  std::string_view take(std::size_t bytes) {
    JOBQ_CHECK(bytes <= rest.size());
    const std::string_view taken = rest.substr(0, bytes);
    rest.remove_prefix(bytes);
    return taken;
  }
  template <typename T>
  T get() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
};

// Serves until the process is killed.
[[noreturn]] void serve_bare(const BareArguments& arguments, const std::string& directory,
                             const std::string& endpoint, SharedState* shared);
void produce_bare(const BareArguments& arguments, const std::string& endpoint, SharedState* shared);
// Mode idle: a ROUTER that answers, and clients with nothing but a heartbeat each.
[[noreturn]] void echo_bare(const BareArguments& arguments, const std::string& endpoint, SharedState* shared);
[[noreturn]] void idle_bare(const BareArguments& arguments, const std::string& endpoint, SharedState* shared);
void work_bare(const BareArguments& arguments, const std::string& endpoint, SharedState* shared);

}  // namespace jobq::bench
