#include "cli/broker_link.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "cli/duration.hpp"
#include "cli/exit_codes.hpp"
#include "cli/spelling.hpp"
#include "cli/terminal.hpp"
#include "jobq/client.hpp"
#include "libjobq/admin.hpp"

namespace jobq::cli {
namespace {

using std::chrono::milliseconds;

AdminParam to_admin_param(const std::pair<std::string, ParamValue>& param) {
  AdminParam made{param.first, {}};
  std::visit([&made](const auto& value) { made.value = value; }, param.second);
  return made;
}

}  // namespace

BrokerLink::BrokerLink(const Globals& globals, DurationMs default_timeout)
    : endpoint_(globals.endpoint), timeout_(globals.timeout.ms > 0 ? globals.timeout : default_timeout) {
  try {
    ClientOptions options;
    options.timeout = milliseconds{timeout_.ms};
    options.buffer_bytes = std::size_t{256}
                           << 20;      // More than the window of enqueue --lines with its largest line.
    options.linger = milliseconds{0};  // A command waits for its answers itself.
    client_ = std::make_unique<Client>(endpoint_, options);
  } catch (const Error& error) {
    opened_ = {error.code(), error.what()};
  }
}

BrokerLink::~BrokerLink() = default;

Result<Json> BrokerLink::ask(std::string_view verb, const Params& params) {
  if (client_ == nullptr) return opened_;
  std::vector<AdminParam> wire;
  std::transform(params.begin(), params.end(), std::back_inserter(wire), to_admin_param);
  const Result<std::string> document =
      wait_for([&] { return admin(*client_, verb, wire, milliseconds{timeout_.ms}); });
  if (!document.ok()) return document.status();
  return parse_document(*document);
}

void BrokerLink::show_waiting(const std::function<bool(milliseconds)>& ready) {
  const auto start = std::chrono::steady_clock::now();
  Progress progress;
  while (!ready(milliseconds{100})) {
    const auto waited = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - start);
    progress.show(fmt::format(
        "{} {} ({} of {})", client_->connected() ? "waiting for the answer of" : "no broker yet at",
        endpoint_, format_duration(waited.count() / 1000 * 1000), format_duration(timeout_.ms)));
  }
}

int BrokerLink::fail(const Status& status, std::string_view queue) {
  std::string text = status.text();
  if (status.code() == Code::no_such_queue && !queue.empty()) {
    // Best effort: the remedy is better with the names, and the refusal stands without them.
    if (const Result<Json> known = ask("queue.ls"); known.ok()) {
      std::vector<std::string> names;
      for (const Json& row : array_at(*known, "queues")) names.push_back(text_at(row, "name"));
      text = no_such_queue_text(queue, std::move(names));
    }
  }
  if (text.empty()) text = "the broker refused: " + to_string(status.code());
  complain(text);
  return exit_code_for(status.code());
}

}  // namespace jobq::cli
