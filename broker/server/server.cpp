#include "broker/server/server.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <tuple>
#include <utility>

#include "broker/server/log.hpp"
#include "jobq/version.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/planted.hpp"
#include "libjobq/base/utf8.hpp"

namespace jobq {
namespace {

// The wall clock may jump while the loop sleeps: a timer by the wall clock is looked at again at least this often.
constexpr DurationMs kSleepMax{30'000};
// Acks that nobody waits for are committed with what comes next, if that comes within so long: at a thousand jobs a second
// the next enqueue would otherwise wait for the disk behind the last one's ack.
constexpr DurationMs kAcksWait{1};
// Answering a question takes as long as this many jobs: one peer's thousands must not make a turn of seconds.
constexpr std::uint64_t kJobsPerQuestion = 100;
constexpr const char* kBrokerName = "jobq-broker " JOBQ_VERSION;

std::uint64_t jobs_of(const CommandBody& body) {
  if (const auto* enqueue = std::get_if<protocol::Enqueue>(&body)) return enqueue->jobs.size();
  if (const auto* outcomes = std::get_if<protocol::Outcomes>(&body)) return outcomes->outcomes.size();
  return 1;
}

bool is_ack(const protocol::Outcome& outcome) { return outcome.kind == protocol::OutcomeKind::ack; }

bool same_numbers(const Mark& a, const Mark& b) {
  return a.next_job == b.next_job &&
         (a.next_session == b.next_session || JOBQ_PLANTED(session_number_not_stored)) &&
         a.next_queue == b.next_queue && a.next_type == b.next_type;
}

}  // namespace

Server::Server(const Config& config, const Parts& parts, const Recovered& recovered)
    : config_(config),
      store_(parts.store),
      engine_(parts.engine),
      transport_(parts.transport),
      clock_(parts.clock),
      incarnation_(recovered.incarnation),
      decode_limits_{config.message_bytes},
      written_(recovered.mark),
      rates_(parts.clock->read().engine),
      desk_({&config_, parts.store, parts.engine, parts.transport, parts.clock, &rates_, &admission_, &turns_,
             &greeted_, &events_, recovered.incarnation, parts.clock->read().engine}),
      deliveries_({parts.store, parts.engine, parts.transport, &failures_}, config.engine.large_job_bytes) {
  for (const RecoveredQueue& queue : recovered.queues) rates_.begin(queue.queue, queue.counters);
}

Status Server::start() {
  now_ = clock_->read();
  check_admission();
  engine_->start(now_, &out_);
  if (Status committed = commit(); !committed.ok()) return committed;
  return do_reads();
}

// THE LOOP. Everything that a turn hears of is durable before anybody is told.
Status Server::turn(DurationMs wait_at_most) {
  begin_turn();
  transport_->wait(time_to_wait(wait_at_most));
  now_ = clock_->read();  // the turn's only time
  gather();
  if (can_wait_for_more()) {
    transport_->wait_on(std::min(kAcksWait, time_to_wait(kAcksWait)));
    now_ = clock_->read();
    gather();
  }
  check_admission();
  if (Status applied = apply_all(); !applied.ok()) return applied;
  large_held_ = deliveries_.waiting();  // what was handed out before is on its way to the transport still
  engine_->hold_large_jobs(large_held_);
  engine_->tick(now_, &out_);
  if (JOBQ_PLANTED(reply_before_commit) && send_all().ok()) {
    out_.messages.clear();
    answers_.clear();
  }
  if (Status committed = commit(); !committed.ok()) return committed;
  if (Status sent = send_all(); !sent.ok()) return sent;
  answer_questions();
  return do_reads();
}

void Server::begin_turn() {
  ++turns_;
  out_.clear();
  incoming_.clear();
  kept_now_.clear();
  answers_.clear();
  questions_.clear();
  held_back_.clear();
  jobs_gathered_ = bytes_gathered_ = 0;
}

DurationMs Server::time_to_wait(DurationMs at_most) {
  if (!done_reads_.empty() || !kept_.empty() || !failures_.empty() || deliveries_.waiting() || large_held_)
    return {0};
  const Now reading = clock_->read();
  const std::optional<TimeMs> deadline = engine_->next_deadline(reading);
  if (!deadline) return at_most;
  const DurationMs left = std::max(DurationMs{0}, *deadline - reading.engine);
  return std::min({left, kSleepMax, at_most});
}

void Server::gather() {
  TransportEvent event;
  while (jobs_gathered_ < config_.jobs_per_turn && bytes_gathered_ < config_.bytes_per_turn &&
         transport_->next(&event)) {
    if (event.kind == TransportEventKind::lost) {
      lost(event.peer);
    } else if (event.kind == TransportEventKind::refused) {
      refuse(event.peer, 0, {Code::bad_message, "a message is one frame; this one had more"});
    } else {
      bytes_gathered_ += event.bytes.size();
      ++jobs_gathered_;
      const std::size_t questions = questions_.size();
      if (auto command = understand(event.peer, event.bytes)) {
        jobs_gathered_ += jobs_of(command->body) - 1;
        incoming_.push_back({std::move(*command), event.bytes});
      }
      if (questions_.size() > questions) jobs_gathered_ += kJobsPerQuestion - 1;
    }
  }
}

// Whether nothing but acks has come, and none of them makes room for a job that waits.
bool Server::can_wait_for_more() const {
  const bool others = !answers_.empty() || !questions_.empty() || !done_reads_.empty() || !kept_.empty() ||
                      !failures_.empty() || incoming_.empty() || deliveries_.waiting() || large_held_;
  return !others && !engine_->has_ready_jobs() &&
         std::all_of(incoming_.begin(), incoming_.end(), [](const Incoming& incoming) {
           const auto* outcomes = std::get_if<protocol::Outcomes>(&incoming.command.body);
           return outcomes != nullptr &&
                  std::all_of(outcomes->outcomes.begin(), outcomes->outcomes.end(), is_ack);
         });
}

void Server::lost(PeerId peer) {
  greeted_.erase(peer.value);
  incoming_.push_back({Command{peer, 0, command::PeerLost{}}, {}});
}

std::optional<Command> Server::understand(PeerId peer, std::string_view frame) {
  std::uint64_t request_id = 0;
  Result<protocol::RequestMessage> request = protocol::decode_request(frame, decode_limits_, &request_id);
  if (!request.ok()) {
    refuse(peer, request_id, request.status());
    return std::nullopt;
  }
  if (const auto* hello = std::get_if<protocol::Hello>(&request->body)) {
    greet(peer, request_id, *hello);
    return std::nullopt;
  }
  if (!greeted_.contains(peer.value)) {
    refuse(peer, request_id, {Code::not_greeted, "the first message of a connection is hello"});
    return std::nullopt;
  }
  if (const auto right = right_for(request->body); right && !principal_.may(*right)) {
    refuse(peer, request_id,
           {Code::forbidden,
            fmt::format("{} may not do this: it needs the right to {}", principal_.name, to_string(*right))});
    return std::nullopt;
  }
  Command command{peer, request_id, {}};
  if (auto* admin = std::get_if<protocol::Admin>(&request->body)) {
    Result<std::optional<CommandBody>> wanted = desk_.command_for(*admin);
    if (!wanted.ok()) {
      refuse(peer, request_id, wanted.status());
      return std::nullopt;
    }
    if (!wanted->has_value()) {
      questions_.push_back({peer, request_id, std::move(*admin)});
      return std::nullopt;
    }
    command.body = std::move(**wanted);
    return command;
  }
  std::visit(
      [&command](auto& body) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(body)>, protocol::Admin>)
          command.body = std::move(body);
      },
      request->body);
  return command;
}

