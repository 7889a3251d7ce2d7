// How much time the pure parts take, without store, network and threads: the engine's turn and the codec, per job.
//
//   bench_engine [--benchmark_filter=...] [--benchmark_format=json]
//
// Google Benchmark's report; items are jobs.
#include <benchmark/benchmark.h>

#include <string>
#include <variant>
#include <vector>

#include "broker/engine/engine.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/protocol/codec.hpp"

namespace jobq {
namespace {

const std::string kBody(256, 'x');

protocol::Enqueue request_of(std::size_t jobs) {
  protocol::Enqueue request;
  request.producer = {1};
  for (std::size_t i = 0; i < jobs; ++i) {
    request.groups.push_back({"bench", static_cast<std::uint32_t>(i), 1});
    protocol::EnqueueJob& job = request.jobs.emplace_back();
    job.body = kBody;
  }
  return request;
}

// An engine with one worker that takes everything.
class Bench {
 public:
  Bench() : engine_(EngineLimits{}, Recovered{}, 7) {
    now_ = {.engine = TimeMs{1000}, .wall = TimeMs{1000}};
    engine_.start(now_, &out_);
    protocol::Register worker;
    worker.queues.push_back({"bench", 1});
    worker.credit_jobs = limits::kCreditJobsMax;
    apply(PeerId{1}, std::move(worker));
    end_turn();
  }

  template <typename Body>
  void apply(PeerId peer, Body body) {
    JOBQ_CHECK(engine_.apply(Command{peer, 1, std::move(body)}, Facts{}, now_, &out_));
  }
  void enqueue(protocol::Enqueue request) {
    request.sequence = request.lowest_open = ++sequence_;
    apply(PeerId{2}, std::move(request));
  }
  void ack(std::size_t jobs) {
    protocol::Outcomes outcomes;
    outcomes.outcomes.reserve(jobs);
    for (; jobs > 0; --jobs, ++acked_) outcomes.outcomes.emplace_back().lease = held_[acked_];
    if (acked_ == held_.size()) {
      held_.clear();
      acked_ = 0;
    }
    apply(PeerId{1}, std::move(outcomes));
  }
  // What came of the turn; the changes are dropped, as if they were on disk.
  std::size_t end_turn() {
    engine_.tick(now_, &out_);
    std::size_t granted = 0;
    for (const Message& message : out_.messages) {
      const auto* plan = std::get_if<DeliverPlan>(&message.body);
      if (plan == nullptr) continue;
      for (const PlannedDelivery& delivery : plan->jobs) held_.push_back(delivery.lease);
      granted += plan->jobs.size();
    }
    out_.clear();
    ++now_.engine.ms;
    return granted;
  }

 private:
  Engine engine_;
  Output out_;
  Now now_;
  std::uint64_t sequence_ = 0;
  std::vector<protocol::LeaseRef> held_;
  std::size_t acked_ = 0;
};

// A turn with so many jobs enqueued, as many granted and as many acked.
void engine_turn(benchmark::State& state) {
  const auto jobs = static_cast<std::size_t>(state.range(0));
  Bench bench;
  const protocol::Enqueue request = request_of(jobs);
  for (auto _ : state) {
    bench.enqueue(request);
    const std::size_t granted = bench.end_turn();
    JOBQ_CHECK(granted == jobs, "{} of {}", granted, jobs);
    bench.ack(jobs);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(engine_turn)->Arg(1)->Arg(10)->Arg(100)->Arg(1000);

void decode_enqueue(benchmark::State& state) {
  protocol::RequestMessage message{1, request_of(static_cast<std::size_t>(state.range(0)))};
  std::get<protocol::Enqueue>(message.body).sequence = 1;
  std::string frame;
  protocol::encode(message, &frame);
  for (auto _ : state) {
    std::uint64_t request_id = 0;
    auto decoded = protocol::decode_request(frame, {}, &request_id);
    JOBQ_CHECK(decoded.ok());
    benchmark::DoNotOptimize(decoded);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(decode_enqueue)->Arg(1)->Arg(100)->Arg(1000);

void encode_deliver(benchmark::State& state) {
  protocol::Deliver deliver;
  deliver.session = SessionNo{1};
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    protocol::Delivery& job = deliver.jobs.emplace_back();
    job.lease = {JobId{1'000'000 + static_cast<std::uint64_t>(i)}, 1};
    job.queue = "bench";
    job.body = kBody;
  }
  const protocol::ReplyMessage message{0, std::move(deliver)};
  std::string frame;
  for (auto _ : state) {
    frame.clear();
    protocol::encode(message, &frame);
    benchmark::DoNotOptimize(frame.data());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(encode_deliver)->Arg(1)->Arg(100)->Arg(1000);

}  // namespace
}  // namespace jobq

BENCHMARK_MAIN();
