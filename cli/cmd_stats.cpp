// jobq stats [QUEUE] [--watch] [--check]
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/broker_link.hpp"
#include "cli/command.hpp"
#include "cli/duration.hpp"
#include "cli/exit_codes.hpp"
#include "cli/instant.hpp"
#include "cli/interrupt.hpp"
#include "cli/stats_view.hpp"
#include "cli/terminal.hpp"

namespace jobq::cli {
namespace {

struct StatsOptions {
  std::string queue;
  bool watch = false;
  bool check = false;
  std::string every = "2s";
};

Params params_of(const StatsOptions& options) {
  Params params;
  if (!options.queue.empty()) params.emplace_back("queue", options.queue);
  return params;
}

void print_stats(const Json& document, bool json) {
  if (json) {
    print_json(document);
  } else {
    std::fputs(render_stats(document, stdout_width()).c_str(), stdout);
  }
}

int stats_once(const Globals& globals, const StatsOptions& options) {
  BrokerLink link(globals);
  const Result<Json> answer = link.ask("stats", params_of(options));
  if (!answer.ok()) return link.fail(answer.status(), options.queue);
  print_stats(*answer, globals.json);
  return options.check && !array_at(*answer, "problems").empty() ? kExitRefused : kExitOk;
}

// One screen, from the top: what was longer before is erased line by line, so that nothing flickers.
void print_screen(const std::string& text) {
  std::string screen = "\033[H";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    screen += text.substr(at, end - at) + "\033[K\n";
    at = end + 1;
  }
  screen += "\033[J";
  std::fputs(screen.c_str(), stdout);
  std::fflush(stdout);
}

int stats_watch(const Globals& globals, const StatsOptions& options, DurationMs every) {
  catch_interrupts();
  BrokerLink link(globals);
  const bool screen = stdout_is_terminal() && !globals.json;
  std::string last;  // The last good picture: kept on the screen while the broker is away.
  bool first = true;
  if (screen) std::fputs("\033[2J", stdout);
  while (!interrupted()) {
    const Result<Json> answer = link.ask("stats", params_of(options));
    if (interrupted()) break;
    const std::string now = format_instant(wall_now());
    // A queue that does not exist and a broker that never answered are said once; an outage later is waited for.
    if (!answer.ok() && (first || answer.code() != Code::timed_out))
      return link.fail(answer.status(), options.queue);
    if (answer.ok() && screen) last = render_stats(*answer, stdout_width());
    if (screen) {
      const std::string head =
          answer.ok() ? ink(Ink::dim, fmt::format("{}, every {}; Ctrl-C ends", now, write_duration(every.ms)))
                      : ink(Ink::red, fmt::format("{}: no answer from {}; below is the last one", now,
                                                  link.endpoint()));
      print_screen(fmt::format("{}\n\n{}", head, last));
    } else if (answer.ok()) {
      if (!first && !globals.json) std::fputs("\n", stdout);
      print_stats(*answer, globals.json);
      std::fflush(stdout);
    } else {
      complain(answer.status().text());
    }
    first = false;
    wait_interruptible(every);
  }
  return kExitOk;
}

}  // namespace

void add_stats(CLI::App* app, Context* context) {
  auto options = std::make_shared<StatsOptions>();
  CLI::App* stats =
      app->add_subcommand("stats", "Problems first, then every queue, the broker and its store");
  stats->add_option("QUEUE", options->queue, "Only this queue");
  stats->add_flag("-w,--watch", options->watch, "Refresh until Ctrl-C");
  stats->add_option("--every", options->every, "How often --watch refreshes (default 2s)");
  stats->add_flag("--check", options->check, "Exit with 1 when there are problems (for monitoring)");
  set_examples(stats,
               "  jobq stats                       everything, once\n"
               "  jobq stats receipts --watch      one queue, refreshed every two seconds\n"
               "  jobq stats --check --json        for a monitoring probe");
  stats->callback([options, context] {
    context->run = [options, context] {
      if (!options->watch) return stats_once(context->globals, *options);
      const Result<DurationMs> every = parse_duration(options->every);
      if (!every.ok() || every->ms < 100) {
        complain(every.ok() ? fmt::format("--every {} is too often; at least 100ms", options->every)
                            : "--every: " + every.status().text());
        return static_cast<int>(kExitUsage);
      }
      return stats_watch(context->globals, *options, *every);
    };
  });
}

void add_ping(CLI::App* app, Context* context) {
  CLI::App* ping = app->add_subcommand("ping", "Whether a broker answers, and how fast");
  set_examples(ping,
               "  jobq ping\n"
               "  jobq ping --endpoint tcp://127.0.0.1:7711 --timeout 1s");
  ping->callback([context] {
    context->run = [context] {
      BrokerLink link(context->globals);
      const auto start = std::chrono::steady_clock::now();
      const Result<Json> answer = link.ask("ping");
      if (!answer.ok()) return link.fail(answer.status());
      const double ms =
          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
      if (context->globals.json) {
        print_json({{"endpoint", link.endpoint()}, {"answered", true}, {"connect_and_answer_ms", ms}});
      } else {
        fmt::print("{} answers ({:.1f}ms with connecting)\n", link.endpoint(), ms);
      }
      return static_cast<int>(kExitOk);
    };
  });
}

}  // namespace jobq::cli
