#include "tests/engine/transcript.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <vector>

namespace jobq::testing {
namespace {

// "5s", "250ms", "2h", "1d", "7" (milliseconds).
std::int64_t parse_ms(std::string_view text) {
  std::int64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit = text.substr(static_cast<std::size_t>(parsed.ptr - text.data()));
  if (unit == "ms" || unit.empty()) return number;
  if (unit == "s") return number * 1'000;
  if (unit == "m") return number * 60'000;
  if (unit == "h") return number * 3'600'000;
  REQUIRE_MESSAGE(unit == "d", "unit of '" << text << "'");
  return number * 24 * 3'600'000;
}

// One command line: words, of which those with '=' are options. "double quotes" keep spaces.
struct Line {
  std::vector<std::string> words;
  std::map<std::string, std::string> options;

  explicit Line(const std::string& text) {
    std::string word;
    bool quoted = false;
    const auto finish = [&] {
      if (word.empty()) return;
      const auto equals = word.find('=');
      if (equals != std::string::npos) {
        options[word.substr(0, equals)] = word.substr(equals + 1);
      } else {
        words.push_back(word);
      }
      word.clear();
    };
    for (const char c : text) {
      if (c == '"') {
        quoted = !quoted;
      } else if (c == ' ' && !quoted) {
        finish();
      } else {
        word += c;
      }
    }
    finish();
  }
  [[nodiscard]] bool has(const std::string& name) const { return options.contains(name); }
  [[nodiscard]] std::string get(const std::string& name, const std::string& otherwise = "") const {
    const auto found = options.find(name);
    return found == options.end() ? otherwise : found->second;
  }
  [[nodiscard]] std::int64_t number(const std::string& name, std::int64_t otherwise) const {
    return has(name) ? std::stoll(options.at(name)) : otherwise;
  }
  [[nodiscard]] std::int64_t ms(const std::string& name) const {
    return has(name) ? parse_ms(options.at(name)) : 0;
  }
};

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
  return parts;
}

JobId job_id(const std::string& text) {
  const auto id = parse_job_id(text);
  REQUIRE_MESSAGE(id.has_value(), "'" << text << "' is no job id");
  return *id;
}

protocol::LeaseRef lease_ref(const std::string& text) {
  const auto parts = split(text, '/');
  REQUIRE_MESSAGE(parts.size() == 2, "'" << text << "' is not JOB/LEASE_NO");
  return {job_id(parts[0]), static_cast<LeaseNo>(std::stoul(parts[1]))};
}

}  // namespace

class Script::Runner {
 public:
  // Carries out one line and returns what came out.
  std::vector<std::string> run(const std::string& text) {
    const Line line(text);
    const std::string& verb = line.words.at(0);
    if (verb == "enqueue") return enqueue(line);
    if (verb == "worker") return worker(line);
    if (verb == "ack" || verb == "nack" || verb == "release" || verb == "reject" || verb == "snooze" ||
        verb == "no_handler") {
      return outcome(verb, line);
    }
    if (verb == "heartbeat") return heartbeat(line);
    if (verb == "goodbye") return world_.send(line.words.at(1), protocol::Goodbye{});
    if (verb == "lost") return world_.send(line.words.at(1), command::PeerLost{});
    if (verb == "send_failed") {
      return world_.send(line.words.at(1), command::SendFailed{{lease_ref(line.words.at(2))}});
    }
    if (verb == "damaged") return world_.send("broker", command::Damaged{lease_ref(line.words.at(1))});
    if (verb == "advance") return world_.advance({parse_ms(line.words.at(1))});
    if (verb == "jump_wall") return world_.jump_wall({parse_ms(line.words.at(1))});
    if (verb == "restart") return world_.restart({line.ms("down")});
    if (verb == "cancel") return world_.send("op", command::CancelJob{job_id(line.words.at(1))});
    if (verb == "retry") return world_.send("op", command::RetryJob{job_id(line.words.at(1))});
    if (verb == "put_off") return put_off(line);
    if (verb == "remove_queue") return world_.send("op", command::RemoveQueue{line.words.at(1)});
    if (verb == "drain") return drain(line);
    if (verb == "cancel_task") return world_.send("op", command::CancelTask{std::stoull(line.words.at(1))});
    if (verb == "why") return why(line);
    if (verb == "queue") return queue(line);
    if (verb == "redrive" || verb == "purge_dead") return dead(verb, line);
    if (verb == "purge") return world_.send("op", command::PurgeQueue{line.words.at(1)});
    if (verb == "task") return world_.send("op", command::ShowTask{std::stoull(line.words.at(1))});
    if (verb == "admission") return admission(line);
    if (verb == "counters") return counters(line);
    if (verb == "job") return job(line);
    if (verb == "limits") return limits(line);
    FAIL("no command is called '" << verb << "'");
    return {};
  }

