// What a handler is shown of its job.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <limits>

#include "libjobq/worker/job_run.hpp"

using namespace jobq;

namespace {

WallTime enqueued_at(TimeMs told) {
  DeliveredJob job;
  job.enqueued_at = told;
  JobRun run(std::move(job), TimeMs{1}, nullptr);
  return Context(&run).enqueued_at();
}

}  // namespace

TEST_CASE("when a job was enqueued is what the broker says, as far as the clock can count") {
  using std::chrono::milliseconds;
  CHECK(enqueued_at(TimeMs{1'700'000'000'123}) == WallTime{milliseconds{1'700'000'000'123}});
  CHECK(enqueued_at(TimeMs{std::numeric_limits<std::int64_t>::max()}) >
        WallTime{milliseconds{9'000'000'000'000}});
  CHECK(enqueued_at(TimeMs{std::numeric_limits<std::int64_t>::min()}) <
        WallTime{milliseconds{-9'000'000'000'000}});
}
