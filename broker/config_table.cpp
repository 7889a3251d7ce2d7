// The settings: one row each. To add one, add the field in config.hpp and a row here, then regenerate the sample and the
// document (tests/server/config_test.cpp says how).
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iterator>

#include "broker/config.hpp"
#include "broker/config_rows.hpp"
#include "broker/engine/queue_settings.hpp"
#include "libjobq/base/check.hpp"

namespace jobq {
namespace {

constexpr std::int64_t kHuge = std::int64_t{1} << 52;
constexpr std::int64_t kMiB = std::int64_t{1} << 20;

template <typename Field>
ConfigRow number(const char* key, ConfigKind kind, std::int64_t min, std::int64_t max, bool reloads,
                 const char* meaning, Field field) {
  ConfigRow row;
  row.setting = {key, kind, min, max, reloads, meaning};
  row.get = [field](const Config& config) {
    return static_cast<std::int64_t>(field(const_cast<Config&>(config)));
  };
  row.set = [field](Config* config, std::int64_t value) {
    auto& target = field(*config);
    target = static_cast<std::remove_reference_t<decltype(target)>>(value);
  };
  return row;
}

// NOLINTNEXTLINE(bugprone-macro-parentheses): a lambda needs none
#define JOBQ_FIELD(member) [](Config& config) -> auto& { return config.member; }

void add_queue_defaults(std::vector<ConfigRow>* rows) {
  for (const SettingInfo& info : queue_setting_table()) {
    ConfigRow row;
    ConfigKind kind = ConfigKind::count;
    if (info.unit == SettingUnit::bytes) kind = ConfigKind::bytes;
    if (info.unit == SettingUnit::milliseconds) kind = ConfigKind::milliseconds;
    if (info.unit == SettingUnit::flag) kind = ConfigKind::flag;
    const std::string name = info.name;
    row.setting = {"queue_defaults." + name, kind, info.min, info.max, true, info.meaning};
    row.get = [name](const Config& config) { return read_setting(config.engine.defaults, name); };
    row.set = [name](Config* config, std::int64_t value) {
      JOBQ_CHECK(apply_setting(&config->engine.defaults, name, value).ok());
    };
    rows->push_back(std::move(row));
  }
}

std::vector<ConfigRow> top_rows() {
  ConfigRow data{
      {"data", ConfigKind::text, 0, 0, false, "the directory of the store; it is created when missing"},
      {},
      {}};
  ConfigRow listen{
      {"listen", ConfigKind::list, 0, 0, false,
       "where clients connect: tcp://HOST:PORT (port 0: a free one) or ipc://PATH; several are allowed"},
      {},
      {}};
  ConfigRow level{{"log.level", ConfigKind::text, 0, 0, true,
                   "debug, info, warning or error; nothing is logged per job above debug"},
                  {},
                  {}};
  ConfigRow format{
      {"log.format", ConfigKind::text, 0, 0, false, "human (lines for people) or json (one object per line)"},
      {},
      {}};
  return {std::move(data), std::move(listen),
          number("insecure", ConfigKind::flag, 0, 1, false,
                 "true: listen on addresses that other machines reach, although nothing is encrypted and "
                 "nobody is asked who he is",
                 JOBQ_FIELD(insecure)),
          std::move(format), std::move(level)};
}

std::vector<ConfigRow> limit_rows() {
  using K = ConfigKind;
  return {
      number("limits.body_bytes", K::bytes, 1, static_cast<std::int64_t>(limits::kBodyBytesMax), true,
             "largest body of a job; larger: refused with body_too_large", JOBQ_FIELD(engine.body_bytes_max)),
      number("limits.message_bytes", K::bytes, 65'536, static_cast<std::int64_t>(limits::kMessageBytesMax),
             false,
             "largest message of a client, which may carry many jobs; a much larger one ends the connection",
             JOBQ_FIELD(message_bytes)),
      number("limits.connections", K::count, 1, 1'000'000, false,
             "further ones are closed at once; each takes about 30 KB and a file descriptor",
             JOBQ_FIELD(connections)),
      number(
          "limits.unread_bytes", K::bytes, kMiB, kHuge, false,
          "memory that a TCP client may cost without a whole message in it; more, or four times as much in "
          "any case: cut off. Too low: bursts of honest clients suffer",
          JOBQ_FIELD(unread_bytes)),
      number("limits.unsent_bytes", K::bytes, kMiB, kHuge, false,
             "a TCP client that leaves so much unread is cut off; workers with many large jobs in hand need "
             "more, or credit by bytes",
             JOBQ_FIELD(unsent_bytes)),
      number("limits.unread_total_bytes", K::bytes, kMiB, kHuge, false,
             "what all TCP clients together may have sent ahead of the broker; above it those furthest ahead "
             "are cut off (at least limits.unread_bytes)",
             JOBQ_FIELD(unread_total_bytes)),
      number("limits.unsent_total_bytes", K::bytes, kMiB, kHuge, false,
             "what all TCP clients together may leave unread; above it those that leave most are cut off (at "
             "least "
             "limits.unsent_bytes)",
             JOBQ_FIELD(unsent_total_bytes)),
      number("limits.handshake_ms", K::milliseconds, 100, 60'000, false,
             "a connection that has not greeted by then is closed; too low: clients on slow networks never "
             "get in",
             JOBQ_FIELD(handshake_ms)),
      number("limits.queues", K::count, 1, 1'000'000, true, "further ones are refused with too_many_queues",
             JOBQ_FIELD(engine.queues_max)),
      number("limits.types", K::count, 1, 1'000'000, true,
             "further names of job types are refused with too_many_types", JOBQ_FIELD(engine.types_max)),
      number("limits.producers", K::count, 1, 1'000'000, true,
             "producers whose resends are recognised; the least recently seen is forgotten first",
             JOBQ_FIELD(engine.producers_max)),
      number("limits.open_requests", K::count, 1000, 100'000'000, true,
             "unconfirmed enqueue requests remembered over all producers; about 100 bytes each",
             JOBQ_FIELD(engine.open_requests_max)),
      number("limits.auto_create", K::flag, 0, 1, true,
             "false: an enqueue to a queue that nobody made is refused with no_such_queue",
             JOBQ_FIELD(engine.auto_create)),
  };
}

std::vector<ConfigRow> store_rows() {
  using K = ConfigKind;
  ConfigRow backup_directory{{"store.backup_directory", ConfigKind::text, 0, 0, true,
                              "the only directory that `jobq backup` makes the broker write into; empty: "
                              "backups/ in the data directory, which "
                              "is lost with the same disk"},
                             {},
                             {}};
  return {
      number("store.max_size", K::bytes, 16 * kMiB, std::int64_t{1} << 46, false,
             "what the store may grow to; only address space is taken", JOBQ_FIELD(store_max_bytes)),
      number("store.full_percent", K::count, 10, 95, true,
             "enqueues are refused (store_full) above this part of max_size; the rest is for acks, retries "
             "and deletes",
             JOBQ_FIELD(store_full_percent)),
      number("store.min_free", K::bytes, 0, kHuge, true,
             "enqueues are refused (disk_full) when the disk has less room; too low: a commit may fail and "
             "end the broker",
             JOBQ_FIELD(store_min_free_bytes)),
      number("store.preallocate", K::flag, 0, 1, false,
             "the file grows ahead of its use in steps of 64 MiB, so that a full disk is met early",
             JOBQ_FIELD(store_preallocate)),
      number(
          "store.allow_network_fs", K::flag, 0, 1, false,
          "true: open a store on NFS, CIFS or FUSE, where locks and mapped files may fail and jobs be lost",
          JOBQ_FIELD(store_allow_network_fs)),
      number(
          "store.cached_blocks", K::count, 256, 100'000'000, false,
          "blocks of 256 jobs whose states are kept in memory, about 300 bytes each; too low: more reading",
          JOBQ_FIELD(store_cached_blocks)),
      std::move(backup_directory),
      number("store.backup_growth", K::bytes, 0, kHuge, false,
             "a backup is given up when the store has grown by more since it began, because pages that it "
             "still reads "
             "cannot be used again; 0: never",
             JOBQ_FIELD(store_backup_growth_bytes)),
  };
}

std::vector<ConfigRow> engine_rows() {
  using K = ConfigKind;
  return {
      number("engine.jobs_per_turn", K::count, 1, 1'000'000, true,
             "jobs gathered into one commit; high: better throughput under load, longer turns",
             JOBQ_FIELD(jobs_per_turn)),
      number("engine.bytes_per_turn", K::bytes, 65'536, std::int64_t{1} << 32, true,
             "bytes gathered into one commit; the same trade", JOBQ_FIELD(bytes_per_turn)),
      number("engine.window_jobs", K::count, 1000, 100'000'000, true,
             "ready jobs kept in memory over all queues, about 100 bytes each; too low: more reading from "
             "the store",
             JOBQ_FIELD(engine.window_jobs_max)),
      number("engine.lane_window", K::count, 16, 1'000'000, true,
             "and at most so many per queue, type and priority", JOBQ_FIELD(engine.lane_window)),
      number("engine.timer_window", K::count, 16, 10'000'000, true, "soonest timers kept in memory",
             JOBQ_FIELD(engine.timer_window)),
      number("engine.due_per_tick", K::count, 1, 1'000'000, true,
             "timers fired in one turn: when millions fall due at once, others are served in between",
             JOBQ_FIELD(engine.due_per_tick_max)),
      number("engine.dispatch_per_tick", K::count, 1, 1'000'000, true, "jobs handed out in one turn",
             JOBQ_FIELD(engine.dispatch_per_tick_max)),
      number("engine.heartbeat_ms", K::milliseconds, 100, 600'000, true,
             "how often workers say that they live; a session is lost after three of them",
             JOBQ_FIELD(engine.heartbeat_ms)),
      number("engine.stop_grace_ms", K::milliseconds, 0, 3'600'000, true,
             "how long after max_run_ms a handler may take to stop", JOBQ_FIELD(engine.stop_grace_ms)),
      number("engine.finished_kept", K::count, 0, 1'000'000, true,
             "finished jobs per queue of which `jobq job show` still knows the end, in memory",
             JOBQ_FIELD(engine.finished_kept)),
  };
}

}  // namespace

const std::vector<ConfigRow>& config_rows() {
  static const std::vector<ConfigRow> rows = [] {
    std::vector<ConfigRow> all = top_rows();
    for (auto part : {limit_rows(), store_rows(), engine_rows()}) {
      std::move(part.begin(), part.end(), std::back_inserter(all));
    }
    add_queue_defaults(&all);
    return all;
  }();
  return rows;
}

std::span<const ConfigSetting> config_table() {
  static const std::vector<ConfigSetting> table = [] {
    std::vector<ConfigSetting> all;
    for (const ConfigRow& row : config_rows()) all.push_back(row.setting);
    return all;
  }();
  return table;
}

ConfigDifference compare(const Config& before, const Config& after) {
  ConfigDifference difference;
  for (const ConfigSetting& setting : config_table()) {
    if (config_value_text(before, setting.key) == config_value_text(after, setting.key)) continue;
    (setting.reloads ? difference.taken_over : difference.need_restart).push_back(setting.key);
  }
  return difference;
}

void take_over(const Config& after, Config* config) {
  for (const ConfigRow& row : config_rows()) {
    if (row.setting.reloads && row.get) row.set(config, row.get(after));
  }
  config->log_level = after.log_level;
  config->store_backup_directory = after.store_backup_directory;
}

}  // namespace jobq
