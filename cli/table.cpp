#include "cli/table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "libjobq/base/check.hpp"

namespace jobq::cli {
namespace {

constexpr std::size_t kLastColumnMin = 12;
constexpr std::string_view kReset = "\033[0m";

// The length of the valid UTF-8 sequence at the front of text, or 0.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  std::size_t length = 0;
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) length = 2;
  if (first >= 0xE0 && first <= 0xEF) length = 3;
  if (first >= 0xF0 && first <= 0xF4) length = 4;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if (first == 0xE0 && byte(1) < 0xA0) return 0;  // overlong
  if (first == 0xED && byte(1) > 0x9F) return 0;  // surrogates
  if (first == 0xF0 && byte(1) < 0x90) return 0;  // overlong
  if (first == 0xF4 && byte(1) > 0x8F) return 0;  // beyond Unicode
  return length;
}

bool is_control(std::string_view sequence) {
  const auto first = static_cast<unsigned char>(sequence[0]);
  if (first < 0x20 || first == 0x7F) return true;
  return sequence.size() == 2 && first == 0xC2 && static_cast<unsigned char>(sequence[1]) < 0xA0;  // C1
}

}  // namespace

void Table::add(std::vector<std::string> cells) {
  JOBQ_CHECK(cells.size() <= columns_.size(), "{} cells", cells.size());
  cells.resize(columns_.size());
  rows_.push_back(std::move(cells));
}

// Short titles, then fewer columns.
void Table::fit(std::size_t width, std::vector<std::string>* titles, std::vector<std::size_t>* widths,
                std::vector<bool>* shown) const {
  const auto measure = [&] {
    std::size_t total = 0, count = 0;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      std::size_t widest = display_width((*titles)[c]);
      for (const auto& row : rows_) widest = std::max(widest, display_width(row[c]));
      (*widths)[c] = widest;
      if (!(*shown)[c]) continue;
      total += widest;
      ++count;
    }
    return total + 2 * (count > 0 ? count - 1 : 0);
  };
  if (measure() <= width || width == 0) return;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    if (!columns_[c].short_title.empty()) (*titles)[c] = columns_[c].short_title;
  }
  while (measure() > width) {
    std::size_t least = columns_.size();
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      if (!(*shown)[c] || columns_[c].may_go == 0) continue;
      if (least == columns_.size() || columns_[c].may_go > columns_[least].may_go) least = c;
    }
    if (least == columns_.size()) return;
    (*shown)[least] = false;
  }
}

std::string Table::render(std::size_t width, std::string_view emphasis) const {
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.push_back(column.title);
  std::vector<std::size_t> widths(columns_.size());
  std::vector<bool> shown(columns_.size(), true);
  fit(width, &titles, &widths, &shown);
  std::size_t last = 0;  // What is left for the last column; 0: as much as it takes.
  if (width > 0 && !widths.empty() && columns_.back().align == Align::left) {
    std::size_t before = 0;
    for (std::size_t c = 0; c + 1 < widths.size(); ++c) before += shown[c] ? widths[c] + 2 : 0;
    last = std::max(kLastColumnMin, width > before ? width - before : 0);
    widths.back() = std::min(widths.back(), last);
  }
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text;
    for (std::size_t c = 0; c < cells.size(); ++c) {
      if (!shown[c]) continue;
      const std::string cell = c + 1 == cells.size() ? cut(cells[c], last) : cells[c];
      const std::size_t wide = display_width(cell);
      const std::string padding(widths[c] > wide ? widths[c] - wide : 0, ' ');
      if (c > 0) text += "  ";
      text += columns_[c].align == Align::right ? padding + cell : cell + padding;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    return text;
  };
  std::string out = emphasis.empty() ? line(titles) : fmt::format("{}{}{}", emphasis, line(titles), kReset);
  out += '\n';
  for (const auto& row : rows_) out += line(row) + '\n';
  return out;
}

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string cut(std::string_view text, std::size_t width) {
  if (width == 0 || display_width(text) <= width) return std::string{text};
  std::size_t end = 0;
  for (std::size_t shown = 0; end < text.size(); ++end) {
    if ((static_cast<unsigned char>(text[end]) & 0xC0) != 0x80 && shown++ == width - 1) break;
  }
  return std::string{text.substr(0, end)} + "…";
}

std::string wrap(std::string_view text, std::size_t width, std::size_t indent) {
  if (width == 0) return std::string{text};
  std::string out;
  std::size_t column = 0;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    const std::size_t wide = display_width(word);
    if (column > 0 && column + 1 + wide > width) {
      out += '\n' + std::string(indent, ' ');
      column = 0;
    } else if (column > 0) {
      out += ' ';
      ++column;
    }
    out += word;
    column += wide;
  }
  return out;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string printable(std::string_view text) {
  std::string clean;
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const std::string_view sequence = text.substr(0, std::max<std::size_t>(length, 1));
    if (length > 0 && !is_control(sequence)) {
      clean += sequence;
    } else if (sequence == "\n") {
      clean += "\\n";
    } else if (sequence == "\t") {
      clean += "\\t";
    } else if (sequence == "\r") {
      clean += "\\r";
    } else {
      for (const char c : sequence) clean += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
    text.remove_prefix(sequence.size());
  }
  return clean;
}

std::string group_digits(std::int64_t number) {
  std::string digits = std::to_string(number);
  const std::size_t first = digits.front() == '-' ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

std::string count_of(std::int64_t number, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", group_digits(number), number == 1 ? one : many);
}

std::string format_bytes(std::int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  // 1023.95 would be shown as 1024: it belongs to the next unit.
  while (value >= 1023.95 && unit + 1 < std::size(kUnits)) value /= 1024, ++unit;
  return value < 9.95 ? fmt::format("{:.1f} {}", value, kUnits[unit])
                      : fmt::format("{:.0f} {}", value, kUnits[unit]);
}

std::string format_rate(double per_second) {
  if (!(per_second > 0)) return "0";
  if (per_second < 0.01) return "<0.01";
  if (per_second < 0.995) return fmt::format("{:.2f}", per_second);
  if (per_second < 99.95) return fmt::format("{:.1f}", per_second);
  return group_digits(std::llround(per_second));
}

std::string format_percent(double part, double whole) {
  if (!(whole > 0)) return "-";
  const double percent = 100.0 * part / whole;
  if (percent == 0) return "0 %";
  if (percent < 0.05) return "<0.1 %";
  return percent < 9.95 ? fmt::format("{:.1f} %", percent) : fmt::format("{:.0f} %", percent);
}

}  // namespace jobq::cli
