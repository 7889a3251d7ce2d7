// The Nth write, last page, sync and growth of a store goes wrong, for every N, once or for ever: what was confirmed is there
// afterwards, at most the batch under way besides, nothing is torn, and nothing is confirmed behind a failure.
//
// JOBQ_DISK_FAULTS_SECONDS is the time for each of the four kinds of calls (default 8): when it is over, the rest of its cases is
// left out; their order is another one each day. JOBQ_SEED: other batches.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <fstream>
#include <map>
#include <stdexcept>

#include "broker/store/check_store.hpp"
#include "broker/store/memory_store.hpp"
#include "tests/faults/crash_workload.hpp"
#include "tests/faults/failing_disk.hpp"
#include "tests/store/store_text.hpp"
#include "tests/store/temporary_directory.hpp"

namespace jobq::faults {
namespace {

long number_from(const char* variable, long otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtol(text, nullptr, 10);
}

std::uint64_t seed() { return static_cast<std::uint64_t>(number_from("JOBQ_SEED", 7)); }

// Batches, and what a store says after each: made once, and read by all cases.
struct Script {
  std::deque<LegalBatch> batches;  // their bytes must not move
  std::vector<StoreNames> names;   // [n]: after n batches
  std::vector<std::vector<std::string>> recovered, rows;
  std::map<TimeMs, std::size_t> held_at;  // engine clock of a mark -> batches
};

Script make_script(std::uint64_t seed, std::size_t batches, const RandomLimits& limits) {
  Script script;
  CrashWorkload workload{seed, limits};
  MemoryStore store;
  JOBQ_CHECK(store.recover().ok());
  for (std::size_t n = 0;; ++n) {
    store.restart();
    const auto found = store.recover();
    script.names.push_back(names_of(workload.batches()));
    script.recovered.push_back(text_of(*found));
    script.rows.push_back(text_of(&store, script.names.back(), 500));
    script.held_at[found->mark.now.engine] = n;
    if (n == batches) return script;
    const LegalBatch& batch = script.batches.emplace_back(workload.next());
    JOBQ_CHECK(store.submit(batch.changes, batch.mark).ok());
  }
}

struct Case {
  DiskCall call = DiskCall::write;
  DiskFault fault = DiskFault::io_error;
  long nth = 1;
  bool for_ever = false;
};

std::string text_of(const Case& one) {
  constexpr const char* kCalls[] = {"", "write", "last page", "sync", "growth"};
  constexpr const char* kFaults[] = {"", "EIO", "ENOSPC", "short", "done, and EIO"};
  return fmt::format("{} {}, {}{}", kCalls[static_cast<int>(one.call)], one.nth,
                     kFaults[static_cast<int>(one.fault)], one.for_ever ? ", for ever" : "");
}

LmdbOptions options_for(const std::string& directory) {
  LmdbOptions options = crash_options(directory);
  options.preallocate_step_bytes = std::uint64_t{1} << 15;  // grows every other batch
  return options;
}

[[noreturn]] void wrong(const std::string& text) { throw std::runtime_error(text); }

Status write_one(Store* store, const LegalBatch& batch) {
  if (const auto submitted = store->submit(batch.changes, batch.mark); !submitted.ok())
    return submitted.status();
  return store->completed(true).status();
}

bool is_declared(const Status& status) {
  return status.code() == Code::io_error || status.code() == Code::disk_full;
}

// As far as it goes with the disk failing: how many batches were confirmed.
std::size_t run_into_the_fault(const std::string& directory, const Script& script, const Case& one) {
  std::size_t confirmed = 0;
  auto store = open_lmdb_store(options_for(directory));
  if (!store.ok()) {
    if (failing_disk_failed() == 0) wrong("it does not open: " + store.status().text());
    if (!is_declared(store.status())) wrong("opening ends with " + store.status().text());
    return 0;
  }
  if (const auto found = (*store)->recover(); !found.ok()) {  // the first start writes
    if (failing_disk_failed() == 0 || !is_declared(found.status()))
      wrong("no recovery: " + found.status().text());
    return 0;
  }
  std::size_t after_the_fault = 0;
  for (const LegalBatch& batch : script.batches) {
    const long before = failing_disk_failed();
    const Status status = write_one(store->get(), batch);
    const bool hit = failing_disk_failed() > before;
    if (status.ok()) {
      // Growing ahead may fail: there is room left. All else is part of the batch.
      if (hit && one.call != DiskCall::grow)
        wrong(fmt::format("batch {} was confirmed although its disk failed", confirmed + 1));
      ++confirmed;
      if (failing_disk_failed() > 0 && ++after_the_fault == 3) break;
      continue;
    }
    if (!hit) wrong(fmt::format("batch {} failed without a reason: {}", confirmed + 1, status.text()));
    if (!is_declared(status)) wrong("the failure is called " + status.text());
    // Memory is ahead of the disk now: nothing may be confirmed any more, even if the disk is well again.
    if (write_one(store->get(), batch).ok()) wrong("a batch was confirmed behind a failed one");
    break;
  }
  return confirmed;
}

// The next start on a disk that fails still: refused, or serving until its first write, and no crash.
void start_on_the_failing_disk(const std::string& directory) {
  const auto store = open_lmdb_store(options_for(directory));
  if (!store.ok()) {
    if (!is_declared(store.status())) wrong("on the failing disk it says " + store.status().text());
    return;
  }
  if (const auto found = (*store)->recover(); !found.ok() && !is_declared(found.status()))
    wrong("on the failing disk it says " + found.status().text());
}

void check_rows(const std::string& directory) {
  std::string problems;
  CheckCounts counts;
  const Status checked = check_store(
      {.path = directory}, [&](std::string_view line) { problems += fmt::format("{}\n", line); }, &counts);
  if (!checked.ok()) wrong("it cannot be checked: " + checked.text());
  if (counts.problems > 0) wrong("the check finds\n" + problems);
}

void start_on_a_sound_disk(const std::string& directory, const Script& script, std::size_t confirmed) {
  if (std::filesystem::exists(directory + "/data.mdb")) check_rows(directory);
  auto store = open_lmdb_store(options_for(directory));
  if (!store.ok()) wrong("it does not open any more: " + store.status().text());
  const auto found = (*store)->recover();
  if (!found.ok()) wrong("it does not recover any more: " + found.status().text());
  const auto at = script.held_at.find(found->mark.now.engine);
  if (at == script.held_at.end()) wrong("it holds a batch that nobody wrote");
  const std::size_t held = at->second;
  if (held < confirmed || held > confirmed + 1)
    wrong(fmt::format("{} batches were confirmed, it holds {}", confirmed, held));
  std::string differences = difference(script.recovered[held], text_of(*found));
  differences += difference(script.rows[held], text_of(store->get(), script.names[held], 200));
  if (!differences.empty()) wrong(fmt::format("batch {} is held in part:\n{}", held, differences));
  if (held < script.batches.size() && !write_one(store->get(), script.batches[held]).ok())
    wrong("it takes no further batch");
}

void run_case(const std::string& directory, const Script& script, const Case& one, bool* reached) {
  failing_disk_arm(directory.c_str(), static_cast<int>(one.call), static_cast<int>(one.fault), one.nth,
                   one.for_ever ? 1 : 0);
  const std::size_t confirmed = run_into_the_fault(directory, script, one);
  *reached = failing_disk_failed() > 0;
  if (one.for_ever) start_on_the_failing_disk(directory);
  failing_disk_disarm();
  start_on_a_sound_disk(directory, script, confirmed);
}

struct Score {
  int cases = 0, reached = 0, bad = 0;
  std::string first;
};

// In a child: a store that does not outlive the fault must not take the test with it.
void try_case(const std::string& directory, const Script& script, const Case& one, Score* score) {
  constexpr int kReached = 0, kNotReached = 1, kWrong = 2;
  const std::string answer = directory + ".answer";
  std::filesystem::create_directory(directory);
  const pid_t child = fork();
  if (child == 0) {
    for (const int number : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) std::signal(number, SIG_DFL);
    bool reached = false;
    try {
      run_case(directory, script, one, &reached);
    } catch (const std::exception& problem) {
      std::ofstream{answer} << problem.what();
      _exit(kWrong);
    }
    _exit(reached ? kReached : kNotReached);
  }
  int status = 0;
  JOBQ_CHECK(child > 0 && waitpid(child, &status, 0) == child);
  ++score->cases;
  if (WIFEXITED(status) && WEXITSTATUS(status) == kReached) ++score->reached;
  if (WIFSIGNALED(status) || WEXITSTATUS(status) == kWrong) {
    std::ifstream in{answer};
    const std::string text = WIFSIGNALED(status) ? fmt::format("ended with signal {}", WTERMSIG(status))
                                                 : std::string{std::istreambuf_iterator<char>{in}, {}};
    if (++score->bad == 1) score->first = text_of(one) + ": " + text;
  }
  std::filesystem::remove_all(directory);
  std::filesystem::remove(answer);
}

// All of them, or as many as fit. More than one of `one_in` has to meet its fault, or the run shows nothing.
void run_all(const char* what, long nth_max, const Script& script, std::initializer_list<Case> kinds,
             int one_in = 2) {
  if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 0);
  const TemporaryDirectory temporary;
  std::vector<Case> cases;
  for (const Case& kind : kinds) {
    for (long nth = 1; nth <= nth_max; ++nth) {
      for (const bool for_ever : {false, true}) cases.push_back({kind.call, kind.fault, nth, for_ever});
    }
  }
  Prng prng{static_cast<std::uint64_t>(std::time(nullptr) / 86'400)};
  for (std::size_t n = cases.size(); n > 1; --n) std::swap(cases[n - 1], cases[prng.below(n)]);
  const auto began = std::chrono::steady_clock::now();
  const std::chrono::seconds allowed{number_from("JOBQ_DISK_FAULTS_SECONDS", 8)};
  Score score;
  for (const Case& one : cases) {
    if (std::chrono::steady_clock::now() - began > allowed) break;
    try_case(fmt::format("{}/{}", temporary.path(), score.cases), script, one, &score);
  }
  MESSAGE(what, ": seed ", seed(), ", ", score.cases, " of ", cases.size(), " cases, ", score.reached,
          " met the fault: ", score.bad, " bad");
  CHECK_MESSAGE(score.bad == 0, score.first);
  CHECK(score.reached > score.cases / one_in);
}

constexpr RandomLimits kManyWrites{.live_target = 100, .body_bytes_max = 30'000, .changes_max = 40};
constexpr RandomLimits kGrowing{.live_target = 300, .body_bytes_max = 60'000, .changes_max = 40};
constexpr RandomLimits kManyBatches{.live_target = 20, .body_bytes_max = 3'000, .changes_max = 4};

}  // namespace

TEST_CASE("whichever write fails, nothing is confirmed that is not there, and the next start is sound") {
  const Script script = make_script(seed(), 40, kManyWrites);
  run_all("writes", 200, script,
          {{DiskCall::write, DiskFault::io_error},
           {DiskCall::write, DiskFault::no_space},
           {DiskCall::write, DiskFault::short_write},
           {DiskCall::write, DiskFault::done_and_denied}});
}

TEST_CASE(
    "whichever last page of a commit fails, nothing is confirmed that is not there, and the next start is "
    "sound") {
  const Script script = make_script(seed(), 210, kManyBatches);
  run_all("last pages", 200, script,
          {{DiskCall::meta, DiskFault::io_error},
           {DiskCall::meta, DiskFault::no_space},
           {DiskCall::meta, DiskFault::short_write},
           {DiskCall::meta, DiskFault::done_and_denied}});
}

TEST_CASE("whichever sync fails, nothing is confirmed that is not there, and the next start is sound") {
  const Script script = make_script(seed(), 210, kManyBatches);
  run_all("syncs", 200, script,
          {{DiskCall::sync, DiskFault::io_error}, {DiskCall::sync, DiskFault::done_and_denied}});
}

TEST_CASE("whichever growth of the file fails, the store goes on in the room it has, or says why not") {
  const Script script = make_script(seed(), 60, kGrowing);
  run_all("growths", 24, script,
          {{DiskCall::grow, DiskFault::no_space}, {DiskCall::grow, DiskFault::io_error}},
          3);  // of 24 growths; some scripts have the file grow a dozen times only
}

}  // namespace jobq::faults
