#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/sim/cast.hpp"

namespace jobq::sim {

using faults::Event;
using faults::EventType;

namespace {

constexpr DurationMs kPatience{5'000};
constexpr DurationMs kLooksAtTasksEvery{200};

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
  if (script_->healed && !tasks_over_ && open_.empty()) return std::max(next_at_, stage_.timeline->now());
  return script_->operations_left > 0 && !script_->healed ? next_at_ : kNever;
}

void SimOperator::before_turn(TimeMs now) {
  for (Asked& asked : std::exchange(insisted_, {})) {
    Event event = happened(asked.op, EventType::invoke);
    for (const AdminParam& param : asked.call.params) {
      if (param.name == "queue") event.queue = std::get<std::string>(param.value);
      if (param.name == "task") event.task = static_cast<std::uint64_t>(std::get<std::int64_t>(param.value));
    }
    ask(std::move(asked), std::move(event), now);
  }
  if (wants_turn_at() > stage_.timeline->now()) return;
  if (script_->healed) {
    next_at_ = stage_.timeline->now() + kLooksAtTasksEvery;
    Asked asked;
    asked.call.verb = "task.ls";
    return ask(std::move(asked), happened("", EventType::invoke), now);
  }
  next_at_ = stage_.timeline->now() + DurationMs{prng_.between(1, stage_.mix->think_ms * 20)};
  --script_->operations_left;
  ask_something(now);
}

void SimOperator::insist(std::string verb, std::vector<AdminParam> params) {
  Asked asked;
  asked.op = verb == "queue.resume" ? "resume" : (verb == "task.cancel" ? "task_cancel" : "set");
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
  if (done) learn(asked, *completion.document, &event);
  if (!asked.op.empty()) write(std::move(event));
  if (!asked.insists || done || code == Code::no_such_queue || asked.op == "task_cancel") return;
  insisted_.push_back(std::move(asked));
  woken();
}

void SimOperator::learn(const Asked& asked, const std::string& document, Event* event) {
  const std::string& verb = asked.call.verb;
  if (verb == "stats") write_counts(document, asked.final_count);
  if (verb == "task.ls") see_tasks_end(document);
  const auto parsed = [&] { return nlohmann::json::from_msgpack(document); };
  if (asked.op == "cancel" || asked.op == "retry" || asked.op == "put_off")
    parsed().at("job").at("state").get_to(event->state);
  if (asked.op == "redrive" || asked.op == "purge" || asked.op == "task_cancel") {
    const auto answer = parsed();
    answer.at("task").at("task").get_to(event->task);
    answer.at("task").at("state").get_to(event->state);
    if (asked.op != "task_cancel") tasks_.push_back(event->task);
  }
  if (verb != "worker.ls") return;
  sessions_.clear();
  const auto answer = parsed();
  for (const auto& row : answer.at("workers"))
    if (row.at("connected").get<bool>() && !row.at("draining").get<bool>())
      sessions_.push_back(row.at("session").get<std::uint64_t>());
}

// What is slow is cancelled; the rest ends by itself, and is waited for.
void SimOperator::see_tasks_end(const std::string& document) {
  const auto tasks = nlohmann::json::from_msgpack(document);
  tasks_over_ = true;
  for (const auto& task : tasks.at("tasks")) {
    if (task.at("state").get<std::string>() != "running") continue;
    tasks_over_ = false;
    if (task.at("rate").get<std::uint64_t>() > 0)
      insist("task.cancel", {{"task", task.at("task").get<std::int64_t>()}});
  }
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
