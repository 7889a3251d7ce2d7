#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tests/sim/cast.hpp"

namespace jobq::sim {

using faults::Event;
using faults::EventType;

namespace {

constexpr DurationMs kPatience{5'000};

ProducerId operator_id() {
  ProducerId id{};
  id.fill(7);
  return id;
}

}  // namespace

SimOperator::SimOperator(const Stage& stage, std::string name, Prng prng, Script* script,
                         const Ledger* ledger)
    : Process(stage, name, prng),
      script_(script),
      ledger_(ledger),
      core_({"sim", "jobq-sim", name, 2}, operator_id()) {
  next_at_ = stage.timeline->now();
}

TimeMs SimOperator::wants_turn_at() const {
  if (!insisted_.empty()) return stage_.timeline->now();
  return script_->operations_left > 0 && !script_->healed ? next_at_ : kNever;
}

void SimOperator::before_turn(TimeMs now) {
  for (Asked& asked : std::exchange(insisted_, {})) {
    Event event = happened(asked.op, EventType::invoke);
    for (const AdminParam& param : asked.call.params)
      if (param.name == "queue") event.queue = std::get<std::string>(param.value);
    ask(std::move(asked), std::move(event), now);
  }
  if (wants_turn_at() > stage_.timeline->now()) return;
  next_at_ = stage_.timeline->now() + DurationMs{prng_.between(1, stage_.mix->think_ms * 20)};
  --script_->operations_left;
  ask_something(now);
}

void SimOperator::insist(std::string verb, std::vector<AdminParam> params) {
  Asked asked;
  asked.op = verb == "queue.resume" ? "resume" : "set";
  asked.call.verb = std::move(verb);
  asked.call.params = std::move(params);
  asked.insists = true;
  insisted_.push_back(std::move(asked));
  woken();
}

void SimOperator::count_at_the_end() {
  Asked asked;
  asked.call.verb = "stats";
  asked.insists = asked.final_count = true;
  insisted_.push_back(std::move(asked));
  woken();
}

void SimOperator::ask(Asked asked, Event event, TimeMs now) {
  asked.call.token = next_token_++;
  asked.call.timeout = kPatience;
  asked.call.deadline = now + kPatience;
  asked.seq = event.seq = asked.call.token;
  if (!asked.op.empty()) write(std::move(event));
  core_.admin().submit(asked.call);
  open_.emplace(asked.call.token, std::move(asked));
}

void SimOperator::ask_something(TimeMs now) {
  const FaultMix& mix = *stage_.mix;
  const std::string queue = queue_name(prng_.below(mix.queues));
  const JobId job{ledger_->made() == 0 ? 1 : 1 + prng_.below(ledger_->made())};
  std::uint64_t choice =
      prng_.below(mix.pauses * 2 + mix.cancels + mix.redrives + mix.purges + mix.settings + mix.looks);
  const auto falls_to = [&choice](std::uint64_t share) {
    const bool here = choice < share;
    choice -= std::min(choice, share);
    return here;
  };
  Asked asked;
  Event event = happened("", EventType::invoke);
  event.queue = queue;
  asked.call.params = {{"queue", queue}};
  if (falls_to(mix.pauses)) {
    asked.op = "pause";
    asked.call.verb = "queue.pause";
  } else if (falls_to(mix.pauses)) {
    asked.op = "resume";
    asked.call.verb = "queue.resume";
  } else if (falls_to(mix.cancels)) {
    asked.op = "cancel";
    asked.call.verb = "job.cancel";
    asked.call.params = {{"id", to_text(job)}};
    event.job = to_text(job);
    event.queue = "";
  } else if (falls_to(mix.redrives)) {
    asked.op = "redrive";
    asked.call.verb = "dead.redrive";
    if (prng_.below(3) == 0) asked.call.params.push_back({"limit", prng_.between(1, 5)});
    if (prng_.below(3) == 0) asked.call.params.push_back({"rate", prng_.between(50, 500)});
  } else if (falls_to(mix.purges)) {
    asked.op = "purge";
    asked.call.verb = prng_.below(2) == 0 ? "queue.purge" : "dead.purge";
  } else if (falls_to(mix.settings)) {
    asked.op = "set";
    asked.call.verb = "queue.set";
    asked.call.params.push_back({"max_jobs", prng_.between(0, 30)});
    asked.call.params.push_back({"lease_ms", prng_.between(1'000, 20'000)});
    asked.call.params.push_back({"backoff_min_ms", prng_.between(1, 500)});
  } else if (prng_.below(3) == 0) {
    asked.call.verb = "stats";
    asked.call.params.clear();
  } else {
    asked.op = "get";
    asked.call.verb = "job.show";
    asked.call.params = {{"id", to_text(job)}};
    event.job = to_text(job);
    event.queue = "";
  }
  event.op = asked.op;
  ask(std::move(asked), std::move(event), now);
}

void SimOperator::after_turn(TimeMs now) {
  for (const AdminCompletion& completion : core_.admin().take_completions()) answer(completion, now);
}

void SimOperator::answer(const AdminCompletion& completion, TimeMs /*now*/) {
  auto found = open_.extract(completion.token);
  if (found.empty()) return;
  Asked asked = std::move(found.mapped());
  const bool done = completion.document.ok();
  // A cancel may be asked for twice: the second time its job is gone because of the first.
  const Code code = completion.document.code();
  const bool unknown = code == Code::timed_out || code == Code::unreachable ||
                       (asked.op == "cancel" && (code == Code::gone || code == Code::no_such_job));
  Event event = happened(asked.op, done ? EventType::ok : (unknown ? EventType::info : EventType::fail));
  event.seq = asked.seq;
  for (const AdminParam& param : asked.call.params)
    if (param.name == "queue") event.queue = std::get<std::string>(param.value);
  if (!done) event.err = to_string(code);
  if (done && asked.op == "cancel") {
    const auto document = nlohmann::json::from_msgpack(*completion.document);
    event.state = document.at("job").at("state").get<std::string>();
  }
  if (done && asked.call.verb == "stats") write_counts(*completion.document, asked.final_count);
  if (!asked.op.empty()) write(std::move(event));
  if (!asked.insists || done || code == Code::no_such_queue) return;
  insisted_.push_back(std::move(asked));
  woken();
}

void SimOperator::write_counts(const std::string& document, bool final_count) {
  const auto stats = nlohmann::json::from_msgpack(document);
  for (const auto& row : stats.at("queues")) {
    Event event = happened("stats", EventType::ok);
    event.final_count = final_count;
    row.at("name").get_to(event.queue);
    row.at("ready").get_to(event.ready);
    row.at("scheduled").get_to(event.scheduled);
    row.at("leased").get_to(event.leased);
    row.at("dead").get_to(event.dead);
    write(std::move(event));
  }
}

}  // namespace jobq::sim
