// jobq dead export QUEUE: whole dead jobs, a line of JSON each, that `jobq enqueue --jobs` takes back.
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>

#include "cli/dead_options.hpp"
#include "cli/exit_codes.hpp"
#include "cli/interrupt.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"

namespace jobq::cli {
namespace {

constexpr std::int64_t kPage = 500;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

// The jobs of all pages, line by line. The exit code.
int write_lines(const Globals& globals, const DeadOptions& options, const Params& filters, std::FILE* out) {
  BrokerLink link(globals);
  Progress progress;
  std::int64_t written = 0, damaged = 0;
  for (std::string after = options.after; !interrupted();) {
    Params params{{"queue", options.queue}};
    params.insert(params.end(), filters.begin(), filters.end());
    const std::int64_t left = options.limit > 0 ? options.limit - written : kPage;
    params.emplace_back("limit", std::min(kPage, left));
    if (!after.empty()) params.emplace_back("after", after);
    const Result<Json> page = link.ask("dead.export", params);
    if (!page.ok()) return link.fail(page.status(), options.queue);
    for (const Json& job : array_at(*page, "jobs")) {
      std::fputs((to_json_text(job, false) + "\n").c_str(), out);
      ++written;
      const auto body = job.find("body");
      if (body == job.end() || body->is_null()) {
        ++damaged;
        complain(fmt::format("{}: its body is damaged and is not in its line; run `jobq check`",
                             text_at(job, "id")));
      }
    }
    if (std::ferror(out) != 0) {
      complain("the output could not be written");
      return kExitInternal;
    }
    after = raw_text_at(*page, "next");
    if (after.empty() || (options.limit > 0 && written >= options.limit)) break;
    progress.show(fmt::format("{} exported", count_of(written, "dead job", "dead jobs")));
  }
  progress.clear();
  if (interrupted()) {
    complain(fmt::format("interrupted: {} exported so far", count_of(written, "dead job", "dead jobs")));
    return kExitInterrupted;
  }
  if (stderr_is_terminal() || !options.file.empty()) {
    complain(fmt::format("{} of '{}' exported; {} still there (`jobq dead purge` removes {})",
                         count_of(written, "dead job", "dead jobs"), options.queue,
                         written == 1 ? "it is" : "they are", written == 1 ? "it" : "them"));
  }
  return damaged > 0 ? kExitRefused : kExitOk;
}

int dead_export(const Globals& globals, const DeadOptions& options) {
  Params filters;
  if (!add_filters(options, &filters)) return kExitUsage;
  catch_interrupts();
  if (options.file.empty()) return write_lines(globals, options, filters, stdout);
  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(options.file.c_str(), "wxe"));
  if (file == nullptr) {
    complain(fmt::format("cannot make the file '{}': {}{}", printable(options.file),
                         std::generic_category().message(errno),
                         errno == EEXIST ? "; an export overwrites nothing, name another" : ""));
    return kExitNoInput;
  }
  const int code = write_lines(globals, options, filters, file.get());
  if (std::fflush(file.get()) != 0) {
    complain(fmt::format("'{}' could not be written: {}", printable(options.file),
                         std::generic_category().message(errno)));
    return kExitInternal;
  }
  return code;
}

}  // namespace

void add_dead_export(CLI::App* dead, Context* context, const std::shared_ptr<DeadOptions>& options) {
  CLI::App* sub = dead->add_subcommand("export", "Whole dead jobs, bodies included, a line of JSON each");
  sub->add_option("QUEUE", options->queue, "The queue's name")->required();
  add_filter_options(sub, options, Filters::no_id);
  sub->add_option("--limit", options->limit, "At most this many")->check(check_count, "");
  sub->add_option("--after", options->after, "Go on after this job id");
  sub->add_option("--file", options->file, "Into a new file instead of standard output");
  set_examples(sub,
               "  jobq dead export receipts --file dead-receipts.jsonl\n"
               "  jobq dead export receipts --type mail | jq -r .error\n"
               "  jobq enqueue receipts --jobs < dead-receipts.jsonl      makes jobs of them again");
  sub->callback([options, context] {
    context->run = [options, context] { return dead_export(context->globals, *options); };
  });
}

}  // namespace jobq::cli
