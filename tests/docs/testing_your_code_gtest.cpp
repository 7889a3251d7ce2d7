// The piece of docs/testing_your_code.md that is about GoogleTest.
#include <gtest/gtest.h>

#include "jobq/testing.hpp"
#include "testing_your_code.pieces.hpp"
#include "tests/docs/fake_mailer.hpp"

using namespace std::chrono_literals;

namespace {
#include "testing_your_code/gtest.inc"
}  // namespace
