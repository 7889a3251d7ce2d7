#include "tests/protocol/describe.hpp"

#include <fmt/format.h>

#include <vector>

#include "libjobq/protocol/codec.hpp"

namespace jobq::protocol {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c >= ' ' && c <= '~') {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return out + '"';
}

template <typename Bytes>
std::string hex(const Bytes& bytes) {
  std::string out;
  for (const auto byte : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return out;
}

std::string id16(const std::array<std::uint8_t, 16>& id) {
  return id == std::array<std::uint8_t, 16>{} ? "none" : hex(id);
}

const char* name(OutcomeKind kind) {
  constexpr const char* kNames[] = {"ack", "nack", "release", "reject", "snooze", "no_handler"};
  return kNames[static_cast<std::size_t>(kind)];
}
const char* name(ClaimResult result) {
  constexpr const char* kNames[] = {"owned", "settled", "stale", "gone"};
  return kNames[static_cast<std::size_t>(result)];
}
const char* name(JobState state) {
  constexpr const char* kNames[] = {"scheduled", "ready", "leased", "dead", "gone"};
  return kNames[static_cast<std::size_t>(state)];
}

std::string headers_text(std::string_view packed) {
  const Result<Headers> headers = unpack_headers(packed);
  if (!headers.ok()) return fmt::format("packed {} bytes", packed.size());
  std::string out = "{";
  for (const auto& [key, value] : *headers) {
    out += fmt::format("{}{}: {}", out.size() > 1 ? ", " : "", quoted(key), quoted(value));
  }
  return out + "}";
}

class Writer {
 public:
  explicit Writer(std::string* out) : out_(out) {}

  void field(const char* name, const std::string& value) { *out_ += fmt::format("  {}: {}\n", name, value); }
  template <typename T>
    requires std::is_integral_v<T>
  void field(const char* name, T value) {
    *out_ += fmt::format("  {}: {}\n", name, value);
  }
  void text(const char* name, std::string_view value) { field(name, quoted(value)); }
  void entry(const std::string& value) { *out_ += fmt::format("    - {}\n", value); }
  void list(const char* name, std::size_t size) {
    if (size == 0) {
      field(name, std::string("none"));
    } else {
      *out_ += fmt::format("  {}:\n", name);
    }
  }

  void credit(const std::optional<std::uint32_t>& jobs) {
    field("credit_jobs", jobs.has_value() ? fmt::format("{}", *jobs) : "unchanged");
  }

  void leases(const char* name, const std::vector<LeaseRef>& leases) {
    list(name, leases.size());
    for (const LeaseRef& lease : leases)
      entry(fmt::format("{} lease_no {}", to_text(lease.job), lease.lease_no));
  }

  void outcomes(const std::vector<Outcome>& outcomes) {
    list("outcomes", outcomes.size());
    for (const Outcome& o : outcomes) {
      std::string line =
          fmt::format("{} lease_no {} {}", to_text(o.lease.job), o.lease.lease_no, name(o.kind));
      if (o.ran_for.ms != 0) line += fmt::format(", ran_for_ms {}", o.ran_for.ms);
      if (!o.text.empty()) line += fmt::format(", text {}", quoted(o.text));
      if (o.delay.ms != 0) line += fmt::format(", delay_ms {}", o.delay.ms);
      entry(line);
    }
  }

  void claims(const char* name_of_list, const std::vector<ClaimResult>& claims) {
    list(name_of_list, claims.size());
    for (const ClaimResult claim : claims) entry(name(claim));
  }

 private:
  std::string* out_;
};

std::string job_text(const EnqueueJob& job) {
  std::string line = fmt::format("type {}, body {}", quoted(job.type), quoted(job.body));
  if (!job.headers.empty()) line += ", headers " + headers_text(job.headers);
  if (job.priority.has_value()) line += fmt::format(", priority {}", *job.priority);
  if (!job.unique_key.empty()) line += ", unique_key " + quoted(job.unique_key);
  if (job.delay.ms != 0) line += fmt::format(", delay_ms {}", job.delay.ms);
  if (job.run_at.ms != 0) line += fmt::format(", run_at {}", job.run_at.ms);
  if (job.expires_in.ms != 0) line += fmt::format(", expires_in_ms {}", job.expires_in.ms);
  if (job.max_attempts != 0) line += fmt::format(", max_attempts {}", job.max_attempts);
  if (job.max_run_ms != 0) line += fmt::format(", max_run_ms {}", job.max_run_ms);
  if (job.unique_for.ms != 0) line += fmt::format(", unique_for_ms {}", job.unique_for.ms);
  return line;
}

std::string result_text(const EnqueueResult& result) {
  switch (result.outcome) {
    case EnqueueOutcome::created:
      return fmt::format("created {} {}", to_text(result.id), name(result.state));
    case EnqueueOutcome::duplicate:
      return fmt::format("duplicate of {} {}{}", to_text(result.id), name(result.state),
                         result.body_differs ? ", the body differs" : "");
    case EnqueueOutcome::refused:
      break;
  }
  return fmt::format("refused {}, retry_after_ms {}", to_string(result.code), result.retry_after_ms);
}

std::string value_text(const ParamValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *number);
  if (const auto* text = std::get_if<std::string_view>(&value)) return quoted(*text);
  return "nil";
}

struct Describer {
  Writer w;
  std::string* title;

