#include "cli/event_view.hpp"

#include <fmt/format.h>

#include "cli/duration.hpp"
#include "cli/instant.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"

namespace jobq::cli {

std::string render_event(const Json& event, std::size_t width) {
  const TimeMs at{int_at(event, "at")};
  const std::string kind = text_at(event, "event", "?");
  const std::string type = text_at(event, "type");
  const std::string worker = text_at(event, "worker"), error = text_at(event, "error");
  const std::string reason = text_at(event, "reason");
  const auto attempt = int_at(event, "attempt"), run_at = int_at(event, "run_at");
  std::string what;
  const auto add = [&what](const std::string& text) { what += (what.empty() ? "" : ", ") + text; };
  if (!reason.empty()) add(reason);
  if (kind == "leased") {
    add(fmt::format("attempt {}", attempt));
  } else if (attempt > 0) {
    add(fmt::format("failure {}", attempt));
  }
  if (!worker.empty()) add(kind == "leased" ? "to " + worker : "on " + worker);
  if (run_at > at.ms) add("ready in " + format_duration(run_at - at.ms));
  if (!error.empty()) add(fmt::format("\"{}\"", error));
  const std::string place =
      type.empty() ? text_at(event, "queue", "-") : text_at(event, "queue", "-") + "/" + type;
  const std::string plain =
      fmt::format("{:<8} {}{}{}", text_at(event, "job", "?"), place, what.empty() ? "" : "  ", what);
  const std::string head = fmt::format("{}  {:<11} ", format_clock(at), kind);
  const std::size_t left = width > head.size() + 12 ? width - head.size() : 0;
  const bool bad =
      kind == "dead" || kind == "failed" || kind == "crashed" || kind == "lapsed" || kind == "timed_out";
  const std::string shown_kind = fmt::format("{:<11}", kind);
  return fmt::format("{}  {} {}\n", ink(Ink::dim, format_clock(at)),
                     kind == "dead" ? ink(Ink::red, shown_kind)
                     : bad          ? ink(Ink::yellow, shown_kind)
                                    : shown_kind,
                     cut(plain, left));
}

}  // namespace jobq::cli
