// The Nth allocation fails, for every N, once or for ever: in the codec, and in the broker's loop with the real engine and the
// real store. Whoever needs that memory says so (and the broker ends); what was confirmed is there at the next start, and the
// store is sound.
//
// The loop's N = 1 to 500 are in every run. JOBQ_MEMORY_FAULTS_SECONDS is the time for the cases behind them (default 6): when it is
// over, the rest is left out; their order is another one each day.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <new>
#include <set>

#include "broker/server/server.hpp"
#include "broker/store/check_store.hpp"
#include "broker/store/lmdb_options.hpp"
#include "libjobq/base/out_of_memory.hpp"
#include "libjobq/base/prng.hpp"
#include "tests/faults/failing_memory.hpp"
#include "tests/protocol/random_message.hpp"
#include "tests/server/memory_transport.hpp"
#include "tests/store/temporary_directory.hpp"

namespace jobq::faults {
namespace {

constexpr PeerId kProducer{1}, kWorker{2};
constexpr int kRounds = 12, kJobsOfARound = 4;
constexpr std::size_t kJobs = std::size_t{kRounds} * std::size_t{kJobsOfARound};
constexpr int kOutOfMemory = 70, kStoreFailed = 88, kStoreRefused = 87;

// What the peers were told, written by the child as it happens and read by the parent when it has ended.
struct Told {
  std::size_t confirmed_count = 0, asked_count = 0, settled_count = 0;
  std::array<std::uint64_t, kJobs> confirmed{}, asked{}, settled{};
  long allocations = 0;  // of a run in which nothing fails
  bool failed = false;
};

Told* shared_between_processes() {
  void* room = mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  JOBQ_CHECK(room != MAP_FAILED);
  return new (room) Told;
}

LmdbOptions options_for(const std::string& directory) {
  LmdbOptions options;
  options.path = directory;
  options.map_bytes = std::uint64_t{64} << 20;
  options.preallocate_step_bytes = std::uint64_t{1} << 18;
  return options;
}

// A broker with its loop, engine and store, a producer and a worker that take what comes.
class Scene {
 public:
  Scene(Store* store, const Recovered& recovered, Told* told)
      : told_(told),
        clock_(recovered.mark.now,
               {[this] { return 1'700'000'000'000 + steady_ms_; }, [this] { return steady_ms_; }}),
        engine_(config_.engine, recovered, 1),
        server_(config_, {store, &engine_, &transport_, &clock_}, recovered) {}

  Status run() {
    if (Status started = server_.start(); !started.ok()) return started;
    send(kProducer, protocol::Hello{});
    send(kWorker, protocol::Hello{});
    protocol::Register request;
    request.queues.push_back({"q", 1});
    request.credit_jobs = kJobsOfARound / 2;
    send(kWorker, request);
    for (int round = 0; round < kRounds; ++round) {
      enqueue();
      for (int turns = 0; turns < 4; ++turns) {
        steady_ms_ += 50;
        if (Status turned = server_.turn(DurationMs{0}); !turned.ok()) return turned;
        listen();
      }
    }
    return {};
  }

