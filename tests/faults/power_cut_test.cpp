// Power cuts by record and replay: a program writes batches into a real store under recorder.c, and from the
// record come images of what the disk could have held at any moment. Each image must open, hold every
// confirmed batch and at most the one under way, be exactly what the plain store says, and go on working.
//
// Rounds of some hundred images, each of another run from another seed, until there are JOBQ_POWER_CUT_IMAGES (default 20,000)
// or JOBQ_POWER_CUT_SECONDS (default 400) are over, or one is bad; one round at least. JOBQ_SEED is the first seed (default 7).
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <map>
#include <stdexcept>

#include "broker/store/check_store.hpp"
#include "broker/store/memory_store.hpp"
#include "tests/faults/crash_workload.hpp"
#include "tests/faults/disk_log.hpp"
#include "tests/store/store_text.hpp"
#include "tests/store/temporary_directory.hpp"

namespace jobq::faults {
namespace {

constexpr std::uint64_t kSeed = 7;

long number_from(const char* variable, long otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtol(text, nullptr, 10);
}

std::string program(const char* variable) {
  const char* path = std::getenv(variable);
  REQUIRE_MESSAGE(path != nullptr, variable, " is not set: run this with `meson test`");
  return path;
}

// Runs batch_writer to its end and reads what it did to the disk.
std::vector<DiskEntry> record(std::uint64_t seed, int batches, int compact, const std::string& lmdb_flags) {
  const TemporaryDirectory temporary;
  const std::string data = temporary.path() + "/data", log = temporary.path() + "/log";
  std::filesystem::create_directory(data);
  std::vector<std::string> environment{"LD_PRELOAD=" + program("JOBQ_RECORDER"), "RECORDER_DIR=" + data,
                                       "RECORDER_LOG=" + log};
  if (!lmdb_flags.empty()) environment.push_back("RECORDER_LMDB_FLAGS=" + lmdb_flags);
  if (const char* bug = std::getenv("JOBQ_PLANTED_BUG"))
    environment.push_back(std::string{"JOBQ_PLANTED_BUG="} + bug);
  // A sanitizer wants to be loaded first; here it is the recorder.
  environment.push_back("ASAN_OPTIONS=verify_asan_link_order=0");
  const std::vector<std::string> command{program("JOBQ_BATCH_WRITER"), data, std::to_string(seed),
                                         std::to_string(batches), std::to_string(compact)};
  std::vector<char*> arguments, variables;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  for (const std::string& word : environment) variables.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  variables.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  REQUIRE(posix_spawn(&child, command[0].c_str(), &actions, nullptr, arguments.data(), variables.data()) ==
          0);
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  return read_disk_log(log);
}

// What must be in a store that has seen so many batches.
struct Expected {
  CrashWorkload workload;
  MemoryStore store;
  std::map<TimeMs, std::uint64_t> batch_at{{TimeMs{}, 0}};  // engine clock of a mark -> batch
  std::uint64_t batches = 0;
  explicit Expected(std::uint64_t seed) : workload(seed) { JOBQ_CHECK(store.recover().ok()); }
  void advance() {
    const LegalBatch batch = workload.next();
    JOBQ_CHECK(store.submit(batch.changes, batch.mark).ok());
    batch_at[batch.mark.now.engine] = ++batches;
  }
};

// Throws what is wrong with the image. `confirmed`: -1: not even the opening was confirmed.
void judge_image(const std::string& directory, std::int64_t confirmed, Expected* expected) {
  const auto wrong = [](const std::string& text) { throw std::runtime_error(text); };
  if (std::filesystem::exists(directory +
                              "/data.mdb")) {  // as it was found, before opening it changes anything
    std::string problems;
    CheckCounts counts;
    const Status checked = check_store(
        {.path = directory}, [&](std::string_view line) { problems += fmt::format("{}\n", line); }, &counts);
    if (!checked.ok()) wrong("it cannot be checked: " + checked.text());
    if (counts.problems > 0) wrong("the check finds\n" + problems);
  }
  {
    auto store = open_lmdb_store(crash_options(directory));
    if (!store.ok()) wrong("it does not open: " + store.status().text());
    const auto found = (*store)->recover();
    if (!found.ok()) wrong("it does not recover: " + found.status().text());
    const TimeMs clock = found->mark.now.engine;
    if (!expected->batch_at.contains(clock)) expected->advance();  // the batch that was under way
    if (!expected->batch_at.contains(clock))
      wrong(fmt::format("it holds a batch that nobody wrote, of {}", clock.ms));
    const std::uint64_t held = expected->batch_at[clock];
    if (static_cast<std::int64_t>(held) < confirmed)
      wrong(fmt::format("batch {} was confirmed, and it holds {}", confirmed, held));
    if (held != expected->batches) wrong(fmt::format("it holds {} of {} batches", held, expected->batches));
    expected->store.restart();
    const auto should = expected->store.recover();
    const StoreNames names = names_of(expected->workload.batches());
    std::string differences = difference(text_of(*should), text_of(*found));
    differences += difference(text_of(&expected->store, names, 500), text_of(store->get(), names, 200));
    if (!differences.empty()) wrong(fmt::format("batch {} is held in part:\n{}", held, differences));
    const LegalBatch next = expected->workload.next();
    const auto submitted = (*store)->submit(next.changes, next.mark);
    if (!submitted.ok() || !(*store)->completed(true).ok()) wrong("it takes no further batch");
  }
}

// In a child, because a damaged image may well kill whoever looks at it. "" or what is wrong.
std::string verdict_on(const std::string& directory, std::int64_t confirmed, Expected* expected) {
  const std::string answer = directory + ".answer";
  const pid_t child = fork();
  if (child == 0) {
    // doctest's handlers would take the crash for one of the test and say so.
    for (const int number : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) std::signal(number, SIG_DFL);
    std::string text;
    try {
      judge_image(directory, confirmed, expected);
    } catch (const std::exception& problem) {
      text = problem.what();
    }
    std::ofstream{answer} << text;
    _exit(text.empty() ? 0 : 1);
  }
  int status = 0;
  JOBQ_CHECK(waitpid(child, &status, 0) == child);
  if (WIFSIGNALED(status)) return fmt::format("looking at it ended with signal {}", WTERMSIG(status));
  std::ifstream in{answer};
  return std::string{std::istreambuf_iterator<char>{in}, {}};
}

struct Score {
  int images = 0, bad = 0, of_creation = 0, with_pending = 0;
  std::string first;  // what was wrong with the first bad one
};

// The first entries (the creation) each, then those around syncs, then others, evenly over the log.
std::vector<bool> crash_points(const std::vector<DiskEntry>& log, int images) {
  constexpr std::size_t kFirst = 16;
  std::vector<bool> chosen(log.size() + 1);
  std::vector<std::size_t> candidates;
  for (std::size_t i = 1; i <= log.size(); ++i) {
    const DiskEvent kind = log[i - 1].kind;
    const bool at_sync = kind == DiskEvent::sync || kind == DiskEvent::durable_write ||
                         kind == DiskEvent::write_returned || kind == DiskEvent::confirm;
    if (i <= kFirst) chosen[i] = true;
    if (at_sync || i % 3 == 0) candidates.push_back(i);
  }
  const int points = std::max(1, images / static_cast<int>(std::size(kCuts)) - static_cast<int>(kFirst));
  for (int n = 0; n < points; ++n)
    chosen[candidates[static_cast<std::size_t>(n) * candidates.size() / static_cast<std::size_t>(points)]] =
        true;
  return chosen;
}

Score replay(std::uint64_t seed, const std::vector<DiskEntry>& log, int images) {
  // Syncs of images prove nothing and cost most of the time: in memory they are free.
  if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 0);
  const TemporaryDirectory temporary;
  const std::vector<bool> chosen = crash_points(log, images);
  Score score;
  Prng prng{seed};
  DiskModel disk;
  Expected expected{seed};
  std::int64_t confirmed = -1;
  for (std::size_t at = 1; at <= log.size(); ++at) {
    const DiskEntry& entry = log[at - 1];
    disk.apply(entry);
    if (entry.kind == DiskEvent::confirm) {
      confirmed = std::strtoll(entry.bytes.c_str(), nullptr, 10);
      while (static_cast<std::int64_t>(expected.batches) < confirmed) expected.advance();
    }
    if (!chosen[at]) continue;
    for (const Cut cut : kCuts) {
      const std::string directory = fmt::format("{}/{}", temporary.path(), score.images);
      std::filesystem::create_directory(directory);
      disk.write_image(directory, cut, &prng);
      const std::string wrong = verdict_on(directory, confirmed, &expected);
      ++score.images;
      if (confirmed < 0) ++score.of_creation;
      if (disk.pending() > 0) ++score.with_pending;
      if (!wrong.empty() && ++score.bad == 1)
        score.first =
            fmt::format("seed {}, entry {} of {}, {}: {}", seed, at, log.size(), to_string(cut), wrong);
      std::filesystem::remove_all(directory);
      std::filesystem::remove(directory + ".answer");
    }
  }
  return score;
}

void tell(std::uint64_t seeds, const Score& score) {
  fmt::print(stderr, "{} seeds from {}: {} images, {} of the creation, {} with writes in flight: {} bad\n",
             seeds, number_from("JOBQ_SEED", kSeed), score.images, score.of_creation, score.with_pending,
             score.bad);
}

}  // namespace

