#include "worker/escalation.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <csignal>

using namespace std::chrono_literals;
using jobq::runner::Escalation;
using jobq::runner::StopCause;

namespace {
const Escalation::Time kStart = Escalation::Time{} + 1h;
}  // namespace

TEST_CASE("nothing is due before it is asked for") {
  Escalation escalation;
  CHECK_FALSE(escalation.due(kStart).has_value());
  CHECK_FALSE(escalation.next().has_value());
  CHECK(escalation.cause() == StopCause::none);
}

TEST_CASE("SIGTERM at once, SIGKILL after the grace, each once") {
  Escalation escalation;
  escalation.ask(StopCause::time_limit, kStart, 5s);
  CHECK(escalation.next() <= kStart);
  CHECK(escalation.due(kStart) == SIGTERM);
  CHECK_FALSE(escalation.due(kStart).has_value());
  CHECK(escalation.next() == kStart + 5s);
  CHECK_FALSE(escalation.due(kStart + 4999ms).has_value());
  CHECK_FALSE(escalation.killed());
  CHECK(escalation.due(kStart + 5s) == SIGKILL);
  CHECK(escalation.killed());
  CHECK_FALSE(escalation.due(kStart + 6s).has_value());
  CHECK_FALSE(escalation.next().has_value());
}

TEST_CASE("without a grace it is SIGKILL at once") {
  Escalation escalation;
  escalation.ask(StopCause::drain, kStart, 0ms);
  CHECK(escalation.due(kStart) == SIGKILL);
}

TEST_CASE("the first cause stands; a shorter grace shortens, a longer one does not lengthen") {
  Escalation escalation;
  escalation.ask(StopCause::time_limit, kStart, 5s);
  (void)escalation.due(kStart);
  escalation.ask(StopCause::drain, kStart + 1s, 10s);
  CHECK(escalation.next() == kStart + 5s);
  escalation.ask(StopCause::drain, kStart + 1s, 1s);
  CHECK(escalation.next() == kStart + 2s);
  CHECK(escalation.cause() == StopCause::time_limit);
}
