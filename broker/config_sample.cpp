// The settings as text: the commented sample and the table of the document.
#include <fmt/format.h>

#include "broker/config.hpp"
#include "broker/config_rows.hpp"

namespace jobq {
namespace {

constexpr std::size_t kWidth = 110;

std::string wrapped_comment(const std::string& text) {
  std::string out, line = "#";
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t space = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, space - at);
    if (line.size() + 1 + word.size() > kWidth) {
      out += line + "\n";
      line = "#";
    }
    line += " " + word;
    at = space + 1;
  }
  return out + line + "\n";
}

std::string range_text(const ConfigSetting& setting) {
  switch (setting.kind) {
    case ConfigKind::flag:
      return "true or false";
    case ConfigKind::text:
    case ConfigKind::list:
      return "";
    case ConfigKind::count:
    case ConfigKind::bytes:
    case ConfigKind::milliseconds:
      break;
  }
  return fmt::format("{} to {}", quantity_text(setting.kind, setting.min),
                     quantity_text(setting.kind, setting.max));
}

std::string section_of(const std::string& key) {
  const std::size_t dot = key.find('.');
  return dot == std::string::npos ? "" : key.substr(0, dot);
}

std::string for_table(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
  return text;
}

}  // namespace

std::string sample_config() {
  const Config defaults;
  std::string out =
      "# Every setting of jobq-broker with its default. `jobq-broker --print-config` writes this file,\n"
      "# `jobq-broker --config FILE --check-config` says whether a changed one is right.\n"
      "# Sizes are bytes or texts like \"64MiB\"; times are milliseconds or texts like \"30s\".\n"
      "# (reload): SIGHUP takes a change over; the others need a restart.\n";
  std::string section;
  for (const ConfigSetting& setting : config_table()) {
    const std::string own = section_of(setting.key);
    if (own != section) {
      section = own;
      out += fmt::format("\n[{}]\n", section);
      if (section == "queue_defaults") {
        out += wrapped_comment(
            "What a queue gets when it comes into being. `jobq queue set` changes a queue that exists.");
      }
    }
    const std::string range = range_text(setting);
    out += "\n" + wrapped_comment(fmt::format("{}{}{}", setting.meaning,
                                              range.empty() ? "" : fmt::format(" [{}]", range),
                                              setting.reloads ? " (reload)" : ""));
    out += fmt::format("{} = {}\n", setting.key.substr(section.empty() ? 0 : section.size() + 1),
                       config_value_text(defaults, setting.key));
  }
  return out;
}

std::string config_table_markdown() {
  const Config defaults;
  std::string out = "| setting | default | range | SIGHUP | meaning |\n|---|---|---|---|---|\n";
  for (const ConfigSetting& setting : config_table()) {
    out +=
        fmt::format("| `{}` | `{}` | {} | {} | {} |\n", setting.key, config_value_text(defaults, setting.key),
                    range_text(setting), setting.reloads ? "yes" : "restart", for_table(setting.meaning));
  }
  return out;
}

}  // namespace jobq
