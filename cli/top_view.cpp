#include "cli/top_view.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "cli/duration.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"

namespace jobq::cli {
namespace {

constexpr std::size_t kProblemsShown = 4;
constexpr std::size_t kNameMin = 10;
constexpr std::int64_t kEveryMin = 100, kEveryMax = 60'000;

struct Row {
  std::string name;
  const Json* queue;
};

struct Column {
  const char* title;
  TopSort sort;
  std::string (*cell)(const Json& queue);
};

std::string digits_of(const Json& queue, const char* field) { return group_digits(int_at(queue, field)); }

constexpr std::array<Column, 9> kColumns = {{
    {"READY", TopSort::ready, [](const Json& q) { return digits_of(q, "ready"); }},
    {"OLDEST", TopSort::oldest,
     [](const Json& q) {
       const auto ms = maybe_int_at(q, "oldest_ready_ms");
       return ms ? format_duration(*ms) : std::string("-");
     }},
    {"LEASED", TopSort::leased, [](const Json& q) { return digits_of(q, "leased"); }},
    {"SCHED", TopSort::scheduled, [](const Json& q) { return digits_of(q, "scheduled"); }},
    {"DEAD", TopSort::dead, [](const Json& q) { return digits_of(q, "dead"); }},
    {"IN/S", TopSort::in, [](const Json& q) { return format_rate(number_at(q, "enqueued_per_s")); }},
    {"OUT/S", TopSort::out, [](const Json& q) { return format_rate(number_at(q, "acked_per_s")); }},
    {"WORKERS", TopSort::name, [](const Json& q) { return digits_of(q, "workers"); }},
    {"STATE", TopSort::name, [](const Json& q) { return std::string(bool_at(q, "paused") ? "paused" : ""); }},
}};

double key_of(const Json& queue, TopSort sort) {
  switch (sort) {
    case TopSort::ready:
      return number_at(queue, "ready");
    case TopSort::oldest:
      return number_at(queue, "oldest_ready_ms", -1);
    case TopSort::leased:
      return number_at(queue, "leased");
    case TopSort::scheduled:
      return number_at(queue, "scheduled");
    case TopSort::dead:
      return number_at(queue, "dead");
    case TopSort::in:
      return number_at(queue, "enqueued_per_s");
    case TopSort::out:
      return number_at(queue, "acked_per_s");
    case TopSort::name:
      break;
  }
  return 0;
}

std::vector<Row> sorted_rows(const Json& stats, const TopState& state) {
  std::vector<Row> rows;
  for (const Json& queue : array_at(stats, "queues")) rows.push_back({text_at(queue, "name"), &queue});
  // The largest first; equal ones and the names from A to Z. Reversed as a whole.
  std::stable_sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) {
    const double of_a = key_of(*a.queue, state.sort), of_b = key_of(*b.queue, state.sort);
    return of_a != of_b ? of_a > of_b : a.name < b.name;
  });
  if (state.reverse) std::reverse(rows.begin(), rows.end());
  return rows;
}

std::string right(std::string_view text, std::size_t width) {
  const std::size_t have = display_width(text);
  return std::string(have < width ? width - have : 0, ' ') + std::string(text);
}
std::string left(std::string_view text, std::size_t width) {
  std::string shown = cut(text, width);
  const std::size_t have = display_width(shown);
  return shown + std::string(have < width ? width - have : 0, ' ');
}