void Server::greet(PeerId peer, std::uint64_t request_id, const protocol::Hello& hello) {
  if (hello.version_min > protocol::kWireVersion || hello.version_max < protocol::kWireVersion) {
    refuse(peer, request_id,
           {Code::unsupported_version,
            fmt::format("this broker speaks wire version {}, the client {} to {}; upgrade the older one",
                        protocol::kWireVersion, hello.version_min, hello.version_max)});
    return;
  }
  greeted_[peer.value] = hello.features;
  protocol::Welcome welcome;
  welcome.features = hello.features & protocol::kFeatures;
  welcome.incarnation = incarnation_;
  welcome.broker = kBrokerName;
  welcome.body_bytes_max = config_.engine.body_bytes_max;
  welcome.message_bytes_max = static_cast<std::uint32_t>(config_.message_bytes);
  welcome.jobs_per_message_max = limits::kJobsPerMessageMax;
  welcome.heartbeat_ms = static_cast<std::uint32_t>(config_.engine.heartbeat_ms);
  answers_.push_back({peer, request_id, welcome});
}

void Server::refuse(PeerId peer, std::uint64_t request_id, const Status& status) {
  answers_.push_back({peer, request_id, protocol::Error{status.code(), status.text(), 0}});
}

// The order matters: pages of the store are as of the last commit, so they go first; a kept command was asked before
// anything that came since.
Status Server::apply_all() {
  for (Command& read : std::exchange(done_reads_, {})) {
    if (Status applied = apply(std::move(read), {}); !applied.ok()) return applied;
  }
  kept_now_ = std::exchange(kept_, {});
  for (Kept& kept : kept_now_) {
    std::optional<Command> command = std::move(kept.command);
    if (!kept.frame.empty()) command = understand(command->peer, kept.frame);
    if (!command) continue;
    if (Status applied = apply(std::move(*command), kept.frame); !applied.ok()) return applied;
  }
  for (Command& failure : std::exchange(failures_, {})) {
    if (Status applied = apply(std::move(failure), {}); !applied.ok()) return applied;
  }
  for (Incoming& incoming : incoming_) {
    if (Status applied = apply(std::move(incoming.command), incoming.frame); !applied.ok()) return applied;
  }
  return {};
}

