// jobq backup FILE | --show | --cancel
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <string>

#include "broker/store/check_store.hpp"
#include "cli/broker_link.hpp"
#include "cli/command.hpp"
#include "cli/duration.hpp"
#include "cli/exit_codes.hpp"
#include "cli/interrupt.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"

namespace jobq::cli {
namespace {

struct Options {
  std::string file;
  bool show = false, cancel = false, no_check = false;
};

std::string state_of(const Json& backup) { return raw_text_at(backup, "state"); }

std::string host_of_this() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : std::string();
}

std::string progress_text(const Json& backup) {
  const std::int64_t bytes = int_at(backup, "bytes"), expected = int_at(backup, "expected_bytes");
  return fmt::format("{} of about {} written to {} on {}", format_bytes(bytes),
                     format_bytes(std::max(bytes, expected)), text_at(backup, "file"),
                     text_at(backup, "host"));
}

// Only where the broker's file is here too: the same host, and a file of that size under that name.
enum class Verified { sound, unreachable, damaged };
Verified verify(const Json& backup, std::string* text) {
  const std::string file = raw_text_at(backup, "file");
  struct stat found {};
  if (raw_text_at(backup, "host") != host_of_this() || stat(file.c_str(), &found) != 0 ||
      access(file.c_str(), R_OK) != 0 || found.st_size != int_at(backup, "bytes")) {
    *text = fmt::format("not verified from here: run `jobq check {}` on {}", text_at(backup, "file"),
                        text_at(backup, "host"));
    return Verified::unreachable;
  }
  CheckCounts counts;
  std::string first;
  const Status done = check_store(
      {.path = file},
      [&](std::string_view line) {
        if (first.empty()) first = line;
      },
      &counts);
  if (!done.ok() || counts.problems > 0) {
    *text = fmt::format(
        "{} is damaged ({}); the store it was made from may be too: stop the broker and run `jobq check {}`",
        text_at(backup, "file"), done.ok() ? fmt::format("{} problems", counts.problems) : done.text(),
        "DIR");
    return Verified::damaged;
  }
  *text = fmt::format("verified: {} jobs in {} queues", group_digits(static_cast<std::int64_t>(counts.jobs)),
                      group_digits(static_cast<std::int64_t>(counts.queues)));
  return Verified::sound;
}

// Until the backup has ended or Ctrl-C; a broker that is away for less than the timeout is waited for.
Result<Json> watch(BrokerLink* link, Json answer) {
  Progress progress;
  std::int64_t wait_ms = 20;
  const std::string file = raw_text_at(object_at(answer, "backup"), "file");
  while (state_of(object_at(answer, "backup")) == "running" && !interrupted()) {
    progress.show("backup: " + progress_text(object_at(answer, "backup")) +
                  " (Ctrl-C stops watching, not the backup)");
    wait_interruptible(DurationMs{wait_ms});
    wait_ms = std::min<std::int64_t>(wait_ms * 2, 500);
    if (interrupted()) break;
    Result<Json> next = link->ask("backup.show");
    if (!next.ok()) return next.status();
    if (raw_text_at(object_at(*next, "backup"), "file") != file) {
      return Status{Code::timed_out,
                    fmt::format("the broker was restarted while it wrote {}: there is no backup; begin again",
                                text_at(object_at(answer, "backup"), "file"))};
    }
    answer = *std::move(next);
  }
  return answer;
}

int finish(const Globals& globals, const Options& options, Json answer) {
  const Json backup = object_at(answer, "backup");
  const std::string state = state_of(backup);
  if (state == "done") {
    std::string verified;
    Verified how = Verified::unreachable;
    if (!options.no_check) how = verify(backup, &verified);
    if (globals.json) {
      answer["backup"]["verified"] = how == Verified::unreachable ? Json() : Json(how == Verified::sound);
      print_json(answer);
    } else {
      fmt::print("{} on {}: {} in {}{}\n", text_at(backup, "file"), text_at(backup, "host"),
                 format_bytes(int_at(backup, "bytes")), format_duration(int_at(backup, "took_ms")),
                 how == Verified::sound ? "; " + verified : "");
    }
    if (how == Verified::damaged) complain(verified);
    if (how == Verified::unreachable && !options.no_check && !globals.json) complain(verified);
    return how == Verified::damaged ? kExitRefused : kExitOk;
  }
  if (globals.json) print_json(answer);
  if (state == "running") {
    if (!globals.json)
      fmt::print(
          "the backup goes on in the broker: {}\n`jobq backup --show` shows it, `jobq backup --cancel` stops "
          "it\n",
          progress_text(backup));
    return kExitInterrupted;
  }
  complain(state == "none" ? "the broker was restarted: there is no backup; begin again"
                           : fmt::format("no backup was made: {}", text_at(backup, "error", state)));
  return kExitRefused;
}

int make(const Globals& globals, const Options& options) {
  catch_interrupts();
  Result<Json> end = Status{};
  {
    BrokerLink link(globals);
    const Result<Json> begun = link.ask("backup", {{"file", options.file}});
    if (!begun.ok()) return link.fail(begun.status());
    end = watch(&link, *begun);
    if (!end.ok()) return link.fail(end.status());
  }  // the link's threads have ended: the checker forks
  return finish(globals, options, *end);
}

std::string shown(const Json& backup) {
  const std::string state = state_of(backup);
  if (state == "none") {
    return fmt::format("no backup since the broker started; they are written into {} on {}",
                       text_at(backup, "directory"), text_at(backup, "host"));
  }
  if (state == "running") return "running: " + progress_text(backup);
  if (state == "done") {
    return fmt::format("done: {} on {}, {} in {}", text_at(backup, "file"), text_at(backup, "host"),
                       format_bytes(int_at(backup, "bytes")), format_duration(int_at(backup, "took_ms")));
  }
  return fmt::format("{}: {} on {}: {}", state, text_at(backup, "file"), text_at(backup, "host"),
                     text_at(backup, "error"));
}

int show(const Globals& globals, const Options& options) {
  BrokerLink link(globals);
  const Result<Json> answer = link.ask(options.cancel ? "backup.cancel" : "backup.show");
  if (!answer.ok()) return link.fail(answer.status());
  const Json& backup = object_at(*answer, "backup");
  if (globals.json) {
    print_json(*answer);
  } else if (options.cancel) {
    fmt::print("told the broker to stop writing {}\n", text_at(backup, "file"));
  } else {
    fmt::print("{}\n", shown(backup));
  }
  return !options.cancel && state_of(backup) == "failed" ? kExitRefused : kExitOk;
}

int run(const Globals& globals, const Options& options) {
  const int wanted = (options.file.empty() ? 0 : 1) + (options.show ? 1 : 0) + (options.cancel ? 1 : 0);
  if (wanted != 1) {
    complain(
        "`jobq backup` needs the name of a file to make, or --show, or --cancel; `jobq backup --help` shows "
        "how");
    return kExitUsage;
  }
  return options.file.empty() ? show(globals, options) : make(globals, options);
}

}  // namespace

void add_backup(CLI::App* app, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* backup =
      app->add_subcommand("backup",
                          "Copy the whole store to a file on the broker's host, while it serves. The broker "
                          "writes into one directory only: "
                          "its setting store.backup_directory, or else backups/ in its data directory");
  backup->add_option("FILE", options->file, "Name of the file to make there; nothing is ever overwritten");
  backup->add_flag("--show", options->show, "How far the backup is, or how the last one ended");
  backup->add_flag("--cancel", options->cancel, "Stop the backup that is being made");
  backup->add_flag("--no-check", options->no_check, "Do not read the file again to verify it");
  set_examples(
      backup,
      "  jobq backup monday.mdb\n"
      "  jobq backup jobq-$(date +%F).mdb && rsync ...    after it was verified, away from this machine\n"
      "  jobq backup --show");
  backup->callback(
      [options, context] { context->run = [options, context] { return run(context->globals, *options); }; });
}

}  // namespace jobq::cli