void add_head(const Json& stats, const TopState& state, std::size_t width, std::vector<std::string>* lines) {
  std::string title = fmt::format("jobq top  {}  every {}", state.title, write_duration(state.every_ms));
  if (state.paused) title += "  PAUSED (space goes on)";
  lines->push_back(ink(Ink::bold, cut(title, width)));
  if (!state.error.empty()) lines->push_back(ink(Ink::red, cut(printable(state.error), width)));
  const Json& broker = object_at(stats, "broker");
  const Json& store = object_at(stats, "store");
  if (broker.empty()) return;
  double in = 0, out = 0;
  std::int64_t ready = 0, leased = 0, scheduled = 0, dead = 0;
  for (const Json& queue : array_at(stats, "queues")) {
    in += number_at(queue, "enqueued_per_s");
    out += number_at(queue, "acked_per_s");
    ready += int_at(queue, "ready");
    leased += int_at(queue, "leased");
    scheduled += int_at(queue, "scheduled");
    dead += int_at(queue, "dead");
  }
  lines->push_back(
      cut(fmt::format("broker {}, pid {}, up {}, {}, {}; store {} of {}, disk free {}",
                      text_at(broker, "version", "?"), int_at(broker, "pid"),
                      format_duration(int_at(broker, "uptime_ms")),
                      count_of(int_at(broker, "connections"), "connection", "connections"),
                      count_of(int_at(broker, "sessions"), "worker", "workers"),
                      format_bytes(int_at(store, "used_bytes")), format_bytes(int_at(store, "map_bytes")),
                      format_bytes(int_at(store, "disk_free_bytes"))),
          width));
  lines->push_back(cut(fmt::format("jobs   {} ready, {} leased, {} scheduled, {} dead; {}/s in, {}/s out",
                                   group_digits(ready), group_digits(leased), group_digits(scheduled),
                                   group_digits(dead), format_rate(in), format_rate(out)),
                       width));
}

// Not so many that no queue is left to be seen.
void add_problems(const Json& stats, ScreenSize size, std::vector<std::string>* lines) {
  const std::size_t width = size.columns;
  const std::size_t most = size.rows > 12 ? std::min(kProblemsShown, (size.rows - 8) / 4) : 1;
  const Json& problems = array_at(stats, "problems");
  std::size_t shown = 0;
  for (const bool critical : {true, false}) {
    for (const Json& problem : problems) {
      if ((raw_text_at(problem, "severity") == "critical") != critical) continue;
      if (++shown > most) continue;
      const std::string queue = text_at(problem, "queue");
      lines->push_back(ink(critical ? Ink::red : Ink::yellow,
                           cut(fmt::format("{} {}{}", critical ? "CRITICAL" : "warning ",
                                           queue.empty() ? "" : queue + ": ", text_at(problem, "text")),
                               width)));
    }
  }
  if (shown > most) lines->push_back(cut(fmt::format("and {} more problems", shown - most), width));
}

void add_table(const Json& stats, TopState* state, ScreenSize size, std::vector<std::string>* lines) {
  const std::vector<Row> rows = sorted_rows(stats, *state);
  std::vector<std::size_t> widths;
  std::size_t name_width = kNameMin, total = 0, columns = 0;
  for (const Row& row : rows) name_width = std::max(name_width, display_width(row.name));
  for (const Column& column : kColumns) {
    std::size_t width = display_width(column.title) + 1;  // the mark of the order
    for (const Row& row : rows) width = std::max(width, display_width(column.cell(*row.queue)));
    // Columns that do not fit beside a short name are left out, from the right.
    if (total + width + 2 + std::min<std::size_t>(name_width, kNameMin) > size.columns) break;
    total += width + 2;
    widths.push_back(width);
    ++columns;
  }
  name_width = std::min(name_width, size.columns > total ? size.columns - total : kNameMin);
  name_width = std::min(name_width, size.columns);
  const char* mark = state->reverse ? "^" : "v";
  std::string head = left(state->sort == TopSort::name ? fmt::format("QUEUE{}", mark) : "QUEUE", name_width);
  for (std::size_t i = 0; i < columns; ++i) {
    const bool by_this = kColumns[i].sort == state->sort && state->sort != TopSort::name;
    head += "  " + right(fmt::format("{}{}", kColumns[i].title, by_this ? mark : ""), widths[i]);
  }
  lines->push_back(ink(Ink::bold, head));
  const std::size_t used = lines->size() + 1;  // and the line of keys
  const std::size_t room = size.rows > used ? size.rows - used : 0;
  state->scroll = std::min(state->scroll, rows.size() > room ? rows.size() - room : 0);
  for (std::size_t i = state->scroll; i < rows.size() && i < state->scroll + room; ++i) {
    std::string line = left(rows[i].name, name_width);
    for (std::size_t c = 0; c < columns; ++c)
      line += "  " + right(kColumns[c].cell(*rows[i].queue), widths[c]);
    while (line.ends_with(' ')) line.pop_back();
    lines->push_back(bool_at(*rows[i].queue, "paused") ? ink(Ink::dim, line) : line);
  }
  if (rows.empty() && room > 0) lines->push_back(cut("no queues yet", size.columns));
}

}  // namespace