 private:
  void send(PeerId peer, protocol::Request request) {
    std::string frame;
    protocol::encode(protocol::RequestMessage{next_request_++, std::move(request)}, &frame);
    transport_.put(peer, std::move(frame));
  }
  void enqueue() {
    const std::string body(2'000, 'b');
    protocol::Enqueue request;
    for (int n = 0; n < kJobsOfARound; ++n) {
      request.groups.push_back({"q", static_cast<std::uint32_t>(n), 1});
      protocol::EnqueueJob& job = request.jobs.emplace_back();
      job.body = body;
      if (n == 1) job.delay = DurationMs{100};
    }
    send(kProducer, std::move(request));
  }
  void listen() {
    for (const std::string& frame : transport_.take_sent(kProducer)) {
      const auto message = protocol::decode_reply(frame, {});
      const auto* enqueued = message.ok() ? std::get_if<protocol::Enqueued>(&message->body) : nullptr;
      if (enqueued == nullptr) continue;
      for (const protocol::EnqueueResult& result : enqueued->results)
        if (result.outcome == protocol::EnqueueOutcome::created &&
            told_->confirmed_count < told_->confirmed.size())
          told_->confirmed[told_->confirmed_count++] = result.id.value;
    }
    protocol::Outcomes outcomes;
    for (const std::string& frame : transport_.take_sent(kWorker)) {
      const auto message = protocol::decode_reply(frame, {});
      if (!message.ok()) continue;
      if (const auto* deliver = std::get_if<protocol::Deliver>(&message->body)) {
        for (const protocol::Delivery& delivery : deliver->jobs) {
          protocol::Outcome& outcome = outcomes.outcomes.emplace_back();
          outcome.lease = delivery.lease;
          outcome.kind = ++outcomes_ % 3 == 0 ? protocol::OutcomeKind::nack : protocol::OutcomeKind::ack;
          if (outcome.kind == protocol::OutcomeKind::nack) outcome.text = "not this time";
          if (outcome.kind == protocol::OutcomeKind::ack) asked_.push_back(delivery.lease.job);
        }
      } else if (const auto* reply = std::get_if<protocol::OutcomesReply>(&message->body)) {
        for (std::size_t n = 0; n < reply->results.size() && n < sent_.size(); ++n)
          if (sent_[n].kind == protocol::OutcomeKind::ack &&
              reply->results[n] == protocol::ClaimResult::settled)
            told_->settled[told_->settled_count++] = sent_[n].lease.job.value;
      }
    }
    if (outcomes.outcomes.empty()) return;
    for (const JobId job : std::exchange(asked_, {})) told_->asked[told_->asked_count++] = job.value;
    sent_ = outcomes.outcomes;
    send(kWorker, std::move(outcomes));
  }

  Told* told_;
  Config config_;
  std::int64_t steady_ms_ = 5'000;
  MemoryTransport transport_;
  ServerClock clock_;
  Engine engine_;
  Server server_;
  std::uint64_t next_request_ = 1;
  int outcomes_ = 0;
  std::vector<JobId> asked_;
  std::vector<protocol::Outcome> sent_;
};

// As jobq-broker does it. The exit code.
int serve(const std::string& directory, long nth, bool for_ever, Told* told) {
  end_when_out_of_memory("", kOutOfMemory);
  failing_memory_arm(nth, for_ever ? 1 : 0);
  const auto store = open_lmdb_store(options_for(directory));
  if (!store.ok()) return store.status().text().empty() ? 1 : kStoreRefused;
  const auto recovered = (*store)->recover();
  if (!recovered.ok()) return recovered.status().text().empty() ? 1 : kStoreRefused;
  Scene scene(store->get(), *recovered, told);
  const Status done = scene.run();
  told->failed = failing_memory_failed() > 0;
  failing_memory_disarm();
  if (done.ok()) return 0;
  return done.text().empty() ? 1 : kStoreFailed;
}

// "" or what is wrong with what is on the disk.
std::string judge(const std::string& directory, const Told& told) {
  if (!std::filesystem::exists(directory + "/data.mdb"))
    return told.confirmed_count == 0 ? "" : "jobs were confirmed, and there is no store";
  std::string problems;
  CheckCounts counts;
  const Status checked = check_store(
      {.path = directory}, [&](std::string_view line) { problems += fmt::format("{}\n", line); }, &counts);
  if (!checked.ok()) return "it cannot be checked: " + checked.text();
  if (counts.problems > 0) return "the check finds\n" + problems;
  const auto store = open_lmdb_store(options_for(directory));
  if (!store.ok()) return "it does not open any more: " + store.status().text();
  if (const auto found = (*store)->recover(); !found.ok())
    return "it does not recover: " + found.status().text();
  const std::set<std::uint64_t> asked(told.asked.begin(), told.asked.begin() + told.asked_count);
  for (std::size_t n = 0; n < told.confirmed_count; ++n) {
    const JobId job{told.confirmed[n]};
    if (!asked.contains(job.value) && !(*store)->read_job(job)->known)
      return fmt::format("job {} was confirmed and is lost", job.value);
  }
  for (std::size_t n = 0; n < told.settled_count; ++n)
    if ((*store)->read_job(JobId{told.settled[n]})->known)
      return fmt::format("job {} was acked and is there", told.settled[n]);
  return "";
}

struct Score {
  int cases = 0, out_of_memory = 0, store_failed = 0, refused = 0, went_on = 0, not_reached = 0, bad = 0;
  std::string first;
};

void try_case(const std::string& directory, long nth, bool for_ever, Told* told, Score* score) {
  *told = {};
  std::filesystem::create_directory(directory);
  const pid_t child = fork();
  if (child == 0) {
    for (const int number : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) std::signal(number, SIG_DFL);
    _exit(serve(directory, nth, for_ever, told));
  }
  int status = 0;
  JOBQ_CHECK(child > 0 && waitpid(child, &status, 0) == child);
  ++score->cases;
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (code == kOutOfMemory) ++score->out_of_memory;
  if (code == kStoreFailed) ++score->store_failed;
  if (code == kStoreRefused) ++score->refused;
  if (code == 0) ++(told->failed ? score->went_on : score->not_reached);
  std::string wrong = judge(directory, *told);
  if (code != 0 && code != kOutOfMemory && code != kStoreFailed && code != kStoreRefused)
    wrong += fmt::format(" it ended with status {:#x}", static_cast<unsigned>(status));
  if (!wrong.empty() && ++score->bad == 1)
    score->first = fmt::format("allocation {}{}: {}", nth, for_ever ? ", for ever" : "", wrong);
  std::filesystem::remove_all(directory);
}

// How many allocations a run makes in which none fails.
long allocations_of_a_run(const std::string& directory, Told* told) {
  constexpr long kNever = 1L << 40;
  const pid_t child = fork();
  if (child == 0) {
    failing_memory_arm(kNever, 0);
    const auto store = open_lmdb_store(options_for(directory));
    const auto recovered = (*store)->recover();
    Scene scene(store->get(), *recovered, told);
    const bool done = scene.run().ok();
    told->allocations = kNever - failing_memory_left();
    _exit(done ? 0 : 1);
  }
  int status = 0;
  JOBQ_CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
  return told->allocations;
}

}  // namespace

TEST_CASE(
    "whichever allocation of the broker fails, what was confirmed is there and the next start is sound") {
  if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 0);
  const TemporaryDirectory temporary;
  Told* told = shared_between_processes();
  std::filesystem::create_directory(temporary.path() + "/first");
  const long allocations = allocations_of_a_run(temporary.path() + "/first", told);
  CHECK(told->confirmed_count == told->confirmed.size());
  CHECK(told->settled_count > told->confirmed_count / 3);
  std::vector<std::pair<long, bool>> cases;
  for (long nth = 1; nth <= allocations; ++nth)
    for (const bool for_ever : {false, true}) cases.emplace_back(nth, for_ever);
  Prng prng{static_cast<std::uint64_t>(std::time(nullptr) / 86'400)};
  constexpr int kAlways = 1'000;  // N = 1 to 500, once and for ever
  constexpr std::size_t kBehind = kAlways;
  REQUIRE(cases.size() > kBehind);
  for (std::size_t n = cases.size(); n > kBehind + 1; --n)
    std::swap(cases[n - 1], cases[kBehind + prng.below(n - kBehind)]);
  const char* seconds = std::getenv("JOBQ_MEMORY_FAULTS_SECONDS");
  const std::chrono::seconds allowed{seconds == nullptr ? 6 : std::strtol(seconds, nullptr, 10)};
  auto began = std::chrono::steady_clock::now();
  Score score;
  for (const auto& [nth, for_ever] : cases) {
    if (score.cases == kAlways) began = std::chrono::steady_clock::now();
    if (score.cases > kAlways && std::chrono::steady_clock::now() - began > allowed) break;
    try_case(fmt::format("{}/{}", temporary.path(), score.cases), nth, for_ever, told, &score);
  }
  MESSAGE(fmt::format(
      "{} of {} cases: {} ended out of memory, {} by a store that failed, {} did not open, {} went on, {} "
      "did not meet it: {} bad",
      score.cases, cases.size(), score.out_of_memory, score.store_failed, score.refused, score.went_on,
      score.not_reached, score.bad));
  CHECK_MESSAGE(score.bad == 0, score.first);
  CHECK(score.not_reached * 10 <= score.cases);
}

TEST_CASE("whichever allocation of the codec fails, a message is read and written whole or not at all") {
  int failures = 0;
  const auto each = [&](const std::string& frame, const auto& again) {
    for (long nth = 1; nth <= 500; ++nth) {
      std::string made;
      bool whole = false;
      failing_memory_arm(nth, nth % 2 == 0 ? 1 : 0);
      try {
        whole = again(&made);
      } catch (const std::bad_alloc&) {
      }
      const bool failed = failing_memory_failed() > 0;
      failing_memory_disarm();
      failures += failed ? 1 : 0;
      if (whole) CHECK(made == frame);
      CHECK((whole || failed));
      if (!failed) break;
    }
  };
  protocol::MessageMaker maker{7};
  for (int round = 0; round < 30; ++round) {
    for (std::uint64_t kind = 0; kind < protocol::MessageMaker::kRequestKinds; ++kind) {
      std::string frame;
      protocol::encode(maker.request(kind), &frame);
      each(frame, [&](std::string* made) {
        std::uint64_t id = 0;
        const auto message = protocol::decode_request(frame, {}, &id);
        if (!message.ok()) return false;
        protocol::encode(*message, made);
        return true;
      });
    }
    for (std::uint64_t kind = 0; kind < protocol::MessageMaker::kReplyKinds; ++kind) {
      std::string frame;
      protocol::encode(maker.reply(kind), &frame);
      each(frame, [&](std::string* made) {
        const auto message = protocol::decode_reply(frame, {});
        if (!message.ok()) return false;
        protocol::encode(*message, made);
        return true;
      });
    }
  }
  CHECK(failures > 1'000);
}

}  // namespace jobq::faults
