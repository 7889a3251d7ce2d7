#include "cli/document.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "cli/table.hpp"
#include "cli/terminal.hpp"

namespace jobq::cli {
namespace {

const Json* find(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

// JSON has no bytes: see to_json_text().
Json without_binary(const Json& value) {
  if (value.is_array()) {
    Json copy = Json::array();
    for (const Json& item : value) copy.push_back(without_binary(item));
    return copy;
  }
  if (!value.is_object()) return value;
  Json copy = Json::object();
  for (const auto& [key, item] : value.items()) {
    if (!item.is_binary()) {
      copy[key] = without_binary(item);
      continue;
    }
    const auto& bytes = item.get_binary();
    const std::string text(bytes.begin(), bytes.end());
    if (is_utf8(text)) {
      copy[key] = text;
    } else {
      copy[key] = nullptr;
      copy[key + "_base64"] = base64(text);
    }
  }
  return copy;
}

}  // namespace

Result<Json> parse_document(std::string_view msgpack) {
  Json document =
      Json::from_msgpack(msgpack.begin(), msgpack.end(), /*strict=*/true, /*allow_exceptions=*/false);
  if (document.is_discarded() || !document.is_object()) {
    return {Code::bad_message,
            fmt::format("the broker's answer ({} bytes) is not a msgpack map", msgpack.size())};
  }
  return document;
}

std::optional<std::int64_t> maybe_int_at(const Json& object, const char* key) {
  const Json* value = find(object, key);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  if (value->is_number_float()) return static_cast<std::int64_t>(value->get<double>());
  return value->get<std::int64_t>();
}

std::int64_t int_at(const Json& object, const char* key, std::int64_t fallback) {
  return maybe_int_at(object, key).value_or(fallback);
}

double number_at(const Json& object, const char* key, double fallback) {
  const Json* value = find(object, key);
  return value != nullptr && value->is_number() ? value->get<double>() : fallback;
}

bool bool_at(const Json& object, const char* key) {
  const Json* value = find(object, key);
  if (value == nullptr) return false;
  return value->is_boolean() ? value->get<bool>()
                             : value->is_number_integer() && value->get<std::int64_t>() != 0;
}

std::string raw_text_at(const Json& object, const char* key) {
  const Json* value = find(object, key);
  if (value == nullptr) return {};
  if (value->is_string()) return value->get<std::string>();
  if (value->is_binary()) return {value->get_binary().begin(), value->get_binary().end()};
  return to_json_text(*value, false);
}

std::string text_at(const Json& object, const char* key, std::string_view fallback) {
  const std::string text = raw_text_at(object, key);
  return text.empty() ? std::string{fallback} : printable(text);
}

const Json& array_at(const Json& object, const char* key) {
  static const Json kEmpty = Json::array();
  const Json* value = find(object, key);
  return value != nullptr && value->is_array() ? *value : kEmpty;
}

const Json& object_at(const Json& object, const char* key) {
  static const Json kEmpty = Json::object();
  const Json* value = find(object, key);
  return value != nullptr && value->is_object() ? *value : kEmpty;
}

std::string to_json_text(const Json& document, bool indented) {
  return without_binary(document).dump(indented ? 2 : -1, ' ', false, Json::error_handler_t::replace);
}

void print_json(const Json& document) {
  std::fputs((to_json_text(document, stdout_is_terminal()) + "\n").c_str(), stdout);
}

namespace {
constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
}

std::string base64(std::string_view bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t triple = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      triple = triple << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      text += i + k > bytes.size() ? '=' : kAlphabet[triple >> (18 - 6 * k) & 63];
    }
  }
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string bytes;
  for (std::size_t at = 0; at < text.size(); at += 4) {
    std::uint32_t triple = 0;
    std::size_t padding = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const char c = text[at + k];
      const std::size_t value = kAlphabet.find(c);
      const bool may_pad = c == '=' && at + 4 == text.size() && k >= 2;
      if (value == std::string_view::npos && !may_pad) return std::nullopt;
      if (value != std::string_view::npos && padding > 0) return std::nullopt;
      padding += may_pad ? 1U : 0U;
      triple = triple << 6 | static_cast<std::uint32_t>(may_pad ? 0 : value);
    }
    for (std::size_t k = 0; k < 3 - padding; ++k) bytes += static_cast<char>(triple >> (16 - 8 * k) & 0xFF);
  }
  return bytes;
}

}  // namespace jobq::cli