Status Server::apply(Command command, std::string_view frame) {
  if (held_back_.contains(command.peer.value)) {
    keep(std::move(command), frame);
    return {};
  }
  Facts facts;
  if (Status known = look_up(command, &facts); !known.ok()) {
    if (known.code() != Code::corruption) return known;
    log::error("{}", known.text());
    refuse(command.peer, command.request_id, known);
    return {};
  }
  if (!engine_->apply(command, facts, now_, &out_)) keep(std::move(command), frame);
  return {};
}

void Server::keep(Command command, std::string_view frame) {
  if (command.peer.value != 0) held_back_.insert(command.peer.value);
  kept_.push_back({std::move(command), std::string(frame)});
}

Status Server::look_up(const Command& command, Facts* facts) {
  Lookups lookups;
  engine_->lookups(command, &lookups);
  for (const JobId job : lookups.jobs) {
    Result<JobFact> fact = store_->read_job(job);
    if (!fact.ok()) return fact.status();
    facts->jobs.push_back(*fact);
  }
  for (const UniqueLookup& lookup : lookups.keys) {
    if (lookup.queue_no == 0) {
      facts->keys.emplace_back();  // a queue that does not exist yet holds no keys
      continue;
    }
    Result<UniqueFact> fact = store_->read_unique(lookup.queue_no, lookup.key);
    if (!fact.ok()) return fact.status();
    facts->keys.push_back(*fact);
  }
  return {};
}

