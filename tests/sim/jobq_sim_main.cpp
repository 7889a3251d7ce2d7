// jobq-sim: the broker and the library in virtual time, with faults drawn from a seed.
//
//   jobq-sim --seed 7                  one run, told in full; --history FILE writes its history, --dump FILE the store
//   jobq-sim --seeds 3000 --from 1     many runs, side by side; exit code 1 when one violates an invariant or dies
//   jobq-sim --seed 7 --minimise      looks for a shorter run that fails in the same way
//
// docs/testing.md explains what is simulated and what is judged.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "tests/sim/campaign.hpp"
#include "tests/sim/minimiser.hpp"
#include "tests/sim/world.hpp"

namespace jobq::sim {
namespace {

struct CommandLine {
  std::uint64_t seed = 0;
  Campaign campaign;
  bool minimise = false;
  std::string history, dump;
};

void write_files(const CommandLine& line, const RunResult& result) {
  if (!line.history.empty()) {
    std::ofstream out{line.history};
    for (const faults::Event& event : result.history) out << faults::to_line(event) << '\n';
  }
  if (line.dump.empty()) return;
  std::ofstream out{line.dump};
  for (const auto& [id, job] : result.dump)
    out << fmt::format(R"({{"id":"{}","queue":"{}","state":"{}","hash":"{}","priority":{},"attempts":{},)"
                       R"("reason":"{}","unique_key":"{}"}})",
                       id, job.queue, job.state, job.hash, job.prio, job.attempts, job.reason, job.key)
        << '\n';
}

int run_one(const CommandLine& line) {
  const RunResult result = run_once(options_of(line.campaign, line.seed));
  fmt::print("{}\n", tell(result));
  write_files(line, result);
  return result.verdict.ok() ? 0 : 1;
}

}  // namespace
}  // namespace jobq::sim

int main(int argc, char** argv) {
  using namespace jobq::sim;
  CommandLine line;
  Campaign& campaign = line.campaign;
  CLI::App app{"The broker and the client library in virtual time, with faults drawn from a seed"};
  app.add_option("--seed", line.seed, "one run with this seed, told in full");
  app.add_option("--from", campaign.first, "the first seed of many")->capture_default_str();
  app.add_option("--seeds", campaign.seeds, "how many")->capture_default_str();
  app.add_option("--ops", campaign.operations, "enqueues and questions of operators in a run")
      ->capture_default_str();
  app.add_option("--jobs", campaign.processes, "runs side by side")->capture_default_str();
  app.add_option("--seconds", campaign.seconds_max, "begin no run after this time; 0: no limit")
      ->capture_default_str();
  app.add_option("--without", campaign.without, "faults that are switched off, by name")->delimiter(',');
  app.add_option("--stop-after", campaign.failures_max, "failed runs after which no more are begun")
      ->capture_default_str();
  app.add_option("--invariants-every", campaign.invariants_every,
                 "turns between two walks over everything in the engine; 0: none")
      ->capture_default_str();
  app.add_flag("--quiet", campaign.quiet, "no line of progress");
  app.add_flag("--fingerprints", campaign.fingerprints, "a line per run: its seed and its fingerprint");
  app.add_flag("--forgetful-store", campaign.forgetful_store,
               "the store loses at a crash what it had said was safe: such runs have to fail");
  app.add_flag("--minimise", line.minimise, "with --seed: look for a shorter run that fails in the same way");
  app.add_option("--history", line.history, "with --seed: write the history of the run there");
  app.add_option("--dump", line.dump, "with --seed: write what was in the store at the end there");
  CLI11_PARSE(app, argc, argv);
  for (const std::string& fault : campaign.without) {
    FaultMix mix;
    if (switch_off(fault, &mix)) continue;
    fmt::print(stderr, "jobq-sim: there is no fault '{}'; there are: {}\n", fault,
               fmt::join(fault_names(), ", "));
    return 2;
  }
  if (line.seed == 0) return run_campaign(campaign);
  if (line.minimise) return minimise(campaign, line.seed);
  return run_one(line);
}
