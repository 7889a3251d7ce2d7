// The documents that the broker answers with (docs/protocol.md, "Administration"), as JSON values, and total reading
// of them: a field that is missing, nil or of another type gives the stated fallback, because a newer or older broker
// may send one. Order of the fields is kept.
//
// Thread-safety: functions without state.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "jobq/status.hpp"

namespace jobq::cli {

using Json = nlohmann::ordered_json;

// bad_message when the bytes are not one msgpack map.
Result<Json> parse_document(std::string_view msgpack);

std::int64_t int_at(const Json& object, const char* key, std::int64_t fallback = 0);
std::optional<std::int64_t> maybe_int_at(const Json& object, const char* key);
double number_at(const Json& object, const char* key, double fallback = 0);
bool bool_at(const Json& object, const char* key);
// Cleaned for showing (table.hpp, printable()).
std::string text_at(const Json& object, const char* key, std::string_view fallback = "");
// As it is.
std::string raw_text_at(const Json& object, const char* key);
// An empty array or object when absent.
const Json& array_at(const Json& object, const char* key);
const Json& object_at(const Json& object, const char* key);

// What --json prints: indented on a terminal, one line otherwise. Bodies (msgpack bin) become a string when they are
// UTF-8; else nil, and "<name>_base64" holds them. Text that is not UTF-8 gets replacement characters.
std::string to_json_text(const Json& document, bool indented);
void print_json(const Json& document);

std::string base64(std::string_view bytes);
// nullopt when it is none.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace jobq::cli
