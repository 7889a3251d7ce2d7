#include "tests/sim/broker_life.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "broker/exit_codes.hpp"
#include "broker/store/check_store.hpp"
#include "broker/store/lmdb_options.hpp"
#include "libjobq/base/hash.hpp"

namespace jobq::sim {
namespace {

struct RunIsOver {};
constexpr DurationMs kForever{60'000};

LmdbOptions lmdb_options(const std::string& directory) {
  LmdbOptions options;
  options.path = directory;
  options.map_bytes = std::uint64_t{256} << 20;
  options.preallocate = false;
  options.cached_blocks_max = 8;  // so that blocks are put out and read again all the time
  return options;
}

}  // namespace

BrokerLives::BrokerLives(Parts parts)
    : parts_(std::move(parts)), prng_(stream(parts_.seed, 2)), memory_(parts_.seed + 1) {}

BrokerLives::~BrokerLives() = default;

void BrokerLives::step() {
  parts_.timeline->step();
  if (std::exchange(killed_, false)) throw BrokerKilled{};
  if (parts_.over()) throw RunIsOver{};
}

void BrokerLives::pass(DurationMs span) {
  const TimeMs until = parts_.timeline->now() + span;
  while (parts_.timeline->has_until(until)) step();
  parts_.timeline->go_to(until);
}

void BrokerLives::stall(DurationMs span) {
  faults::Event event = happened("stalled", faults::EventType::info);
  event.within_ms = span.ms;
  parts_.chronicle->write("broker", std::move(event));
  if (transport_ != nullptr) transport_->stall(parts_.timeline->now() + span);
}

void BrokerLives::open_store() {
  if (parts_.mix->store == StoreKind::memory) {
    memory_.restart();
    if (parts_.forgetful_store) memory_when_opened_ = memory_;
    return;
  }
  auto opened = open_lmdb_store(lmdb_options(parts_.directory));
  JOBQ_CHECK(opened.ok(), "{}", opened.status().text());
  lmdb_ = *std::move(opened);
}

void BrokerLives::close_store() { lmdb_ = nullptr; }

void BrokerLives::say_exit(int code) {
  ++exits_;
  faults::Event event = happened("exit", faults::EventType::ok);
  event.code = code;
  parts_.chronicle->write("broker", std::move(event));
}

void BrokerLives::run() {
  try {
    for (;;) {
      try {
        say_exit(live());
      } catch (const BrokerKilled&) {
        parts_.chronicle->write("broker", happened("crash", faults::EventType::info));
        if (parts_.forgetful_store) memory_ = memory_when_opened_;
      }
      transport_ = nullptr;
      parts_.network->broker_down();
      close_store();
      killed_ = stopped_ = false;
      const std::int64_t down_ms =
          parts_.script->healed ? 100
                                : prng_.between(1, std::max<std::int64_t>(1, parts_.mix->broker_down_max_ms));
      for (const TimeMs until = parts_.timeline->now() + DurationMs{down_ms};;) {
        if (!parts_.timeline->has_until(until)) {
          parts_.timeline->go_to(until);
          break;
        }
        try {
          step();
        } catch (const BrokerKilled&) {
          continue;  // it is dead already
        }
      }
    }
  } catch (const RunIsOver&) {
    transport_ = nullptr;
    close_store();
  }
}

// One process, from its start to its exit code.
int BrokerLives::live() {
  ++lives_;
  open_store();
  WatchedStore store{{lmdb_ ? lmdb_.get() : &memory_, parts_.ledger, parts_.mix, parts_.faults, &prng_,
                      parts_.seed, [this](DurationMs span) { pass(span); }}};
  Result<Recovered> recovered = store.recover();
  JOBQ_CHECK(recovered.ok(), "{}", recovered.status().text());
  ServerClock clock{
      recovered->mark.now,
      {[this] { return kWallAtBegin + parts_.timeline->now().ms + parts_.script->wall_offset_ms; },
       [this] { return parts_.timeline->now().ms; }}};
  Engine engine{parts_.mix->broker.engine, *recovered, prng_.next()};
  BrokerTransport transport{{parts_.network, parts_.timeline, parts_.chronicle, parts_.mix, parts_.faults,
                             &prng_, [this] { step(); }}};
  transport_ = &transport;
  Server server{parts_.mix->broker, {&store, &engine, &transport, &clock}, *recovered};
  if (const Status started = server.start(); !started.ok()) return exit_code::kSyncFailed;
  parts_.network->broker_up();
  parts_.chronicle->write("broker", happened("start", faults::EventType::ok));
  const int code = serve(&server, &engine);
  idle_turns_max_ = std::max(idle_turns_max_, transport.idle_turns_max());
  return code;
}

int BrokerLives::serve(Server* server, Engine* engine) {
  for (;;) {
    if (std::exchange(stopped_, false)) {
      server->say_goodbye();
      pass(DurationMs{prng_.between(0, 20)});  // what was sent leaves
      return exit_code::kOk;
    }
    if (!server->turn(kForever).ok()) return exit_code::kSyncFailed;
    ++turns_;
    if (parts_.invariants_every > 0 && turns_ % parts_.invariants_every == 0) engine->check_invariants();
  }
}

faults::Dump BrokerLives::dump(std::vector<faults::Violation>* problems) {
  open_store();
  Store* store = lmdb_ ? lmdb_.get() : &memory_;
  const Result<Recovered> recovered = store->recover();
  JOBQ_CHECK(recovered.ok(), "{}", recovered.status().text());
  std::map<QueueNo, std::string> names;
  for (const RecoveredQueue& queue : recovered->queues) names[queue.queue] = queue.name;
  faults::Dump dump;
  for (JobId id{1}; id < recovered->mark.next_job; ++id.value) {
    const Result<JobFact> fact = store->read_job(id);
    JOBQ_CHECK(fact.ok(), "{}", fact.status().text());
    if (!fact->known) continue;
    faults::DumpedJob job;
    job.id = to_text(id);
    job.queue = names[fact->meta.lane.queue];
    job.state = to_string(fact->state);
    job.prio = fact->meta.lane.priority;
    job.failures = fact->meta.progress.failures;
    const auto attempts = store->read_attempts(id);
    if (attempts.ok()) job.attempts = static_cast<std::int64_t>(attempts->size());
    const JobId ids[] = {id};
    const Status visited = store->visit_jobs(ids, [&](std::size_t, const StoredJob* stored) {
      if (stored == nullptr) return;
      job.hash = fmt::format("{:016x}", hash64(stored->body.text()));
      job.key = stored->unique_key;
    });
    JOBQ_CHECK(visited.ok(), "{}", visited.text());
    dump.emplace(job.id, std::move(job));
  }
  for (const auto& [queue, name] : names) {
    JobId after{};
    for (bool end = false; !end;) {
      const Result<DeadPage> page = store->read_dead(queue, after, 100);
      JOBQ_CHECK(page.ok(), "{}", page.status().text());
      for (const DeadJob& dead : page->jobs) {
        dump[to_text(dead.meta.id)].reason = to_string(dead.reason);
        after = dead.meta.id;
      }
      end = page->end;
    }
  }
  close_store();
  if (parts_.mix->store != StoreKind::lmdb) return dump;
  CheckCounts counts;
  const auto note = [&](std::string_view line) { problems->push_back({"I12", "", std::string(line)}); };
  if (const Status checked = check_store({.path = parts_.directory}, note, &counts); !checked.ok())
    problems->push_back({"I12", "", checked.text()});
  return dump;
}

}  // namespace jobq::sim
