#include "tests/engine/world.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>

#include "libjobq/base/check.hpp"

namespace jobq::testing {
namespace {

constexpr TimeMs kBirth{1'700'000'000'000};

std::string lease_text(const protocol::LeaseRef& ref) {
  return fmt::format("{}/{}", to_text(ref.job), ref.lease_no);
}

const char* claim_text(protocol::ClaimResult result) {
  switch (result) {
    case protocol::ClaimResult::owned:
      return "owned";
    case protocol::ClaimResult::settled:
      return "settled";
    case protocol::ClaimResult::stale:
      return "stale";
    case protocol::ClaimResult::gone:
      return "gone";
  }
  return "?";
}

std::string claims_text(const std::vector<protocol::ClaimResult>& claims) {
  std::string text;
  for (const auto claim : claims) text += fmt::format(" {}", claim_text(claim));
  return text;
}

std::string result_text(const protocol::EnqueueResult& result) {
  switch (result.outcome) {
    case protocol::EnqueueOutcome::created:
      return fmt::format("created {} {}", to_text(result.id), to_string(result.state));
    case protocol::EnqueueOutcome::duplicate:
      return fmt::format("duplicate {} {}{}", to_text(result.id), to_string(result.state),
                         result.body_differs ? " body_differs" : "");
    case protocol::EnqueueOutcome::refused: {
      const std::string retry =
          result.retry_after_ms != 0 ? fmt::format(" retry_after {} ms", result.retry_after_ms) : "";
      return fmt::format("refused {}{}", to_string(result.code), retry);
    }
  }
  return "?";
}

struct TextOf {
  Engine& engine;

