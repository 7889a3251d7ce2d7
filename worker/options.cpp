#include "worker/options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "cli/duration.hpp"
#include "jobq/version.hpp"
#include "libjobq/base/endpoint.hpp"
#include "libjobq/protocol/codec.hpp"
#include "libjobq/protocol/limits.hpp"
#include "manual/definition.hpp"
#include "worker/command_path.hpp"
#include "worker/exit_codes.hpp"

namespace jobq::runner {

namespace {

constexpr std::size_t kConcurrencyMax = 1000;  // a thread and a process each
constexpr milliseconds kSpanMax{milliseconds{limits::kRunMsMax}};

constexpr const char* kExamples =
    "\nExamples:\n"
    "  jobq-worker --queue receipts -- ./send-receipt             one process per job, the body on its "
    "stdin\n"
    "  jobq-worker --queue mail:3 --queue reports --concurrency 8 --max-run 30s -- ./handle --fast\n"
    "  jobq-worker --queue stock -- sh -c 'jq .sku >> sold.txt'   a shell line\n"
    "  jobq-worker --queue thumbs --persistent -- python3 thumbs.py   one interpreter per slot, kept alive\n"
    "\n"
    "The command says by its exit code what becomes of the job: 0 ack (done), 75 nack (try again later),\n"
    "65 reject (never again: dead), anything else, or a signal: nack. The end of its stderr is the error.\n"
    "It finds JOBQ_JOB_ID, JOBQ_QUEUE, JOBQ_TYPE, JOBQ_ATTEMPT, JOBQ_MAX_ATTEMPTS, JOBQ_PRIORITY,\n"
    "JOBQ_ENQUEUED_AT, JOBQ_DEADLINE (when there is one) and JOBQ_HEADER_<NAME> in its environment.\n"
    "\n"
    "SIGTERM or SIGINT drains: takes no more jobs, lets those that run end. A second one hands them back at\n"
    "once.\n"
    "\n"
    "Exit codes: 0 drained; 1 refused by the broker; 64 wrong usage; 70 internal error; 75 ended with "
    "outcomes\n"
    "            that no broker had answered; 126 the command cannot be run; 127 there is no such command.";

struct Texts {
  std::vector<std::string> queues;
  std::string max_run;
  std::string kill_after = "5s";
  std::string drain_timeout = "25s";
  std::string stdout_to = "pass";
  std::string stderr_to = "pass";
};

class UsageLine final : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* /*app*/, std::string /*name*/) const override {
    return "Usage: jobq-worker --queue QUEUE[:WEIGHT]... [OPTIONS] -- COMMAND [ARGUMENT]...\n";
  }
};

int usage_error(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  complain(text + "; `jobq-worker --help` shows how");
  return kExitUsage;
}

void declare(CLI::App* app, Options* options, Texts* texts) {
  app->name("jobq-worker");
  app->set_version_flag("--version", "jobq-worker " JOBQ_VERSION);
  app->formatter(std::make_shared<UsageLine>());
  app->add_option(
         "--queue", texts->queues,
         "A queue to serve, again and again; with weights 3 and 1 three jobs come from the first for each of "
         "the second (default 1, at most 100)")
      ->type_name("QUEUE[:WEIGHT]")
      ->allow_extra_args(false);
  app->add_option("--type", options->types, "Only jobs of this type, again and again (default: every type)")
      ->type_name("TYPE")
      ->allow_extra_args(false);
  app->add_option("--endpoint,--connect", options->endpoint,
                  "Where the broker listens: tcp://HOST:PORT or ipc://PATH (default tcp://127.0.0.1:7710)")
      ->type_name("ENDPOINT")
      ->envname("JOBQ_ENDPOINT");
  app->add_option("--concurrency", options->concurrency, "Commands at a time (default 1)")
      ->type_name("N")
      ->check(CLI::Range(std::size_t{1}, kConcurrencyMax));
  app->add_option(
         "--max-run", texts->max_run,
         "The longest that a command may run, like 30s; then SIGTERM to its process group, and a nack "
         "(default: only the job's own max_run_time)")
      ->type_name("SPAN");
  app->add_option("--kill-after", texts->kill_after, "From SIGTERM to SIGKILL (default 5s)")
      ->type_name("SPAN");
  app->add_option(
         "--drain-timeout", texts->drain_timeout,
         "After the first SIGTERM to jobq-worker: what still runs then is ended and handed back (default "
         "25s)")
      ->type_name("SPAN");
  app->add_flag("--persistent", options->persistent,
                "Keep one process per slot alive and send it its jobs as lines (docs/jobq_worker.md)");
  app->add_option("--recycle-after", options->recycle_after,
                  "With --persistent: a new process after so many jobs (default: never)")
      ->type_name("JOBS")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000'000}));
  app->add_option("--stdout", texts->stdout_to, "pass (on to jobq-worker's own, the default) or discard")
      ->type_name("WHERE")
      ->check(CLI::IsMember({"pass", "discard"}));
  app->add_option(
         "--stderr", texts->stderr_to,
         "pass (on to the log, line by line with the job's id, the default) or discard; its end is the error "
         "of a failed attempt in both cases")
      ->type_name("WHERE")
      ->check(CLI::IsMember({"pass", "discard"}));
  app->add_option("--name", options->name, "Shown by `jobq worker ls` (default: the command's name)")
      ->type_name("NAME");
  app->add_flag("--verbose", options->verbose, "Log every job, not only those that fail");
  app->footer(kExamples);
}

