#include "cli/job_view.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "cli/duration.hpp"
#include "cli/instant.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"

namespace jobq::cli {
namespace {

constexpr std::size_t kPreviewBytes = 2048;

TimeMs time_at(const Json& object, const char* key) { return TimeMs{int_at(object, key)}; }

std::string ago(TimeMs at, TimeMs now) {
  if (!at.is_set()) return "-";
  const std::int64_t ms = now.ms - at.ms;
  return ms >= 0 ? format_duration(ms) + " ago" : "in " + format_duration(-ms);
}

std::string when(TimeMs at, TimeMs now) { return fmt::format("{} ({})", format_instant(at), ago(at, now)); }

// One line: where the job is and what that means.
std::string state_line(const Json& job, TimeMs now) {
  const std::string state = text_at(job, "state", "?");
  const std::string exit = text_at(job, "exit");
  if (!exit.empty()) return fmt::format("{} {}", exit, ago(time_at(job, "finished_at"), now));
  const auto attempt = int_at(job, "attempt", 1), max = int_at(job, "max_attempts");
  const std::string of =
      max > 0 ? fmt::format("attempt {} of {}", attempt, max) : fmt::format("attempt {}", attempt);
  if (state == "leased") {
    const Json& lease = object_at(job, "lease");
    return fmt::format("leased to {} ({}), lease until {}{}", text_at(lease, "worker", "?"), of,
                       ago(time_at(lease, "lease_until"), now),
                       bool_at(lease, "cancel_requested") ? "; asked to stop" : "");
  }
  if (state == "dead") {
    const Json& dead = object_at(job, "dead");
    return fmt::format("dead ({}) {}", text_at(dead, "reason", "?"), ago(time_at(dead, "died_at"), now));
  }
  if (state == "scheduled")
    return fmt::format("scheduled, due {} ({})", ago(time_at(job, "run_at"), now), of);
  if (state == "ready") {
    const TimeMs since = time_at(job, "ready_since");
    return fmt::format("ready{} ({})", since.is_set() ? " since " + format_duration(now.ms - since.ms) : "",
                       of);
  }
  return state;
}

std::string fields_of(const Json& job, TimeMs now) {
  std::vector<std::pair<std::string, std::string>> rows;
  rows.emplace_back("queue", text_at(job, "queue"));
  if (const std::string type = text_at(job, "type"); !type.empty()) rows.emplace_back("type", type);
  if (const auto priority = maybe_int_at(job, "priority")) {
    rows.emplace_back("priority", std::to_string(*priority));
  }
  if (const TimeMs at = time_at(job, "run_at"); at.is_set()) rows.emplace_back("run at", when(at, now));
  if (const TimeMs at = time_at(job, "expires_at"); at.is_set()) rows.emplace_back("expires", when(at, now));
  if (const std::string key = text_at(job, "unique_key"); !key.empty()) rows.emplace_back("unique key", key);
  std::string counts;
  const auto add_count = [&](const char* field, const char* one, const char* many) {
    const auto count = int_at(job, field);
    if (count > 0)
      counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", count, count == 1 ? one : many);
  };
  add_count("failures", "failure", "failures");
  add_count("crashes", "crash", "crashes");
  add_count("snoozes", "snooze", "snoozes");
  add_count("redrives", "redrive", "redrives");
  if (!counts.empty()) rows.emplace_back("counts", counts);
  for (const auto& [name, value] : object_at(job, "headers").items()) {
    rows.emplace_back("header",
                      fmt::format("{}: {}", printable(name),
                                  value.is_string() ? printable(value.get<std::string>()) : value.dump()));
  }
  std::string out;
  for (const auto& [name, value] : rows) out += fmt::format("  {:<11} {}\n", name, value);
  return out;
}

// "since 14:30:00 (3m ago)", "until 14:40:00 (in 7m)": an instant of another day with its date.
std::string instant_words(const char* word, TimeMs at, TimeMs now) {
  if (!at.is_set()) return "";
  const bool today = format_date(at) == format_date(now);
  const std::string clock = today ? format_clock(at).substr(0, 8) : format_instant(at);
  return fmt::format("{} {} ({})", word, clock, ago(at, now));
}

// A reason with its instants, cut to nothing: sentences are not cut.
std::string reason_text(const Json& reason, TimeMs now) {
  std::string text = text_at(reason, "text", "?");
  for (const char* word : {"since", "until"}) {
    const std::string instant = instant_words(word, time_at(reason, word), now);
    if (!instant.empty()) text += ", " + instant;
  }
  return text;
}

std::string why_of(const Json& document, TimeMs now) {
  std::string out;
  for (const Json& reason : array_at(document, "why")) {
    out += fmt::format("  {:<11} {}\n", out.empty() ? "why" : "", reason_text(reason, now));
    if (const std::string remedy = text_at(reason, "remedy"); !remedy.empty())
      out += fmt::format("  {:<11} -> {}\n", "", remedy);
  }
  return out;
}

struct Event {
  TimeMs at;
  std::string text;
  std::string detail;
};

std::string outcome_words(const Json& attempt) {
  const std::string outcome = text_at(attempt, "outcome", "ended");
  if (outcome == "crashed") return "crashed (the worker was lost)";
  if (outcome == "lapsed") return "lapsed (the lease ran out, the worker lived)";
  if (outcome == "timed_out") return "timed out (max_run_time)";
  return outcome;
}

std::vector<Event> events_of(const Json& document) {
  const Json& job = object_at(document, "job");
  std::vector<Event> events;
  if (const TimeMs at = time_at(job, "enqueued_at"); at.is_set()) events.push_back({at, "enqueued", ""});
  for (const Json& attempt : array_at(document, "attempts")) {
    const TimeMs started = time_at(attempt, "started_at"), ended = time_at(attempt, "ended_at");
    const std::string ran =
        started.is_set() && ended.is_set() ? " after " + format_duration(ended.ms - started.ms) : "";
    std::string by = text_at(attempt, "worker");
    if (!by.empty()) by = " on " + by;
    events.push_back(
        {ended.is_set() ? ended : started,
         fmt::format("attempt {} {}{}{}", int_at(attempt, "number"), outcome_words(attempt), ran, by),
         text_at(attempt, "error")});
  }
  const Json& lease = object_at(job, "lease");
  if (!lease.empty()) {
    events.push_back(
        {time_at(lease, "granted_at"),
         fmt::format("leased to {} (lease {})", text_at(lease, "worker", "?"), int_at(lease, "lease_no")),
         ""});
  }
  const Json& dead = object_at(job, "dead");
  if (!dead.empty())
    events.push_back({time_at(dead, "died_at"), fmt::format("dead: {}", text_at(dead, "reason", "?")), ""});
  if (const std::string exit = text_at(job, "exit"); !exit.empty()) {
    const std::string by = text_at(job, "finished_by");
    events.push_back(
        {time_at(job, "finished_at"), by.empty() ? exit : fmt::format("{} on {}", exit, by), ""});
  }
  // What is to come.
  if (const TimeMs at = time_at(job, "run_at"); at.is_set()) events.push_back({at, "will be ready", ""});
  if (const TimeMs at = time_at(job, "expires_at");
      at.is_set() && dead.empty() && text_at(job, "exit").empty()) {
    events.push_back({at, "expires, if it has not begun", ""});
  }
  std::stable_sort(events.begin(), events.end(), [](const Event& a, const Event& b) { return a.at < b.at; });
  return events;
}

std::string timeline_of(const Json& document, TimeMs now, std::size_t width) {
  std::string out, day;
  bool ahead = false;
  for (const Event& event : events_of(document)) {
    if (event.at > now && !ahead) {
      ahead = true;
      out += fmt::format("  {}\n", ink(Ink::dim, fmt::format("{}  now", format_clock(now))));
    }
    if (const std::string date = format_date(event.at); date != day) {
      out += fmt::format("  {}\n", ink(Ink::dim, date));
      day = date;
    }
    out += fmt::format("  {}  {}\n", format_clock(event.at), event.text);
    if (!event.detail.empty())
      out += fmt::format("{:16}{}\n", "", cut(event.detail, width > 30 ? width - 16 : 0));
  }
  return out;
}

std::string body_of(const Json& job) {
  const auto bytes = int_at(job, "body_bytes");
  const auto body = job.find("body");
  if (body == job.end() || body->is_null()) {
    if (bytes == 0 || !raw_text_at(job, "exit").empty()) return "";
    return fmt::format("\nbody ({}): too large to show here\n", format_bytes(bytes));
  }
  const std::string content = raw_text_at(job, "body");
  if (content.empty()) return "\nbody: empty\n";
  return fmt::format("\nbody ({}):\n{}\n", format_bytes(bytes), preview_body(content, kPreviewBytes));
}

std::string hex_lines(const std::string& bytes) {
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += 16) {
    std::string hex, text;
    for (std::size_t i = at; i < std::min(at + 16, bytes.size()); ++i) {
      const auto byte = static_cast<unsigned char>(bytes[i]);
      hex += fmt::format("{:02x} ", byte);
      text += byte >= 0x20 && byte < 0x7F ? bytes[i] : '.';
    }
    out += fmt::format("  {:04x}  {:<48} {}\n", at, hex, text);
  }
  if (!out.empty()) out.pop_back();
  return out;
}

}  // namespace

