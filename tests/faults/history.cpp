#include "tests/faults/history.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <istream>
#include <nlohmann/json.hpp>

#include "libjobq/base/check.hpp"

namespace jobq::faults {
namespace {

using Json = nlohmann::json;

constexpr std::array<const char*, 4> kTypes{"invoke", "ok", "fail", "info"};

// A member that is absent, or null, leaves the field as it is.
template <typename T>
void read(const Json& object, const char* name, T* field) {
  const auto found = object.find(name);
  if (found != object.end() && !found->is_null()) found->get_to(*field);
}

// Ids and hashes are compared as text, however a writer spells them.
void read_as_text(const Json& object, const char* name, std::string* field) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) return;
  *field = found->is_string() ? found->get<std::string>() : found->dump();
}

template <typename T>
void write(Json* object, const char* name, const T& value, const T& absent) {
  if (value != absent) (*object)[name] = value;
}

}  // namespace

Result<Event> parse_event(const std::string& line) {
  Event event;
  try {
    const Json object = Json::parse(line);
    object.at("proc").get_to(event.proc);
    object.at("op").get_to(event.op);
    object.at("t").get_to(event.t);
    const auto type = object.at("type").get<std::string>();
    const auto known = std::find(kTypes.begin(), kTypes.end(), type);
    if (known == kTypes.end())
      return {Code::bad_argument, "type '" + type + "' is none of invoke, ok, fail, info"};
    event.type = static_cast<EventType>(known - kTypes.begin());
    read(object, "n", &event.n);
    read(object, "seq", &event.seq);
    read_as_text(object, "job", &event.job);
    read(object, "token", &event.token);
    read(object, "attempt", &event.attempt);
    read(object, "queue", &event.queue);
    read(object, "prio", &event.prio);
    read(object, "key", &event.key);
    read_as_text(object, "hash", &event.hash);
    read(object, "err", &event.err);
    read(object, "delay_ms", &event.delay_ms);
    read(object, "expires_ms", &event.expires_ms);
    read(object, "group", &event.group);
    read(object, "duplicate", &event.duplicate);
    read(object, "lease_ms", &event.lease_ms);
    read(object, "max_attempts", &event.max_attempts);
    read(object, "slots", &event.slots);
    read(object, "may_time_out", &event.may_time_out);
    read(object, "final_count", &event.final_count);
    read(object, "state", &event.state);
    read(object, "kind", &event.kind);
    read(object, "run_at", &event.run_at);
    read(object, "timeout_ms", &event.timeout_ms);
    read(object, "wall", &event.wall);
    read(object, "within_ms", &event.within_ms);
    read(object, "code", &event.code);
    read(object, "signal", &event.signal);
    read(object, "session", &event.session);
    read(object, "task", &event.task);
    read(object, "rate", &event.rate);
    read(object, "limit", &event.limit);
    read(object, "ready", &event.ready);
    read(object, "scheduled", &event.scheduled);
    read(object, "leased", &event.leased);
    read(object, "dead", &event.dead);
  } catch (const Json::exception& problem) {
    return {Code::bad_argument, problem.what()};
  }
  return event;
}

