#include "broker/command_line.hpp"

#include <CLI/CLI.hpp>

#include <iostream>
#include <string>
#include <vector>

#include "broker/exit_codes.hpp"
#include "jobq/version.hpp"
#include "manual/definition.hpp"

namespace jobq {

std::optional<int> read_command_line(int argc, char** argv, CommandLine* line) {
  CLI::App app{
      "jobq-broker: keeps jobs safe on disk and hands them to workers.\n\n"
      "Example: jobq-broker --data /var/lib/jobq --listen tcp://127.0.0.1:7710"};
  app.name("jobq-broker");
  app.add_option("--data", line->data, "directory of the store, made when missing (default ./jobq-data)")
      ->type_name("DIR");
  app.add_option("--listen", line->listen,
                 "where clients connect: tcp://HOST:PORT or ipc://PATH; may be repeated (default "
                 "tcp://127.0.0.1:7710)")
      ->type_name("ENDPOINT")
      ->take_all()
      ->check([](const std::string& endpoint) { return check_endpoint(endpoint).text(); }, "")
      ->expected(1);
  app.add_option("--config", line->config_file, "settings file (TOML); flags win over it")->type_name("FILE");
  app.add_flag("--check-config", line->check_config, "say whether the settings are right, and end");
  app.add_flag("--print-config", line->print_config,
               "print every setting with its default, as a file to start from");
  app.add_flag("--insecure", line->insecure,
               "allow addresses that other machines reach: nothing is encrypted");
  app.add_option("--log-format", line->log_format, "human or json")
      ->type_name("FORMAT")
      ->check(CLI::IsMember({"human", "json"}));
  app.add_option("--log-level", line->log_level, "debug, info, warning or error")
      ->type_name("LEVEL")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  app.add_option("--ready-fd", line->ready_fd,
                 "when serving, write the endpoints to this open descriptor, one per line, and close it")
      ->type_name("N")
      ->check(CLI::Range(3, 1'000'000));
  app.set_version_flag("--version", std::string("jobq-broker ") + JOBQ_VERSION);
  app.footer(
      "Exit codes: docs/configuration.md. 0 stopped by SIGTERM, 64 wrong flags, 69 cannot listen, 70 "
      "internal error, 77 insecure, 78 bad\n"
      "configuration, 80 store in use, 81 damaged, 82 newer, 83 not writable, 84 network file system, 85 no "
      "space,\n"
      "86 not a store, 87 other failure of the store, 88 a commit failed while serving.");
  manual::add_definition_flag(&app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ExtrasError&) {
    const std::vector<std::string> left = app.remaining();
    std::cerr << "jobq-broker: '" << (left.empty() ? "" : left.front())
              << "' is no option of jobq-broker; `jobq-broker --help` lists them\n";
    return exit_code::kUsage;
  } catch (const CLI::ParseError& error) {
    std::cerr << "jobq-broker: " << error.what() << "; see jobq-broker --help\n";
    return exit_code::kUsage;
  }
  return std::nullopt;
}

Result<Config> load_config(const CommandLine& line) {
  Config config;
  if (line.config_file) {
    if (Status read = read_config_file(*line.config_file, &config); !read.ok()) return read;
  }
  if (line.data) config.data = *line.data;
  if (!line.listen.empty()) config.listen = line.listen;
  if (line.insecure) config.insecure = true;
  if (line.log_format) config.log_format = *line.log_format == "json" ? LogFormat::json : LogFormat::human;
  if (line.log_level) config.log_level = *line.log_level;
  if (Status valid = validate(config); !valid.ok()) return valid;
  return config;
}

}  // namespace jobq
