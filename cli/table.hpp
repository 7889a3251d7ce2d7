// Text for terminals: aligned tables, thousands separators, sizes, and the cleaning of text that others wrote.
//
//   Table table({{"QUEUE", Align::left}, {"READY", Align::right}});
//   table.add({"receipts", group_digits(1234)});
//   std::fputs(table.render(width).c_str(), stdout);
//
// Thread-safety: plain values; a Table belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace jobq::cli {

enum class Align { left, right };

struct Column {
  std::string title;
  Align align = Align::left;
  std::string short_title = {};  // taken when the table is too wide; empty: the same
  int may_go = 0;                // > 0: left out when that is still too wide, the highest first
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // Missing cells are empty. REQUIRES: not more cells than columns.
  void add(std::vector<std::string> cells);
  [[nodiscard]] bool empty() const { return rows_.empty(); }

  // Two spaces between columns, none at the end of a line. width 0: nothing is cut (output that a program may read).
  // Else, while it does not fit: short titles, then columns that may go are left out, and a last column that is aligned left
  // is cut, with an ellipsis, but never below 12 characters.
  // emphasis: escape sequences around the titles ("" for none).
  [[nodiscard]] std::string render(std::size_t width, std::string_view emphasis = "") const;

 private:
  void fit(std::size_t width, std::vector<std::string>* titles, std::vector<std::size_t>* widths,
           std::vector<bool>* shown) const;
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Number of characters as shown (code points), for text that printable() has cleaned.
std::size_t display_width(std::string_view text);
// At most `width` characters; the last one is "…" when something was cut. width 0: as it is.
std::string cut(std::string_view text, std::size_t width);
// Broken at spaces into lines of at most `width`, those after the first behind `indent` spaces; longer words stay whole. width 0: as
// it is.
std::string wrap(std::string_view text, std::size_t width, std::size_t indent);

// One line that is safe to show: control characters, escape sequences and bytes that are not UTF-8 become \n, \t, \x1b.
std::string printable(std::string_view text);
bool is_utf8(std::string_view text);

std::string group_digits(std::int64_t number);  // 1,234,567
// "1 job", "1,234 jobs".
std::string count_of(std::int64_t number, std::string_view one, std::string_view many);
std::string format_bytes(std::int64_t bytes);           // 512 B, 1.5 KiB, 12 MiB
std::string format_rate(double per_second);             // 0, 0.25, 12.5, 1,234
std::string format_percent(double part, double whole);  // "-" of nothing, "0 %", "0.2 %", "12 %"

}  // namespace jobq::cli