Status Server::commit() {
  const Mark mark = engine_->mark(now_);
  if (out_.changes.empty() && same_numbers(mark, written_)) return {};
  const std::size_t apart = JOBQ_PLANTED(commit_in_two_steps) ? out_.changes.size() / 2 : 0;
  if (apart > 0) std::ignore = store_->submit(std::span{out_.changes}.first(apart), mark);
  if (const Result<BatchNo> submitted = store_->submit(std::span{out_.changes}.subspan(apart), mark);
      !submitted.ok())
    return submitted.status();
  if (const Result<BatchNo> durable = store_->completed(true);
      !durable.ok() && !JOBQ_PLANTED(failed_commit_ignored))
    return durable.status();
  written_ = mark;
  watch_changes();
  return {};
}

Status Server::send_all() {
  for (Message& message : out_.messages) {
    if (auto* plan = std::get_if<DeliverPlan>(&message.body)) {
      if (Status sent = deliveries_.hand_over(message.to, std::move(*plan)); !sent.ok()) return sent;
    } else if (const auto* answer = std::get_if<AdminAnswer>(&message.body)) {
      send(message.to, message.request_id, protocol::AdminReply{desk_.document(*answer, now_)});
    } else {
      std::visit(
          [&](auto& body) {
            if constexpr (std::is_constructible_v<protocol::Reply, decltype(std::move(body))>) {
              send(message.to, message.request_id, std::move(body));
            }
          },
          message.body);
    }
  }
  for (Answer& answer : answers_) send(answer.peer, answer.request_id, std::move(answer.reply));
  return deliveries_.go_on(std::max(config_.large_jobs_share, bytes_gathered_), now_);
}

void Server::send(PeerId to, std::uint64_t request_id, protocol::Reply reply) {
  // Errors quote what they refuse.
  if (auto* error = std::get_if<protocol::Error>(&reply)) error->text = valid_utf8(error->text);
  encoded_.clear();
  protocol::encode(protocol::ReplyMessage{request_id, std::move(reply)}, &encoded_);
  if (deliveries_.append(to, encoded_) || transport_->send(to, encoded_)) return;
  if (greeted_.erase(to.value) > 0) failures_.push_back({to, 0, command::PeerLost{}});
}

// After the commit, so that a question sees what the same peer did before.
void Server::answer_questions() {
  for (const Question& question : questions_) {
    Result<std::string> document = desk_.answer(question.admin, now_);
    if (document.ok()) {
      send(question.peer, question.request_id, protocol::AdminReply{*std::move(document)});
    } else {
      const Status& status = document.status();
      send(question.peer, question.request_id, protocol::Error{status.code(), status.text(), 0});
    }
  }
}

Status Server::do_reads() {
  for (const Read& wanted : out_.reads) {
    if (Status done = do_read(wanted); !done.ok()) return done;
  }
  return {};
}

Status Server::do_read(const Read& wanted) {
  if (const auto* lane = std::get_if<ReadLane>(&wanted)) {
    Result<LanePage> page = store_->read_lane(lane->lane, lane->after, lane->limit);
    if (!page.ok()) return page.status();
    done_reads_.push_back({{}, 0, command::LaneRead{lane->lane, lane->task, *std::move(page)}});
  } else if (const auto* timers = std::get_if<ReadTimers>(&wanted)) {
    Result<TimerPage> page = store_->read_timers(timers->clock, timers->after, timers->limit);
    if (!page.ok()) return page.status();
    done_reads_.push_back({{}, 0, command::TimersRead{timers->clock, timers->task, *std::move(page)}});
  } else if (const auto* dead = std::get_if<ReadDead>(&wanted)) {
    Result<DeadPage> page = store_->read_dead(dead->queue, dead->after, dead->limit);
    if (!page.ok()) return page.status();
    done_reads_.push_back({{}, 0, command::DeadRead{dead->queue, dead->task, *std::move(page)}});
  } else {
    const JobId job = std::get<ReadJob>(wanted).job;
    Result<JobFact> fact = store_->read_job(job);
    if (!fact.ok()) return fact.status();
    done_reads_.push_back({{}, 0, command::JobRead{job, *fact}});
  }
  return {};
}

}  // namespace jobq