std::string preview_body(const std::string& body, std::size_t bytes_max) {
  const std::string left_out =
      body.size() > bytes_max
          ? fmt::format("\n  … and {} more", format_bytes(static_cast<std::int64_t>(body.size() - bytes_max)))
          : "";
  if (is_utf8(body)) {
    std::string out = "  ";
    std::size_t end = std::min(body.size(), bytes_max);
    while (end < body.size() && (static_cast<unsigned char>(body[end]) & 0xC0) == 0x80)
      --end;                               // Not inside a character.
    for (std::size_t at = 0; at < end;) {  // Line by line, each one made safe.
      const std::size_t line_end = std::min(body.find('\n', at), end);
      if (at > 0) out += "\n  ";
      out += printable(body.substr(at, line_end - at));
      at = line_end + 1;
    }
    return out + left_out;
  }
  // A typed body of libjobq is a msgpack map or array.
  const Json value = Json::from_msgpack(body, true, false);
  if (value.is_object() || value.is_array()) {
    const std::string text = to_json_text(value, false);
    return fmt::format("  msgpack: {}", cut(printable(text), bytes_max));
  }
  return hex_lines(body.substr(0, std::min<std::size_t>(bytes_max, 256))) +
         (body.size() > 256
              ? fmt::format("\n  … {} in all", format_bytes(static_cast<std::int64_t>(body.size())))
              : "");
}

