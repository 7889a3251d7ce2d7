// `jobq`: what people and scripts do with a broker. Parses the command line; each sub-command has a file of its own
// (cmd_*.cpp). docs/cli.md describes the commands and their exit codes.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "cli/duration.hpp"
#include "cli/exit_codes.hpp"
#include "cli/spelling.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"
#include "jobq/version.hpp"
#include "libjobq/base/endpoint.hpp"
#include "libjobq/base/out_of_memory.hpp"
#include "manual/definition.hpp"

namespace jobq::cli {
namespace {

constexpr const char* kExamples =
    "  jobq stats                                      what is going on, problems first\n"
    "  jobq enqueue receipts --body '{\"order\": 42}'    one job\n"
    "  seq 1000 | jobq enqueue numbers --lines         a job of every line\n"
    "  jobq job why j1a7                               why is it not running?\n"
    "  jobq dead summary                               why jobs died, grouped by error\n"
    "\n"
    "Exit codes: 0 ok; 1 refused, no such thing, or problems found; 64 wrong usage; 66 input cannot be "
    "read;\n"
    "            69 no broker answered; 70 internal error; 75 try again later or outcome unknown; 130 "
    "interrupted.";

std::string version_text() { return "jobq " JOBQ_VERSION; }

void declare(CLI::App* app, Context* context) {
  app->name("jobq");
  app->require_subcommand(1);
  app->fallthrough();  // Global options may stand after the sub-command, where people write them.
  app->set_version_flag("--version", version_text());
  app->add_option("--endpoint", context->globals.endpoint,
                  "Where the broker listens: tcp://HOST:PORT or ipc://PATH (default tcp://127.0.0.1:7710)")
      ->envname("JOBQ_ENDPOINT");
  app->add_option(
      "--timeout", context->globals.timeout_text,
      "How long to wait for the broker, like 5s or 1m (default 5s; enqueue --lines: 10m for each line)");
  app->add_flag("--json", context->globals.json, "The broker's own document instead of text, for programs");
  add_stats(app, context);
  add_top(app, context);
  add_enqueue(app, context);
  add_job(app, context);
  add_dead(app, context);
  add_queue(app, context);
  add_worker(app, context);
  add_task(app, context);
  add_events(app, context);
  add_ping(app, context);
  add_bench(app, context);
  add_check(app, context);
  add_backup(app, context);
  add_restore(app, context);
  add_compact(app, context);
  set_examples(app, kExamples);
  manual::add_definition_flag(app);
}

// The deepest sub-command that was named, and "jobq job show" of it, for the remedy.
const CLI::App* deepest(const CLI::App* app, std::string* path) {
  *path = app->get_name();
  while (!app->get_subcommands().empty()) {
    app = app->get_subcommands().front();
    *path += " " + app->get_name();
  }
  return app;
}

std::vector<std::string> options_of(const CLI::App& app, const CLI::App* command) {
  std::vector<std::string> names;
  for (const CLI::App* one : {&app, command}) {
    for (const CLI::Option* option : one->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  }
  return names;
}

int usage_error(const CLI::App& app, const CLI::ParseError& error) {
  std::string path;
  const CLI::App* at = deepest(&app, &path);
  std::string text = error.what();
  std::replace(text.begin(), text.end(), '\n', ' ');
  const std::vector<std::string> left = app.remaining(true);
  if (const auto commands = at->get_subcommands([](const CLI::App*) { return true; }); !commands.empty()) {
    std::vector<std::string> names;
    for (const CLI::App* command : commands) names.push_back(command->get_name());
    text = left.empty()
               ? fmt::format("`{}` needs a command", path)
               : fmt::format(
                     "`{}` knows no '{}'{}", path, printable(left.front()),
                     did_you_mean(left.front(), left.front().starts_with("-") ? options_of(app, at) : names));
    if (left.empty() || !left.front().starts_with("-"))
      text += fmt::format("; there are: {}", fmt::join(names, ", "));
  } else if (const auto option =
                 std::ranges::find_if(left, [](const std::string& one) { return one.starts_with("--"); });
             option != left.end()) {
    text = fmt::format("`{}` knows no '{}'{}", path, printable(*option),
                       did_you_mean(*option, options_of(app, at)));
  }
  complain(fmt::format("{}; `{} --help` shows how", text, path));
  return kExitUsage;
}

int check_globals(Globals* globals) {
  if (!is_endpoint(globals->endpoint)) {
    complain(
        fmt::format("the endpoint '{}' is neither tcp://HOST:PORT nor ipc://PATH (--endpoint, JOBQ_ENDPOINT)",
                    globals->endpoint));
    return kExitUsage;
  }
  if (globals->timeout_text.empty()) return kExitOk;
  const Result<DurationMs> timeout = parse_duration(globals->timeout_text);
  if (!timeout.ok() || timeout->ms == 0) {
    complain(timeout.ok() ? "--timeout 0 leaves no time for an answer; give it like 5s"
                          : "--timeout: " + timeout.status().text());
    return kExitUsage;
  }
  globals->timeout = *timeout;
  return kExitOk;
}

int run(int argc, char** argv) {
  CLI::App app{"jobq: looks after the jobs of a jobq broker"};
  Context context;
  declare(&app, &context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    return app.exit(wanted) == 0 ? kExitOk : kExitInternal;
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error);
  }
  if (const int code = check_globals(&context.globals); code != kExitOk) return code;
  const int code = context.run();
  // A full disk under a redirected stdout must not look like success.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    complain("the output could not be written");
    return kExitInternal;
  }
  return code;
}

}  // namespace

std::string check_count(const std::string& text) {
  std::int64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec == std::errc{} && parsed.ptr == text.data() + text.size() && number > 0) return {};
  return fmt::format("'{}' is not a whole number from 1 on", printable(text));
}

void set_examples(CLI::App* app, const std::string& examples) { app->footer("\nExamples:\n" + examples); }

}  // namespace jobq::cli

int main(int argc, char** argv) {
  jobq::end_when_out_of_memory("jobq: out of memory; whether it was done is not known\n",
                               jobq::cli::kExitInternal);
  try {
    return jobq::cli::run(argc, argv);
  } catch (const std::bad_alloc&) {
    jobq::end_out_of_memory();
  } catch (const std::exception& error) {
    jobq::cli::complain(fmt::format("internal error: {}", error.what()));
    return jobq::cli::kExitInternal;
  }
}
