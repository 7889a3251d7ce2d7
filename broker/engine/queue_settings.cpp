#include "broker/engine/queue_settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "libjobq/base/check.hpp"

namespace jobq {
namespace {

constexpr std::int64_t kYearMs = 365LL * 24 * 3600 * 1000;
constexpr std::int64_t kHugeCount = std::int64_t{1} << 52;

constexpr SettingInfo kTable[] = {
    {"max_attempts", SettingUnit::count, 1, limits::kMaxAttemptsMax,
     "failures before a job is put among the dead; 1: never retried"},
    {"backoff_min_ms", SettingUnit::milliseconds, 1, kYearMs, "the shortest wait before a retry"},
    {"backoff_max_ms", SettingUnit::milliseconds, 1, kYearMs, "the longest wait before a retry"},
    {"backoff_factor", SettingUnit::count, 1, 10, "how the longest wait grows with every failure"},
    {"lease_ms", SettingUnit::milliseconds, 1'000, 24LL * 3600 * 1000,
     "how long a worker holds a job without extending; workers extend by themselves"},
    {"session_grace_ms", SettingUnit::milliseconds, 0, 3600LL * 1000,
     "how long a lost worker may take to come back before its jobs count as crashed"},
    {"max_run_ms", SettingUnit::milliseconds, 0, limits::kRunMsMax,
     "longest run of one attempt; 0: no limit"},
    {"crash_limit", SettingUnit::count, 1, 1000, "crashes in a row before a job is put among the dead"},
    {"default_priority", SettingUnit::count, 0, limits::kPriorityMax, "of jobs that name none; 9 goes first"},
    {"max_jobs", SettingUnit::count, 0, kHugeCount,
     "waiting and leased jobs; above it enqueues are refused; 0: no limit"},
    {"max_bytes", SettingUnit::bytes, 0, kHugeCount,
     "of their bodies and headers; above it enqueues are refused; 0: no limit"},
    {"history_count", SettingUnit::count, 0, 10'000'000, "finished jobs remembered on disk; 0: none"},
    {"history_age_ms", SettingUnit::milliseconds, 0, 10 * kYearMs,
     "and not longer than this; 0: no limit by age"},
    {"dead_retention_ms", SettingUnit::milliseconds, 0, 10 * kYearMs,
     "dead jobs older than this are dropped; 0: kept for ever"},
    {"target_wait_ms", SettingUnit::milliseconds, 0, kYearMs,
     "an oldest ready job above this is shown as a problem; 0: never"},
    {"paused", SettingUnit::flag, 0, 1, "1: nothing is handed out; jobs are still accepted"},
};

template <typename T>
void assign(T* field, std::int64_t value) {
  *field = static_cast<T>(value);
}

// One place that ties names to fields; used for reading and for writing.
template <typename Settings, typename Use>
bool with_field(Settings& settings, std::string_view name, Use use) {
  if (name == "max_attempts") return use(settings.max_attempts), true;
  if (name == "backoff_min_ms") return use(settings.backoff_min_ms), true;
  if (name == "backoff_max_ms") return use(settings.backoff_max_ms), true;
  if (name == "backoff_factor") return use(settings.backoff_factor), true;
  if (name == "lease_ms") return use(settings.lease_ms), true;
  if (name == "session_grace_ms") return use(settings.session_grace_ms), true;
  if (name == "max_run_ms") return use(settings.max_run_ms), true;
  if (name == "crash_limit") return use(settings.crash_limit), true;
  if (name == "default_priority") return use(settings.default_priority), true;
  if (name == "max_jobs") return use(settings.max_jobs), true;
  if (name == "max_bytes") return use(settings.max_bytes), true;
  if (name == "history_count") return use(settings.history_count), true;
  if (name == "history_age_ms") return use(settings.history_age_ms), true;
  if (name == "dead_retention_ms") return use(settings.dead_retention_ms), true;
  if (name == "target_wait_ms") return use(settings.target_wait_ms), true;
  if (name == "paused") return use(settings.paused), true;
  return false;
}

}  // namespace

std::span<const SettingInfo> queue_setting_table() { return kTable; }

Status apply_setting(QueueSettings* settings, std::string_view name, std::int64_t value) {
  const auto* info = std::find_if(std::begin(kTable), std::end(kTable),
                                  [name](const SettingInfo& row) { return name == row.name; });
  if (info == std::end(kTable)) {
    std::string known;
    for (const SettingInfo& row : kTable) known += known.empty() ? row.name : fmt::format(", {}", row.name);
    return {Code::bad_argument, fmt::format("no queue setting is called '{}'; there are: {}", name, known)};
  }
  if (value < info->min || value > info->max) {
    return {Code::bad_argument,
            fmt::format("{} = {} is out of range; it may be {} to {}", name, value, info->min, info->max)};
  }
  with_field(*settings, name, [value](auto& field) { assign(&field, value); });
  return {};
}

std::int64_t read_setting(const QueueSettings& settings, std::string_view name) {
  std::int64_t value = 0;
  const bool found =
      with_field(settings, name, [&](const auto& field) { value = static_cast<std::int64_t>(field); });
  JOBQ_CHECK(found, "{}", name);
  return value;
}

Status validate(const QueueSettings& settings) {
  if (settings.backoff_max_ms < settings.backoff_min_ms) {
    return {Code::bad_argument, fmt::format("backoff_max_ms = {} must be at least backoff_min_ms = {}",
                                            settings.backoff_max_ms, settings.backoff_min_ms)};
  }
  return {};
}

}  // namespace jobq
