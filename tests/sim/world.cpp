#include "tests/sim/world.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>

#include "broker/server/log.hpp"
#include "tests/sim/broker_life.hpp"
#include "tests/sim/theatre.hpp"
#include "tests/store/temporary_directory.hpp"

namespace jobq::sim {
namespace {

constexpr std::int64_t kLoadAtMostMs = 3'600'000, kDrainWithinMs = 300'000, kLookEveryMs = 200;
constexpr std::uint64_t kIdleTurnsAtMost = 5'000;

// Memory, where there is enough of it: an LMDB store that syncs to a disk would make the disk's speed that of the run.
std::filesystem::path place_of_stores() {
  const std::filesystem::path memory = "/dev/shm";
  std::error_code problem;
  const std::filesystem::space_info space = std::filesystem::space(memory, problem);
  const bool enough =
      !problem && space.available >= std::uintmax_t{1} << 30 && access(memory.c_str(), W_OK | X_OK) == 0;
  return enough ? memory : std::filesystem::temp_directory_path();
}

class World {
 public:
  explicit World(const RunOptions& options)
      : options_(options),
        mix_(options.mix),
        faults_prng_(stream(options.seed, 3)),
        chronicle_(&timeline_),
        network_(&timeline_, &mix_, stream(options.seed, 4)),
        ledger_(&chronicle_),
        stage_{&timeline_, &network_, &chronicle_, &mix_, &script_.healed},
        theatre_(stage_, &script_, &ledger_, options.seed),
        broker_({&timeline_, &network_, &chronicle_, &ledger_, &store_faults_, &script_, &mix_, options.seed,
                 options.invariants_every, options.forgetful_store, directory_.path(),
                 [this] { return over_; }}) {
    script_.operations_left = mix_.operations;
  }

  RunResult run();

 private:
  using Fault = void (World::*)();

