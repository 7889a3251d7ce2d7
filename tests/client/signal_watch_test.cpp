// Signals as wishes to stop. They are raised in the test's own thread and have been delivered when raise() returns; the
// instants are made up.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "libjobq/worker/signal_watch.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <csignal>

using jobq::SignalWatch;
using jobq::StopWishes;
using std::chrono::milliseconds;

namespace {

constexpr StopWishes::Clock::time_point kStart{std::chrono::hours{1}};

}  // namespace

TEST_CASE("the echo of the first signal is no second wish") {
  SignalWatch watch;
  REQUIRE(watch.fd() >= 0);
  CHECK(watch.take(kStart) == 0);
  std::raise(SIGTERM);
  CHECK(watch.take(kStart) == 1);
  CHECK(watch.take(kStart) == 0);
  std::raise(SIGTERM);
  CHECK(watch.take(kStart + milliseconds{299}) == 0);
  std::raise(SIGINT);
  CHECK(watch.take(kStart + milliseconds{300}) == 1);
}

TEST_CASE("two signals that are heard together are one wish") {
  SignalWatch watch;
  std::raise(SIGTERM);
  std::raise(SIGTERM);
  CHECK(watch.take(kStart) == 1);
}

TEST_CASE("echoes do not put off the second wish, and after it nothing is merged") {
  StopWishes wishes;
  CHECK(wishes.hear(kStart));
  CHECK_FALSE(wishes.hear(kStart + milliseconds{200}));
  CHECK(wishes.hear(kStart + milliseconds{400}));
  CHECK(wishes.hear(kStart + milliseconds{401}));
  CHECK(wishes.count() == 3);
}

TEST_CASE("each watch counts for itself") {
  SignalWatch one;
  std::raise(SIGTERM);
  CHECK(one.take(kStart) == 1);
  SignalWatch other;
  std::raise(SIGTERM);
  CHECK(one.take(kStart + milliseconds{100}) == 0);
  CHECK(other.take(kStart + milliseconds{100}) == 1);
}