  std::string operator()(const protocol::Registered& registered) const {
    return fmt::format("registered session {}{}{}{}", registered.session.value,
                       registered.resumed ? " resumed" : "",
                       registered.held.empty() ? "" : "; held:" + claims_text(registered.held),
                       registered.outcomes.empty() ? "" : "; outcomes:" + claims_text(registered.outcomes));
  }
  std::string operator()(const protocol::Enqueued& enqueued) const {
    std::string text;
    for (const auto& result : enqueued.results) text += (text.empty() ? "" : ", ") + result_text(result);
    return text;
  }
  std::string operator()(const protocol::OutcomesReply& reply) const {
    return "outcomes:" + claims_text(reply.results);
  }
  std::string operator()(const protocol::HeartbeatReply& reply) const {
    std::string text = "heartbeat:" + claims_text(reply.extended);
    for (const Code reason : reply.reasons) {
      if (reason == Code::extend_limit) text += " extend_limit";
    }
    return text;
  }
  std::string operator()(const protocol::GoodbyeReply&) const { return "goodbye"; }
  std::string operator()(const protocol::Error& error) const {
    return fmt::format("error {}{}", to_string(error.code), error.text.empty() ? "" : ": " + error.text);
  }
  std::string operator()(const protocol::Bye& bye) const {
    return fmt::format("bye {}", to_string(bye.reason));
  }
  std::string operator()(const protocol::Revoked& revoked) const {
    std::string text = "revoked";
    for (const auto& ref : revoked.leases) text += " " + lease_text(ref);
    return text;
  }
  std::string operator()(const protocol::CancelRequested& cancel) const {
    std::string text = "cancel_requested";
    for (const auto& ref : cancel.leases) text += " " + lease_text(ref);
    return text;
  }
  std::string operator()(const protocol::DrainRequested&) const { return "drain_requested"; }
  std::string operator()(const DeliverPlan& plan) const {
    std::string text = "deliver";
    for (const PlannedDelivery& job : plan.jobs) {
      text += fmt::format(" {}({} attempt {} of {})", lease_text(job.lease), engine.queue_name(job.queue),
                          job.attempt, job.max_attempts);
    }
    return text;
  }
  std::string operator()(const AdminAnswer& answer) const {
    if (const auto* task = std::get_if<TaskReply>(&answer)) {
      const char* state = task->state == TaskState::running ? "running"
                          : task->state == TaskState::done  ? "done"
                                                            : "cancelled";
      return fmt::format("task {} {} {}: scanned {} moved {} expired {}{}", task->task, task->kind, state,
                         task->scanned, task->moved, task->skipped_expired,
                         task->dry_run ? " (dry run)" : "");
    }
    if (const auto* job = std::get_if<JobReply>(&answer)) {
      return fmt::format("{}: was {}, is {}", to_text(job->job), to_string(job->was), to_string(job->state));
    }
    if (const auto* drain = std::get_if<DrainReply>(&answer)) {
      return fmt::format("draining session {}, busy {}{}", drain->session.value, drain->busy,
                         drain->told ? ", told" : "");
    }
    if (const auto* removed = std::get_if<RemoveQueueReply>(&answer)) return "removed " + removed->queue;
    return std::get<SetQueueReply>(answer).created ? "queue created" : "queue set";
  }
};

}  // namespace

World::World() : store_(std::make_unique<MemoryStore>()) {
  now_ = {kBirth, kBirth};
  limits_.heartbeat_ms = 5'000;
  start();
}
World::~World() = default;

void World::start() {
  store_->restart();
  Result<Recovered> recovered = store_->recover();
  REQUIRE_MESSAGE(recovered.ok(), recovered.status().text());
  now_.engine = std::max(now_.engine, recovered->mark.now.engine);
  engine_ = std::make_unique<Engine>(limits_, *recovered, 42);
  Output out;
  engine_->start(now_, &out);
  const auto batch = store_->submit(out.changes, engine_->mark(now_));
  REQUIRE_MESSAGE(batch.ok(), batch.status().text());
  pending_.clear();
  answer(out.reads);
  settle();
}

PeerId World::peer_id(std::string_view name) {
  const auto known = peers_.find(name);
  if (known != peers_.end()) return known->second;
  return peers_.emplace(std::string{name}, PeerId{next_peer_++}).first->second;
}

std::string World::peer_name(PeerId peer) {
  for (const auto& [name, id] : peers_) {
    if (id == peer) return name;
  }
  return fmt::format("peer{}", peer.value);
}

const World::PeerSession* World::session(std::string_view peer) const {
  const auto known = sessions_.find(peer);
  return known == sessions_.end() ? nullptr : &known->second;
}

std::string World::text(const Message& message) {
  return fmt::format("{} <- {}", peer_name(message.to), std::visit(TextOf{*engine_}, message.body));
}

void World::turn(std::vector<Command> commands) {
  ++turns_;
  Output out;
  for (Command& command : commands) {
    Lookups lookups;
    engine_->lookups(command, &lookups);
    Facts facts;
    for (const JobId job : lookups.jobs) {
      auto fact = store_->read_job(job);
      REQUIRE(fact.ok());
      facts.jobs.push_back(*fact);
    }
    for (const UniqueLookup& key : lookups.keys) {
      auto fact = store_->read_unique(key.queue_no, key.key);
      REQUIRE(fact.ok());
      facts.keys.push_back(*fact);
    }
    if (!engine_->apply(command, facts, now_, &out)) pending_.push_back(std::move(command));
  }
  engine_->tick(now_, &out);
  engine_->check_invariants();
  const auto batch = store_->submit(out.changes, engine_->mark(now_));
  REQUIRE_MESSAGE(batch.ok(), batch.status().text());
  for (const Message& message : out.messages) {
    if (const auto* registered = std::get_if<protocol::Registered>(&message.body)) {
      sessions_[peer_name(message.to)] = {registered->session, registered->secret};
    }
    lines_.push_back(text(message));
  }
  answer(out.reads);
}

// Does the reads, in their order, in front of whatever else waits for the next turn.
void World::answer(const std::vector<Read>& reads) {
  std::deque<Command> answers;
  for (const Read& read : reads) {
    if (const auto* lane = std::get_if<ReadLane>(&read)) {
      auto page = store_->read_lane(lane->lane, lane->after, lane->limit);
      REQUIRE(page.ok());
      answers.push_back({{}, 0, command::LaneRead{lane->lane, lane->task, std::move(*page)}});
    } else if (const auto* timers = std::get_if<ReadTimers>(&read)) {
      auto page = store_->read_timers(timers->clock, timers->after, timers->limit);
      REQUIRE(page.ok());
      answers.push_back({{}, 0, command::TimersRead{timers->clock, timers->task, std::move(*page)}});
    } else if (const auto* dead = std::get_if<ReadDead>(&read)) {
      auto page = store_->read_dead(dead->queue, dead->after, dead->limit);
      REQUIRE(page.ok());
      answers.push_back({{}, 0, command::DeadRead{dead->queue, dead->task, std::move(*page)}});
    } else {
      const auto& job = std::get<ReadJob>(read);
      auto fact = store_->read_job(job.job);
      REQUIRE(fact.ok());
      answers.push_back({{}, 0, command::JobRead{job.job, *fact}});
    }
  }
  pending_.insert(pending_.begin(), std::make_move_iterator(answers.begin()),
                  std::make_move_iterator(answers.end()));
}

// Turns until there is nothing to do at this time.
void World::settle() {
  for (int turns = 0;; ++turns) {
    REQUIRE_MESSAGE(turns < 100'000, "the engine does not come to rest");
    const auto deadline = engine_->next_deadline(now_);
    if (pending_.empty() && (!deadline || *deadline > now_.engine)) return;
    std::vector<Command> commands(std::make_move_iterator(pending_.begin()),
                                  std::make_move_iterator(pending_.end()));
    pending_.clear();
    turn(std::move(commands));
  }
}

std::vector<std::string> World::send(std::string_view peer, CommandBody body) {
  return send_together({{std::string{peer}, std::move(body)}});
}

std::vector<std::string> World::send_together(std::vector<std::pair<std::string, CommandBody>> bodies) {
  lines_.clear();
  std::vector<Command> commands(std::make_move_iterator(pending_.begin()),
                                std::make_move_iterator(pending_.end()));
  pending_.clear();
  for (auto& [peer, body] : bodies) commands.push_back({peer_id(peer), next_request_++, std::move(body)});
  turn(std::move(commands));
  settle();
  return lines_;
}

std::vector<std::string> World::advance(DurationMs span) {
  lines_.clear();
  const TimeMs target = now_.engine + span;
  for (int steps = 0; now_.engine < target; ++steps) {
    REQUIRE_MESSAGE(steps < 1'000'000, "time does not pass");
    const auto deadline = engine_->next_deadline(now_);
    TimeMs next = target;
    if (deadline && *deadline < target) next = std::max(*deadline, now_.engine + DurationMs{1});
    const DurationMs passed = next - now_.engine;
    now_.engine = next;
    now_.wall = now_.wall + passed;
    turn({});
    settle();
  }
  return lines_;
}

std::vector<std::string> World::jump_wall(DurationMs by) {
  lines_.clear();
  now_.wall = now_.wall + by;
  turn({});
  settle();
  return lines_;
}

std::vector<std::string> World::restart(DurationMs down) {
  lines_.clear();
  peers_.clear();  // Connections do not survive; who registers again is another peer with the same session.
  now_.engine = now_.engine + down;
  now_.wall = now_.wall + down;
  start();
  return lines_;
}

}  // namespace jobq::testing
