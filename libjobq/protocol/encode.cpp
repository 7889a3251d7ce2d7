#include "libjobq/base/check.hpp"
#include "libjobq/base/planted.hpp"
#include "libjobq/protocol/codec.hpp"
#include "libjobq/protocol/enqueue_bytes.hpp"
#include "libjobq/protocol/packing.hpp"

namespace jobq::protocol {
namespace {

template <typename T>
std::string_view as_view(const T& id) {
  return {reinterpret_cast<const char*>(id.data()), id.size()};
}

void pack_id16(Packer* packer, const std::array<std::uint8_t, 16>& id) {
  if (id == std::array<std::uint8_t, 16>{}) {
    packer->pack_nil();
  } else {
    pack_bytes(packer, as_view(id));
  }
}

template <typename Enum>
void pack_enum(Packer* packer, Enum value) {
  packer->pack_uint32(static_cast<std::uint32_t>(value));
}

void pack_leases(Packer* packer, const std::vector<LeaseRef>& leases) {
  pack_count(packer, leases.size());
  for (const LeaseRef& lease : leases) {
    pack_count(packer, 2);
    pack_job_id(packer, lease.job);
    packer->pack_uint32(lease.lease_no);
  }
}

void pack_outcomes(Packer* packer, const std::vector<Outcome>& outcomes) {
  pack_count(packer, outcomes.size());
  for (const Outcome& outcome : outcomes) {
    const std::uint32_t elements = outcome.delay.ms != 0     ? 6
                                   : !outcome.text.empty()   ? 5
                                   : outcome.ran_for.ms != 0 ? 4
                                                             : 3;
    pack_count(packer, elements);
    pack_job_id(packer, outcome.lease.job);
    packer->pack_uint32(outcome.lease.lease_no);
    pack_enum(packer, outcome.kind);
    if (elements > 3) packer->pack_int64(outcome.ran_for.ms);
    if (elements > 4) pack_text(packer, outcome.text);
    if (elements > 5) packer->pack_int64(outcome.delay.ms);
  }
}

template <typename T>
void pack_unless_zero(Packer* packer, T value) {
  if (value == 0) {
    packer->pack_nil();
  } else {
    packer->pack(value);
  }
}

void pack_result(Packer* packer, const EnqueueResult& result) {
  switch (result.outcome) {
    case EnqueueOutcome::created:
    case EnqueueOutcome::duplicate: {
      const bool duplicate = result.outcome == EnqueueOutcome::duplicate;
      pack_count(packer, duplicate ? 4 : 3);
      pack_enum(packer, result.outcome);
      pack_job_id(packer, result.id);
      pack_enum(packer, result.state);
      if (duplicate) packer->pack(result.body_differs);
      return;
    }
    case EnqueueOutcome::refused:
      pack_count(packer, 3);
      pack_enum(packer, result.outcome);
      pack_enum(packer, result.code);
      packer->pack_uint32(result.retry_after_ms);
      return;
  }
}

template <typename Enum>
void pack_enums(Packer* packer, const std::vector<Enum>& values) {
  pack_count(packer, values.size());
  for (const Enum value : values) pack_enum(packer, value);
}

// Writes a message's fields after its header. One operator() for each type of message.
struct FieldWriter {
  Packer* packer;
  StringSink* sink;
  std::uint64_t request_id;

  void open(MessageType type, std::uint32_t fields) const { pack_header(packer, type, request_id, fields); }

  void operator()(const Hello& m) const {
    open(MessageType::hello, 6);
    packer->pack_uint32(m.version_min);
    packer->pack_uint32(m.version_max);
    packer->pack_uint64(m.features);
    pack_text(packer, m.client);
    pack_text(packer, m.host);
    packer->pack_uint32(m.pid);
  }

  void operator()(const Register& m) const {
    open(MessageType::register_worker, 12);
    pack_unless_zero(packer, m.session.value);
    pack_id16(packer, m.secret);
    pack_count(packer, m.queues.size());
    for (const WeightedQueue& queue : m.queues) {
      pack_count(packer, 2);
      pack_text(packer, queue.name);
      packer->pack_uint32(queue.weight);
    }
    pack_count(packer, m.types.size());
    for (const std::string_view type : m.types) pack_text(packer, type);
    packer->pack_uint32(m.credit_jobs);
    packer->pack_uint64(m.credit_bytes);
    pack_leases(packer, m.held);
    pack_outcomes(packer, m.outcomes);
    pack_text(packer, m.name);
    pack_text(packer, m.host);
    packer->pack_uint32(m.pid);
    pack_text(packer, m.build);
  }

