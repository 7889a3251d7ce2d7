// jobq bench: what this broker does, here and now.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <thread>

#include "cli/bench_load.hpp"
#include "cli/broker_link.hpp"
#include "cli/command.hpp"
#include "cli/duration.hpp"
#include "cli/exit_codes.hpp"
#include "cli/interrupt.hpp"
#include "cli/table.hpp"
#include "cli/task_watch.hpp"
#include "cli/terminal.hpp"
#include "jobq/error.hpp"

namespace jobq::cli {
namespace {

constexpr DurationMs kSpanMax{3'600'000};

struct BenchOptions {
  std::string span_text = "5s";
  DurationMs span{};
  BenchShape shape;
  std::uint32_t rate = 1'000;  // jobs per second
  bool no_pack = false;
};

struct BenchReport {
  std::optional<BenchResult> full_cycle, paced, one_at_a_time;
  Status refusal;
};

// A queue that nobody else has: its jobs are ours to run, and it is removed with whatever is in it.
std::string fresh_queue() { return fmt::format("jobq-bench-{}-{:08x}", ::getpid(), std::random_device{}()); }

double rate_of(std::uint64_t jobs, double seconds) {
  return seconds > 0 ? static_cast<double>(jobs) / seconds : 0;
}

std::string milliseconds_text(double microseconds) { return fmt::format("{:.2f} ms", microseconds / 1e3); }

BenchReport measure(BenchLoad* load, const BenchOptions& options) {
  BenchReport report;
  Progress progress;
  const auto shown_as = [&progress, &options](const char* name) {
    return [&progress, &options, name](const std::string& what) {
      if (progress.due()) progress.show(fmt::format("{} ({}): {}", name, options.span_text, what));
    };
  };
  if (!interrupted())
    report.full_cycle = load->full_cycle(options.span, shown_as("1 of 3, as fast as it goes"));
  if (!interrupted())
    report.paced = load->paced(options.span, options.rate, shown_as("2 of 3, at a steady rate"));
  if (!interrupted())
    report.one_at_a_time = load->one_at_a_time(options.span, shown_as("3 of 3, one at a time"));
  progress.show("waiting for the last jobs ...");
  load->end();
  report.refusal = load->refusal();
  return report;
}

// What is left of an interrupted run goes with the queue. Not by watch_task(), which stops watching at Ctrl-C.
Status remove_queue(BrokerLink* link, const std::string& queue) {
  for (const char* verb : {"queue.purge", "dead.purge"}) {
    Result<Json> task = link->ask(verb, {{"queue", queue}});
    while (task.ok() && raw_text_at(object_at(*task, "task"), "state") == "running") {
      std::this_thread::sleep_for(std::chrono::milliseconds{20});  // after Ctrl-C too
      task = link->ask("task", {{"task", int_at(object_at(*task, "task"), "task")}});
    }
    if (!task.ok()) return task.status();
  }
  return link->ask("queue.rm", {{"queue", queue}}).status();
}

Json latency_json(const BenchResult& result) {
  return {{"confirm_p50_us", result.confirm_p50_us},
          {"confirm_p99_us", result.confirm_p99_us},
          {"delivery_p50_us", result.delivery_p50_us},
          {"delivery_p99_us", result.delivery_p99_us}};
}

Json to_json(const BenchOptions& options, const BenchReport& report, const std::string& endpoint) {
  Json document = {{"endpoint", endpoint},
                   {"body_bytes", options.shape.body_bytes},
                   {"window", options.shape.window},
                   {"pack", options.shape.pack},
                   {"refused", 0}};
  std::uint64_t refused = 0;
  const auto add = [&](const char* name, const std::optional<BenchResult>& result, std::uint64_t jobs,
                       Json more) {
    if (!result || result->seconds <= 0) return;
    more["jobs"] = jobs;
    more["seconds"] = result->seconds;
    more["jobs_per_second"] = rate_of(jobs, result->seconds);
    document[name] = std::move(more);
    refused += result->refused;
  };
  if (report.full_cycle) add("full_cycle", report.full_cycle, report.full_cycle->done, Json::object());
  if (report.paced) {
    Json latencies = latency_json(*report.paced);
    latencies["rate"] = options.rate;
    add("paced", report.paced, report.paced->done, std::move(latencies));
  }
  if (report.one_at_a_time)
    add("one_at_a_time", report.one_at_a_time, report.one_at_a_time->enqueued,
        latency_json(*report.one_at_a_time));
  document["refused"] = refused;
  return document;
}

void print(const BenchOptions& options, const BenchReport& report) {
  Table table({{"LOAD", Align::left},
               {"JOBS/S", Align::right},
               {"CONFIRMED p50", Align::right, "OK p50"},
               {"p99", Align::right},
               {"AT THE HANDLER p50", Align::right, "HANDLER p50"},
               {"p99", Align::right}});
  const auto row = [&table](const std::string& name, const std::optional<BenchResult>& result, bool latencies,
                            bool enqueues = false) {
    if (!result || result->seconds <= 0) return;
    std::vector<std::string> cells = {
        name, group_digits(static_cast<std::int64_t>(
                  rate_of(enqueues ? result->enqueued : result->done, result->seconds)))};
    if (latencies) {
      for (const double us :
           {result->confirm_p50_us, result->confirm_p99_us, result->delivery_p50_us, result->delivery_p99_us})
        cells.push_back(milliseconds_text(us));
    }
    table.add(std::move(cells));
  };
  row(fmt::format("full cycle, {} unconfirmed",
                  group_digits(static_cast<std::int64_t>(options.shape.window))),
      report.full_cycle, false);
  row(fmt::format("{} jobs/s asked for", group_digits(options.rate)), report.paced, true);
  row("one at a time", report.one_at_a_time, true, true);
  if (!table.empty()) fmt::print("{}", table.render(stdout_width(), bold_on()));
}

int bench(const Globals& globals, BenchOptions options) {
  const Result<DurationMs> span = parse_duration(options.span_text);
  if (!span.ok() || span->ms < 100 || *span > kSpanMax) {
    complain(span.ok() ? fmt::format("--duration {}: from 100ms to 1h for each of the three measurements",
                                     options.span_text)
                       : "--duration: " + span.status().text());
    return kExitUsage;
  }
  options.span = *span;
  options.shape.pack = !options.no_pack;
  catch_interrupts();
  BrokerLink link(globals);
  if (const Result<Json> answer = link.ask("ping"); !answer.ok()) return link.fail(answer.status());

  const std::string queue = fresh_queue();
  BenchReport report;
  Status status;
  try {
    BenchLoad load(link.endpoint(), queue, options.shape);
    status = load.begin(link.timeout());
    if (status.ok()) report = measure(&load, options);
  } catch (const Error& error) {
    status = {error.code(), error.what()};
  }
  const Status removed = remove_queue(&link, queue);
  if (!status.ok()) return link.fail(status, queue);
  if (globals.json) {
    print_json(to_json(options, report, link.endpoint()));
  } else {
    print(options, report);
  }
  if (!report.refusal.ok())
    complain("some jobs were refused or not answered; the first: " + report.refusal.text());
  if (!removed.ok() && removed.code() != Code::no_such_queue) {
    complain(fmt::format("the queue '{}' was left behind ({}); remove it: jobq queue rm {} --with-jobs --yes",
                         queue, removed.text(), queue));
    return exit_code_for(removed.code());
  }
  if (interrupted()) return kExitInterrupted;
  return report.refusal.ok() ? kExitOk : exit_code_for(report.refusal.code());
}

}  // namespace

void add_bench(CLI::App* app, Context* context) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* sub =
      app->add_subcommand("bench",
                          "Put load on the broker and say how fast it is: three measurements, on a "
                          "queue of its own that is removed afterwards");
  sub->add_option("--duration", options->span_text, "Of each measurement (default 5s)");
  sub->add_option("--window", options->shape.window, "Unconfirmed jobs at most (default 1000)")
      ->check(CLI::Range(std::size_t{1}, std::size_t{50'000}));
  sub->add_option("--body", options->shape.body_bytes, "Bytes of each body (default 256)")
      ->check(CLI::Range(std::size_t{8}, std::size_t{1} << 20));
  sub->add_option("--rate", options->rate, "Jobs per second of the second measurement (default 1000)")
      ->check(CLI::Range(1, 1'000'000));
  sub->add_flag("--no-pack", options->no_pack, "One job per message, as from many producers");
  set_examples(sub,
               "  jobq bench\n"
               "  jobq bench --duration 30s --body 4096 --window 10000\n"
               "  jobq bench --rate 5000 --json");
  sub->callback([options, context] {
    context->run = [options, context] { return bench(context->globals, *options); };
  });
}

}  // namespace jobq::cli
