// Reads the flat parameters of an admin verb: what is unknown or of the wrong kind is bad_argument, and the text names it.
// Thread-safety: plain values; views point into the message.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>

#include "broker/engine/command.hpp"
#include "jobq/status.hpp"
#include "libjobq/protocol/message.hpp"

namespace jobq {

class AdminParams {
 public:
  // A failed read leaves its status here; the first one counts.
  explicit AdminParams(const protocol::Admin& admin) : admin_(admin) {}

  void allow_only(std::initializer_list<std::string_view> names);
  std::optional<std::string_view> text(std::string_view name);
  std::string_view required_text(std::string_view name);
  JobId required_job(std::string_view name);
  std::optional<JobId> job(std::string_view name);
  // In [min, max].
  std::int64_t number(std::string_view name, std::int64_t when_absent, std::int64_t min, std::int64_t max);
  bool flag(std::string_view name);
  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }

  [[nodiscard]] bool ok() const { return status_.ok(); }
  [[nodiscard]] const Status& status() const { return status_; }

 private:
  const protocol::ParamValue* find(std::string_view name) const;
  void fail(std::string text);

  const protocol::Admin& admin_;
  Status status_;
};

}  // namespace jobq