  World& world() { return world_; }

 private:
  // enqueue QUEUE [n=COUNT] [group=yes] [priority=] [type=] [delay=] [run_at=+MS] [expires=] [max_attempts=]
  // [max_run=]
  //   [key=] [unique_for=] [body=] [producer=P seq=N low=N resend=yes]
  std::vector<std::string> enqueue(const Line& line) {
    const std::string body = line.get("body", "x");
    const std::string type = line.get("type");
    const std::string key = line.get("key");
    protocol::EnqueueJob made;
    made.type = type;
    made.body = body;
    made.unique_key = key;
    if (line.has("priority")) made.priority = static_cast<std::uint8_t>(line.number("priority", 5));
    made.delay.ms = line.ms("delay");
    if (line.has("run_at")) made.run_at = world_.now().wall + DurationMs{line.ms("run_at")};
    made.expires_in.ms = line.ms("expires");
    made.unique_for.ms = line.ms("unique_for");
    made.max_attempts = static_cast<std::uint32_t>(line.number("max_attempts", 0));
    made.max_run_ms = static_cast<std::uint32_t>(line.ms("max_run"));
    protocol::Enqueue request;
    const auto count = static_cast<std::uint32_t>(line.number("n", 1));
    for (std::uint32_t i = 0; i < count; ++i) {
      request.jobs.push_back(made);
      if (!line.has("group")) request.groups.push_back({line.words.at(1), i, 1});
    }
    if (line.has("group")) request.groups.push_back({line.words.at(1), 0, count});
    if (line.has("producer")) {
      request.producer.fill(static_cast<std::uint8_t>(line.get("producer").at(0)));
      request.sequence = static_cast<std::uint64_t>(line.number("seq", 1));
      request.lowest_open = static_cast<std::uint64_t>(line.number("low", 1));
      request.resend = line.has("resend");
      request.content_hash = std::hash<std::string>{}(body + key);
    }
    return world_.send("p", std::move(request));
  }

  // worker NAME QUEUE[:WEIGHT],... [credit=1] [types=a,b] [bytes=] [resume=OLDNAME] [held=J/L,...]
  // [ack=J/L,...]
  std::vector<std::string> worker(const Line& line) {
    protocol::Register request;
    std::vector<std::string> names;
    const auto wanted = split(line.words.at(2), ',');
    names.reserve(wanted.size());
    for (const std::string& entry : wanted) {
      const auto parts = split(entry, ':');
      names.push_back(parts[0]);
      request.queues.push_back(
          {names.back(), parts.size() > 1 ? static_cast<std::uint32_t>(std::stoul(parts[1])) : 1});
    }
    const auto types = split(line.get("types"), ',');
    for (const std::string& type : types) request.types.emplace_back(type);
    request.credit_jobs = static_cast<std::uint32_t>(line.number("credit", 1));
    request.credit_bytes = static_cast<std::uint64_t>(line.number("bytes", 0));
    for (const std::string& ref : split(line.get("held"), ',')) request.held.push_back(lease_ref(ref));
    for (const std::string& ref : split(line.get("ack"), ',')) {
      protocol::Outcome acked;
      acked.lease = lease_ref(ref);
      request.outcomes.push_back(acked);
    }
    const std::string name = line.words.at(1);
    request.name = name;
    request.host = "host";
    request.pid = 1;
    if (line.has("resume")) {
      const World::PeerSession* old = world_.session(line.get("resume"));
      REQUIRE(old != nullptr);
      request.session = old->number;
      request.secret = old->secret;
    }
    if (line.has("wrong_secret")) request.secret[0] = static_cast<std::uint8_t>(request.secret[0] + 1);
    return world_.send(name, std::move(request));
  }

