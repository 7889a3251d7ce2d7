#include "manual/definition.hpp"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "jobq/version.hpp"

namespace jobq::manual {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFlag = "--print-definition";

Json option_json(const CLI::Option& option) {
  Json names = Json::array();
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  return {{"names", std::move(names)},
          {"positional", option.get_positional() ? option.get_name(true) : ""},
          {"value", option.get_items_expected_max() == 0 ? "" : option.get_type_name()},
          {"help", option.get_description()},
          {"environment", option.get_envname()},
          {"required", option.get_required()},
          {"many", option.get_items_expected_max() > 1}};
}

Json app_json(const CLI::App& app) {
  Json options = Json::array();
  for (const CLI::Option* option : app.get_options([](const CLI::Option*) { return true; })) {
    if (!option->get_group().empty()) options.push_back(option_json(*option));
  }
  Json commands = Json::array();
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!command->get_group().empty()) commands.push_back(app_json(*command));
  }
  return {{"name", app.get_name()},
          {"help", app.get_description()},
          {"footer", app.get_footer()},
          {"options", std::move(options)},
          {"commands", std::move(commands)}};
}

}  // namespace

void add_definition_flag(CLI::App* app) {
  app->add_flag_callback(
         kFlag,
         [app] {
           Json definition = app_json(*app);
           definition["version"] = JOBQ_VERSION;
           std::fputs((definition.dump(1) + "\n").c_str(), stdout);
           throw CLI::Success();
         },
         "The definition of this command line as JSON")
      ->trigger_on_parse()
      ->group("");
}

}  // namespace jobq::manual
