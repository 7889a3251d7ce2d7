// jobq-worker: a worker of any program. The main thread starts processes and hears signals (duty.hpp); the library's
// threads run the slots, each sitting beside one process (one_shot.hpp, persistent_run.hpp).
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <variant>

#include "jobq/error.hpp"
#include "jobq/version.hpp"
#include "jobq/worker.hpp"
#include "libjobq/base/out_of_memory.hpp"
#include "worker/duty.hpp"
#include "worker/exit_codes.hpp"
#include "worker/guardian.hpp"
#include "worker/log.hpp"
#include "worker/one_shot.hpp"
#include "worker/options.hpp"
#include "worker/persistent_crew.hpp"
#include "worker/persistent_run.hpp"
#include "worker/workshop.hpp"

namespace jobq::runner {
namespace {

// For a job: its body, both ends of up to three pipes, the process, the stop; and what the rest of us has.
constexpr std::size_t kDescriptorsPerSlot = 10;
constexpr std::size_t kDescriptorsBesides = 64;

// A descriptor 0, 1 or 2 that is closed would become something else's, and then a command's stdout.
void open_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0) [[maybe_unused]]
      const int opened = ::open("/dev/null", O_RDWR);
  }
}

WorkerOptions worker_options(const Workshop& shop) {
  WorkerOptions options;
  options.queues = shop.options.queues;
  options.concurrency = shop.options.concurrency;
  options.drain_timeout = shop.options.drain_timeout;
  options.stop_grace = shop.stop_grace();
  options.handle_signals = false;
  options.name = shop.options.name;
  options.build = "jobq-worker " JOBQ_VERSION;
  options.log = [](std::string_view line) { log::info("{}", line); };
  return options;
}

// What run() came to: a report, or why it would not go on.
struct Ran {
  DrainReport report;
  int exit_code = kExitOk;
  std::string error;
};

int exit_code_for(Code code) {
  if (code == Code::bad_endpoint || code == Code::bad_argument) return kExitUsage;
  return code == Code::io_error || code == Code::internal ? kExitInternal : kExitRefused;
}

Ran run_to_the_end(Worker* worker) {
  try {
    return {worker->run(), kExitOk, {}};
  } catch (const Error& error) {
    return {{}, exit_code_for(error.code()), error.what()};
  } catch (const std::exception& error) {
    return {{}, kExitInternal, error.what()};
  }
}

// Slots that the library left behind: their commands are killed, and then they end too.
bool all_slots_end(Workshop* shop) {
  shop->handing_back.store(true);
  shop->spawner.close();
  for (int i = 0; i < 200; ++i) {
    shop->groups.kill_all();
    if (shop->totals.running.load() == 0 && shop->groups.size() == 0) return true;
    ::poll(nullptr, 0, 10);
  }
  return false;
}

void look_after_descriptors(const Options& options) {
  const std::size_t needed = kDescriptorsBesides + kDescriptorsPerSlot * options.concurrency;
  const std::size_t allowed = raise_descriptor_limit(needed);
  if (allowed >= needed) return;
  log::warning(
      "--concurrency {} may need {} descriptors and this process may have {}: raise LimitNOFILE= or `ulimit "
      "-n`, or "
      "lower it",
      options.concurrency, needed, allowed);
}

void log_start(const Options& options) {
  std::string queues;
  for (const WorkerQueue& queue : options.queues) {
    queues += fmt::format("{}{}{}", queues.empty() ? "" : ", ", queue.name,
                          queue.weight == 1 ? "" : fmt::format(":{}", queue.weight));
  }
  log::info("jobq-worker {}: {} {}{} at a time for the jobs of {} at {}", JOBQ_VERSION, options.concurrency,
            options.persistent ? "persistent " : "", options.path, queues, options.endpoint);
}

int exit_code_of(const Ran& ran, const Workshop& shop) {
  const Totals& totals = shop.totals;
  log::info("done: {} acked, {} failed, {} rejected, {} handed back", totals.acked.load(),
            totals.failed.load(), totals.rejected.load(), totals.handed_back.load());
  if (ran.exit_code != kExitOk) {
    log::error("{}", ran.error);
    return ran.exit_code;
  }
  if (ran.report.unanswered > 0) {
    log::warning("no broker has answered the outcomes of {} jobs: they will run again",
                 ran.report.unanswered);
    return kExitUnanswered;
  }
  return kExitOk;
}

int run(int argc, char** argv) {
  open_standard_descriptors();
  std::variant<Options, int> read = read_command_line(argc, argv);
  if (const int* code = std::get_if<int>(&read)) return *code;
  ::signal(SIGPIPE, SIG_IGN);
  block_signals();
  Guardian guardian;
  adopt_orphans();
  const auto shop = std::make_unique<Workshop>(std::get<Options>(std::move(read)), guardian.fd());
  log::set_up(shop->options.verbose ? log::Level::debug : log::Level::info);
  look_after_descriptors(shop->options);
  const auto crew = shop->options.persistent ? std::make_unique<PersistentCrew>(shop.get()) : nullptr;
  Worker worker{shop->options.endpoint, worker_options(*shop)};
  const auto handle = [work = shop.get(), members = crew.get()](Context& job) {
    members != nullptr ? run_persistent(&job, work, members) : run_one_shot(&job, work);
  };
  if (shop->options.types.empty()) worker.on_any(handle);
  for (const std::string& type : shop->options.types) worker.on(type, handle);
  log_start(shop->options);

  Duty duty{shop.get(), &worker, crew.get(), guardian.pid()};
  Ran ran;
  std::thread working([&] {
    ran = run_to_the_end(&worker);
    duty.finished();
  });
  duty.supervisor()->ready();
  duty.loop();
  working.join();
  const bool ended = all_slots_end(shop.get());
  const int code = exit_code_of(ran, *shop);
  if (!ended) {
    // A command that not even SIGKILL ends at once sits in the kernel; its slot still looks at what is here.
    std::fflush(nullptr);
    ::_exit(code);
  }
  return code;
}

}  // namespace
}  // namespace jobq::runner

int main(int argc, char** argv) {
  jobq::end_when_out_of_memory(
      "jobq-worker: out of memory, so it ends; the jobs that it held go back to their queues\n",
      jobq::runner::kExitInternal);
  try {
    return jobq::runner::run(argc, argv);
  } catch (const std::bad_alloc&) {
    jobq::end_out_of_memory();
  } catch (const jobq::Error& error) {
    jobq::runner::complain(error.what());
    return jobq::runner::exit_code_for(error.code());
  } catch (const std::exception& error) {
    jobq::runner::complain(fmt::format("internal error: {}", error.what()));
    return jobq::runner::kExitInternal;
  }
}