  // ack|nack|release|reject|snooze|no_handler NAME JOB/LEASE [text] [delay=]
  std::vector<std::string> outcome(const std::string& verb, const Line& line) {
    static const std::map<std::string, protocol::OutcomeKind> kinds = {
        {"ack", protocol::OutcomeKind::ack},         {"nack", protocol::OutcomeKind::nack},
        {"release", protocol::OutcomeKind::release}, {"reject", protocol::OutcomeKind::reject},
        {"snooze", protocol::OutcomeKind::snooze},   {"no_handler", protocol::OutcomeKind::no_handler}};
    const std::string text = line.words.size() > 3 ? line.words[3] : "";
    protocol::Outcomes request;
    protocol::Outcome outcome;
    outcome.lease = lease_ref(line.words.at(2));
    outcome.kind = kinds.at(verb);
    outcome.text = text;
    outcome.delay.ms = line.ms("delay");
    request.outcomes.push_back(outcome);
    return world_.send(line.words.at(1), std::move(request));
  }

  // heartbeat NAME [extend=J/L,...] [credit=N]
  std::vector<std::string> heartbeat(const Line& line) {
    protocol::Heartbeat request;
    for (const std::string& ref : split(line.get("extend"), ',')) request.extend.push_back(lease_ref(ref));
    if (line.has("credit")) request.credit_jobs = static_cast<std::uint32_t>(line.number("credit", 0));
    return world_.send(line.words.at(1), std::move(request));
  }

  // put_off JOB [delay=] [run_at=+MS]: an operator's snooze
  std::vector<std::string> put_off(const Line& line) {
    command::SnoozeJob request{job_id(line.words.at(1)), {line.ms("delay")}, {}};
    if (line.has("run_at")) request.run_at = world_.now().wall + DurationMs{line.ms("run_at")};
    return world_.send("op", request);
  }

  // drain NAME [told=yes]
  std::vector<std::string> drain(const Line& line) {
    const World::PeerSession* session = world_.session(line.words.at(1));
    REQUIRE(session != nullptr);
    return world_.send("op", command::DrainWorker{session->number, line.has("told")});
  }

  // why JOB: what stands between a ready job and a worker
  std::vector<std::string> why(const Line& line) {
    const auto fact = world_.store().read_job(job_id(line.words.at(1)));
    REQUIRE((fact.ok() && fact->known));
    const WaitView view = world_.engine().waiting(fact->meta, world_.now());
    std::string text = fmt::format("{}workers {} serving {} busy {}/{} with room {} ahead {}{}",
                                   view.paused ? "paused; " : "", view.workers, view.serving, view.busy,
                                   view.slots, view.with_room, view.ahead, view.ahead_more ? " or more" : "");
    if (view.draining > 0) text += fmt::format(" draining {}", view.draining);
    if (view.given_back) text += " given back";
    return {text};
  }

  // queue NAME [setting=value]...
  std::vector<std::string> queue(const Line& line) {
    command::SetQueue set{.queue = line.words.at(1), .settings = {}, .create = true};
    for (const auto& [name, value] : line.options) {
      set.settings.emplace_back(name, name.ends_with("_ms") ? parse_ms(value) : std::stoll(value));
    }
    return world_.send("op", std::move(set));
  }

  // redrive|purge_dead QUEUE [id=] [type=] [error=] [min_age=] [limit=] [rate=] [dry_run=yes]
  std::vector<std::string> dead(const std::string& verb, const Line& line) {
    DeadFilter filter;
    if (line.has("id")) filter.job = job_id(line.get("id"));
    filter.has_type = line.has("type");
    filter.type = line.get("type");
    filter.error_contains = line.get("error");
    filter.min_age_ms = line.ms("min_age");
    if (verb == "purge_dead") return world_.send("op", command::PurgeDead{line.words.at(1), filter});
    command::RedriveDead request{line.words.at(1), filter, 0, 0, line.has("dry_run")};
    request.limit = static_cast<std::uint64_t>(line.number("limit", 0));
    request.rate_per_s = static_cast<std::uint32_t>(line.number("rate", 0));
    return world_.send("op", std::move(request));
  }

