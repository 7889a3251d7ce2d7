#include <fmt/format.h>

#include "libjobq/base/hash.hpp"
#include "libjobq/protocol/codec.hpp"
#include "tests/sim/cast.hpp"

namespace jobq::sim {

using faults::Event;
using faults::EventType;

namespace {

LinkIdentity identity(const std::string& name) { return {"sim", "jobq-sim", name, 1}; }

ProducerId random_id(Prng* prng) {
  ProducerId id{};
  for (std::uint8_t& byte : id) byte = static_cast<std::uint8_t>(prng->below(256));
  id[0] |= 1;  // all zero is "none"
  return id;
}

}  // namespace

std::string queue_name(std::uint64_t number) { return fmt::format("q{}", number); }

std::uint64_t queues_of(const FaultMix& mix) { return mix.queues + (mix.removals > 0 ? 1U : 0U); }

SimProducer::SimProducer(const Stage& stage, std::string name, Prng prng, Script* script)
    : Process(stage, name, prng), script_(script), core_(identity(name), random_id(&prng_)) {
  next_at_ = stage.timeline->now();
}

TimeMs SimProducer::wants_turn_at() const {
  return script_->operations_left > 0 && !script_->healed ? next_at_ : kNever;
}

void SimProducer::before_turn(TimeMs now) {
  if (wants_turn_at() > stage_.timeline->now()) return;
  next_at_ = stage_.timeline->now() + DurationMs{prng_.between(1, stage_.mix->think_ms * 2)};
  for (std::uint64_t n = 1 + prng_.below(stage_.mix->packed); n > 0 && script_->operations_left > 0; --n) {
    --script_->operations_left;
    enqueue(now);
  }
}

void SimProducer::enqueue(TimeMs now) {
  SubmittedGroup group;
  group.token = next_token_++;
  const bool removable = stage_.mix->removals > 0 && prng_.below(8) == 0;
  group.queue = queue_name(removable ? stage_.mix->queues : prng_.below(stage_.mix->queues));
  group.timeout = DurationMs{stage_.mix->deadline_ms};
  group.deadline = now + group.timeout;
  const bool grouped = prng_.below(1'000) < stage_.mix->grouped;
  const std::uint64_t jobs = grouped ? 2 + prng_.below(4) : 1;
  open_[group.token] = {next_seq_, jobs};
  const std::uint64_t first = next_seq_;
  for (std::uint64_t i = 0; i < jobs; ++i) {
    Event event = happened("enqueue", EventType::invoke);
    event.seq = next_seq_++;
    event.queue = group.queue;
    event.timeout_ms = stage_.mix->deadline_ms;
    if (grouped) event.group = std::to_string(first);
    group.jobs.push_back(make_job(&event));
    write(std::move(event));
  }
  core_.producer().submit(group);
}

OwnedJob SimProducer::make_job(Event* event) {
  const FaultMix& mix = *stage_.mix;
  const auto happens = [&](std::uint32_t per_mille) { return prng_.below(1'000) < per_mille; };
  OwnedJob job;
  job.body = fmt::format("{}-{}-{:016x}", name(), script_->next_body++, prng_.next());
  if (happens(mix.large)) job.body.append(prng_.below(20'000), 'x');
  if (mix.types > 0 && prng_.below(4) != 0) job.type = fmt::format("t{}", prng_.below(mix.types));
  if (mix.priorities > 1) job.priority = static_cast<std::uint8_t>(prng_.below(mix.priorities));
  if (happens(100)) job.headers = protocol::pack_headers({{"trace", fmt::format("{:x}", prng_.next())}});
  if (happens(mix.delayed)) {
    job.delay = DurationMs{prng_.between(1, prng_.below(4) == 0 ? 20'000 : 500)};
    event->delay_ms = job.delay.ms;
  } else if (happens(mix.dated)) {
    job.run_at = TimeMs{kWallAtBegin + stage_.timeline->now().ms + script_->wall_offset_ms +
                        prng_.between(-1'000, 20'000)};
    event->run_at = job.run_at.ms;
  }
  if (happens(mix.expiring)) {
    job.expires_in = DurationMs{prng_.between(1, 5'000)};
    event->expires_ms = job.expires_in.ms;
  }
  if (mix.keys > 0 && happens(500)) {
    job.unique_key = fmt::format("k{}", prng_.below(mix.keys));
    if (happens(200)) job.unique_for = DurationMs{prng_.between(1, 3'000)};
    event->key = job.unique_key;
  }
  if (happens(mix.with_run_limit)) job.max_run_ms = static_cast<std::uint32_t>(prng_.between(50, 5'000));
  if (happens(100)) job.max_attempts = static_cast<std::uint32_t>(prng_.between(1, 4));
  event->prio = job.priority ? *job.priority : -1;
  event->hash = fmt::format("{:016x}", hash64(job.body));
  return job;
}

void SimProducer::after_turn(TimeMs /*now*/) {
  for (const Completion& completion : core_.producer().take_completions()) answer(completion);
}

void SimProducer::answer(const Completion& completion) {
  const auto asked = open_.extract(completion.token);
  JOBQ_CHECK(!asked.empty() && asked.mapped().jobs == completion.results.size(), "token {}",
             completion.token);
  std::uint64_t seq = asked.mapped().first_seq;
  for (const EnqueueResult& result : completion.results) {
    Event event = happened("enqueue", EventType::ok);
    event.seq = seq++;
    if (result.ok()) {
      event.job = result->id;
      event.duplicate = result->duplicate;
    } else {
      event.type = result.outcome() == Outcome::refused ? EventType::fail : EventType::info;
      event.err = to_string(result.code());
    }
    write(std::move(event));
  }
}

}  // namespace jobq::sim