std::string to_line(const Event& event) {
  const Event absent;
  Json object{{"n", event.n},
              {"t", event.t},
              {"proc", event.proc},
              {"op", event.op},
              {"type", kTypes[static_cast<std::size_t>(event.type)]}};
  write(&object, "seq", event.seq, absent.seq);
  write(&object, "job", event.job, absent.job);
  write(&object, "token", event.token, absent.token);
  write(&object, "attempt", event.attempt, absent.attempt);
  write(&object, "queue", event.queue, absent.queue);
  write(&object, "prio", event.prio, absent.prio);
  write(&object, "key", event.key, absent.key);
  write(&object, "hash", event.hash, absent.hash);
  write(&object, "err", event.err, absent.err);
  write(&object, "delay_ms", event.delay_ms, absent.delay_ms);
  write(&object, "expires_ms", event.expires_ms, absent.expires_ms);
  write(&object, "group", event.group, absent.group);
  write(&object, "duplicate", event.duplicate, absent.duplicate);
  write(&object, "lease_ms", event.lease_ms, absent.lease_ms);
  write(&object, "max_attempts", event.max_attempts, absent.max_attempts);
  write(&object, "slots", event.slots, absent.slots);
  write(&object, "may_time_out", event.may_time_out, absent.may_time_out);
  write(&object, "final_count", event.final_count, absent.final_count);
  write(&object, "state", event.state, absent.state);
  write(&object, "kind", event.kind, absent.kind);
  write(&object, "run_at", event.run_at, absent.run_at);
  write(&object, "timeout_ms", event.timeout_ms, absent.timeout_ms);
  write(&object, "wall", event.wall, absent.wall);
  write(&object, "within_ms", event.within_ms, absent.within_ms);
  write(&object, "code", event.code, absent.code);
  write(&object, "signal", event.signal, absent.signal);
  write(&object, "session", event.session, absent.session);
  write(&object, "task", event.task, absent.task);
  write(&object, "rate", event.rate, absent.rate);
  write(&object, "limit", event.limit, absent.limit);
  if (event.op == "stats") {
    object["ready"] = event.ready;
    object["scheduled"] = event.scheduled;
    object["leased"] = event.leased;
    object["dead"] = event.dead;
  }
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<std::vector<Event>> read_history(std::istream* in) {
  std::vector<Event> events;
  std::string line;
  for (std::size_t number = 1; std::getline(*in, line); ++number) {
    if (in->eof()) break;  // No newline: cut short.
    if (line.empty()) continue;
    Result<Event> event = parse_event(line);
    if (!event.ok())
      return {Code::bad_argument, fmt::format("history line {}: {}", number, event.status().text())};
    event->line = number;
    events.push_back(*std::move(event));
  }
  std::stable_sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
    if (a.t != b.t) return a.t < b.t;
    return a.proc == b.proc && a.n < b.n;
  });
  return events;
}

Result<std::map<std::string, DumpedJob>> read_dump(std::istream* in) {
  std::map<std::string, DumpedJob> jobs;
  std::string line;
  for (std::size_t number = 1; std::getline(*in, line); ++number) {
    if (line.empty()) continue;
    DumpedJob job;
    try {
      const Json object = Json::parse(line);
      if (!object.contains("id") || !object.contains("state")) continue;
      read_as_text(object, "id", &job.id);
      read(object, "queue", &job.queue);
      read(object, "state", &job.state);
      read_as_text(object, "hash", &job.hash);
      read_as_text(object, "body_hash", &job.hash);
      read(object, "unique_key", &job.key);
      read(object, "priority", &job.prio);
      read(object, "failures", &job.failures);
      read(object, "attempts", &job.attempts);
      read(object, "reason", &job.reason);
    } catch (const Json::exception& problem) {
      return {Code::bad_argument, fmt::format("dump line {}: {}", number, problem.what())};
    }
    job.line = number;
    if (!jobs.emplace(job.id, job).second)
      return {Code::bad_argument, fmt::format("dump line {}: job {} comes twice", number, job.id)};
  }
  return jobs;
}

HistoryWriter::HistoryWriter(int fd, std::string proc) : fd_(fd), proc_(std::move(proc)) {}

std::int64_t HistoryWriter::now_ms() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(since).count();
}

void HistoryWriter::write(Event event) {
  const std::lock_guard lock{mutex_};
  event.n = ++n_;
  if (event.t == 0) event.t = now_ms();
  event.proc = proc_;
  const std::string line = to_line(event) + "\n";
  const ssize_t written = ::write(fd_, line.data(), line.size());
  JOBQ_CHECK(written == static_cast<ssize_t>(line.size()), "history: {} of {} bytes", written, line.size());
}

}  // namespace jobq::faults
