#include "broker/server/admin_params.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace jobq {

const protocol::ParamValue* AdminParams::find(std::string_view name) const {
  for (const protocol::Param& param : admin_.params) {
    if (param.name == name && !std::holds_alternative<std::monostate>(param.value)) return &param.value;
  }
  return nullptr;
}

void AdminParams::fail(std::string text) {
  if (status_.ok()) status_ = {Code::bad_argument, fmt::format("{}: {}", admin_.verb, text)};
}

void AdminParams::allow_only(std::initializer_list<std::string_view> names) {
  for (const protocol::Param& param : admin_.params) {
    if (std::find(names.begin(), names.end(), param.name) != names.end()) continue;
    fail(fmt::format("there is no parameter '{}'; there are: {}", param.name, fmt::join(names, ", ")));
  }
}

std::optional<std::string_view> AdminParams::text(std::string_view name) {
  const protocol::ParamValue* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (const auto* text = std::get_if<std::string_view>(value)) return *text;
  fail(fmt::format("'{}' must be a text", name));
  return std::nullopt;
}

std::string_view AdminParams::required_text(std::string_view name) {
  const std::optional<std::string_view> value = text(name);
  if (!value || value->empty()) fail(fmt::format("'{}' is missing", name));
  return value.value_or(std::string_view{});
}

std::optional<JobId> AdminParams::job(std::string_view name) {
  const std::optional<std::string_view> value = text(name);
  if (!value) return std::nullopt;
  const std::optional<JobId> id = parse_job_id(*value);
  if (!id) fail(fmt::format("'{}' is not a job id; they look like j1a7", value->substr(0, 64)));
  return id;
}

JobId AdminParams::required_job(std::string_view name) {
  required_text(name);
  return job(name).value_or(JobId{});
}

std::int64_t AdminParams::number(std::string_view name, std::int64_t when_absent, std::int64_t min,
                                 std::int64_t max) {
  const protocol::ParamValue* value = find(name);
  if (value == nullptr) return when_absent;
  const auto* number = std::get_if<std::int64_t>(value);
  if (number == nullptr) {
    fail(fmt::format("'{}' must be a number", name));
    return when_absent;
  }
  if (*number < min || *number > max)
    fail(fmt::format("{} = {} is out of range; it may be {} to {}", name, *number, min, max));
  return *number;
}

bool AdminParams::flag(std::string_view name) {
  const protocol::ParamValue* value = find(name);
  if (value == nullptr) return false;
  if (const auto* flag = std::get_if<bool>(value)) return *flag;
  fail(fmt::format("'{}' must be true or false", name));
  return false;
}

}  // namespace jobq
