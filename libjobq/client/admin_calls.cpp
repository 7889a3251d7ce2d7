#include "libjobq/client/admin_calls.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "libjobq/client/producer_core.hpp"

namespace jobq {

namespace {

// Verbs that read, and those that end in the same state when they are done twice.
bool may_repeat(std::string_view verb) {
  static constexpr std::array<std::string_view, 20> kRepeatable = {
      "ping",        "stats",     "queue.ls",    "queue.show",   "queue.set",   "queue.pause", "queue.resume",
      "job.show",    "job.why",   "job.cancel",  "dead.ls",      "dead.export", "task",        "task.ls",
      "task.cancel", "worker.ls", "worker.show", "worker.drain", "events",      "backup.show"};
  return std::find(kRepeatable.begin(), kRepeatable.end(), verb) != kRepeatable.end();
}

protocol::ParamValue to_wire(const AdminParam& param) {
  return std::visit(
      [](const auto& value) -> protocol::ParamValue {
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::string>) {
          return std::string_view{value};
        } else {
          return value;
        }
      },
      param.value);
}

}  // namespace

void AdminCalls::submit(AdminCall call) {
  const std::uint64_t token = call.token;
  open_.emplace(token, Open{std::move(call), 0, false, {}});
}

AdminCalls::Calls::iterator AdminCalls::complete(Calls::iterator call, Result<std::string> document) {
  completions_.push_back({call->first, std::move(document)});
  return open_.erase(call);
}

void AdminCalls::welcomed() {
  for (auto& [token, open] : open_) {
    open.request_id = 0;
    open.hold_until = {};
  }
}

void AdminCalls::refused() {
  if (link_->refusal().code() == Code::shutting_down) return;
  for (auto call = open_.begin(); call != open_.end();) call = complete(call, link_->refusal());
}

void AdminCalls::disconnected() {
  for (auto call = open_.begin(); call != open_.end();) {
    if (!call->second.sent || may_repeat(call->second.call.verb)) {
      ++call;
      continue;
    }
    call = complete(
        call, Status(Code::timed_out,
                     fmt::format("the connection to {} was lost before '{}' was answered: whether it was "
                                 "done is unknown; look, then repeat it",
                                 link_->identity().endpoint, call->second.call.verb)));
  }
}

bool AdminCalls::receive(const protocol::ReplyMessage& message, TimeMs now) {
  const auto call = std::find_if(open_.begin(), open_.end(), [&](const auto& entry) {
    return message.request_id != 0 && entry.second.request_id == message.request_id;
  });
  if (call == open_.end()) return false;
  if (const auto* reply = std::get_if<protocol::AdminReply>(&message.body)) {
    complete(call, reply->document);
    return true;
  }
  const auto* error = std::get_if<protocol::Error>(&message.body);
  if (error == nullptr) return false;
  if (error->code == Code::shutting_down) {
    call->second.request_id = 0;
    call->second.sent = false;  // Refused: it was not done.
    call->second.hold_until = now + DurationMs{std::max<std::int64_t>(error->retry_after_ms, 100)};
  } else {
    complete(call, Status(error->code, error->text));
  }
  return true;
}

void AdminCalls::tick(TimeMs now) {
  for (auto call = open_.begin(); call != open_.end();) {
    Open& open = call->second;
    if (open.call.deadline <= now) {
      const Status status =
          open.sent ? Status(Code::timed_out,
                             fmt::format("the broker at {} did not answer '{}' within {} ms",
                                         link_->identity().endpoint, open.call.verb, open.call.timeout.ms))
                    : Status(Code::unreachable, unreachable_text(*link_, open.call.timeout));
      call = complete(call, status);
      continue;
    }
    if (link_->up() && open.request_id == 0 && open.hold_until <= now) {
      protocol::Admin admin;
      admin.verb = open.call.verb;
      for (const AdminParam& param : open.call.params) admin.params.push_back({param.name, to_wire(param)});
      open.request_id = link_->send(std::move(admin));
      open.sent = true;
      open.hold_until = {};
    }
    ++call;
  }
}

std::optional<TimeMs> AdminCalls::next_deadline() const {
  std::optional<TimeMs> next;
  for (const auto& [token, open] : open_) {
    next = earlier(next, open.call.deadline);
    if (open.hold_until.is_set()) next = earlier(next, open.hold_until);
  }
  return next;
}

void AdminCalls::close() {
  for (auto call = open_.begin(); call != open_.end();) {
    call = complete(call, Status(Code::closed, "the client was closed before the broker answered"));
  }
}

}  // namespace jobq