TopKey press(std::string_view key, TopState* state) {
  constexpr std::array<std::pair<char, TopSort>, 8> kSorts = {{{'R', TopSort::ready},
                                                               {'O', TopSort::oldest},
                                                               {'L', TopSort::leased},
                                                               {'S', TopSort::scheduled},
                                                               {'D', TopSort::dead},
                                                               {'I', TopSort::in},
                                                               {'U', TopSort::out},
                                                               {'N', TopSort::name}}};
  if (key == "q" || key == "Q" || key == "\x03" || key == "\x04") return TopKey::quit;
  if (key == "\033[A" || key == "k") {
    state->scroll -= std::min<std::size_t>(state->scroll, 1);
  } else if (key == "\033[B" || key == "j") {
    ++state->scroll;
  } else if (key == " " || key == "p") {
    state->paused = !state->paused;
  } else if (key == "s") {
    state->sort =
        static_cast<TopSort>((static_cast<int>(state->sort) + 1) % (static_cast<int>(TopSort::name) + 1));
  } else if (key == "r") {
    state->reverse = !state->reverse;
  } else if (key == "+" || key == "=") {
    state->every_ms = std::max(kEveryMin, state->every_ms / 2);
  } else if (key == "-") {
    state->every_ms = std::min(kEveryMax, state->every_ms * 2);
  } else if (key == "h" || key == "?") {
    state->help = !state->help;
  } else {
    const auto* sort = std::find_if(kSorts.begin(), kSorts.end(), [&](const auto& one) {
      return key.size() == 1 && key.front() == one.first;
    });
    if (sort == kSorts.end()) return TopKey::none;
    state->sort = sort->second;
  }
  return TopKey::changed;
}

std::vector<std::string> keys_of(std::string_view bytes) {
  std::vector<std::string> keys;
  while (!bytes.empty()) {
    std::size_t length = 1;
    // ESC [ parameters letter, or ESC O letter: one key.
    if (bytes.size() >= 3 && bytes[0] == '\033' && (bytes[1] == '[' || bytes[1] == 'O')) {
      length = 2;
      while (length < bytes.size() && (bytes[length] < '@' || bytes[length] > '~')) ++length;
      length = std::min(length + 1, bytes.size());
    }
    std::string key(bytes.substr(0, length));
    if (key.size() == 3 && key[1] == 'O') key[1] = '[';
    keys.push_back(std::move(key));
    bytes.remove_prefix(length);
  }
  return keys;
}

std::vector<std::string> top_lines(const Json& stats, TopState* state, ScreenSize size) {
  size.columns = std::max<std::size_t>(size.columns, 20);
  size.rows = std::max<std::size_t>(size.rows, 3);
  std::vector<std::string> lines;
  add_head(stats, *state, size.columns, &lines);
  if (state->help) {
    for (const char* text :
         {"", "s            sort by the next column", "r            turn the order around",
          "R O L S D    sort by ready, oldest, leased, scheduled, dead",
          "I U N        sort by in/s, out/s, name", "space or p   hold the picture, and go on",
          "+ -          refresh more often, less often", "up down j k  scroll", "q, Ctrl-C    quit",
          "h or ?       back"}) {
      lines.push_back(cut(text, size.columns));
    }
  } else if (!object_at(stats, "broker").empty()) {
    add_problems(stats, size, &lines);
    lines.emplace_back();
    add_table(stats, state, size, &lines);
  }
  if (lines.size() > size.rows - 1) lines.resize(size.rows - 1);
  while (lines.size() < size.rows - 1) lines.emplace_back();
  lines.push_back(
      ink(Ink::dim,
          cut("q quit  s sort  r reverse  space pause  +/- interval  up/down scroll  h help", size.columns)));
  return lines;
}

}  // namespace jobq::cli
