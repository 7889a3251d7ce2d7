// Settings: the reader, and the sample and the document that are made from the same table. After a change of the table:
//   jobq-broker --print-config > broker/jobq-broker.toml
//   JOBQ_UPDATE=1 meson test -C build server
#include "broker/config.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

using namespace jobq;

namespace {

std::string source_file(const std::string& path) {
  const char* root = std::getenv("JOBQ_SOURCE_ROOT");
  REQUIRE_MESSAGE(root != nullptr, "JOBQ_SOURCE_ROOT is not set: run with `meson test`");
  return std::string(root) + "/" + path;
}

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string refusal(std::string_view toml) {
  Config config;
  return read_config_text(toml, "f.toml", &config).text();
}

}  // namespace

TEST_CASE("the sample says every setting with its default") {
  const std::string sample = text_of(source_file("broker/jobq-broker.toml"));
  CHECK(sample == sample_config());
  Config read;
  read.engine.body_bytes_max = 1;  // whatever was there: the sample sets everything
  read.engine.defaults.lease_ms = 5'000;
  read.log_level = "error";
  read.listen = {"ipc://x"};
  const Status status = read_config_text(sample, "sample", &read);
  REQUIRE_MESSAGE(status.ok(), status.text());
  const Config defaults;
  for (const ConfigSetting& setting : config_table()) {
    CHECK_MESSAGE(config_value_text(read, setting.key) == config_value_text(defaults, setting.key),
                  setting.key);
  }
  CHECK(validate(defaults).ok());
}

TEST_CASE("the document's table is made from the settings") {
  const std::string path = source_file("docs/configuration.md");
  std::string document = text_of(path);
  const std::string begin = "<!-- settings: begin -->\n", end = "<!-- settings: end -->";
  const std::size_t from = document.find(begin), to = document.find(end);
  REQUIRE(from != std::string::npos);
  REQUIRE(to != std::string::npos);
  const std::size_t inside = from + begin.size();
  if (std::getenv("JOBQ_UPDATE") != nullptr) {
    document.replace(inside, to - inside, config_table_markdown());
    std::ofstream(path, std::ios::binary) << document;
    return;
  }
  CHECK(document.substr(inside, to - inside) == config_table_markdown());
}

TEST_CASE("values are read with and without units") {
  Config config;
  REQUIRE(read_config_text("listen = 'ipc://a'\n[limits]\nbody_bytes = '2 MiB'\nhandshake_ms = 1500\n"
                           "auto_create = false\n[queue_defaults]\nlease_ms = '45s'\npaused = true\n",
                           "f", &config)
              .ok());
  CHECK(config.listen == std::vector<std::string>{"ipc://a"});
  CHECK(config.engine.body_bytes_max == 2U << 20);
  CHECK(config.handshake_ms == 1'500);
  CHECK_FALSE(config.engine.auto_create);
  CHECK(config.engine.defaults.lease_ms == 45'000);
  CHECK(config.engine.defaults.paused);
}

TEST_CASE("what is wrong is named with its place and a remedy") {
  CHECK(refusal("[limits]\nbody_byts = 1\n") ==
        "f.toml:2: there is no setting 'limits.body_byts'; did you mean 'limits.body_bytes'?");
  CHECK(refusal("[queue_defaults]\nmax_atempts = 1\n").find("queue_defaults.max_attempts") !=
        std::string::npos);
  CHECK(refusal("zzzzzzzzzz = 1\n").find("--print-config") != std::string::npos);
  CHECK(refusal("body_bytes = 1\n").find("limits.body_bytes") != std::string::npos);
  CHECK(refusal("[limits]\nbody_bytes = '12 parsecs'\n").find("must be a number of bytes") !=
        std::string::npos);
  CHECK(refusal("[limits]\nbody_bytes = '65MiB'\n").find("1B to 64MiB") != std::string::npos);
  CHECK(refusal("[limits]\nauto_create = 'yes'\n").find("true or false") != std::string::npos);
  CHECK(refusal("listen = 3\n").find("list of texts") != std::string::npos);
  CHECK(refusal("data = 3\n").find("must be a text") != std::string::npos);
  CHECK(refusal("[log]\nformat = 'xml'\n").find("neither") != std::string::npos);
  CHECK(refusal("[limits\n").find("not TOML") != std::string::npos);
}

TEST_CASE("a refused file changes nothing") {
  Config config;
  CHECK_FALSE(read_config_text("insecure = true\nnonsense = 1\n", "f", &config).ok());
  CHECK_FALSE(config.insecure);
}

TEST_CASE("the first broken relation is named") {
  Config config;
  config.message_bytes = 1U << 20;
  CHECK(validate(config).text().find("limits.message_bytes") == 0);
  config = {};
  config.unread_bytes = 1U << 20;
  CHECK(validate(config).text().find("limits.unread_bytes") == 0);
  config = {};
  config.listen = {};
  CHECK(validate(config).text().find("listen") == 0);
  config.listen = {"http://x"};
  CHECK(validate(config).text().find("tcp://HOST:PORT") != std::string::npos);
  config = {};
  config.log_level = "loud";
  CHECK(validate(config).text().find("log.level") == 0);
  config = {};
  config.engine.defaults.backoff_min_ms = 2'000;
  config.engine.defaults.backoff_max_ms = 1'000;
  CHECK(validate(config).text().find("queue_defaults.backoff_max_ms") == 0);
}

TEST_CASE("only what stays on this machine is listened on unasked") {
  Config config;
  for (const char* endpoint :
       {"tcp://127.0.0.1:1", "tcp://127.9.9.9:1", "tcp://[::1]:1", "tcp://localhost:1", "ipc:///x"}) {
    config.listen = {endpoint};
    CHECK_MESSAGE(check_listen_is_local(config).ok(), endpoint);
  }
  for (const char* endpoint : {"tcp://0.0.0.0:1", "tcp://*:1", "tcp://[::]:1", "tcp://10.0.0.1:1",
                               "tcp://eth0:1", "tcp://127.evil.example:1"}) {
    config.listen = {"tcp://127.0.0.1:1", endpoint};
    CHECK_MESSAGE(check_listen_is_local(config).code() == Code::forbidden, endpoint);
    config.insecure = true;
    CHECK(check_listen_is_local(config).ok());
    config.insecure = false;
  }
}

TEST_CASE("a reload takes over what can change and names what cannot") {
  Config before, after;
  after.engine.body_bytes_max = 77;
  after.log_level = "debug";
  after.connections = 5;
  const ConfigDifference difference = compare(before, after);
  CHECK(difference.taken_over == std::vector<std::string>{"log.level", "limits.body_bytes"});
  CHECK(difference.need_restart == std::vector<std::string>{"limits.connections"});
  take_over(after, &before);
  CHECK(before.engine.body_bytes_max == 77);
  CHECK(before.log_level == "debug");
  CHECK(before.connections == 10'000);
}
