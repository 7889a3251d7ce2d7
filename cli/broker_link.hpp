// One command's connection to the broker: asks administrative questions, says on a terminal when it has to wait, and
// turns what can go wrong into a sentence with the remedy and an exit code.
//
//   BrokerLink link(globals);
//   auto answer = link.ask("queue.show", {{"queue", name}});
//   if (!answer.ok()) return link.fail(answer.status());
//
// Thread-safety: one thread.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "cli/document.hpp"
#include "cli/globals.hpp"
#include "jobq/status.hpp"

namespace jobq {
class Client;
}

namespace jobq::cli {

inline constexpr DurationMs kDefaultTimeout{5'000};

using ParamValue = std::variant<bool, std::int64_t, std::string>;
using Params = std::vector<std::pair<std::string, ParamValue>>;

class BrokerLink {
 public:
  explicit BrokerLink(const Globals& globals, DurationMs default_timeout = kDefaultTimeout);
  ~BrokerLink();
  BrokerLink(const BrokerLink&) = delete;
  BrokerLink& operator=(const BrokerLink&) = delete;

  // The document of an administrative verb. Waits at most the timeout.
  Result<Json> ask(std::string_view verb, const Params& params = {});

  // Prints why on stderr and returns the exit code. queue: the one that was named, so that when it does not exist the
  // nearest existing ones can be shown.
  int fail(const Status& status, std::string_view queue = {});

  // Does the work, which waits for the broker, in another thread and meanwhile says on a terminal what it waits for.
  template <typename Work>
  auto wait_for(Work work) {
    auto future = std::async(std::launch::async, std::move(work));
    show_waiting([&future](std::chrono::milliseconds span) {
      return future.wait_for(span) == std::future_status::ready;
    });
    return future.get();
  }

  [[nodiscard]] DurationMs timeout() const { return timeout_; }
  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }
  // Null when the endpoint cannot be used: opened() says why.
  Client* client() { return client_.get(); }
  [[nodiscard]] const Status& opened() const { return opened_; }

 private:
  void show_waiting(const std::function<bool(std::chrono::milliseconds)>& ready);

  std::string endpoint_;
  DurationMs timeout_;
  Status opened_;
  std::unique_ptr<Client> client_;
};

}  // namespace jobq::cli
