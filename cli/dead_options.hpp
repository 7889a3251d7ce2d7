// What the commands about dead jobs share: their filters, as options and as the wire has them.
//
// Thread-safety: plain values.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cli/broker_link.hpp"
#include "cli/command.hpp"

namespace jobq::cli {

struct DeadOptions {
  std::string queue;
  std::string id, type, error, min_age, after;
  bool has_type = false;
  std::int64_t limit = 0;
  std::int64_t rate = 0;
  bool dry_run = false, yes = false, background = false;
  std::string file;  // export
};

enum class Filters { all, no_id };
void add_filter_options(CLI::App* sub, const std::shared_ptr<DeadOptions>& options, Filters filters);
// Unusable ones are complained about.
bool add_filters(const DeadOptions& options, Params* params);

// cmd_dead_tasks.cpp, cmd_dead_export.cpp
void add_redrive(CLI::App* dead, Context* context, const std::shared_ptr<DeadOptions>& options);
void add_purge(CLI::App* dead, Context* context, const std::shared_ptr<DeadOptions>& options);
void add_dead_export(CLI::App* dead, Context* context, const std::shared_ptr<DeadOptions>& options);

}  // namespace jobq::cli
