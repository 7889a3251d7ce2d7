// jobq events [--follow]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "cli/broker_link.hpp"
#include "cli/command.hpp"
#include "cli/duration.hpp"
#include "cli/event_view.hpp"
#include "cli/exit_codes.hpp"
#include "cli/instant.hpp"
#include "cli/interrupt.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"
#include "libjobq/base/id.hpp"

namespace jobq::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr DurationMs kPollEvery{200};
constexpr DurationMs kPollMore{20};  // when there is more than one answer holds

struct EventOptions {
  std::string queue, job, kinds, span;
  bool follow = false;  // changes nothing: see its help
  std::int64_t limit = 0;
};

class Follower {
 public:
  Follower(const Globals& globals, const EventOptions& options)
      : globals_(globals), options_(options), link_(globals) {}

  int run(std::optional<DurationMs> span);

 private:
  // False: it is over; *code says how.
  bool poll(int* code);
  bool away(const Status& status, int* code);
  void say_when_unknown();
  void show(const Json& event);
  [[nodiscard]] bool enough() const { return options_.limit > 0 && shown_ >= options_.limit; }

  const Globals& globals_;
  const EventOptions& options_;
  BrokerLink link_;
  std::string stream_;
  std::int64_t next_ = 0, shown_ = 0, dropped_ = 0;
  bool more_ = false, away_ = false;
};

bool Follower::away(const Status& status, int* code) {
  const bool outage = status.code() == Code::timed_out || status.code() == Code::unreachable ||
                      status.code() == Code::shutting_down;
  if (stream_.empty() || !outage) {
    *code = link_.fail(status, options_.queue);
    return false;
  }
  if (!away_) complain(fmt::format("no answer from {}; waiting for it", link_.endpoint()));
  away_ = true;
  return true;
}

bool Follower::poll(int* code) {
  Params params{{"limit", std::int64_t{1000}}};
  if (!stream_.empty()) {
    params.emplace_back("stream", stream_);
    params.emplace_back("after", next_);
  }
  if (!options_.queue.empty()) params.emplace_back("queue", options_.queue);
  if (!options_.job.empty()) params.emplace_back("job", options_.job);
  if (!options_.kinds.empty()) params.emplace_back("events", options_.kinds);
  const Result<Json> answer = link_.ask("events", params);
  if (interrupted()) return false;
  if (!answer.ok()) return away(answer.status(), code);
  const std::string stream = raw_text_at(*answer, "stream");
  if (!stream_.empty() && stream != stream_) {
    complain(
        "what happened until now is not known: the broker has restarted, or nobody asked it for ten seconds");
  }
  away_ = false;
  stream_ = stream;
  next_ = int_at(*answer, "next");
  more_ = bool_at(*answer, "more");
  if (const auto dropped = int_at(*answer, "dropped"); dropped > 0) {
    dropped_ += dropped;
    complain(fmt::format("{} went by unseen: more happens than the broker keeps for those who watch",
                         count_of(dropped, "event", "events")));
  }
  for (const Json& event : array_at(*answer, "events")) {
    if (enough()) break;
    show(event);
  }
  std::fflush(stdout);
  return !enough() && std::ferror(stdout) == 0;
}

void Follower::show(const Json& event) {
  ++shown_;
  if (globals_.json) {
    std::fputs((to_json_text(event, false) + "\n").c_str(), stdout);
  } else {
    std::fputs(render_event(event, stdout_width()).c_str(), stdout);
  }
}

// A queue is made by its first job, so that one may wait for it; but most often the name is wrong.
void Follower::say_when_unknown() {
  if (options_.queue.empty()) return;
  if (const Result<Json> shown = link_.ask("queue.show", {{"queue", options_.queue}});
      shown.code() == Code::no_such_queue) {
    complain(
        fmt::format("no queue is called '{}' yet; waiting for it (`jobq queue ls` lists those there are)",
                    printable(options_.queue)));
  }
}

int Follower::run(std::optional<DurationMs> span) {
  catch_interrupts();
  int code = kExitOk;
  say_when_unknown();
  const auto start = Clock::now();
  const auto left = [&]() -> std::int64_t {
    if (!span) return kPollEvery.ms;
    return span->ms - std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count();
  };
  while (!interrupted() && poll(&code) && left() > 0) {
    const DurationMs pause = more_ ? kPollMore : kPollEvery;
    wait_interruptible(DurationMs{std::min(pause.ms, left())});
  }
  return code;
}

int events(const Globals& globals, const EventOptions& options) {
  if (!options.job.empty() && !parse_job_id(options.job)) {
    complain(fmt::format("--job: '{}' is not a job id; they look like j1a7", printable(options.job)));
    return kExitUsage;
  }
  std::optional<DurationMs> span;
  if (!options.span.empty()) {
    const Result<DurationMs> parsed = parse_duration(options.span);
    if (!parsed.ok() || parsed->ms == 0) {
      complain(parsed.ok() ? "--for 0 shows nothing; give it like 10s" : "--for: " + parsed.status().text());
      return kExitUsage;
    }
    span = *parsed;
  }
  return Follower(globals, options).run(span);
}

}  // namespace

void add_events(CLI::App* app, Context* context) {
  auto options = std::make_shared<EventOptions>();
  CLI::App* sub = app->add_subcommand("events", "What happens to jobs, as it happens, until Ctrl-C");
  sub->add_flag("-f,--follow", options->follow,
                "What it does anyway: a broker keeps no events that nobody follows");
  sub->add_option("--queue", options->queue, "Only of this queue");
  sub->add_option("--job", options->job, "Only of this job");
  sub->add_option("--event", options->kinds, "Only these, separated by commas: failed,dead,crashed");
  sub->add_option("--for", options->span, "End after this time, like 10s");
  sub->add_option("--limit", options->limit, "End after so many")->check(check_count, "");
  set_examples(
      sub,
      "  jobq events --follow\n"
      "  jobq events --follow --queue receipts --event failed,dead\n"
      "  jobq events --for 1m --json > minute.jsonl\n"
      "\n"
      "Events: enqueued, due, leased, acked, failed, timed_out, crashed, lapsed, released, snoozed, dead,\n"
      "redriven, rescheduled, expired, cancelled, purged, dropped. The broker waits for nobody: what a slow\n"
      "follower misses is counted.");
  sub->callback([options, context] {
    context->run = [options, context] { return events(context->globals, *options); };
  });
}

}  // namespace jobq::cli