TEST_CASE("whatever a power cut leaves on the disk, every confirmed batch is there and nothing is torn") {
  constexpr int kRound = 400, kBatches = 60, kCompact = 25;
  const auto began = std::chrono::steady_clock::now();
  const std::chrono::seconds allowed{number_from("JOBQ_POWER_CUT_SECONDS", 400)};
  const long images = number_from("JOBQ_POWER_CUT_IMAGES", 20'000);
  Score score;
  std::uint64_t seeds = 0;
  do {
    const std::uint64_t seed = static_cast<std::uint64_t>(number_from("JOBQ_SEED", kSeed)) + seeds;
    const Score round = replay(seed, record(seed, kBatches, kCompact, ""), kRound);
    score.images += round.images;
    score.bad += round.bad;
    score.of_creation += round.of_creation;
    score.with_pending += round.with_pending;
    if (score.first.empty()) score.first = round.first;
    if (++seeds % 20 == 0) tell(seeds, score);
  } while (score.bad == 0 && score.images < images && std::chrono::steady_clock::now() - began < allowed);
  tell(seeds, score);
  CHECK_MESSAGE(score.bad == 0, score.first);
  CHECK(score.images >= kRound * 9 / 10);
  CHECK(score.of_creation >= 20);
  CHECK(score.with_pending >= score.images / 4);
}

// The teeth: LMDB told not to sync, or not to sync its last page, must be noticed by the same replay.
TEST_CASE("a store that does not sync is found out") {
  const Score score = replay(kSeed, record(kSeed, 30, 0, "10000"), 150);  // MDB_NOSYNC
  CHECK(score.bad >= score.images / 10);
}

TEST_CASE("a store that does not sync its last page is found out") {
  const Score score = replay(kSeed, record(kSeed, 30, 0, "40000"), 150);  // MDB_NOMETASYNC
  CHECK(score.bad > 0);
}

TEST_CASE("the model of the disk: what was not synced may be lost, what was synced may not") {
  const TemporaryDirectory temporary;
  DiskModel disk;
  Prng prng{1};
  int images = 0;
  const auto found = [&](Cut cut) -> std::string {
    const std::string directory = fmt::format("{}/{}", temporary.path(), ++images);
    std::filesystem::create_directory(directory);
    disk.write_image(directory, cut, &prng);
    if (!std::filesystem::exists(directory + "/data.mdb")) return "no file";
    std::ifstream in{directory + "/data.mdb"};
    return std::string{std::istreambuf_iterator<char>{in}, {}};
  };
  disk.apply({DiskEvent::create, 1, 0, "data.mdb"});
  disk.apply({DiskEvent::write, 1, 0, "aaaa"});
  CHECK(found(Cut::nothing_kept) == "no file");
  CHECK(found(Cut::all_kept) == "aaaa");
  disk.apply({DiskEvent::sync, 1, 0, ""});
  CHECK(found(Cut::nothing_kept) == "no file");
  disk.apply({DiskEvent::sync_directory, 0, 0, ""});
  CHECK(found(Cut::nothing_kept) == "aaaa");
  disk.apply({DiskEvent::write, 1, 4, "bbbb"});
  CHECK(found(Cut::nothing_kept) == "aaaa");
  CHECK(found(Cut::all_kept) == "aaaabbbb");
  disk.apply({DiskEvent::durable_write, 1, 0, "cc"});
  CHECK(found(Cut::nothing_kept) == "aaaa");
  disk.apply({DiskEvent::write_returned, 1, 0, ""});
  CHECK(found(Cut::nothing_kept) == "ccaa");
  CHECK(found(Cut::all_kept) == "ccaabbbb");
  disk.apply({DiskEvent::write, 1, 0, std::string(1'024, 'd')});
  bool torn = false;
  for (int n = 0; n < 40; ++n) {
    const std::string bytes = found(Cut::torn);
    torn = torn || (bytes.size() == 1'024 && bytes[0] != bytes[600]);
  }
  CHECK(torn);
}

}  // namespace jobq::faults
