#include "tests/sim/theatre.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace jobq::sim {
namespace {

constexpr std::int64_t kReplaceEveryMs = 1'000;  // workers that were drained and have gone

}  // namespace

Theatre::Theatre(const Stage& stage, Script* script, const Ledger* ledger, std::uint64_t seed)
    : stage_(stage), script_(script), ledger_(ledger), seed_(seed) {}

std::unique_ptr<SimProducer> Theatre::new_producer(std::size_t place) {
  const std::uint64_t member = next_member_++;
  auto producer = std::make_unique<SimProducer>(stage_, fmt::format("p{}.{}", place, member),
                                                stream(seed_, member), script_);
  producer->start();
  return producer;
}

std::unique_ptr<SimWorker> Theatre::new_worker(std::size_t place) {
  const std::uint64_t member = next_member_++;
  auto worker = std::make_unique<SimWorker>(stage_, fmt::format("w{}.{}", place, member),
                                            stream(seed_, member), script_);
  worker->start();
  return worker;
}

void Theatre::bring_on() {
  for (std::size_t i = 0; i < stage_.mix->producers; ++i) producers_.push_back(new_producer(i));
  for (std::size_t i = 0; i < stage_.mix->workers; ++i) workers_.push_back(new_worker(i));
  for (std::size_t i = 0; i < stage_.mix->operators; ++i) {
    operators_.push_back(std::make_unique<SimOperator>(stage_, fmt::format("o{}", i), stream(seed_, 50 + i),
                                                       script_, ledger_));
    operators_.back()->start();
  }
}

// Around every `mean_ms`, until the heal.
void Theatre::every(std::int64_t mean_ms, std::uint64_t fault, void (Theatre::*what)(Prng*)) {
  if (mean_ms == 0) return;
  const auto prng = std::make_shared<Prng>(stream(seed_, fault));
  // The action plans itself anew; it owns itself through the timeline.
  struct Again {
    Theatre* theatre;
    std::shared_ptr<Prng> prng;
    std::int64_t mean_ms;
    void (Theatre::*what)(Prng*);
    void operator()() const {
      if (theatre->script_->healed) return;
      (theatre->*what)(prng.get());
      plan();
    }
    void plan() const { theatre->stage_.timeline->after(DurationMs{prng->between(1, 2 * mean_ms)}, *this); }
  };
  Again{this, prng, mean_ms, what}.plan();
}

void Theatre::plan_faults() {
  const FaultMix& mix = *stage_.mix;
  every(mix.die_every_ms, 20, &Theatre::kill_one);
  every(mix.freeze_every_ms, 21, &Theatre::freeze_one);
  every(mix.leave_every_ms, 22, &Theatre::one_leaves);
  every(mix.drains > 0 ? kReplaceEveryMs : 0, 23, &Theatre::sweep_out);
}

void Theatre::say_died(const std::string& name) {
  stage_.chronicle->write(name, happened("crash", faults::EventType::info));
}

void Theatre::kill_one(Prng* prng) {
  const std::uint64_t place = prng->below(producers_.size() + 2 * workers_.size());
  if (place < producers_.size()) {
    say_died(producers_[place]->name());
    producers_[place] = nullptr;
    producers_[place] = new_producer(place);
  } else {
    const std::size_t which = (place - producers_.size()) / 2;
    say_died(workers_[which]->name());
    workers_[which] = nullptr;
    workers_[which] = new_worker(which);
  }
}

void Theatre::freeze_one(Prng* prng) {
  const std::uint64_t place = prng->below(producers_.size() + 2 * workers_.size());
  const DurationMs span{prng->between(1, stage_.mix->freeze_max_ms)};
  const bool hung = prng->below(3) == 0;
  if (place < producers_.size()) {
    producers_[place]->freeze(span, hung);
  } else {
    workers_[(place - producers_.size()) / 2]->freeze(span, hung);
  }
}

void Theatre::one_leaves(Prng* prng) {
  sweep_out_who_has_left();
  workers_[prng->below(workers_.size())]->leave();
}

void Theatre::sweep_out_who_has_left() {
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (!workers_[i]->finished()) continue;
    // What it has not heard the end of, nobody will: that is a death to the judge.
    say_died(workers_[i]->name());
    workers_[i] = nullptr;
    workers_[i] = new_worker(i);
  }
}

void Theatre::heal() {
  for (const auto& producer : producers_) producer->thaw();
  for (const auto& worker : workers_) {
    worker->thaw();
    worker->leave();
  }
  for (std::size_t i = 0; i < stage_.mix->workers; ++i) workers_.push_back(new_worker(workers_.size()));
  for (std::uint64_t queue = 0; queue < queues_of(*stage_.mix); ++queue) {
    operators_.front()->insist("queue.resume", {{"queue", queue_name(queue)}});
    operators_.front()->insist("queue.set", {{"queue", queue_name(queue)}, {"max_jobs", std::int64_t{0}}});
  }
}

bool Theatre::everybody_is_done() const {
  const auto done = [](const auto& member) { return member->finished(); };
  return std::all_of(producers_.begin(), producers_.end(), done) &&
         std::all_of(operators_.begin(), operators_.end(), done);
}

}  // namespace jobq::sim
