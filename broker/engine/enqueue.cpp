// Enqueue: groups that are all or nothing, unique keys, limits, and the memory for resends (semantics 3 to
// 6).
#include <algorithm>

#include "broker/engine/state.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/hash.hpp"
#include "libjobq/base/planted.hpp"
#include "libjobq/protocol/names.hpp"

namespace jobq {
namespace {

constexpr std::uint32_t kRetryWhenFullMs = 1'000;

bool has_identity(const ProducerId& id) { return id != ProducerId{}; }

protocol::EnqueueResult refused(Code code, std::uint32_t retry_after_ms) {
  protocol::EnqueueResult result;
  result.outcome = protocol::EnqueueOutcome::refused;
  result.state = JobState::gone;
  result.code = code;
  result.retry_after_ms = is_retryable(code) ? std::max(retry_after_ms, kRetryWhenFullMs) : 0;
  return result;
}

}  // namespace

Code Engine::State::check_job(const protocol::EnqueueJob& job) const {
  if (job.body.size() > limits.body_bytes_max) return Code::body_too_large;
  if (job.headers.size() > limits::kHeaderBytesMax) return Code::headers_too_large;
  if (!protocol::is_type(job.type)) return Code::bad_type;
  if (job.priority && *job.priority > limits::kPriorityMax) return Code::bad_priority;
  if (job.delay.ms < 0 || job.delay.ms > limits::kDelayMsMax) return Code::bad_time;
  if (job.run_at.ms < 0 || (job.run_at.is_set() && job.delay.ms > 0)) return Code::bad_time;
  if (job.run_at.is_set() && job.run_at - now.wall > DurationMs{limits::kDelayMsMax}) return Code::bad_time;
  if (job.expires_in.ms < 0 || job.expires_in.ms > limits::kDelayMsMax) return Code::bad_time;
  if (job.unique_for.ms < 0 || job.unique_for.ms > limits::kDelayMsMax) return Code::bad_time;
  if (job.max_attempts > limits::kMaxAttemptsMax || job.max_run_ms > limits::kRunMsMax)
    return Code::bad_argument;
  if (job.unique_key.size() > limits::kUniqueKeyBytesMax) return Code::bad_unique_key;
  if (job.unique_key.empty() && job.unique_for.ms > 0) return Code::bad_unique_key;
  return Code::ok;
}

// Ok, or why the group cannot be; fills in the code of each of its jobs. Changes nothing.
Code Engine::State::check_group(const protocol::Enqueue& request, const protocol::EnqueueGroup& group,
                                std::vector<Code>* codes) {
  const Queue* queue = queues.find(group.queue);
  Code all = admission.refuse;
  if (all == Code::ok && !protocol::is_queue_name(group.queue)) all = Code::bad_queue_name;
  if (all == Code::ok && queue == nullptr && !limits.auto_create) all = Code::no_such_queue;
  if (all == Code::ok && queue == nullptr && queues.size() >= limits.queues_max) all = Code::too_many_queues;
  const QueueSettings& settings = queue != nullptr ? queue->settings : limits.defaults;
  std::uint64_t jobs = queue != nullptr ? queue->counters.live() : 0;
  std::uint64_t bytes = queue != nullptr ? queue->counters.bytes : 0;
  Code worst = all;
  for (std::uint32_t i = group.first; i < group.first + group.count; ++i) {
    const protocol::EnqueueJob& job = request.jobs[i];
    Code code = all != Code::ok ? all : check_job(job);
    ++jobs;
    bytes += job.body.size() + job.headers.size();
    if (code == Code::ok && settings.max_jobs != 0 && jobs > settings.max_jobs) code = Code::queue_full;
    if (code == Code::ok && settings.max_bytes != 0 && bytes > settings.max_bytes)
      code = Code::queue_bytes_full;
    if (code == Code::ok && !job.type.empty() && !type_numbers.contains(job.type) &&
        types.size() >= limits.types_max) {
      code = Code::too_many_types;
    }
    (*codes)[i] = code;
    if (worst == Code::ok) worst = code;
  }
  return worst;
}

protocol::EnqueueResult Engine::State::create_job(Queue* queue, const protocol::EnqueueJob& job,
                                                  const UniqueFact* fact) {
  protocol::EnqueueResult result;
  if (!job.unique_key.empty()) {
    const auto made = keys_made.find({queue->number, job.unique_key});
    const bool in_turn = made != keys_made.end();
    const bool free_again =
        JOBQ_PLANTED(key_of_the_dead_given_away) && fact != nullptr && fact->state == JobState::dead;
    if (in_turn || (fact != nullptr && fact->held && !free_again)) {
      ++queue->counters.duplicate_total;
      touch(queue);
      result.outcome = protocol::EnqueueOutcome::duplicate;
      result.id = in_turn ? made->second.job : fact->holder;
      result.state = in_turn ? made->second.state : fact->state;
      result.body_differs = in_turn ? made->second.body != job.body : fact->body_hash != hash64(job.body);
      return result;
    }
  }
  JobMeta meta;
  meta.id = mark.next_job;
  mark.next_job.value++;
  meta.lane = {queue->number, type_number(job.type), job.priority.value_or(queue->settings.default_priority)};
  meta.bytes = static_cast<std::uint32_t>(job.body.size() + job.headers.size());
  meta.enqueued_at = now.engine;
  if (job.expires_in.ms > 0)
    meta.expires_at = now.engine + (JOBQ_PLANTED(expiry_in_seconds) ? DurationMs{job.expires_in.ms / 1000}
                                                                    : job.expires_in);
  if (job.delay.ms > 0)
    meta.due = (JOBQ_PLANTED(delay_from_the_wall_clock) ? now.wall : now.engine) + job.delay;
  if (job.run_at > now.wall) {
    meta.due = job.run_at;
    meta.due_clock = Clock::wall;
  }
  meta.has_unique_key = !job.unique_key.empty();
  meta.unique_for_ms = job.unique_for.ms;
  meta.max_attempts = static_cast<std::uint16_t>(job.max_attempts);
  meta.max_run_ms = job.max_run_ms;

  ++queue->counters.enqueued_total;
  queue->counters.bytes += meta.bytes;
  touch(queue);
  result.id = meta.id;
  result.state = meta.due.is_set() ? JobState::scheduled : JobState::ready;
  if (meta.has_unique_key) {
    keys_made.emplace(QueueKey{queue->number, job.unique_key}, KeyMade{meta.id, result.state, job.body});
  }
  out->changes.emplace_back(change::Enqueue{meta, job.headers, job.body, job.unique_key});
  if (meta.due.is_set()) {
    enter_scheduled(meta);
  } else {
    enter_ready(meta, {}, {});
  }
  if (meta.expires_at.is_set()) {
    engine_timers.insert({Clock::engine, meta.expires_at, meta.id, TimerKind::expiry}, meta);
  }
  return result;
}

void Engine::State::answer_again(const Command& command, const protocol::Enqueue& request,
                                 const change::ProducerAnswer& answer) {
  if (answer.content_hash == request.content_hash)
    return reply(command, protocol::Enqueued{request.sequence, answer.results.all()});
  refuse(command, Code::resend_mismatch,
         "this sequence was used for a request with another content; nothing was stored");
}

// True when the request was answered from memory, or refused because of its identity.
bool Engine::State::answer_resend(const Command& command, const protocol::Enqueue& request) {
  if (const auto* refusal = refused_requests.find(request.producer, request.sequence)) {
    answer_again(command, request, *refusal);
    return true;
  }
  Producer* producer = producers.find(request.producer);
  if (producer == nullptr) {
    // A producer that has had no answer yet, resending what the broker died on before it was stored: nobody can
    // have forgotten it, unless so many came since that the oldest were dropped. Forgetting by age takes 24 h,
    // longer than anyone may go on resending one request.
    const bool first_words = request.lowest_open <= 1 && producers.size() < limits.producers_max;
    if (!request.resend || first_words) return false;
    refuse(command, Code::unknown_producer,
           "the broker does not remember this producer (forgotten after 24 h, or another store): whether the "
           "first send was "
           "stored is unknown; use a unique key where that matters");
    return true;
  }
  producers.seen(producer, now.engine);
  if (request.sequence < producer->lowest_open) {
    refuse(command, Code::unknown_producer,
           "this sequence was reported as answered, so its answer is forgotten; use a new sequence");
    return true;
  }
  const auto known = producer->answers.find(request.sequence);
  if (known != producer->answers.end() && !JOBQ_PLANTED(resend_enqueues_again)) {
    answer_again(command, request, known->second);
    return true;
  }
  if (producer->answers.size() >= limits::kOpenRequestsMax ||
      producers.open_requests() >= limits.open_requests_max) {
    producers.close_below(producer, request.lowest_open);
    if (producer->answers.size() >= limits::kOpenRequestsMax ||
        producers.open_requests() >= limits.open_requests_max) {
      refuse(command, Code::too_many_open,
             "too many requests are remembered for resends: raise lowest_open, then retry", kRetryWhenFullMs);
      return true;
    }
  }
  return false;
}

void Engine::State::remember(const protocol::Enqueue& request,
                             const std::vector<protocol::EnqueueResult>& results) {
  Producer* producer = producers.find(request.producer);
  if (producer == nullptr) {
    std::uint64_t known_from = std::min(request.sequence, std::max<std::uint64_t>(request.lowest_open, 1));
    if (producers.size() >= limits.producers_max) {
      known_from = request.sequence;  // It may be one that is dropped here: what it sent before is not known.
      Producer* oldest = producers.oldest();
      producer_puts.erase(oldest->id);
      out->changes.emplace_back(change::ForgetProducer{oldest->id});
      producers.erase(oldest);
    }
    producer = producers.insert(request.producer, now.engine);
    // Nothing older can be recognised: a resend from before this is answered unknown_producer. What it has open
    // besides this request may still come, in any order.
    producer->lowest_open = known_from;
  }
  if (request.lowest_open <= request.sequence) producers.close_below(producer, request.lowest_open);
  change::ProducerAnswer answer{request.sequence, request.content_hash, AnsweredJobs(results)};
  change::PutProducer& put = producer_puts[request.producer];
  put.producer = request.producer;
  put.seen_at = now.engine;
  put.lowest_open = producer->lowest_open;
  put.answers.push_back(answer);
  producers.remember(producer, std::move(answer));
}

void Engine::State::forget_old_producers() {
  while (Producer* oldest = producers.oldest()) {
    if (now.engine - oldest->seen_at < DurationMs{limits::kProducerMemoryMs}) return;
    producer_puts.erase(oldest->id);
    out->changes.emplace_back(change::ForgetProducer{oldest->id});
    producers.erase(oldest);
  }
}

bool Engine::State::enqueue(const Command& command, const protocol::Enqueue& request, const Facts& facts) {
  if (has_identity(request.producer) && request.sequence == 0) {
    refuse(command, Code::bad_argument, "sequence 0: a producer counts its requests from 1");
    return true;
  }
  // A key whose holder moved in this turn has to be looked up again.
  for (const UniqueFact& fact : facts.keys) {
    if (fact.held && fact.holder.is_set() && touched(fact.holder)) return false;
  }
  if (has_identity(request.producer) && answer_resend(command, request)) return true;

  std::vector<Code>& codes = enqueue_codes;
  codes.assign(request.jobs.size(), Code::ok);
  std::vector<protocol::EnqueueResult> results(request.jobs.size());
  std::size_t key = 0;
  bool stored = false;
  for (const protocol::EnqueueGroup& group : request.groups) {
    const Code code = check_group(request, group, &codes);
    Queue* queue = queues.find(group.queue);
    if (code == Code::ok && queue == nullptr) queue = create_queue(group.queue);
    const bool looked_up = !facts.keys.empty();
    for (std::uint32_t i = group.first; i < group.first + group.count; ++i) {
      const protocol::EnqueueJob& job = request.jobs[i];
      const UniqueFact* fact = nullptr;
      if (looked_up && !job.unique_key.empty()) {
        JOBQ_CHECK(key < facts.keys.size());
        fact = &facts.keys[key++];
      }
      if (code == Code::ok || (JOBQ_PLANTED(half_a_group) && codes[i] == Code::ok && queue != nullptr)) {
        results[i] = create_job(queue, job, fact);
        stored = true;
      } else {
        results[i] = refused(codes[i] == Code::ok ? Code::not_done : codes[i], admission.retry_after_ms);
      }
    }
  }
  if (has_identity(request.producer)) {
    if (stored) {
      remember(request, results);
    } else {
      refused_requests.remember(request.producer,
                                {request.sequence, request.content_hash, AnsweredJobs(results)});
    }
  }
  reply(command, protocol::Enqueued{request.sequence, std::move(results)});
  return true;
}

}  // namespace jobq
