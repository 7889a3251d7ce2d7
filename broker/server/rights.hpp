// Who may do what. Every connection has a principal and every request needs a right, from the first version on, so that
// adding identities later (CURVE keys) changes who holds which right and nothing else. Until then a broker listens on
// loopback, and whoever reaches it is `local` and holds all of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "libjobq/protocol/message.hpp"

namespace jobq {

enum class Right : std::uint8_t {
  enqueue = 1,
  work = 2,     // register, answer, heartbeat
  observe = 4,  // administration that only reads
  operate = 8,  // administration that changes something
};

const char* to_string(Right right);

struct Principal {
  std::string name;
  std::uint8_t rights = 0;  // bits of Right
  [[nodiscard]] bool may(Right right) const { return (rights & static_cast<std::uint8_t>(right)) != 0; }
};

// What everybody is today.
Principal local_principal();

// nullopt: a greeting or a goodbye, open to all. A verb of administration that is not known to only read needs
// `operate`.
std::optional<Right> right_for(const protocol::Request& request);
Right right_for_verb(std::string_view verb);

}  // namespace jobq
