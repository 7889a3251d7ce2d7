// The document of those who follow what happens: a bounded piece of the ring, from where they left off.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "broker/server/admin.hpp"
#include "broker/server/admin_params.hpp"
#include "broker/server/admin_rows.hpp"
#include "broker/server/event_ring.hpp"

namespace jobq {
namespace {

using json = nlohmann::ordered_json;

constexpr std::int64_t kEventsDefault = 500, kEventsMost = 1'000;
constexpr std::size_t kScannedMax = 20'000;  // looked at for one answer when a filter is set

// Names separated by commas; empty: all.
Result<std::set<std::string_view>> read_kinds(std::string_view text) {
  std::set<std::string_view> kinds;
  while (!text.empty()) {
    const std::string_view kind = text.substr(0, text.find(','));
    if (std::find(std::begin(kEventKinds), std::end(kEventKinds), kind) == std::end(kEventKinds)) {
      return Status{Code::bad_argument, fmt::format("events: there is no event '{}'; there are: {}",
                                                    kind.substr(0, 64), fmt::join(kEventKinds, ", "))};
    }
    kinds.insert(kind);
    text.remove_prefix(std::min(text.size(), kind.size() + 1));
  }
  return kinds;
}

}  // namespace

json AdminDesk::event_row(const JobEvent& event) const {
  json row = {{"seq", event.seq},
              {"at", event.at.ms},
              {"event", event.kind},
              {"job", to_text(event.job)},
              {"queue", sources_.engine->queue_name(event.queue)},
              {"type", sources_.engine->type_name(event.type)}};
  if (event.lease_no != 0) row["lease_no"] = event.lease_no;
  if (event.attempt != 0) row["attempt"] = event.attempt;
  if (!event.worker.empty()) row["worker"] = event.worker;
  if (event.reason != nullptr) row["reason"] = event.reason;
  if (!event.error.empty()) row["error"] = event.error;
  if (event.run_at.is_set()) row["run_at"] = event.run_at.ms;
  return row;
}

Result<json> AdminDesk::events(const protocol::Admin& admin, const Now& now) {
  constexpr std::int64_t kAny = std::numeric_limits<std::int64_t>::max();
  AdminParams params(admin);
  params.allow_only({"stream", "after", "limit", "queue", "job", "events"});
  const std::string_view stream = params.text("stream").value_or(std::string_view{});
  const auto after = static_cast<std::uint64_t>(params.number("after", 0, 0, kAny));
  const auto limit = static_cast<std::size_t>(params.number("limit", kEventsDefault, 1, kEventsMost));
  const std::optional<std::string_view> queue_name = params.text("queue");
  const std::optional<JobId> job = params.job("job");
  const Result<std::set<std::string_view>> kinds =
      read_kinds(params.text("events").value_or(std::string_view{}));
  if (!params.ok()) return params.status();
  if (!kinds.ok()) return kinds.status();

  EventRing& ring = *sources_.events;
  ring.follow(now.engine);
  const std::string current = fmt::format("{}-{}", sources_.started_at.ms, ring.stream());
  json rows = json::array();
  if (stream != current) {
    return json{
        {"stream", current}, {"next", ring.last()}, {"dropped", 0}, {"more", false}, {"events", rows}};
  }
  // A queue that does not exist has no events: it may come.
  const std::optional<QueueView> queue =
      queue_name ? sources_.engine->queue(*queue_name, now) : std::optional<QueueView>();
  const auto& events = ring.events();
  auto event = std::upper_bound(events.begin(), events.end(), after,
                                [](std::uint64_t seq, const JobEvent& one) { return seq < one.seq; });
  std::uint64_t next = after;
  std::size_t scanned = 0;
  for (; event != events.end() && rows.size() < limit && scanned < kScannedMax; ++event) {
    ++scanned;
    next = event->seq;
    if (queue_name && (!queue || queue->number != event->queue)) continue;
    if (job && event->job != *job) continue;
    if (!kinds->empty() && !kinds->contains(event->kind)) continue;
    rows.push_back(event_row(*event));
  }
  const bool more = event != events.end();
  if (!more) next = std::max(next, ring.last());
  const std::uint64_t dropped = next > after ? next - after - scanned : 0;
  return json{
      {"stream", current}, {"next", next}, {"dropped", dropped}, {"more", more}, {"events", std::move(rows)}};
}

}  // namespace jobq
