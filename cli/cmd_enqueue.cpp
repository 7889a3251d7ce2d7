// jobq enqueue QUEUE [options] [--body TEXT | --body-file FILE | --lines]
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

#include "cli/broker_link.hpp"
#include "cli/command.hpp"
#include "cli/enqueue_lines.hpp"
#include "cli/enqueue_options.hpp"
#include "cli/exit_codes.hpp"
#include "cli/instant.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"
#include "jobq/client.hpp"
#include "libjobq/protocol/limits.hpp"

namespace jobq::cli {
namespace {

struct Options {
  EnqueueArgs args;
  std::optional<std::string> body;
  std::string body_file;
  bool lines = false, jobs = false;
};

// All of a file, bounded: one byte over the largest body is enough to know. Sets *exit_code when it fails.
Result<std::string> read_all(int fd, const std::string& name, int* exit_code) {
  std::string content;
  std::string buffer(std::size_t{1} << 18, '\0');
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got == 0) return content;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      *exit_code = kExitNoInput;
      return Status{Code::io_error,
                    fmt::format("cannot read {}: {}", name, std::generic_category().message(errno))};
    }
    content.append(buffer, 0, static_cast<std::size_t>(got));
    if (content.size() > limits::kBodyBytesMax) {
      *exit_code = kExitRefused;
      return Status{Code::body_too_large,
                    fmt::format("{} is larger than any job may be ({}); store it elsewhere and "
                                "enqueue where it is",
                                name, format_bytes(limits::kBodyBytesMax))};
    }
  }
}

Result<std::string> read_body(const Options& options, int* exit_code) {
  if (options.body) return *options.body;
  if (options.body_file.empty() || options.body_file == "-") {
    if (options.body_file.empty() && stdin_is_terminal()) {
      *exit_code = kExitUsage;
      return Status{
          Code::bad_argument,
          "no body: give --body TEXT or --body-file FILE, or pipe it in (`jobq enqueue --help` shows how)"};
    }
    return read_all(STDIN_FILENO, "standard input", exit_code);
  }
  const int fd = ::open(options.body_file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    *exit_code = kExitNoInput;
    return Status{Code::io_error,
                  fmt::format("cannot open the body file '{}': {}", printable(options.body_file),
                              std::generic_category().message(errno))};
  }
  Result<std::string> content = read_all(fd, "'" + printable(options.body_file) + "'", exit_code);
  ::close(fd);
  return content;
}

const char* state_name(Enqueued::State state) {
  switch (state) {
    case Enqueued::State::scheduled:
      return "scheduled";
    case Enqueued::State::ready:
      return "ready";
    case Enqueued::State::leased:
      return "leased";
    case Enqueued::State::dead:
      return "dead";
    case Enqueued::State::gone:
      return "gone";
  }
  return "?";
}

void print_enqueued(const Globals& globals, const Options& options, const Enqueued& made) {
  if (globals.json) {
    print_json({{"id", made.id},
                {"outcome", made.duplicate ? "duplicate" : "created"},
                {"state", state_name(made.state)},
                {"body_differs", made.body_differs}});
    return;
  }
  fmt::print("{}\n", made.id);
  if (made.duplicate) {
    std::fflush(stdout);
    complain(fmt::format("no job was made: the key '{}' is held by {} ({}){}", printable(options.args.key),
                         made.id, state_name(made.state),
                         made.body_differs ? ", whose body is another one" : ""));
  }
}

int enqueue_one(const Globals& globals, const Options& options, const EnqueuePlan& plan) {
  int exit_code = kExitOk;
  const Result<std::string> body = read_body(options, &exit_code);
  if (!body.ok()) {
    complain(body.status().text());
    return exit_code;
  }
  BrokerLink link(globals);
  if (link.client() == nullptr) return link.fail(link.opened());
  const EnqueueResult made = link.wait_for(
      [&] { return link.client()->try_enqueue(options.args.queue, Bytes{*body}, plan.options); });
  if (made.ok()) {
    print_enqueued(globals, options, *made);
    return kExitOk;
  }
  const int code = link.fail(made.status(), options.args.queue);
  if (made.outcome() == Outcome::unknown) {
    complain("whether the job was stored is not known; with --key it is safe to enqueue it again");
    return kExitTryAgain;
  }
  return code;
}

