// The mailer of the tests in docs/testing_your_code.md. Thread-safety: it is called by handlers, so what they change is atomic.
#pragma once

#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "examples/testing/receipts.hpp"

struct FakeMailer : receipts::Mailer {
  std::atomic<int> sent = 0;
  std::atomic<bool> down = false;
  void send(const std::string& /*to*/, std::uint64_t /*order*/) override {
    if (down) throw std::runtime_error("451 mail server is busy");
    ++sent;
  }
};
