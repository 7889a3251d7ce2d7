#include "broker/server/log.hpp"

#include <spdlog/formatter.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

namespace jobq::log {
namespace {

// spdlog's patterns cannot escape: a text with a quotation mark would break the line's JSON.
class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    spdlog::memory_buf_t time;
    time_.format(message, time);
    const nlohmann::json line = {{"time", std::string(time.data(), time.size())},
                                 {"level", spdlog::level::to_string_view(message.level).data()},
                                 {"text", std::string(message.payload.data(), message.payload.size())}};
    const std::string text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    out.append(text.data(), text.data() + text.size());
  }
  [[nodiscard]] std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }

 private:
  spdlog::pattern_formatter time_{"%Y-%m-%dT%H:%M:%S.%e%z", spdlog::pattern_time_type::local, ""};
};

spdlog::level::level_enum spdlog_level(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warning:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

}  // namespace

void set_up(LogFormat format, std::string_view level) {
  auto logger =
      std::make_shared<spdlog::logger>("jobq", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  if (format == LogFormat::json) {
    logger->set_formatter(std::make_unique<JsonFormatter>());
  } else {
    logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %^%-7l%$ %v");
  }
  spdlog::set_default_logger(std::move(logger));
  set_level(level);
}

void set_level(std::string_view level) {
  if (level == "debug") spdlog::set_level(spdlog::level::debug);
  if (level == "info") spdlog::set_level(spdlog::level::info);
  if (level == "warning") spdlog::set_level(spdlog::level::warn);
  if (level == "error") spdlog::set_level(spdlog::level::err);
}

void write(Level level, std::string_view text) { spdlog::log(spdlog_level(level), "{}", text); }

}  // namespace jobq::log
