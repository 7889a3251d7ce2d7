// jobq-broker: flags, settings, then the objects in the order of their dependence, then the loop. Every failure is one line
// with its remedy and an exit code of its own (exit_codes.hpp).
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <random>

#include "broker/command_line.hpp"
#include "broker/exit_codes.hpp"
#include "broker/net/heap.hpp"
#include "broker/net/zmq_transport.hpp"
#include "broker/server/clock.hpp"
#include "broker/server/log.hpp"
#include "broker/server/server.hpp"
#include "broker/server/signals.hpp"
#include "broker/store/lmdb_options.hpp"
#include "jobq/version.hpp"
#include "libjobq/base/out_of_memory.hpp"
#include "libjobq/base/supervisor.hpp"

namespace jobq {
namespace {

using Steady = std::chrono::steady_clock;

// Descriptors besides those of connections: the store, the log, ZeroMQ's own.
constexpr std::uint64_t kOtherDescriptors = 64;
constexpr rlim_t kDescriptorsMin = 32;  // with fewer, ZeroMQ ends the process by itself
constexpr DurationMs kForever{std::int64_t{24} * 3600 * 1000};

int fail(int code, const std::string& text) {
  fmt::print(stderr, "jobq-broker: {}\n", text);
  return code;
}

int exit_code_of(StoreProblem problem) {
  switch (problem) {
    case StoreProblem::already_open:
      return exit_code::kStoreInUse;
    case StoreProblem::not_a_store:
      return exit_code::kNotAStore;
    case StoreProblem::newer_format:
      return exit_code::kStoreNewer;
    case StoreProblem::damaged:
      return exit_code::kStoreDamaged;
    case StoreProblem::no_space:
      return exit_code::kNoSpace;
    case StoreProblem::read_only:
      return exit_code::kStoreReadOnly;
    case StoreProblem::network_fs:
      return exit_code::kNetworkFs;
    case StoreProblem::none:
    case StoreProblem::io:
    case StoreProblem::not_empty:
    case StoreProblem::interrupted:
      break;
  }
  return exit_code::kStoreIo;
}

// The first start writes: a disk that fails or is full is no damage, and a supervisor should try again.
int exit_code_of_recovery(const Status& status) {
  if (status.code() == Code::disk_full || status.code() == Code::store_full) return exit_code::kNoSpace;
  return status.code() == Code::io_error ? exit_code::kStoreIo : exit_code::kStoreDamaged;
}

Status check_descriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max >= kDescriptorsMin) return {};
  return {Code::io_error,
          fmt::format("this process may have {} descriptors only, too few to serve; raise `ulimit -n` "
                      "(LimitNOFILE=)",
                      limit.rlim_max)};
}

// Of a store that failed while it served. Going on would hide sound jobs: a damaged row of an index, for example, may name
// ten thousand of them.
int exit_code_of(const Status& failure) {
  return failure.code() == Code::corruption ? exit_code::kStoreDamaged : exit_code::kSyncFailed;
}

// Connections are capped below the limit of descriptors: at the limit ZeroMQ's accept loop would spin.
std::uint32_t connections_allowed(std::uint64_t wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return static_cast<std::uint32_t>(wanted);
  const rlim_t needed = wanted + kOtherDescriptors;
  if (limit.rlim_cur < needed) {
    limit.rlim_cur = std::min(limit.rlim_max, needed);
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
  }
  if (limit.rlim_cur >= needed) return static_cast<std::uint32_t>(wanted);
  const std::uint64_t allowed =
      limit.rlim_cur > 2 * kOtherDescriptors ? limit.rlim_cur - kOtherDescriptors : 1;
  log::warning(
      "limits.connections = {}, but this process may have {} descriptors only: taking {} connections; raise "
      "`ulimit -n` (LimitNOFILE=)",
      wanted, limit.rlim_cur, allowed);
  return static_cast<std::uint32_t>(allowed);
}

ZmqOptions zmq_options(const Config& config) {
  ZmqOptions options;
  options.listen = config.listen;
  options.message_bytes_max = config.message_bytes;
  options.connections_max = connections_allowed(config.connections);
  options.handshake_ms = static_cast<std::int32_t>(config.handshake_ms);
  options.guard.unread_bytes = config.unread_bytes;
  options.guard.unsent_bytes = config.unsent_bytes;
  options.guard.unread_total_bytes = config.unread_total_bytes;
  options.guard.unsent_total_bytes = config.unsent_total_bytes;
  return options;
}

LmdbOptions lmdb_options(const Config& config) {
  LmdbOptions options;
  options.path = config.data;
  options.map_bytes = config.store_max_bytes;
  options.preallocate = config.store_preallocate;
  options.allow_network_fs = config.store_allow_network_fs;
  options.backup_growth_bytes_max = config.store_backup_growth_bytes;
  options.cached_blocks_max = static_cast<std::uint32_t>(config.store_cached_blocks);
  options.log = [](std::string_view text) { log::info("{}", text); };
  return options;
}

std::string joined(const std::vector<std::string>& parts) {
  return fmt::format("{}", fmt::join(parts, ", "));
}

void reload(const CommandLine& line, Config* config, Server* server) {
  const Result<Config> loaded = load_config(line);
  if (!loaded.ok()) {
    log::error("SIGHUP: nothing is changed: {}", loaded.status().text());
    return;
  }
  const ConfigDifference difference = compare(*config, *loaded);
  if (!difference.need_restart.empty()) {
    log::warning("SIGHUP: these need a restart and stay as they are: {}", joined(difference.need_restart));
  }
  log::info("SIGHUP: {}", difference.taken_over.empty() ? "nothing to take over"
                                                        : "taken over: " + joined(difference.taken_over));
  take_over(*loaded, config);
  log::set_level(config->log_level);
  server->reload(*config);
}

