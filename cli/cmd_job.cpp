// jobq job show|cancel ID
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>

#include "cli/broker_link.hpp"
#include "cli/command.hpp"
#include "cli/exit_codes.hpp"
#include "cli/instant.hpp"
#include "cli/job_view.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"
#include "libjobq/base/id.hpp"

namespace jobq::cli {
namespace {

struct JobOptions {
  std::string id;
  bool body = false;
};

bool check_id(const std::string& id) {
  if (parse_job_id(id)) return true;
  complain(
      fmt::format("'{}' is not a job id; they look like j1a7 (`jobq enqueue` prints them)", printable(id)));
  return false;
}

// The body alone, byte for byte, for a pipe.
int write_body(const Json& job) {
  const auto body = job.find("body");
  if (body == job.end() || body->is_null()) {
    complain(fmt::format(
        "the body of {} ({} bytes) is not in the broker's answer: it is over 64 KiB, or the job has left",
        text_at(job, "id"), int_at(job, "body_bytes")));
    return kExitRefused;
  }
  const std::string content = raw_text_at(job, "body");
  std::fwrite(content.data(), 1, content.size(), stdout);
  return kExitOk;
}

int show(const Globals& globals, const JobOptions& options) {
  if (!check_id(options.id)) return kExitUsage;
  BrokerLink link(globals);
  const Result<Json> answer = link.ask("job.show", {{"id", options.id}});
  if (!answer.ok()) return link.fail(answer.status());
  if (options.body) return write_body(object_at(*answer, "job"));
  if (globals.json) {
    print_json(*answer);
  } else {
    std::fputs(render_job(*answer, wall_now(), stdout_width()).c_str(), stdout);
  }
  return kExitOk;
}

// The engine knows numbers only: the sentence is made here when the broker sent none.
Status about_job(const Status& status, const std::string& id) {
  if (!status.text().empty()) return status;
  if (status.code() == Code::gone) {
    return {
        status.code(),
        fmt::format("job {} has left the broker already; `jobq job show {}` says how, while it is remembered",
                    id, id)};
  }
  if (status.code() == Code::no_such_job) {
    return {status.code(), fmt::format("there is no job {}, and there never was", id)};
  }
  return status;
}

int cancel(const Globals& globals, const JobOptions& options) {
  if (!check_id(options.id)) return kExitUsage;
  BrokerLink link(globals);
  const Result<Json> answer = link.ask("job.cancel", {{"id", options.id}});
  if (!answer.ok()) return link.fail(about_job(answer.status(), options.id));
  if (globals.json) {
    print_json(*answer);
  } else if (raw_text_at(object_at(*answer, "job"), "state") == "leased") {
    fmt::print("{} is running: its worker is asked to stop; `jobq job show {}` says how it ended\n",
               options.id, options.id);
  } else {
    fmt::print("{} is cancelled\n", options.id);
  }
  return kExitOk;
}

}  // namespace

void add_job(CLI::App* app, Context* context) {
  auto options = std::make_shared<JobOptions>();
  CLI::App* job = app->add_subcommand("job", "One job: what happened to it, or cancel it");
  job->require_subcommand(1);
  set_examples(job,
               "  jobq job show j1a7\n"
               "  jobq job cancel j1a7");

  CLI::App* show_app =
      job->add_subcommand("show", "Its fields, its state, its attempts with their errors, its body");
  show_app->add_option("ID", options->id, "The job's id, as `jobq enqueue` printed it")->required();
  show_app->add_flag("--body", options->body, "Write the body alone, byte for byte");
  set_examples(show_app,
               "  jobq job show j1a7\n"
               "  jobq job show j1a7 --body > body.bin");
  show_app->callback(
      [options, context] { context->run = [options, context] { return show(context->globals, *options); }; });

  CLI::App* cancel_app = job->add_subcommand(
      "cancel", "Take a waiting or dead job out; ask the worker of a running one to stop");
  cancel_app->add_option("ID", options->id, "The job's id")->required();
  set_examples(cancel_app, "  jobq job cancel j1a7");
  cancel_app->callback([options, context] {
    context->run = [options, context] { return cancel(context->globals, *options); };
  });
}

}  // namespace jobq::cli
