// jobq top: the queues, live
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "cli/broker_link.hpp"
#include "cli/command.hpp"
#include "cli/duration.hpp"
#include "cli/exit_codes.hpp"
#include "cli/instant.hpp"
#include "cli/interrupt.hpp"
#include "cli/live_terminal.hpp"
#include "cli/terminal.hpp"
#include "cli/top_view.hpp"
#include "jobq/client.hpp"
#include "libjobq/admin.hpp"

namespace jobq::cli {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kDrawGap{50};  // at most twenty pictures a second, whatever the keys and the size do

std::int64_t ms_until(Clock::time_point then) {
  return std::max<std::int64_t>(0, std::chrono::duration_cast<milliseconds>(then - Clock::now()).count());
}

// Asks in another thread, so that keys are heard while the broker is waited for.
class Fetcher {
 public:
  explicit Fetcher(BrokerLink* link) : link_(link) {}
  // An answer that is still waited for must not keep the person waiting who has pressed q. Nothing is lost by it.
  ~Fetcher() {
    if (busy()) std::_Exit(kExitOk);
  }
  Fetcher(const Fetcher&) = delete;
  Fetcher& operator=(const Fetcher&) = delete;

  [[nodiscard]] bool busy() const { return answer_.valid(); }
  void begin() {
    answer_ = std::async(std::launch::async, [this]() -> Result<Json> {
      if (link_->client() == nullptr) return link_->opened();
      const Result<std::string> document =
          admin(*link_->client(), "stats", {}, milliseconds{link_->timeout().ms});
      if (!document.ok()) return document.status();
      return parse_document(*document);
    });
  }
  std::optional<Result<Json>> take() {
    if (!busy() || answer_.wait_for(milliseconds{0}) != std::future_status::ready) return std::nullopt;
    return answer_.get();
  }

 private:
  BrokerLink* link_;
  std::future<Result<Json>> answer_;
};

int watch(BrokerLink* link, std::int64_t every_ms) {
  Fetcher fetcher(link);
  LiveTerminal terminal;  // given back first
  TopState state;
  state.every_ms = every_ms;
  state.title = link->endpoint();
  state.error = "asking the broker ...";
  Json stats;
  Clock::time_point next_fetch = Clock::now(), next_draw = next_fetch;
  bool dirty = true;
  for (;;) {
    if (!fetcher.busy() && !state.paused && Clock::now() >= next_fetch) {
      fetcher.begin();
      next_fetch = Clock::now() + milliseconds{state.every_ms};
    }
    if (dirty && Clock::now() >= next_draw) {
      if (!LiveTerminal::draw(top_lines(stats, &state, LiveTerminal::size()))) return kExitOk;
      dirty = false;
      next_draw = Clock::now() + kDrawGap;
    }
    std::int64_t wait_ms = state.paused ? 60'000 : ms_until(next_fetch);
    if (fetcher.busy()) wait_ms = 20;
    if (dirty) wait_ms = std::min(wait_ms, ms_until(next_draw));
    const LiveTerminal::Heard heard = terminal.wait(DurationMs{wait_ms});
    if (heard.stop) return kExitOk;
    dirty = dirty || heard.redraw;
    for (const std::string& key : keys_of(heard.keys)) {
      const TopKey did = press(key, &state);
      if (did == TopKey::quit) return kExitOk;
      if (did == TopKey::none) continue;
      dirty = true;
      next_fetch = std::min(next_fetch, Clock::now() + milliseconds{state.every_ms});
    }
    if (std::optional<Result<Json>> answer = fetcher.take()) {
      if (state.paused) continue;
      dirty = true;
      state.error.clear();
      if (answer->ok()) {
        stats = **std::move(answer);
        state.title = fmt::format("{}  {}", link->endpoint(), format_instant(wall_now()));
      } else {
        state.error = (stats.empty() ? "" : "no answer, the picture is old: ") + answer->status().text();
      }
    }
  }
}

// For programs: a document per refresh, a line each.
int stream(const Globals& globals, std::int64_t every_ms) {
  catch_interrupts();
  BrokerLink link(globals);
  while (!interrupted()) {
    const Result<Json> answer = link.ask("stats");
    if (interrupted()) break;
    if (!answer.ok()) return link.fail(answer.status());
    std::fputs((to_json_text(*answer, false) + "\n").c_str(), stdout);
    if (std::fflush(stdout) != 0) break;
    wait_interruptible(DurationMs{every_ms});
  }
  return kExitOk;
}

int top(const Globals& globals, const std::string& every_text) {
  const Result<DurationMs> every = parse_duration(every_text);
  if (!every.ok() || every->ms < 100) {
    complain(every.ok() ? fmt::format("--every {} is too often; at least 100ms", every_text)
                        : "--every: " + every.status().text());
    return kExitUsage;
  }
  if (globals.json) return stream(globals, every->ms);
  if (const std::string why = LiveTerminal::unusable(); !why.empty()) {
    complain(why + "; `jobq stats --watch` needs none");
    return kExitUsage;
  }
  BrokerLink link(globals);
  if (!link.opened().ok()) return link.fail(link.opened());
  return watch(&link, every->ms);
}

}  // namespace

void add_top(CLI::App* app, Context* context) {
  auto every = std::make_shared<std::string>("2s");
  CLI::App* sub = app->add_subcommand("top",
                                      "Problems and queues, live. Keys: s and r sort, space holds the "
                                      "picture, + and - change the interval, q quits");
  sub->add_option("--every", *every, "How often to refresh (default 2s)");
  set_examples(sub,
               "  jobq top\n"
               "  jobq top --every 500ms\n"
               "  jobq top --json --every 10s      a document per refresh, a line each");
  sub->callback(
      [every, context] { context->run = [every, context] { return top(context->globals, *every); }; });
}

}  // namespace jobq::cli