  void operator()(const Hello& m) {
    *title = "hello";
    w.field("version_min", m.version_min);
    w.field("version_max", m.version_max);
    w.field("features", m.features);
    w.text("client", m.client);
    w.text("host", m.host);
    w.field("pid", m.pid);
  }
  void operator()(const Register& m) {
    *title = "register";
    w.field("session", m.session.value);
    w.field("secret", id16(m.secret));
    w.list("queues", m.queues.size());
    for (const WeightedQueue& queue : m.queues)
      w.entry(fmt::format("{} weight {}", quoted(queue.name), queue.weight));
    w.list("types", m.types.size());
    for (const std::string_view type : m.types) w.entry(quoted(type));
    w.field("credit_jobs", m.credit_jobs);
    w.field("credit_bytes", m.credit_bytes);
    w.leases("held", m.held);
    w.outcomes(m.outcomes);
    w.text("name", m.name);
    w.text("host", m.host);
    w.field("pid", m.pid);
    w.text("build", m.build);
  }
  void operator()(const Enqueue& m) {
    *title = "enqueue";
    w.field("producer", id16(m.producer));
    w.field("sequence", m.sequence);
    w.field("lowest_open", m.lowest_open);
    w.field("resend", std::string(m.resend ? "true" : "false"));
    for (const EnqueueGroup& group : m.groups) {
      w.field("group", "queue " + quoted(group.queue));
      for (std::uint32_t i = 0; i < group.count; ++i) w.entry(job_text(m.jobs[group.first + i]));
    }
  }
  void operator()(const Outcomes& m) {
    *title = "outcomes";
    w.outcomes(m.outcomes);
    w.credit(m.credit_jobs);
  }
  void operator()(const Heartbeat& m) {
    *title = "heartbeat";
    w.leases("extend", m.extend);
    w.credit(m.credit_jobs);
  }
  void operator()(const Goodbye&) { *title = "goodbye"; }
  void operator()(const Admin& m) {
    *title = "admin";
    w.text("verb", m.verb);
    w.list("params", m.params.size());
    for (const Param& param : m.params)
      w.entry(fmt::format("{}: {}", quoted(param.name), value_text(param.value)));
  }

  void operator()(const Welcome& m) {
    *title = "welcome";
    w.field("version", m.version);
    w.field("features", m.features);
    w.field("incarnation", id16(m.incarnation));
    w.text("broker", m.broker);
    w.field("body_bytes_max", m.body_bytes_max);
    w.field("message_bytes_max", m.message_bytes_max);
    w.field("jobs_per_message_max", m.jobs_per_message_max);
    w.field("heartbeat_ms", m.heartbeat_ms);
  }
  void operator()(const Registered& m) {
    *title = "registered";
    w.field("session", m.session.value);
    w.field("secret", id16(m.secret));
    w.field("resumed", std::string(m.resumed ? "true" : "false"));
    w.field("heartbeat_ms", m.heartbeat_ms);
    w.claims("held", m.held);
    w.claims("outcomes", m.outcomes);
  }
  void operator()(const Enqueued& m) {
    *title = "enqueued";
    w.field("sequence", m.sequence);
    w.list("results", m.results.size());
    for (const EnqueueResult& result : m.results) w.entry(result_text(result));
  }
  void operator()(const OutcomesReply& m) {
    *title = "outcomes_reply";
    w.claims("results", m.results);
  }
  void operator()(const HeartbeatReply& m) {
    *title = "heartbeat_reply";
    w.claims("extended", m.extended);
    w.list("reasons", m.reasons.size());
    for (const Code code : m.reasons) w.entry(to_string(code));
  }
  void operator()(const GoodbyeReply&) { *title = "goodbye_reply"; }
  void operator()(const AdminReply& m) {
    *title = "admin_reply";
    w.field("document", hex(m.document));
  }
  void operator()(const Error& m) {
    *title = "error";
    w.field("code", to_string(m.code));
    w.text("text", m.text);
    w.field("retry_after_ms", m.retry_after_ms);
  }
  void operator()(const Deliver& m) {
    *title = "deliver";
    w.field("session", m.session.value);
    w.list("jobs", m.jobs.size());
    for (const Delivery& d : m.jobs) {
      std::string line = fmt::format("{} lease_no {}, attempt {} of {}, queue {}, type {}, body {}",
                                     to_text(d.lease.job), d.lease.lease_no, d.attempt, d.max_attempts,
                                     quoted(d.queue), quoted(d.type), quoted(d.body));
      if (!d.headers.empty()) line += ", headers " + headers_text(d.headers);
      w.entry(line + fmt::format(", priority {}, enqueued_at {}, lease_ms {}, max_run_ms {}", d.priority,
                                 d.enqueued_at.ms, d.lease_ms, d.max_run_ms));
    }
  }
  void operator()(const Bye& m) {
    *title = "bye";
    w.field("reason", to_string(m.reason));
    w.field("retry_after_ms", m.retry_after_ms);
  }
  void operator()(const Revoked& m) {
    *title = "revoked";
    w.leases("leases", m.leases);
  }
  void operator()(const CancelRequested& m) {
    *title = "cancel_requested";
    w.leases("leases", m.leases);
  }
  void operator()(const DrainRequested&) { *title = "drain_requested"; }
};

template <typename Message>
std::string describe_message(const Message& message) {
  std::string fields;
  std::string title;
  std::visit(Describer{Writer(&fields), &title}, message.body);
  return fmt::format("{}, request_id {}\n{}", title, message.request_id, fields);
}

}  // namespace

std::string describe(const RequestMessage& message) { return describe_message(message); }
std::string describe(const ReplyMessage& message) { return describe_message(message); }

}  // namespace jobq::protocol
