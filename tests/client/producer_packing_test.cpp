// What the producer's state machine puts into one message, and when it sends it, in virtual time.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "tests/client/producer_fixture.hpp"

using namespace jobq;
using test::greet;
using test::take_sent;
using Fixture = test::ProducerFixture;

TEST_CASE_FIXTURE(Fixture, "what has expired while it waited is not in the message of the others") {
  submit(TimeMs{1000}, "a", 60'000);
  submit(TimeMs{1000}, "gives up", 100);
  submit(TimeMs{1000}, "c", 60'000);
  tick(TimeMs{1100});
  REQUIRE(done.size() == 1);
  CHECK(done[0].token == 2);
  greet(core, TimeMs{1200});
  const auto sent = take_sent(core);
  REQUIRE(sent.size() == 1);
  const auto& request = sent[0].as<protocol::Enqueue>();
  REQUIRE(request.jobs.size() == 2);
  CHECK(request.jobs[0].body == "a");
  CHECK(request.jobs[1].body == "c");
  accept(sent[0], TimeMs{1201});
  tick(TimeMs{1201});
  REQUIRE(done.size() == 3);
  CHECK(done[1].token == 1);
  CHECK(done[2].token == 3);
  CHECK(core.next_deadline() == std::nullopt);
}

TEST_CASE_FIXTURE(Fixture, "it says what would have to come for a message to go out") {
  CHECK_FALSE(core.producer().needs().at_once);
  greet(core, TimeMs{1000});
  CHECK(core.producer().needs().idle);
  establish(TimeMs{1000});
  for (std::size_t i = 0; i < ProducerCore::kEagerInFlight; ++i) {
    CHECK(core.producer().needs().at_once);
    submit(TimeMs{1000});
    CHECK(tick(TimeMs{1000}).size() == 1);
  }
  CHECK_FALSE(core.producer().needs().at_once);
  submit(TimeMs{1000});
  CHECK(tick(TimeMs{1000}).empty());
  CHECK(core.producer().needs().groups == ProducerCore::kPackJobs - 1);
  for (std::size_t i = 1; i < ProducerCore::kPackJobs; ++i) submit(TimeMs{1000});
  CHECK(tick(TimeMs{1000}).size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "in a crowd one small message is on its way at a time") {
  greet(core, TimeMs{1000});
  core.crowded(true);
  submit(TimeMs{1000});
  CHECK(tick(TimeMs{1000}).size() == 1);
  submit(TimeMs{1001});
  CHECK(tick(TimeMs{1001}).empty());
  core.crowded(false);
  CHECK(tick(TimeMs{1002}).size() == 1);
}