  void plan_faults();
  void every(std::int64_t mean_ms, Fault what);
  void look();
  void heal();
  void jump();
  void fill_disk();
  void cut() { network_.cut_one(); }
  void darken() { network_.darken_one(); }
  void outage() {
    faults::Event event = happened("outage", faults::EventType::info);
    event.within_ms = faults_prng_.between(100, 15'000);
    network_.outage(DurationMs{event.within_ms});
    chronicle_.write("run", std::move(event));
  }
  void kill_broker() {
    ++store_faults_.crashes;
    broker_.kill();
  }
  void stop_broker() { broker_.stop(); }
  void stall_broker() { broker_.stall(DurationMs{faults_prng_.between(100, 20'000)}); }
  void finish(RunResult* result);

  const RunOptions options_;
  const FaultMix mix_;
  Prng faults_prng_;
  TemporaryDirectory directory_{place_of_stores()};
  Timeline timeline_;
  Chronicle chronicle_;
  Network network_;
  Ledger ledger_;
  StoreFaults store_faults_;
  Script script_;
  Stage stage_;
  Theatre theatre_;
  BrokerLives broker_;
  std::int64_t wall_offset_max_ms_ = 0;
  TimeMs healed_at_{};
  bool counting_ = false, over_ = false;
};

void World::every(std::int64_t mean_ms, Fault what) {
  if (mean_ms == 0) return;
  timeline_.after(DurationMs{faults_prng_.between(1, 2 * mean_ms)}, [this, mean_ms, what] {
    if (script_.healed) return;
    (this->*what)();
    every(mean_ms, what);
  });
}

void World::jump() {
  const std::int64_t size = faults_prng_.between(1, faults_prng_.below(2) == 0 ? 20'000 : 3'600'000);
  script_.wall_offset_ms += faults_prng_.below(3) == 0 ? -size : size;
  wall_offset_max_ms_ = std::max(wall_offset_max_ms_, script_.wall_offset_ms);
  faults::Event event = happened("clock", faults::EventType::ok);
  event.wall = kWallAtBegin + timeline_.now().ms + script_.wall_offset_ms;
  chronicle_.write("run", std::move(event));
}

void World::fill_disk() {
  store_faults_.disk_full = true;
  timeline_.after(DurationMs{faults_prng_.between(100, 10'000)}, [this] { store_faults_.disk_full = false; });
}

void World::plan_faults() {
  theatre_.plan_faults();
  every(mix_.cut_every_ms, &World::cut);
  every(mix_.dark_every_ms, &World::darken);
  every(mix_.outage_every_ms, &World::outage);
  every(mix_.broker_crash_every_ms, &World::kill_broker);
  every(mix_.broker_stop_every_ms, &World::stop_broker);
  every(mix_.broker_stall_every_ms, &World::stall_broker);
  every(mix_.disk_full_every_ms, &World::fill_disk);
  every(mix_.clock_jump_every_ms, &World::jump);
}

// Twice in a second: is it time to heal, is all done?
void World::look() {
  const TimeMs now = timeline_.now();
  if (!script_.healed) {
    const bool asked_all = script_.operations_left == 0;
    if (asked_all || now.ms > kBegin.ms + kLoadAtMostMs) heal();
  } else if (counting_) {
    over_ = theatre_.everybody_is_done();
  } else {
    const bool drained = ledger_.live() == 0 && theatre_.everybody_is_done();
    const bool late = now.ms > healed_at_.ms + kDrainWithinMs;
    if (drained || late) {
      faults::Event event = happened("drained", drained ? faults::EventType::ok : faults::EventType::fail);
      if (!drained)
        event.err = fmt::format("left: {}; everybody has got an answer: {}", ledger_.what_is_left(),
                                theatre_.everybody_is_done());
      chronicle_.write("run", std::move(event));
      counting_ = drained;
      over_ = !drained;
      if (drained) theatre_.count_at_the_end();
    }
  }
  if (!over_) timeline_.after(DurationMs{kLookEveryMs}, [this] { look(); });
}

void World::heal() {
  script_.healed = true;
  script_.operations_left = 0;
  healed_at_ = timeline_.now();
  store_faults_.healed = true;
  store_faults_.disk_full = false;
  // Somebody sets the machine's clock right; what was dated by a clock that ran ahead is due by then.
  script_.wall_offset_ms = wall_offset_max_ms_;
  network_.heal();
  faults::Event event = happened("healed", faults::EventType::ok);
  event.within_ms = kDrainWithinMs;
  chronicle_.write("run", std::move(event));
  faults::Event clock = happened("clock", faults::EventType::ok);
  clock.wall = kWallAtBegin + timeline_.now().ms + script_.wall_offset_ms;
  chronicle_.write("run", std::move(clock));
  theatre_.heal();
}

RunResult World::run() {
  faults::Event clock = happened("clock", faults::EventType::ok);
  clock.wall = kWallAtBegin + timeline_.now().ms;
  chronicle_.write("run", std::move(clock));
  theatre_.bring_on();
  plan_faults();
  timeline_.after(DurationMs{kLookEveryMs}, [this] { look(); });
  broker_.run();
  RunResult result;
  finish(&result);
  return result;
}

void World::finish(RunResult* result) {
  result->seed = options_.seed;
  result->mix = mix_;
  result->took_ms = (timeline_.now() - kBegin).ms;
  result->turns = broker_.turns();
  result->commits = ledger_.batches();
  result->crashes = store_faults_.crashes;
  result->exits = broker_.exits();
  result->connections = network_.counts().connections;
  result->cuts = network_.counts().cuts;
  result->lost_frames = network_.counts().lost_frames;
  std::vector<faults::Violation> found = ledger_.violations();
  result->dump = broker_.dump(&found);
  for (const auto& [id, job] : result->dump) {
    chronicle_.mix_in(id);
    chronicle_.mix_in(job.state);
    chronicle_.mix_in(job.hash);
  }
  if (broker_.idle_turns_max() > kIdleTurnsAtMost)
    found.push_back(
        {"I18", "", fmt::format("{} turns in a row with nothing to do", broker_.idle_turns_max())});
  result->fingerprint = chronicle_.fingerprint();
  result->history = chronicle_.take_events();
  faults::CheckerOptions options;
  options.drained = true;
  options.early_slack_ms = 2;
  options.lease_slack_ms = options.crossing_slack_ms =
      10 + 2 * mix_.delay_ms + 3 * mix_.stall_ms + 2 * mix_.commit_ms;
  result->verdict = faults::check_history(result->history, result->dump, options);
  result->verdict.violations.insert(result->verdict.violations.end(), found.begin(), found.end());
}

}  // namespace

RunResult run_once(const RunOptions& options) {
  log::set_up(LogFormat::human, "error");
  return World(options).run();
}

std::string tell(const RunResult& result) {
  return fmt::format(
      "seed {}: {}\n{} ms of virtual time, {} turns, {} commits, {} connections, fingerprint {:016x}\n{}",
      result.seed, describe(result.mix), result.took_ms, result.turns, result.commits, result.connections,
      result.fingerprint, faults::report(result.verdict, result.history, result.dump));
}

}  // namespace jobq::sim
