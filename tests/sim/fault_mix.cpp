#include "tests/sim/fault_mix.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <variant>

#include "libjobq/base/hash.hpp"

namespace jobq::sim {
namespace {

struct Field {
  std::string_view name;
  std::string_view fault;  // of which kind of fault it is the rate; empty: of none
  std::variant<std::uint32_t FaultMix::*, std::int64_t FaultMix::*, std::uint64_t FaultMix::*> member;
};

const std::vector<Field>& fields() {
  static const std::vector<Field> table{
      {"producers", "", &FaultMix::producers},
      {"workers", "", &FaultMix::workers},
      {"operators", "", &FaultMix::operators},
      {"queues", "", &FaultMix::queues},
      {"operations", "", &FaultMix::operations},
      {"think_ms", "", &FaultMix::think_ms},
      {"run_ms", "", &FaultMix::run_ms},
      {"run_max_ms", "", &FaultMix::run_max_ms},
      {"credit", "", &FaultMix::credit},
      {"packed", "", &FaultMix::packed},
      {"deadline_ms", "", &FaultMix::deadline_ms},
      {"priorities", "", &FaultMix::priorities},
      {"types", "", &FaultMix::types},
      {"keys", "", &FaultMix::keys},
      {"delayed", "", &FaultMix::delayed},
      {"dated", "", &FaultMix::dated},
      {"expiring", "", &FaultMix::expiring},
      {"grouped", "", &FaultMix::grouped},
      {"with_run_limit", "", &FaultMix::with_run_limit},
      {"large", "", &FaultMix::large},
      {"nacks", "nacks", &FaultMix::nacks},
      {"rejects", "rejects", &FaultMix::rejects},
      {"releases", "releases", &FaultMix::releases},
      {"snoozes", "snoozes", &FaultMix::snoozes},
      {"pauses", "pauses", &FaultMix::pauses},
      {"cancels", "cancels", &FaultMix::cancels},
      {"redrives", "redrives", &FaultMix::redrives},
      {"purges", "purges", &FaultMix::purges},
      {"settings", "settings", &FaultMix::settings},
      {"retries", "retries", &FaultMix::retries},
      {"put_offs", "put_offs", &FaultMix::put_offs},
      {"removals", "removals", &FaultMix::removals},
      {"drains", "drains", &FaultMix::drains},
      {"task_cancels", "task_cancels", &FaultMix::task_cancels},
      {"looks", "", &FaultMix::looks},
      {"delay_ms", "", &FaultMix::delay_ms},
      {"stall_ms", "stalls", &FaultMix::stall_ms},
      {"reads_max", "", &FaultMix::reads_max},
      {"cut_every_ms", "cuts", &FaultMix::cut_every_ms},
      {"dark_every_ms", "dark", &FaultMix::dark_every_ms},
      {"outage_every_ms", "outages", &FaultMix::outage_every_ms},
      {"freeze_every_ms", "freezes", &FaultMix::freeze_every_ms},
      {"freeze_max_ms", "", &FaultMix::freeze_max_ms},
      {"die_every_ms", "deaths", &FaultMix::die_every_ms},
      {"leave_every_ms", "leaves", &FaultMix::leave_every_ms},
      {"broker_crash_every_ms", "broker_crashes", &FaultMix::broker_crash_every_ms},
      {"broker_stop_every_ms", "broker_stops", &FaultMix::broker_stop_every_ms},
      {"broker_down_max_ms", "", &FaultMix::broker_down_max_ms},
      {"broker_stall_every_ms", "broker_stalls", &FaultMix::broker_stall_every_ms},
      {"crash_at_commit", "crash_at_commit", &FaultMix::crash_at_commit},
      {"crash_at_send", "crash_at_send", &FaultMix::crash_at_send},
      {"commit_ms", "slow_commits", &FaultMix::commit_ms},
      {"failed_commits", "failed_commits", &FaultMix::failed_commits},
      {"disk_full_every_ms", "disk_full", &FaultMix::disk_full_every_ms},
      {"clock_jump_every_ms", "clock_jumps", &FaultMix::clock_jump_every_ms},
  };
  return table;
}

std::int64_t value_of(const FaultMix& mix, const Field& field) {
  return std::visit([&](auto member) { return static_cast<std::int64_t>(mix.*member); }, field.member);
}

// One of a few values, so that extremes come as often as the middle.
template <typename T>
T one_of(Prng* prng, std::initializer_list<T> values) {
  return values.begin()[prng->below(values.size())];
}

bool chance(Prng* prng, std::uint64_t per_cent) { return prng->below(100) < per_cent; }

void draw_jobs(Prng* prng, FaultMix* mix) {
  mix->priorities = one_of<std::uint32_t>(prng, {1, 1, 3, 10});
  mix->types = one_of<std::uint32_t>(prng, {0, 0, 0, 2, 4});
  mix->keys = one_of<std::uint32_t>(prng, {0, 0, 5, 50, 500});
  mix->delayed = one_of<std::uint32_t>(prng, {0, 0, 50, 300});
  mix->dated = one_of<std::uint32_t>(prng, {0, 0, 0, 100});
  mix->expiring = one_of<std::uint32_t>(prng, {0, 0, 50, 300});
  mix->grouped = one_of<std::uint32_t>(prng, {0, 50, 200});
  mix->with_run_limit = one_of<std::uint32_t>(prng, {0, 0, 0, 100});
  mix->large = one_of<std::uint32_t>(prng, {0, 0, 20});
  mix->nacks = one_of<std::uint32_t>(prng, {0, 30, 100, 500});
  mix->rejects = one_of<std::uint32_t>(prng, {0, 0, 10, 50});
  mix->releases = one_of<std::uint32_t>(prng, {0, 0, 20, 100});
  mix->snoozes = one_of<std::uint32_t>(prng, {0, 0, 20, 100});
}

void draw_operators(Prng* prng, FaultMix* mix) {
  mix->pauses = one_of<std::uint32_t>(prng, {0, 0, 2});
  mix->cancels = one_of<std::uint32_t>(prng, {0, 5, 30});
  mix->redrives = one_of<std::uint32_t>(prng, {0, 2, 5});
  mix->purges = one_of<std::uint32_t>(prng, {0, 0, 0, 1});
  mix->settings = one_of<std::uint32_t>(prng, {0, 0, 2});
}

// From a stream of their own: they came later.
void draw_more_of_operators(Prng* prng, FaultMix* mix) {
  mix->retries = one_of<std::uint32_t>(prng, {0, 0, 5, 30});
  mix->put_offs = one_of<std::uint32_t>(prng, {0, 0, 5, 30});
  mix->removals = one_of<std::uint32_t>(prng, {0, 0, 5});
  mix->drains = one_of<std::uint32_t>(prng, {0, 0, 2, 10});
  mix->task_cancels = one_of<std::uint32_t>(prng, {0, 0, 5});
}

// Likewise. Some brokers take every job for a large one, and have to hand it over in pieces of a few bytes.
void draw_deliveries(Prng* prng, FaultMix* mix) {
  if (!chance(prng, 40)) return;
  mix->broker.engine.large_job_bytes = one_of<std::uint32_t>(prng, {16, 60, 2'000});
  mix->broker.large_jobs_share = one_of<std::uint64_t>(prng, {10, 40, 5'000});
}

void draw_faults(Prng* prng, FaultMix* mix) {
  const auto rate = [&](std::int64_t often, std::int64_t seldom) -> std::int64_t {
    return chance(prng, 45) ? 0 : prng->between(often, seldom);
  };
  mix->stall_ms = one_of<std::int64_t>(prng, {0, 0, 200, 2'000});
  mix->reads_max = one_of<std::uint64_t>(prng, {5'000, 5'000, 50, 3});
  mix->cut_every_ms = rate(300, 20'000);
  mix->dark_every_ms = rate(2'000, 60'000);
  mix->outage_every_ms = rate(20'000, 120'000);
  mix->freeze_every_ms = rate(1'000, 30'000);
  mix->freeze_max_ms = one_of<std::int64_t>(prng, {500, 5'000, 60'000});
  mix->die_every_ms = rate(500, 30'000);
  mix->leave_every_ms = rate(2'000, 60'000);
  mix->broker_crash_every_ms = rate(2'000, 60'000);
  mix->broker_stop_every_ms = rate(10'000, 100'000);
  mix->broker_down_max_ms = one_of<std::int64_t>(prng, {50, 1'000, 20'000});
  mix->broker_stall_every_ms = rate(20'000, 100'000);
  mix->crash_at_commit = one_of<std::uint32_t>(prng, {0, 0, 200, 2'000});
  mix->crash_at_send = one_of<std::uint32_t>(prng, {0, 0, 100, 1'000});
  mix->commit_ms = one_of<std::int64_t>(prng, {0, 0, 3, 50});
  mix->failed_commits = one_of<std::uint32_t>(prng, {0, 0, 0, 300});
  mix->disk_full_every_ms = chance(prng, 75) ? 0 : prng->between(5'000, 60'000);
  mix->clock_jump_every_ms = chance(prng, 70) ? 0 : prng->between(5'000, 60'000);
}

// Small windows and caps: what happens once a day in a real broker happens all the time here.
void draw_broker(Prng* prng, FaultMix* mix) {
  EngineLimits& engine = mix->broker.engine;
  if (chance(prng, 60)) {
    engine.lane_window = one_of<std::uint32_t>(prng, {4, 16, 4'096});
    engine.timer_window = one_of<std::uint32_t>(prng, {4, 16, 8'192});
    engine.window_jobs_max = one_of<std::uint32_t>(prng, {8, 100, 500'000});
    engine.due_per_tick_max = one_of<std::uint32_t>(prng, {1, 10, 5'000});
    engine.dispatch_per_tick_max = one_of<std::uint32_t>(prng, {1, 10, 5'000});
    engine.finished_kept = one_of<std::uint32_t>(prng, {0, 5, 1'000});
    mix->broker.jobs_per_turn = one_of<std::uint64_t>(prng, {1, 10, 5'000});
  }
  engine.heartbeat_ms = one_of<std::int64_t>(prng, {500, 1'000, 5'000});
  engine.stop_grace_ms = one_of<std::int64_t>(prng, {100, 5'000});
  QueueSettings& queue = engine.defaults;
  queue.max_attempts = one_of<std::uint32_t>(prng, {1, 3, 5, 25});
  queue.backoff_min_ms = one_of<std::int64_t>(prng, {10, 1'000});
  queue.backoff_max_ms = one_of<std::int64_t>(prng, {1'000, 20'000});
  queue.lease_ms = one_of<std::int64_t>(prng, {1'000, 5'000, 30'000});
  queue.session_grace_ms = one_of<std::int64_t>(prng, {200, 2'000, 10'000});
  queue.crash_limit = one_of<std::uint32_t>(prng, {1, 3, 3, 100});
  queue.max_jobs = one_of<std::uint64_t>(prng, {0, 0, 0, 20, 200});
  queue.history_count = one_of<std::uint32_t>(prng, {0, 0, 10});
  mix->broker.store_min_free_bytes = std::uint64_t{1} << 20;
  mix->broker.log_level = "error";
}

}  // namespace

Prng stream(std::uint64_t seed, std::uint64_t member) {
  Prng mixed{seed * 0x9E3779B97F4A7C15ULL + member};
  return Prng{mixed.next() ^ mixed.next()};
}

FaultMix draw_mix(std::uint64_t seed, std::uint64_t operations) {
  Prng prng = stream(seed, 0);
  FaultMix mix;
  mix.operations = operations;
  mix.producers = static_cast<std::uint32_t>(prng.between(1, 4));
  mix.workers = static_cast<std::uint32_t>(prng.between(1, 6));
  mix.queues = one_of<std::uint32_t>(&prng, {1, 1, 2, 4});
  mix.store = chance(&prng, 15) ? StoreKind::lmdb : StoreKind::memory;
  mix.think_ms = one_of<std::int64_t>(&prng, {5, 50, 300});
  mix.run_ms = one_of<std::int64_t>(&prng, {2, 30, 200});
  mix.run_max_ms = one_of<std::int64_t>(&prng, {500, 3'000, 40'000});
  mix.credit = one_of<std::uint32_t>(&prng, {1, 4, 20});
  mix.extend_leases = chance(&prng, 80);
  mix.packed = one_of<std::uint32_t>(&prng, {1, 4, 40});
  mix.deadline_ms = one_of<std::int64_t>(&prng, {2'000, 30'000, 120'000});
  mix.delay_ms = one_of<std::int64_t>(&prng, {0, 2, 30});
  draw_jobs(&prng, &mix);
  draw_operators(&prng, &mix);
  draw_broker(&prng, &mix);
  Prng more = stream(seed, 5);
  draw_more_of_operators(&more, &mix);
  Prng deliveries = stream(seed, 6);
  draw_deliveries(&deliveries, &mix);
  Prng faults = stream(seed, 1);
  if (!chance(&faults, 25)) draw_faults(&faults, &mix);
  return mix;
}

bool FaultMix::has_faults() const {
  return std::any_of(fields().begin(), fields().end(), [this](const Field& field) {
    return field.name.ends_with("_every_ms") && value_of(*this, field) != 0;
  });
}

const std::vector<std::string_view>& fault_names() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> found;
    for (const Field& field : fields())
      if (!field.fault.empty()) found.push_back(field.fault);
    return found;
  }();
  return names;
}

bool switch_off(std::string_view fault, FaultMix* mix) {
  const auto found = std::find_if(fields().begin(), fields().end(),
                                  [&](const Field& field) { return !fault.empty() && field.fault == fault; });
  if (found == fields().end()) return false;
  std::visit([&](auto member) { mix->*member = {}; }, found->member);
  return true;
}

std::string describe(const FaultMix& mix) {
  const FaultMix plain;
  std::string text = fmt::format("store {}", mix.store == StoreKind::lmdb ? "lmdb" : "memory");
  std::size_t line = text.size();
  const auto add = [&](const std::string& word) {
    const bool breaks = line + word.size() > 100;
    text += (breaks ? "\n  " : ", ") + word;
    line = breaks ? word.size() : line + word.size() + 2;
  };
  for (const Field& field : fields())
    if (value_of(mix, field) != value_of(plain, field))
      add(fmt::format("{} {}", field.name, value_of(mix, field)));
  if (!mix.extend_leases) add("leases not extended");
  const EngineLimits& engine = mix.broker.engine;
  add(fmt::format("windows {}/{}/{}", engine.lane_window, engine.timer_window, engine.window_jobs_max));
  add(fmt::format("per turn {}/{}/{}", mix.broker.jobs_per_turn, engine.due_per_tick_max,
                  engine.dispatch_per_tick_max));
  add(fmt::format("jobs of {} bytes are large, {} a turn", engine.large_job_bytes,
                  mix.broker.large_jobs_share));
  const QueueSettings& queue = engine.defaults;
  add(fmt::format("lease_ms {}", queue.lease_ms));
  add(fmt::format("session_grace_ms {}", queue.session_grace_ms));
  add(fmt::format("heartbeat_ms {}", engine.heartbeat_ms));
  add(fmt::format("backoff_ms {}..{}", queue.backoff_min_ms, queue.backoff_max_ms));
  add(fmt::format("max_attempts {}", queue.max_attempts));
  add(fmt::format("crash_limit {}", queue.crash_limit));
  add(fmt::format("max_jobs {}", queue.max_jobs));
  return text;
}

}  // namespace jobq::sim
