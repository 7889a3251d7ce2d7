// A producer's state machine and the broker's part of the talk, in virtual time; for the tests of the producer.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "libjobq/client/client_core.hpp"
#include "libjobq/client/producer_core.hpp"
#include "tests/client/wire.hpp"

namespace jobq::test {

inline constexpr ProducerId kProducer{7};

struct ProducerFixture {
  ClientCore core{{"tcp://127.0.0.1:7710", "test", "host", 1}, kProducer};
  std::uint64_t next_token = 1;
  std::vector<Completion> done;

  std::uint64_t submit(TimeMs now, std::string body = "body", std::int64_t timeout = 5000) {
    SubmittedGroup group;
    group.token = next_token++;
    group.queue = "receipts";
    group.jobs.resize(1);
    group.jobs[0].body = std::move(body);
    group.deadline = now + DurationMs{timeout};
    group.timeout = DurationMs{timeout};
    const std::uint64_t token = group.token;
    core.producer().submit(group);
    return token;
  }

  std::vector<Sent> tick(TimeMs now) {
    core.tick(now);
    for (Completion& completion : core.producer().take_completions()) done.push_back(std::move(completion));
    return take_sent(core);
  }

  // All created, with ids that count from `first_id`.
  void accept(const Sent& sent, TimeMs now, std::uint64_t first_id = 100) {
    const auto& request = sent.as<protocol::Enqueue>();
    protocol::Enqueued reply;
    reply.sequence = request.sequence;
    for (std::size_t i = 0; i < request.jobs.size(); ++i) {
      protocol::EnqueueResult result;
      result.id = JobId{first_id + i};
      reply.results.push_back(result);
    }
    answer(core, sent.message.request_id, reply, now);
  }

  void refuse(const Sent& sent, Code code, TimeMs now, std::uint32_t retry_after = 0) {
    answer(core, sent.message.request_id, protocol::Error{code, "said the broker", retry_after}, now);
  }

  // The producer is known to the broker from here on.
  void establish(TimeMs now) {
    submit(now);
    const auto sent = tick(now);
    REQUIRE(sent.size() == 1);
    accept(sent[0], now);
    tick(now);
    REQUIRE(done.size() == 1);
    done.clear();
  }
};

}  // namespace jobq::test
