#include "broker/config.hpp"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <ios>
#include <iterator>
#include <optional>
#include <set>

#include "broker/config_rows.hpp"
#include "broker/engine/queue_settings.hpp"
#include "libjobq/base/check.hpp"

namespace jobq {
namespace {

struct Unit {
  const char* name;
  std::int64_t factor;
};
constexpr std::array<Unit, 5> kByteUnits{{{"TiB", std::int64_t{1} << 40},
                                          {"GiB", std::int64_t{1} << 30},
                                          {"MiB", std::int64_t{1} << 20},
                                          {"KiB", 1024},
                                          {"B", 1}}};
constexpr std::array<Unit, 5> kTimeUnits{
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};

std::span<const Unit> units_of(ConfigKind kind) {
  if (kind == ConfigKind::bytes) return kByteUnits;
  if (kind == ConfigKind::milliseconds) return kTimeUnits;
  return {};
}

// Edit distance, for "did you mean": both texts are short.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

std::string near_match(std::string_view key) {
  const std::string_view last = key.substr(key.rfind('.') + 1);
  std::string best;
  std::size_t best_distance = 4;
  for (const ConfigSetting& setting : config_table()) {
    const std::string_view known = setting.key;
    const std::size_t d =
        std::min(distance(key, known), distance(last, known.substr(known.rfind('.') + 1)) + 1);
    if (d < best_distance) {
      best_distance = d;
      best = setting.key;
    }
  }
  return best;
}

Status bad(const std::string& name, const toml::node& node, const std::string& text) {
  return {Code::bad_argument, fmt::format("{}:{}: {}", name, node.source().begin.line, text)};
}

Status read_text(const std::string& key, const std::string& text, Config* config) {
  if (key == "data") {
    config->data = text;
  } else if (key == "store.backup_directory") {
    config->store_backup_directory = text;
  } else if (key == "log.level") {
    config->log_level = text;
  } else if (text == "human" || text == "json") {
    config->log_format = text == "json" ? LogFormat::json : LogFormat::human;
  } else {
    return {Code::bad_argument, fmt::format("log.format = '{}' is neither 'human' nor 'json'", text)};
  }
  return {};
}

Status read_list(const toml::node& node, const std::string& name, Config* config) {
  std::vector<std::string> endpoints;
  if (const auto one = node.value_exact<std::string>()) {
    endpoints.push_back(*one);
  } else if (const toml::array* array = node.as_array()) {
    for (const toml::node& element : *array) {
      const auto text = element.value_exact<std::string>();
      if (!text) return bad(name, element, "listen is a list of texts, like [\"tcp://127.0.0.1:7710\"]");
      endpoints.push_back(*text);
    }
  } else {
    return bad(name, node, "listen is a list of texts, like [\"tcp://127.0.0.1:7710\"]");
  }
  config->listen = std::move(endpoints);
  return {};
}

Status read_number(const toml::node& node, const std::string& name, const ConfigRow& row, Config* config) {
  const ConfigSetting& setting = row.setting;
  std::optional<std::int64_t> value = node.value_exact<std::int64_t>();
  if (const auto flag = node.value_exact<bool>(); flag && setting.kind == ConfigKind::flag)
    value = *flag ? 1 : 0;
  if (const auto text = node.value_exact<std::string>()) value = parse_quantity(setting.kind, *text);
  if (!value) {
    const char* wanted = "a number";
    if (setting.kind == ConfigKind::bytes) wanted = "a number of bytes, or a text like \"64MiB\"";
    if (setting.kind == ConfigKind::milliseconds) wanted = "a number of milliseconds, or a text like \"30s\"";
    if (setting.kind == ConfigKind::flag) wanted = "true or false";
    return bad(name, node, fmt::format("{} must be {}", setting.key, wanted));
  }
  if (*value < setting.min || *value > setting.max) {
    return bad(name, node,
               fmt::format("{} = {} is out of range; it may be {} to {}", setting.key,
                           quantity_text(setting.kind, *value), quantity_text(setting.kind, setting.min),
                           quantity_text(setting.kind, setting.max)));
  }
  row.set(config, *value);
  return {};
}

Status read_value(const toml::node& node, const std::string& name, const std::string& key, Config* config) {
  const auto& rows = config_rows();
  const auto row =
      std::find_if(rows.begin(), rows.end(), [&](const ConfigRow& r) { return r.setting.key == key; });
  if (row == rows.end()) {
    const std::string near = near_match(key);
    return bad(name, node,
               fmt::format("there is no setting '{}'{}", key,
                           near.empty() ? "; `jobq-broker --print-config` shows all"
                                        : fmt::format("; did you mean '{}'?", near)));
  }
  if (row->setting.kind == ConfigKind::list) return read_list(node, name, config);
  if (row->setting.kind == ConfigKind::text) {
    const auto text = node.value_exact<std::string>();
    if (!text) return bad(name, node, fmt::format("{} must be a text", key));
    const Status read = read_text(key, *text, config);
    return read.ok() ? read : bad(name, node, read.text());
  }
  return read_number(node, name, *row, config);
}

// Every key of the file in turn; tables nest one deep, deeper ones have no known key.
Status read_table(const toml::table& table, const std::string& name, const std::string& prefix,
                  Config* config) {
  for (const auto& [key, node] : table) {
    const std::string full = prefix + std::string(key.str());
    const toml::table* inner = node.as_table();
    Status read = inner != nullptr ? read_table(*inner, name, full + ".", config)
                                   : read_value(node, name, full, config);
    if (!read.ok()) return read;
  }
  return {};
}

}  // namespace

std::optional<std::int64_t> parse_quantity(ConfigKind kind, std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  if (unit.empty()) return value;
  for (const Unit& known : units_of(kind)) {
    if (unit != known.name) continue;
    if (__builtin_mul_overflow(value, known.factor, &value)) return std::nullopt;
    return value;
  }
  return std::nullopt;
}

std::string quantity_text(ConfigKind kind, std::int64_t value) {
  if (kind == ConfigKind::flag) return value != 0 ? "true" : "false";
  if (value != 0) {
    for (const Unit& unit : units_of(kind)) {
      if (value % unit.factor == 0) return fmt::format("{}{}", value / unit.factor, unit.name);
    }
  }
  return fmt::format("{}", value);
}

std::string config_value_text(const Config& config, std::string_view key) {
  if (key == "data") return fmt::format("\"{}\"", config.data);
  if (key == "store.backup_directory") return fmt::format("\"{}\"", config.store_backup_directory);
  if (key == "log.level") return fmt::format("\"{}\"", config.log_level);
  if (key == "log.format") return config.log_format == LogFormat::json ? "\"json\"" : "\"human\"";
  if (key == "listen") {
    std::string list;
    for (const std::string& endpoint : config.listen)
      list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", endpoint);
    return fmt::format("[{}]", list);
  }
  for (const ConfigRow& row : config_rows()) {
    if (row.setting.key != key) continue;
    const std::string text = quantity_text(row.setting.kind, row.get(config));
    const bool has_unit = !units_of(row.setting.kind).empty() && text != "0";
    return has_unit ? fmt::format("\"{}\"", text) : text;
  }
  JOBQ_CHECK(false, "{}", key);
  return {};
}

Status read_config_text(std::string_view toml, const std::string& name, Config* config) {
  Config read = *config;
  try {
    const toml::table table = toml::parse(toml, std::string_view(name));
    if (Status status = read_table(table, name, "", &read); !status.ok()) return status;
  } catch (const toml::parse_error& error) {
    return {Code::bad_argument,
            fmt::format("{}:{}: not TOML: {}", name, error.source().begin.line, error.description())};
  }
  *config = std::move(read);
  return {};
}

Status read_config_file(const std::string& path, Config* config) {
  const auto cannot = [&path] {
    return Status{Code::bad_argument,
                  fmt::format("cannot read the configuration file {}: {}", path, std::strerror(errno))};
  };
  std::ifstream file(path, std::ios::binary);
  if (!file) return cannot();
  try {
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (file.bad()) return cannot();
    return read_config_text(text, path, config);
  } catch (const std::ios_base::failure&) {  // a directory, for example: the buffer throws
    return cannot();
  }
}

Status check_endpoint(std::string_view endpoint) {
  const auto wrong = [endpoint] {
    return Status{Code::bad_argument,
                  fmt::format("'{}' is not an endpoint; write tcp://HOST:PORT or ipc://PATH", endpoint)};
  };
  constexpr std::string_view kTcp = "tcp://", kIpc = "ipc://";
  if (endpoint.starts_with(kIpc)) return endpoint.size() > kIpc.size() ? Status{} : wrong();
  const std::size_t colon = endpoint.rfind(':');
  if (!endpoint.starts_with(kTcp) || colon <= kTcp.size()) return wrong();
  const std::string_view port = endpoint.substr(colon + 1);
  if (port == "*") return {};
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc{} || end != port.data() + port.size() || number > 65'535) return wrong();
  return {};
}

Status validate(const Config& config) {
  const auto broken = [](std::string text) { return Status{Code::bad_argument, std::move(text)}; };
  if (config.data.empty()) return broken("data must name a directory");
  if (config.listen.empty()) return broken("listen must name at least one endpoint");
  if (std::set<std::string>(config.listen.begin(), config.listen.end()).size() != config.listen.size()) {
    return broken("listen names the same endpoint twice");
  }
  for (const std::string& endpoint : config.listen) {
    if (Status right = check_endpoint(endpoint); !right.ok()) return broken("listen: " + right.text());
  }
  const std::set<std::string> levels{"debug", "info", "warning", "error"};
  if (!levels.contains(config.log_level)) {
    return broken(fmt::format("log.level = '{}' is none of debug, info, warning, error", config.log_level));
  }
  if (config.engine.body_bytes_max + limits::kHeaderBytesMax + 1024 > config.message_bytes) {
    return broken(fmt::format(
        "limits.message_bytes = {} must leave room for a body of limits.body_bytes = {} and its headers",
        config.message_bytes, config.engine.body_bytes_max));
  }
  if (config.unread_bytes < 2 * config.message_bytes) {
    return broken(fmt::format("limits.unread_bytes = {} must be at least twice limits.message_bytes = {}",
                              config.unread_bytes, config.message_bytes));
  }
  if (config.engine.lane_window > config.engine.window_jobs_max) {
    return broken(fmt::format("engine.lane_window = {} must be at most engine.window_jobs = {}",
                              config.engine.lane_window, config.engine.window_jobs_max));
  }
  if (Status queue = jobq::validate(config.engine.defaults); !queue.ok())
    return broken("queue_defaults." + queue.text());
  return {};
}

// Nothing on the wire is encrypted yet and nobody is asked who he is, so everybody who can connect may do everything.
Status check_listen_is_local(const Config& config) {
  if (config.insecure) return {};
  for (const std::string& endpoint : config.listen) {
    if (endpoint.starts_with("ipc://")) continue;
    std::string_view host = endpoint;
    host.remove_prefix(std::string_view("tcp://").size());
    host = host.substr(0, host.rfind(':'));
    const bool local =
        host == "127.0.0.1" || host == "localhost" || host == "[::1]" || host == "lo" ||
        (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string_view::npos);
    if (local) continue;
    return {
        Code::forbidden,
        fmt::format(
            "refusing to listen on {}: other machines could reach it, and the wire is neither encrypted nor "
            "authenticated; listen on 127.0.0.1 or ipc://, or say --insecure if the network is yours",
            endpoint)};
  }
  return {};
}

}  // namespace jobq
