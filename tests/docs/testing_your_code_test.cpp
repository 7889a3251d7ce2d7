// The code of docs/testing_your_code.md, piece by piece; the one with GoogleTest is in testing_your_code_gtest.cpp.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "jobq/testing.hpp"
#include "testing_your_code.pieces.hpp"
#include "tests/docs/fake_mailer.hpp"

using namespace std::chrono_literals;

namespace declared {
using receipts::Answer;
using receipts::Mailer;
#include "testing_your_code/interface.inc"
static_assert(std::is_same_v<decltype(&checkout), decltype(&receipts::checkout)>);
static_assert(std::is_same_v<decltype(&serve), decltype(&receipts::serve)>);
}  // namespace declared

namespace {

#include "testing_your_code/doctest.inc"

TEST_CASE_FIXTURE(Fixture, "retries") {
  const auto running = broker.start(worker);
#include "testing_your_code/retries.inc"
}

}  // namespace
