// Everything an operator can set, where it is read from, and what is wrong with it. One table says it all: key, unit,
// range, default, meaning, and whether SIGHUP takes it over; the commented sample (broker/jobq-broker.toml), the document
// (docs/configuration.md) and the reader are made from it.
//
// Thread-safety: plain values. Sizes are bytes, times milliseconds; in the file both may be written with a unit
// ("64MiB", "30s").
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "broker/engine/engine.hpp"
#include "jobq/status.hpp"

namespace jobq {

enum class LogFormat : std::uint8_t { human, json };

struct Config {
  std::string data = "./jobq-data";
  std::vector<std::string> listen = {"tcp://127.0.0.1:7710"};
  bool insecure = false;
  LogFormat log_format = LogFormat::human;
  std::string log_level = "info";  // debug, info, warning, error

  std::uint64_t message_bytes = limits::kMessageBytesDefault;
  std::uint64_t connections = 10'000;
  std::uint64_t unread_bytes = std::uint64_t{64} << 20;
  std::uint64_t unsent_bytes = std::uint64_t{256} << 20;
  std::uint64_t unread_total_bytes = std::uint64_t{256} << 20;
  std::uint64_t unsent_total_bytes = std::uint64_t{1} << 30;
  std::int64_t handshake_ms = 3'000;
  std::uint64_t jobs_per_turn = 5'000;
  std::uint64_t bytes_per_turn = std::uint64_t{16} << 20;

  std::uint64_t store_max_bytes = std::uint64_t{1} << 38;
  std::uint64_t store_full_percent = 85;
  std::uint64_t store_min_free_bytes = std::uint64_t{256} << 20;
  bool store_preallocate = true;
  bool store_allow_network_fs = false;
  std::uint64_t store_cached_blocks = 65'536;
  std::string store_backup_directory;  // empty: backups/ in the data directory
  std::uint64_t store_backup_growth_bytes = std::uint64_t{4} << 30;

  // Of large jobs, handed over in a turn that takes in less than that. Not in the file.
  std::uint64_t large_jobs_share = std::uint64_t{256} << 10;

  EngineLimits engine;  // limits, windows and the settings that new queues get
};

enum class ConfigKind : std::uint8_t { count, bytes, milliseconds, flag, text, list };

struct ConfigSetting {
  std::string key;  // "limits.body_bytes"
  ConfigKind kind;
  std::int64_t min = 0, max = 0;  // numbers
  bool reloads = false;           // SIGHUP takes it over
  std::string meaning;            // what it does, and what goes wrong at either end
};

std::span<const ConfigSetting> config_table();
// The value as it is written in the file. REQUIRES: a key of the table.
std::string config_value_text(const Config& config, std::string_view key);

// Reads TOML over *config. bad_argument: an unknown key (with a near match), a value of the wrong kind or out of range;
// the text names the file and the line. *config is unchanged then.
Status read_config_text(std::string_view toml, const std::string& name, Config* config);
Status read_config_file(const std::string& path, Config* config);
// Whether it is tcp://HOST:PORT or ipc://PATH; the text says what is wrong with it.
Status check_endpoint(std::string_view endpoint);
// The first broken relation between settings.
Status validate(const Config& config);
// forbidden: an endpoint that other machines can reach.
Status check_listen_is_local(const Config& config);

// The commented sample, and the table of docs/configuration.md.
std::string sample_config();
std::string config_table_markdown();

// Keys whose values differ: those that a running broker takes over, and those that need a restart.
struct ConfigDifference {
  std::vector<std::string> taken_over, need_restart;
};
ConfigDifference compare(const Config& before, const Config& after);
// Copies what SIGHUP takes over.
void take_over(const Config& after, Config* config);

}  // namespace jobq