Status read_span(std::string_view option, const std::string& text, bool zero_is_fine, milliseconds* span) {
  const Result<DurationMs> parsed = cli::parse_duration(text);
  if (!parsed.ok()) return {Code::bad_argument, fmt::format("{}: {}", option, parsed.status().text())};
  if (parsed->ms == 0 && !zero_is_fine) {
    return {Code::bad_argument, fmt::format("{} 0 leaves no time at all; give it like 30s", option)};
  }
  if (milliseconds{parsed->ms} > kSpanMax) {
    return {Code::bad_argument, fmt::format("{} {} is too long: at most 1w", option, text)};
  }
  *span = milliseconds{parsed->ms};
  return {};
}

Status read_texts(const Texts& texts, Options* options) {
  if (texts.queues.empty()) {
    return {Code::bad_argument, "no queue: say which to serve, like --queue receipts"};
  }
  for (const std::string& text : texts.queues) {
    Result<WorkerQueue> queue = parse_queue(text);
    if (!queue.ok()) return queue.status();
    const bool again = std::any_of(options->queues.begin(), options->queues.end(),
                                   [&](const WorkerQueue& other) { return other.name == queue->name; });
    if (again) return {Code::bad_argument, fmt::format("--queue {}: '{}' is named twice", text, queue->name)};
    options->queues.push_back(*std::move(queue));
  }
  for (const std::string& type : options->types) {
    if (type.empty())
      return {Code::bad_argument, "--type '' is empty; leave the option out to serve every type"};
    if (Status status = protocol::check_type(type); !status.ok()) {
      return {Code::bad_argument, fmt::format("--type: {}", status.text())};
    }
  }
  std::sort(options->types.begin(), options->types.end());
  options->types.erase(std::unique(options->types.begin(), options->types.end()), options->types.end());
  if (!texts.max_run.empty()) {
    if (Status status = read_span("--max-run", texts.max_run, false, &options->max_run); !status.ok())
      return status;
  }
  if (Status status = read_span("--kill-after", texts.kill_after, true, &options->kill_after); !status.ok()) {
    return status;
  }
  if (Status status = read_span("--drain-timeout", texts.drain_timeout, true, &options->drain_timeout);
      !status.ok()) {
    return status;
  }
  options->pass_stdout = texts.stdout_to == "pass";
  options->pass_stderr = texts.stderr_to == "pass";
  return {};
}

Status check_together(const Options& options) {
  if (!is_endpoint(options.endpoint)) {
    return {
        Code::bad_argument,
        fmt::format("the endpoint '{}' is neither tcp://HOST:PORT nor ipc://PATH (--endpoint, JOBQ_ENDPOINT)",
                    options.endpoint)};
  }
  if (options.recycle_after != 0 && !options.persistent) {
    return {Code::bad_argument,
            "--recycle-after is for --persistent: without it every job has a process of its own"};
  }
  if (options.name.size() > limits::kNameBytesMax) {
    return {Code::bad_argument,
            fmt::format("--name has {} bytes: at most {}", options.name.size(), limits::kNameBytesMax)};
  }
  return {};
}

std::string base_name(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

}  // namespace

void complain(std::string_view text) {
  const std::string line = fmt::format("jobq-worker: {}\n", text);
  std::fputs(line.c_str(), stderr);
}

Result<WorkerQueue> parse_queue(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string name{text.substr(0, colon)};
  if (Status status = protocol::check_queue_name(name); !status.ok()) {
    return Status{Code::bad_argument, fmt::format("--queue {}: {}", text, status.text())};
  }
  if (colon == std::string_view::npos) return WorkerQueue{name};
  const std::string_view digits = text.substr(colon + 1);
  std::uint32_t weight = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), weight);
  if (error != std::errc{} || end != digits.data() + digits.size() || weight < 1 ||
      weight > limits::kWeightMax) {
    return Status{Code::bad_argument, fmt::format("--queue {}: the weight '{}' is no number from 1 to {}",
                                                  text, digits, limits::kWeightMax)};
  }
  return WorkerQueue{name, weight};
}

std::variant<Options, int> read_command_line(int argc, char** argv) {
  // What stands after the first "--" is the command's, whatever it looks like.
  int ours = 1;
  while (ours < argc && std::strcmp(argv[ours], "--") != 0) ++ours;
  Options options;
  Texts texts;
  for (int i = ours + 1; i < argc; ++i) options.command.emplace_back(argv[i]);
  CLI::App app{"jobq-worker: runs a command for every job of its queues"};
  declare(&app, &options, &texts);
  manual::add_definition_flag(&app);
  try {
    app.parse(ours, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    return app.exit(wanted) == 0 ? static_cast<int>(kExitOk) : static_cast<int>(kExitInternal);
  } catch (const CLI::ExtrasError&) {
    const std::vector<std::string> left = app.remaining();
    const std::string first = left.empty() ? "" : left.front();
    if (first.starts_with("-")) return usage_error(fmt::format("'{}' is no option of jobq-worker", first));
    return usage_error(
        fmt::format("'{}' stands where only options may: the command comes after `--`", first));
  } catch (const CLI::ParseError& error) {
    return usage_error(error.what());
  }
  if (const Status status = read_texts(texts, &options); !status.ok()) return usage_error(status.text());
  if (const Status status = check_together(options); !status.ok()) return usage_error(status.text());
  if (options.command.empty() || options.command.front().empty()) {
    return usage_error("no command: it comes after `--`, like -- ./send-receipt");
  }
  const char* search_path = std::getenv("PATH");
  CommandPath found =
      find_command(options.command.front(), search_path != nullptr ? search_path : "/usr/bin:/bin");
  if (found.path.empty()) {
    complain(found.error);
    return found.exit_code;
  }
  options.path = std::move(found.path);
  if (options.name.empty())
    options.name = base_name(options.command.front()).substr(0, limits::kNameBytesMax);
  return options;
}

}  // namespace jobq::runner
