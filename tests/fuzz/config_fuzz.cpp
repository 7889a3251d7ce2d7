// Any text as the broker's settings: they are taken over whole, or refused with a reason and nothing is changed.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "broker/config.hpp"
#include "libjobq/base/check.hpp"

namespace {

std::string all_values(const jobq::Config& config) {
  std::string text;
  for (const auto& setting : jobq::config_table())
    text += jobq::config_value_text(config, setting.key) + "\n";
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string defaults = all_values(jobq::Config{});
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  jobq::Config config;
  const jobq::Status read = jobq::read_config_text(text, "fuzz.toml", &config);
  if (!read.ok()) {
    JOBQ_CHECK(!read.text().empty());
    JOBQ_CHECK(all_values(config) == defaults);
    return 0;
  }
  const jobq::Status valid = jobq::validate(config);
  JOBQ_CHECK(valid.ok() || !valid.text().empty());
  return 0;
}
