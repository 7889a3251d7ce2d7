// Dead jobs grouped by what killed them: the first question of an on-call is "how many different problems is this?".
//
// Two errors are the same when they differ in digits and ids only: "connect to 10.0.0.7:25 failed" and
// "connect to 10.0.0.9:25 failed" are one group.
//
// Thread-safety: a DeadGroups belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "cli/document.hpp"
#include "libjobq/base/time.hpp"

namespace jobq::cli {

struct DeadGroup {
  std::string type, reason;
  std::string error;  // of the newest job, cleaned
  std::uint64_t count = 0;
  TimeMs first_died{}, last_died{};
  std::string example;  // id of the newest job
};

class DeadGroups {
 public:
  // One DEAD of docs/protocol.md.
  void add(const Json& dead);
  [[nodiscard]] std::uint64_t jobs() const { return jobs_; }
  // The largest first.
  [[nodiscard]] std::vector<DeadGroup> sorted() const;
  // More groups than this are counted together: errors that share nothing.
  static constexpr std::size_t kGroupsMax = 1000;

 private:
  std::map<std::tuple<std::string, std::string, std::string>, DeadGroup> groups_;
  std::uint64_t jobs_ = 0;
};

// Numbers, hex strings and quoted parts replaced, first line, at most 200 characters: what makes two errors the same.
std::string error_shape(const std::string& error);

}  // namespace jobq::cli
