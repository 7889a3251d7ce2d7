#include "worker/line_protocol.hpp"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "libjobq/base/utf8.hpp"
#include "libjobq/protocol/limits.hpp"

namespace jobq::runner {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kShownBytes = 120;

Status bad(std::string text) { return {Code::bad_message, std::move(text)}; }

// As much of a line as fits into a message.
std::string shown(std::string_view line) {
  const bool cut = line.size() > kShownBytes;
  return "'" + valid_utf8(line.substr(0, kShownBytes)) + (cut ? "…'" : "'");
}

std::optional<AnswerOutcome> outcome_named(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, AnswerOutcome>, 5> kNames{
      {{"ack", AnswerOutcome::ack},
       {"nack", AnswerOutcome::nack},
       {"reject", AnswerOutcome::reject},
       {"snooze", AnswerOutcome::snooze},
       {"release", AnswerOutcome::release}}};
  for (const auto& [known, outcome] : kNames) {
    if (known == name) return outcome;
  }
  return std::nullopt;
}

Status read_delay(const Json& answer, Answer* out) {
  const auto delay = answer.find("delay_ms");
  if (delay == answer.end()) {
    if (out->outcome == AnswerOutcome::snooze) return bad("a snooze needs its \"delay_ms\"");
    return {};
  }
  if (out->outcome != AnswerOutcome::snooze && out->outcome != AnswerOutcome::nack) return {};
  if (!delay->is_number_integer() || delay->get<std::int64_t>() < 0 ||
      delay->get<std::int64_t>() > limits::kDelayMsMax) {
    return bad(fmt::format("\"delay_ms\" is {}: a whole number of milliseconds from 0 to {}",
                           shown(delay->dump()), limits::kDelayMsMax));
  }
  out->delay = std::chrono::milliseconds{delay->get<std::int64_t>()};
  return {};
}

}  // namespace

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  const auto byte = [&bytes](std::size_t at) {
    return at < bytes.size() ? static_cast<unsigned char>(bytes[at]) : 0U;
  };
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::uint32_t group = byte(at) << 16U | byte(at + 1) << 8U | byte(at + 2);
    text += kDigits[group >> 18U & 63U];
    text += kDigits[group >> 12U & 63U];
    text += at + 1 < bytes.size() ? kDigits[group >> 6U & 63U] : '=';
    text += at + 2 < bytes.size() ? kDigits[group & 63U] : '=';
  }
  return text;
}

std::string job_line(const JobFacts& facts, std::string_view body) {
  Json headers = Json::array();
  for (const auto& [name, value] : facts.headers) headers.push_back({name, value});
  Json line = {{"job", facts.id},
               {"queue", facts.queue},
               {"type", facts.type},
               {"attempt", facts.attempt},
               {"max_attempts", facts.max_attempts},
               {"priority", facts.priority},
               {"enqueued_at", facts.enqueued_at_s}};
  if (facts.deadline_s) line["deadline"] = *facts.deadline_s;
  line["headers"] = std::move(headers);
  if (is_valid_utf8(body)) {
    line["body"] = body;
  } else {
    line["body_base64"] = base64(body);
  }
  return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Answer> parse_answer(std::string_view line, std::string_view job) {
  const Json answer = Json::parse(line, nullptr, false);
  if (!answer.is_object()) {
    return bad(fmt::format("{} is no JSON object (what a program prints for people belongs on stderr)",
                           shown(line)));
  }
  const auto named = answer.find("job");
  if (named == answer.end() || !named->is_string())
    return bad(fmt::format("{} names no \"job\"", shown(line)));
  if (named->get_ref<const std::string&>() != job) {
    return bad(fmt::format("{} is not about {}, the job that was sent", shown(line), job));
  }
  const auto outcome = answer.find("outcome");
  const std::optional<AnswerOutcome> known = outcome != answer.end() && outcome->is_string()
                                                 ? outcome_named(outcome->get_ref<const std::string&>())
                                                 : std::nullopt;
  if (!known) {
    return bad(fmt::format("{} has no \"outcome\" of ack, nack, reject, snooze, release", shown(line)));
  }
  Answer result;
  result.outcome = *known;
  if (const auto error = answer.find("error"); error != answer.end()) {
    if (!error->is_string()) return bad(fmt::format("{}: \"error\" is no text", shown(line)));
    result.error = error->get<std::string>();
  }
  if (Status status = read_delay(answer, &result); !status.ok()) return status;
  return result;
}

}  // namespace jobq::runner
