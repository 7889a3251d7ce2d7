#include "tests/protocol/random_message.hpp"

#include "libjobq/protocol/codec.hpp"

namespace jobq::protocol {

std::uint64_t MessageMaker::number() { return prng_.next() >> prng_.below(64); }

std::int64_t MessageMaker::signed_number() {
  const auto value = static_cast<std::int64_t>(prng_.next());
  return value >> prng_.below(63);  // arithmetic: keeps the sign
}

std::string_view MessageMaker::bytes(std::size_t most) {
  std::string value;
  const std::uint64_t size = prng_.below(coin() ? std::min<std::size_t>(most, 40) + 1 : most + 1);
  for (std::uint64_t i = 0; i < size; ++i) value += static_cast<char>(prng_.below(256));
  return strings_.emplace_back(std::move(value));
}

std::string_view MessageMaker::name() {
  constexpr std::string_view kLetters = "abcXYZ019._-";
  std::string value(1, 'q');
  for (std::uint64_t i = prng_.below(coin() ? 8 : 64); i > 0; --i)
    value += kLetters[prng_.below(kLetters.size())];
  return strings_.emplace_back(std::move(value));
}

std::string_view MessageMaker::headers() {
  Headers headers = many([this] { return std::pair<std::string, std::string>(bytes(10), bytes(60)); });
  return strings_.emplace_back(pack_headers(headers));
}

std::array<std::uint8_t, 16> MessageMaker::id16() {
  std::array<std::uint8_t, 16> id{};
  if (prng_.below(4) == 0) return id;
  for (auto& byte : id) byte = static_cast<std::uint8_t>(prng_.below(256));
  return id;
}

std::vector<LeaseRef> MessageMaker::leases() {
  return many([this] { return lease(); });
}

Outcome MessageMaker::outcome() {
  Outcome outcome;
  outcome.lease = lease();
  outcome.kind = static_cast<OutcomeKind>(prng_.below(6));
  if (coin()) outcome.text = bytes(300);
  if (coin()) outcome.delay.ms = signed_number();
  if (coin()) outcome.ran_for.ms = signed_number();
  return outcome;
}

std::vector<Outcome> MessageMaker::outcomes() {
  return many([this] { return outcome(); });
}

EnqueueJob MessageMaker::job() {
  EnqueueJob job;
  if (coin()) job.type = name();
  job.body = bytes(300);
  if (coin()) return job;
  if (coin()) job.headers = headers();
  if (coin()) job.priority = static_cast<std::uint8_t>(prng_.below(256));
  if (coin()) job.delay.ms = signed_number();
  if (coin()) job.run_at.ms = signed_number();
  if (coin()) job.expires_in.ms = signed_number();
  if (coin()) job.max_attempts = small_number();
  if (coin()) job.max_run_ms = small_number();
  if (coin()) job.unique_key = bytes(300);
  if (coin()) job.unique_for.ms = signed_number();
  return job;
}

Enqueue MessageMaker::enqueue() {
  Enqueue request;
  request.producer = id16();
  request.sequence = number();
  request.lowest_open = number();
  request.resend = coin();
  for (std::uint64_t groups = 1 + prng_.below(20); groups > 0; --groups) {
    const std::uint64_t count = prng_.below(4) == 0 ? 1 + prng_.below(30) : 1;
    request.groups.push_back({coin() ? name() : bytes(80), static_cast<std::uint32_t>(request.jobs.size()),
                              static_cast<std::uint32_t>(count)});
    for (std::uint64_t i = 0; i < count; ++i) request.jobs.push_back(job());
  }
  return request;
}

Register MessageMaker::register_worker() {
  Register request;
  request.session.value = coin() ? 0 : number();
  request.secret = id16();
  request.queues = many([this] {
    return WeightedQueue{name(), static_cast<std::uint32_t>(1 + prng_.below(100))};
  });
  if (request.queues.empty()) request.queues.push_back({name(), 1});
  request.types = many([this] { return name(); });
  request.credit_jobs = static_cast<std::uint32_t>(prng_.below(limits::kCreditJobsMax + 1));
  request.credit_bytes = number();
  request.held = leases();
  request.outcomes = outcomes();
  request.name = bytes(limits::kNameBytesMax);
  request.host = bytes(limits::kNameBytesMax);
  request.pid = small_number();
  request.build = bytes(limits::kNameBytesMax);
  return request;
}

Admin MessageMaker::admin() {
  Admin request;
  request.verb = name();
  for (std::uint64_t i = prng_.below(6); i > 0; --i) {
    Param param;
    param.name = strings_.emplace_back("p" + std::to_string(i));
    switch (prng_.below(4)) {
      case 0:
        param.value = coin();
        break;
      case 1:
        param.value = signed_number();
        break;
      case 2:
        param.value = bytes(100);
        break;
      default:
        break;
    }
    request.params.push_back(param);
  }
  return request;
}

std::vector<ClaimResult> MessageMaker::claims() {
  return many([this] { return claim(); });
}

EnqueueResult MessageMaker::result() {
  EnqueueResult result;
  result.outcome = static_cast<EnqueueOutcome>(prng_.below(3));
  if (result.outcome == EnqueueOutcome::refused) {
    result.code = static_cast<Code>(prng_.below(65536));
    result.retry_after_ms = small_number();
    return result;
  }
  result.id = job_id();
  result.state = static_cast<JobState>(prng_.below(5));
  result.body_differs = result.outcome == EnqueueOutcome::duplicate && coin();
  return result;
}

Delivery MessageMaker::delivery() {
  Delivery delivery;
  delivery.lease = lease();
  delivery.attempt = small_number();
  delivery.max_attempts = small_number();
  delivery.queue = name();
  if (coin()) delivery.type = name();
  if (coin()) delivery.headers = headers();
  delivery.body = bytes(400);
  delivery.priority = static_cast<std::uint8_t>(prng_.below(10));
  delivery.enqueued_at.ms = signed_number();
  delivery.lease_ms = small_number();
  delivery.max_run_ms = small_number();
  return delivery;
}

RequestMessage MessageMaker::request(std::uint64_t kind) {
  RequestMessage message;
  message.request_id = number();
  const auto credit = [this] {
    return coin() ? std::optional<std::uint32_t>(static_cast<std::uint32_t>(prng_.below(10'001)))
                  : std::nullopt;
  };
  switch (kind) {
    case 0: {
      const std::uint32_t low = small_number();
      message.body = Hello{low, small_number(), number(), bytes(128), bytes(128), small_number()};
      break;
    }
    case 1:
      message.body = register_worker();
      break;
    case 2:
      message.body = enqueue();
      break;
    case 3: {
      Outcomes outcomes_of{outcomes(), {}};
      outcomes_of.credit_jobs = credit();
      message.body = outcomes_of;
      break;
    }
    case 4: {
      Heartbeat heartbeat{leases(), {}};
      heartbeat.credit_jobs = credit();
      message.body = heartbeat;
      break;
    }
    case 5:
      message.body = Goodbye{};
      break;
    default:
      message.body = admin();
      break;
  }
  return message;
}

ReplyMessage MessageMaker::reply(std::uint64_t kind) {
  ReplyMessage message;
  message.request_id = number();
  switch (kind) {
    case 0: {
      Welcome welcome;
      welcome.version = small_number();
      welcome.features = number();
      welcome.incarnation = id16();
      welcome.broker = bytes(128);
      welcome.body_bytes_max = small_number();
      welcome.message_bytes_max = small_number();
      welcome.jobs_per_message_max = small_number();
      welcome.heartbeat_ms = small_number();
      message.body = welcome;
      break;
    }
    case 1: {
      Registered registered;
      registered.session.value = number();
      registered.secret = id16();
      registered.resumed = coin();
      registered.heartbeat_ms = small_number();
      registered.held = claims();
      registered.outcomes = claims();
      message.body = registered;
      break;
    }
    case 2:
      message.body = Enqueued{number(), many([this] { return result(); })};
      break;
    case 3:
      message.body = OutcomesReply{claims()};
      break;
    case 4:
      message.body = HeartbeatReply{claims(), many([this] { return static_cast<Code>(prng_.below(65536)); })};
      break;
    case 5:
      message.body = GoodbyeReply{};
      break;
    case 6:
      message.body = AdminReply{pack_headers({{"name", std::string(bytes(50))}})};
      break;
    case 7:
      message.body = Error{static_cast<Code>(prng_.below(65536)), std::string(bytes(300)), small_number()};
      break;
    case 8:
      message.body = Deliver{SessionNo{number()}, many([this] { return delivery(); })};
      break;
    case 9:
      message.body = Bye{static_cast<Code>(prng_.below(65536)), small_number()};
      break;
    case 10:
      message.body = Revoked{leases()};
      break;
    case 11:
      message.body = CancelRequested{leases()};
      break;
    default:
      message.body = DrainRequested{};
      break;
  }
  return message;
}

}  // namespace jobq::protocol