  // admission ok|store_full|disk_full|shutting_down
  std::vector<std::string> admission(const Line& line) {
    for (const Code code : {Code::ok, Code::store_full, Code::disk_full, Code::shutting_down}) {
      if (to_string(code) == line.words.at(1)) world_.engine().set_admission({code, 2'000});
    }
    return {};
  }

  // counters QUEUE: what is not zero
  std::vector<std::string> counters(const Line& line) {
    const auto view = world_.engine().queue(line.words.at(1), world_.now());
    REQUIRE(view.has_value());
    const QueueCounters& c = *view->counters;
    std::string text =
        fmt::format("ready {} leased {} scheduled {} dead {}", c.ready, c.leased, c.scheduled, c.dead);
    const auto add = [&text](const char* name, std::uint64_t value) {
      if (value != 0) text += fmt::format("; {} {}", name, value);
    };
    add("enqueued", c.enqueued_total);
    add("acked", c.acked_total);
    add("failed", c.failed_total);
    add("crashed", c.crashed_total);
    add("lapsed", c.lapsed_total);
    add("released", c.released_total);
    add("snoozed", c.snoozed_total);
    add("expired", c.expired_total);
    add("cancelled", c.cancelled_total);
    add("purged", c.purged_total);
    add("dropped", c.dropped_total);
    add("died", c.dead_total);
    add("redriven", c.redriven_total);
    add("duplicates", c.duplicate_total);
    if (view->oldest_ready_ms) text += fmt::format("; oldest ready {} ms", *view->oldest_ready_ms);
    return {text};
  }

  // job ID: as the store has it
  std::vector<std::string> job(const Line& line) {
    const JobId id = job_id(line.words.at(1));
    const auto fact = world_.store().read_job(id);
    REQUIRE(fact.ok());
    if (!fact->known) return {"unknown"};
    const JobProgress& progress = fact->meta.progress;
    std::vector<std::string> lines = {fmt::format(
        "{} lease_no {} failures {} crashes {} snoozes {} redrives {}", to_string(fact->state),
        progress.lease_no, progress.failures, progress.crashes, progress.snoozes, progress.redrives)};
    const auto attempts = world_.store().read_attempts(id);
    REQUIRE(attempts.ok());
    for (const AttemptRecord& record : *attempts) {
      lines.push_back(fmt::format("  attempt {} {} {} after {} ms: {}", record.number, record.worker,
                                  to_string(record.outcome), (record.ended_at - record.started_at).ms,
                                  record.error));
    }
    return lines;
  }

  // limits [lane_window=] [due_per_tick=] [dispatch_per_tick=] [queues=] [types=] [body=]: of the broker, from the next restart on
  std::vector<std::string> limits(const Line& line) {
    EngineLimits& limits = world_.limits();
    limits.lane_window = static_cast<std::uint32_t>(line.number("lane_window", limits.lane_window));
    limits.timer_window = static_cast<std::uint32_t>(line.number("timer_window", limits.timer_window));
    limits.due_per_tick_max =
        static_cast<std::uint32_t>(line.number("due_per_tick", limits.due_per_tick_max));
    limits.dispatch_per_tick_max =
        static_cast<std::uint32_t>(line.number("dispatch_per_tick", limits.dispatch_per_tick_max));
    limits.queues_max = static_cast<std::uint32_t>(line.number("queues", limits.queues_max));
    limits.types_max = static_cast<std::uint32_t>(line.number("types", limits.types_max));
    limits.body_bytes_max = static_cast<std::uint32_t>(line.number("body", limits.body_bytes_max));
    limits.auto_create = line.number("auto_create", limits.auto_create ? 1 : 0) != 0;
    return world_.restart({0});
  }

  World world_;
};

Script::Script() : runner_(std::make_unique<Runner>()) {}
Script::~Script() = default;
std::vector<std::string> Script::run(const std::string& line) { return runner_->run(line); }
World& Script::world() { return runner_->world(); }

void run_transcript(const std::string& path) {
  std::ifstream file(path);
  REQUIRE_MESSAGE(file.good(), "cannot read " << path);
  const bool update = std::getenv("JOBQ_UPDATE") != nullptr;
  Script script;
  std::string written;
  std::vector<std::string> commands;
  bool expecting = false;
  std::string expected, actual;
  int line_number = 0, block_line = 0;
  const auto finish_block = [&] {
    if (!expecting) return;
    if (!update) {
      const std::string where = fmt::format("{}:{}", path, block_line);
      INFO(where);
      REQUIRE_EQ(actual, expected);
    }
    written += actual + "\n";
    expecting = false;
  };
  for (std::string line; std::getline(file, line);) {
    ++line_number;
    if (expecting) {
      if (!line.empty()) {
        expected += line + "\n";
        continue;
      }
      finish_block();
      continue;
    }
    written += line + "\n";
    if (line.empty() || line[0] == '#') continue;
    if (line != "----") {
      commands.push_back(line);
      continue;
    }
    expecting = true;
    block_line = line_number;
    expected.clear();
    actual.clear();
    for (const std::string& command : commands) {
      for (const std::string& out : script.run(command)) actual += out + "\n";
    }
    commands.clear();
  }
  finish_block();
  while (written.ends_with("\n\n")) written.pop_back();
  if (update) std::ofstream(path) << written;
}

}  // namespace jobq::testing