  void operator()(const Enqueue& m) const {
    char head[kEnqueueHeadMost];
    sink->write(head, write_enqueue_head(request_id, m, m.groups.size(), head));
    std::size_t next = 0;
    for (const EnqueueGroup& group : m.groups) {
      JOBQ_CHECK(group.first == next && group.count > 0 && group.count <= m.jobs.size() - next,
                 "group at {} of {} jobs", group.first, group.count);
      append_group_head(group.queue, group.count, sink->out());
      for (std::uint32_t i = 0; i < group.count; ++i) append_job(m.jobs[next++], sink->out());
    }
    JOBQ_CHECK(next == m.jobs.size(), "groups cover {} of {} jobs", next, m.jobs.size());
  }

  void operator()(const Outcomes& m) const {
    open(MessageType::outcomes, m.credit_jobs.has_value() ? 2 : 1);
    pack_outcomes(packer, m.outcomes);
    if (m.credit_jobs.has_value()) packer->pack_uint32(*m.credit_jobs);
  }

  void operator()(const Heartbeat& m) const {
    open(MessageType::heartbeat, m.credit_jobs.has_value() ? 2 : 1);
    pack_leases(packer, m.extend);
    if (m.credit_jobs.has_value()) packer->pack_uint32(*m.credit_jobs);
  }

  void operator()(const Goodbye&) const { open(MessageType::goodbye, 0); }

  void operator()(const Admin& m) const {
    open(MessageType::admin, 2);
    pack_text(packer, m.verb);
    packer->pack_map(static_cast<std::uint32_t>(m.params.size()));
    for (const Param& param : m.params) {
      pack_text(packer, param.name);
      std::visit(
          [this](const auto& value) {
            using T = std::decay_t<decltype(value)>;
            if constexpr (std::is_same_v<T, std::monostate>) {
              packer->pack_nil();
            } else if constexpr (std::is_same_v<T, std::string_view>) {
              pack_text(packer, value);
            } else {
              packer->pack(value);
            }
          },
          param.value);
    }
  }

  void operator()(const Welcome& m) const {
    open(MessageType::welcome, 8);
    packer->pack_uint32(m.version);
    packer->pack_uint64(m.features);
    pack_bytes(packer, as_view(m.incarnation));
    pack_text(packer, m.broker);
    packer->pack_uint32(m.body_bytes_max);
    packer->pack_uint32(m.message_bytes_max);
    packer->pack_uint32(m.jobs_per_message_max);
    packer->pack_uint32(m.heartbeat_ms);
  }

  void operator()(const Registered& m) const {
    open(MessageType::registered, 6);
    packer->pack_uint64(m.session.value);
    pack_bytes(packer, as_view(m.secret));
    packer->pack(m.resumed);
    packer->pack_uint32(m.heartbeat_ms);
    pack_enums(packer, m.held);
    pack_enums(packer, m.outcomes);
  }

  void operator()(const Enqueued& m) const {
    open(MessageType::enqueued, 2);
    packer->pack_uint64(m.sequence);
    pack_count(packer, m.results.size());
    for (const EnqueueResult& result : m.results) pack_result(packer, result);
  }

  void operator()(const OutcomesReply& m) const {
    open(MessageType::outcomes_reply, 1);
    pack_enums(packer, m.results);
  }

  void operator()(const HeartbeatReply& m) const {
    open(MessageType::heartbeat_reply, 2);
    pack_enums(packer, m.extended);
    pack_enums(packer, m.reasons);
  }

  void operator()(const GoodbyeReply&) const { open(MessageType::goodbye_reply, 0); }

  void operator()(const AdminReply& m) const {
    open(MessageType::admin_reply, 1);
    if (m.document.empty()) {
      packer->pack_map(0);
    } else {
      sink->write(m.document.data(), m.document.size());
    }
  }

  void operator()(const Error& m) const {
    open(MessageType::error, 3);
    pack_enum(packer, m.code);
    pack_text(packer, m.text);
    packer->pack_uint32(m.retry_after_ms);
  }

  void operator()(const Deliver& m) const {
    open(MessageType::deliver, 2);
    packer->pack_uint64(m.session.value);
    pack_count(packer, m.jobs.size());
    for (const Delivery& job : m.jobs) pack_delivery(packer, sink, job, std::span(&job.body, 1));
  }

  void operator()(const Bye& m) const {
    open(MessageType::bye, 2);
    pack_enum(packer, m.reason);
    packer->pack_uint32(m.retry_after_ms);
  }

  void operator()(const Revoked& m) const {
    open(MessageType::revoked, 1);
    pack_leases(packer, m.leases);
  }

  void operator()(const CancelRequested& m) const {
    open(MessageType::cancel_requested, 1);
    pack_leases(packer, m.leases);
  }

  void operator()(const DrainRequested&) const { open(MessageType::drain_requested, 0); }
};

template <typename Message>
void encode_message(const Message& message, std::string* out) {
  StringSink sink(out);
  Packer packer(sink);
  std::visit(FieldWriter{&packer, &sink, message.request_id}, message.body);
  sink.flush();
}

}  // namespace

void encode(const RequestMessage& message, std::string* out) { encode_message(message, out); }
void encode(const ReplyMessage& message, std::string* out) { encode_message(message, out); }

}  // namespace jobq::protocol