void log_start(const Config& config, const Recovered& recovered, const Transport& transport,
               Steady::time_point began) {
  std::uint64_t waiting = 0, dead = 0;
  for (const RecoveredQueue& queue : recovered.queues) {
    waiting += queue.counters.ready + queue.counters.scheduled;
    dead += queue.counters.dead;
  }
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Steady::now() - began);
  log::info("jobq-broker {} serves on {} from {}: {} jobs wait, {} are leased, {} are dead; started in {} ms",
            JOBQ_VERSION, joined(transport.endpoints()), config.data, waiting, recovered.leases.size(), dead,
            took.count());
}

// Until a signal to stop; the exit code.
int serve(const CommandLine& line, Config config, Server* server, Signals* signals, Supervisor* supervisor,
          ServerClock* clock) {
  for (;;) {
    while (const std::optional<int> signal = signals->next()) {
      if (*signal == SIGHUP) {
        reload(line, &config, server);
        continue;
      }
      log::info("stopping on {}", *signal == SIGINT ? "SIGINT" : "SIGTERM");
      supervisor->stopping();
      server->say_goodbye();
      return exit_code::kOk;
    }
    if (const Status turned = server->turn(supervisor->alive_every().value_or(kForever)); !turned.ok()) {
      log::error(
          "the store failed, so the broker ends: {}. Nothing was confirmed that is not on disk; {}",
          turned.text(),
          turned.code() == Code::corruption
              ? fmt::format(
                    "a restart meets the damage again: `jobq check {} --repair NEW_DIR` saves what is sound",
                    config.data)
              : "a restart is safe");
      return exit_code_of(turned);
    }
    if (supervisor->alive_every()) supervisor->alive(clock->read().engine);
  }
}

int run(const CommandLine& line, const Config& config) {
  heap::configure();
  const auto began = Steady::now();
  log::set_up(config.log_format, config.log_level);
  if (const Status local = check_listen_is_local(config); !local.ok())
    return fail(exit_code::kInsecure, local.text());
  if (config.insecure)
    log::warning("--insecure: whoever reaches {} may do everything", joined(config.listen));
  int major = 0, minor = 0, patch = 0;
  zmq_version(&major, &minor, &patch);
  if (std::tuple(major, minor, patch) < std::tuple(4, 3, 4)) {
    log::warning("libzmq {}.{}.{} has known holes; use 4.3.4 or newer", major, minor, patch);
  }

  if (const Status enough = check_descriptors(); !enough.ok())
    return fail(exit_code::kInternal, enough.text());

  Signals signals;  // before the first thread
  StoreProblem problem = StoreProblem::none;
  Result<std::unique_ptr<Store>> store = open_lmdb_store(lmdb_options(config), &problem);
  if (!store.ok()) return fail(exit_code_of(problem), store.status().text());
  const Result<Recovered> recovered = (*store)->recover();
  if (!recovered.ok()) return fail(exit_code_of_recovery(recovered.status()), recovered.status().text());
  ServerClock clock(recovered->mark.now, ServerClock::system());
  if (!clock.start_warning().empty()) log::warning("{}", clock.start_warning());
  Engine engine(config.engine, *recovered, std::random_device{}());
  Result<std::unique_ptr<ZmqTransport>> transport = ZmqTransport::open(zmq_options(config));
  if (!transport.ok()) return fail(exit_code::kCannotListen, transport.status().text());
  (*transport)->watch(signals.descriptor());

  Server server(config, {store->get(), &engine, transport->get(), &clock}, *recovered);
  if (const Status started = server.start(); !started.ok())
    return fail(exit_code_of(started), started.text());
  log_start(config, *recovered, **transport, began);
  Supervisor supervisor;
  supervisor.ready();
  if (line.ready_fd >= 0 && !write_ready(line.ready_fd, (*transport)->endpoints())) {
    return fail(exit_code::kUsage, fmt::format("--ready-fd {}: cannot be written to", line.ready_fd));
  }
  return serve(line, config, &server, &signals, &supervisor, &clock);
}

int broker_main(int argc, char** argv) {
  CommandLine line;
  if (const std::optional<int> code = read_command_line(argc, argv, &line)) return *code;
  if (line.print_config) {
    fmt::print("{}", sample_config());
    return exit_code::kOk;
  }
  const Result<Config> config = load_config(line);
  if (!config.ok()) return fail(exit_code::kBadConfig, config.status().text());
  if (line.check_config) {
    if (const Status local = check_listen_is_local(*config); !local.ok())
      return fail(exit_code::kInsecure, local.text());
    fmt::print("the configuration is right\n");
    return exit_code::kOk;
  }
  return run(line, *config);
}

}  // namespace
}  // namespace jobq

int main(int argc, char** argv) {
  jobq::end_when_out_of_memory(
      "jobq-broker: out of memory, so the broker ends. Nothing was confirmed that is not on disk; a restart "
      "is safe. "
      "Give it more memory, or lower limits.message_bytes and the other limits of bytes\n",
      jobq::exit_code::kInternal);
  try {
    return jobq::broker_main(argc, argv);
  } catch (const std::bad_alloc&) {
    jobq::end_out_of_memory();
  } catch (const std::exception& error) {
    return jobq::fail(
        jobq::exit_code::kInternal,
        fmt::format("{}. Nothing was confirmed that is not on disk; a restart is safe", error.what()));
  }
}