std::string render_job(const Json& document, TimeMs now, std::size_t width) {
  const Json& job = object_at(document, "job");
  const bool waits = text_at(job, "exit").empty() && raw_text_at(job, "state") != "gone";
  return fmt::format("{}  {}\n{}{}\n{}\n{}{}", ink(Ink::bold, text_at(job, "id")), state_line(job, now),
                     fields_of(job, now), waits ? why_of(document, now) : "", ink(Ink::bold, "what happened"),
                     timeline_of(document, now, width), body_of(job));
}

std::string render_why(const Json& document, TimeMs now) {
  const Json& job = object_at(document, "job");
  const std::string type = text_at(job, "type");
  std::string out =
      fmt::format("{} is {}{}{}\n", ink(Ink::bold, text_at(job, "id", "?")), text_at(job, "state", "?"),
                  text_at(job, "queue").empty() ? "" : fmt::format(" in '{}'", text_at(job, "queue")),
                  type.empty() ? "" : fmt::format(" (type {})", type));
  for (const Json& reason : array_at(document, "why")) {
    out += fmt::format("  {}\n", reason_text(reason, now));
    if (const std::string remedy = text_at(reason, "remedy"); !remedy.empty())
      out += fmt::format("    -> {}\n", remedy);
  }
  return out;
}

}  // namespace jobq::cli
