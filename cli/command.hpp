// What every sub-command shares: the global options, and how it hands its work back to main().
//
// A sub-command is a function add_<name>(app, context): it declares its options and, in the CLI11 callback, sets
// context.run to the work to do. The work runs after parsing and returns an exit code (exit_codes.hpp).
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "cli/globals.hpp"

namespace jobq::cli {

struct Context {
  Globals globals;
  std::function<int()> run;
};

void add_stats(CLI::App* app, Context* context);
void add_ping(CLI::App* app, Context* context);
void add_enqueue(CLI::App* app, Context* context);
void add_job(CLI::App* app, Context* context);
void add_dead(CLI::App* app, Context* context);
void add_queue(CLI::App* app, Context* context);
void add_worker(CLI::App* app, Context* context);
void add_task(CLI::App* app, Context* context);
void add_events(CLI::App* app, Context* context);
void add_check(CLI::App* app, Context* context);
void add_backup(CLI::App* app, Context* context);
void add_restore(CLI::App* app, Context* context);
void add_compact(CLI::App* app, Context* context);
void add_top(CLI::App* app, Context* context);
void add_bench(CLI::App* app, Context* context);

// For options that count something: what is wrong with the text, empty when it is a whole number from 1 on.
std::string check_count(const std::string& text);

// Help of a sub-command: examples under the options.
void set_examples(CLI::App* app, const std::string& examples);

}  // namespace jobq::cli