int enqueue(const Globals& globals, const Options& options) {
  const int sources = (options.body ? 1 : 0) + (options.body_file.empty() ? 0 : 1) + (options.lines ? 1 : 0) +
                      (options.jobs ? 1 : 0);
  if (sources > 1) {
    complain("--body, --body-file, --lines and --jobs each say where bodies come from; give one of them");
    return kExitUsage;
  }
  if (options.jobs && !options.args.key.empty()) {
    complain("--key with --jobs would make one job of all lines; a line's \"unique_key\" is its own");
    return kExitUsage;
  }
  if (options.lines && !options.args.key.empty()) {
    complain(
        "--key with --lines would make one job of all lines, because a key is held by one job at a time");
    return kExitUsage;
  }
  const Result<EnqueuePlan> plan = plan_enqueue(options.args, wall_now());
  if (!plan.ok()) {
    complain(plan.status().text());
    return kExitUsage;
  }
  if (!plan->notice.empty()) complain(plan->notice);
  if (!options.lines && !options.jobs) return enqueue_one(globals, options, *plan);
  return enqueue_lines(globals, options.args.queue, plan->options,
                       options.jobs ? LineForm::job : LineForm::body, STDIN_FILENO);
}

}  // namespace

void add_enqueue(CLI::App* app, Context* context) {
  auto options = std::make_shared<Options>();
  EnqueueArgs* args = &options->args;
  CLI::App* sub =
      app->add_subcommand("enqueue", "Put a job, or a job of every line, into a queue; prints ids");
  sub->add_option("QUEUE", args->queue, "The queue; it comes into being at its first job")->required();
  sub->add_option("--type", args->type, "The kind of job, for workers that serve some kinds only");
  sub->add_option("--priority", args->priority, "0 to 9, 9 goes first (default: the queue's, 5)")
      ->check(CLI::Range(0, 9));
  sub->add_option("--delay", args->delay, "Not before this long from now, like 5m or 1h30m");
  sub->add_option("--at", args->at,
                  "Not before this time: 2026-11-23T14:30:00Z, or '2026-11-23 14:30' local time");
  sub->add_option("--expires", args->expires, "Drop it when it has not started this long from now");
  sub->add_option("--key", args->key, "Unique key: while a job of the queue holds it, no second one is made")
      ->check([](const std::string& key) {  // a variable of a script that was never set
        return key.empty() ? std::string("an empty key protects from nothing; give one, or leave --key out")
                           : std::string();
      });
  sub->add_option("--unique-for", args->unique_for, "Hold the key this long after the job's end as well");
  sub->add_option("--max-attempts", args->max_attempts,
                  "Failures before it is put among the dead (default: the queue's)")
      ->check(CLI::Range(1, static_cast<int>(limits::kMaxAttemptsMax)));
  sub->add_option("--max-run", args->max_run, "Longest run of one attempt");
  sub->add_option("--header", args->headers, "NAME=VALUE for the worker; may be given again")
      ->allow_extra_args(false);
  sub->add_option("--body", options->body, "The body, as it stands");
  sub->add_option("--body-file", options->body_file, "A file that holds the body; - for standard input");
  sub->add_flag("--lines", options->lines, "A job of every line of standard input");
  sub->add_flag("--jobs", options->jobs,
                "A job of every line as `jobq dead export` writes it: its body, type, headers, ...");
  set_examples(sub,
               "  jobq enqueue receipts --body '{\"order\": 42}' --key receipt:42\n"
               "  jobq enqueue reports --at '2026-11-23 06:00' --body-file report.json\n"
               "  pg_dump --schema-only shop | jobq enqueue archive --type schema\n"
               "  seq 1000 | jobq enqueue numbers --lines > ids\n"
               "  jobq enqueue receipts --jobs < dead-receipts.jsonl\n"
               "\n"
               "Without --body, --body-file and --lines the body is standard input. --lines prints an id for "
               "each line, in\n"
               "their order ('-' for a line that was refused), and waits for a broker that is away.");
  sub->callback([options, context] {
    context->run = [options, context] { return enqueue(context->globals, *options); };
  });
}

}  // namespace jobq::cli
