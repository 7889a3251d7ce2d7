#include "libjobq/admin.hpp"

#include <future>
#include <memory>

#include "libjobq/client/client_impl.hpp"
#include "libjobq/client/new_job.hpp"

namespace jobq {

Result<std::string> admin(Client& client, std::string_view verb, const std::vector<AdminParam>& params,
                          std::chrono::milliseconds timeout) {
  if (Status status = check_timeout(timeout); !status.ok()) return status;
  ClientImpl& impl = client.impl();
  AdminCall call;
  call.verb = verb;
  call.params = params;
  call.timeout = to_ms(timeout);
  call.deadline = impl.runtime->driver().now() + call.timeout;
  const auto promise = std::make_shared<std::promise<Result<std::string>>>();
  std::future<Result<std::string>> answer = promise->get_future();
  impl.peer->submit_admin(
      std::move(call), [promise](Result<std::string> document) { promise->set_value(std::move(document)); },
      &impl.runtime->driver());
  return answer.get();
}

}  // namespace jobq
