// The random part of LegalBatches: every kind of change, in any order that an engine could give them.
#include <fmt/format.h>

#include <algorithm>

#include "libjobq/base/check.hpp"
#include "tests/store/legal_batches.hpp"

namespace jobq {
namespace {

std::string random_bytes(Prng* prng, std::size_t size) {
  std::string bytes;
  bytes.reserve(size + 8);
  while (bytes.size() < size) {
    const std::uint64_t word = prng->next();
    bytes.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  bytes.resize(size);
  return bytes;
}

// Mostly small, now and then a page or two, rarely large.
std::size_t random_size(Prng* prng, std::size_t max) {
  const std::uint64_t kind = prng->below(400);
  if (kind == 0) return prng->below(max + 1);
  if (kind < 8) return std::min<std::size_t>(max, prng->below(9'000));
  return std::min<std::size_t>(max, prng->below(400));
}

std::string random_text(Prng* prng, std::size_t max) {
  std::string text(prng->below(max + 1), ' ');
  for (char& c : text) c = static_cast<char>('a' + prng->below(26));
  return text;
}

}  // namespace

std::optional<JobId> LegalBatches::pick(Prng* prng, JobState state) const {
  const auto& list = in_state(state);
  if (list.empty()) return std::nullopt;
  return list[prng->below(list.size())];
}

void LegalBatches::random_queue_change(Prng* prng) {
  QueueSettings settings;
  if (prng->below(2) == 0) settings.history_count = static_cast<std::uint32_t>(1 + prng->below(500));
  if (prng->below(4) == 0) settings.history_age_ms = prng->between(1, 10'000);
  settings.paused = prng->below(8) == 0;
  settings.max_attempts = static_cast<std::uint32_t>(1 + prng->below(100));
  if (queues_.size() < 12) {
    add_queue(fmt::format("queue-{}", mark_.next_queue), settings);
    return;
  }
  const std::vector<QueueNo> numbers = queue_numbers();
  const QueueNo number = numbers[prng->below(numbers.size())];
  const Queue& queue = queues_.at(number);
  const bool held = std::any_of(keys_held_.begin(), keys_held_.end(),
                                [&](const auto& key) { return key.first.first == number; });
  if (queue.counters.live() + queue.counters.dead == 0 && !held && queue.settings.history_count == 0) {
    remove_queue(number);
  } else if (queue.settings.history_count !=
             0) {  // A history is never given up, so that every row is compared.
    settings.history_count = std::max(settings.history_count, 1U);
    set_queue(number, settings);
  }
}

void LegalBatches::random_enqueue(Prng* prng, const RandomLimits& limits) {
  const std::vector<QueueNo> numbers = queue_numbers();
  // Few queues get most of the jobs, as in life.
  const std::size_t at = std::min(prng->below(numbers.size()), prng->below(numbers.size()));
  const auto type = prng->below(3) == 0 ? static_cast<TypeNo>(prng->below(mark_.next_type)) : 0;
  const auto priority = static_cast<std::uint8_t>(prng->below(2) == 0 ? 5 : prng->below(10));
  NewJob job;
  job.body = random_bytes(prng, random_size(prng, limits.body_bytes_max));
  if (prng->below(4) == 0) job.headers = random_bytes(prng, prng->below(200));
  if (prng->below(8) == 0) {
    job.due = now().engine + DurationMs{prng->between(1, 100'000)};
    if (prng->below(3) == 0) {
      job.due_clock = Clock::wall;
      job.due = now().wall + DurationMs{prng->between(1, 100'000)};
    }
  }
  if (prng->below(8) == 0) job.expires_at = now().engine + DurationMs{prng->between(1, 200'000)};
  if (prng->below(6) == 0) {
    job.unique_key = fmt::format("key-{}", keys_made_++);
    if (prng->below(10) == 0) job.unique_key.append(250 - job.unique_key.size(), 'k');
    if (prng->below(3) == 0) job.unique_for_ms = prng->between(1, 50'000);
  }
  if (prng->below(10) == 0) job.max_attempts = static_cast<std::uint16_t>(1 + prng->below(1000));
  if (prng->below(10) == 0) job.max_run_ms = static_cast<std::uint32_t>(1 + prng->below(100'000));
  const JobId id = enqueue({numbers[at], type, priority}, job);
  if (!job.due.is_set() && prng->below(10) == 0) lease(id, add_session());  // in the turn of its arrival
}

void LegalBatches::random_end_of_lease(Prng* prng) {
  const std::optional<JobId> id = pick(prng, JobState::leased);
  if (!id) return;
  const TimeMs later = now().engine + DurationMs{prng->between(1, 60'000)};
  const std::string error = random_text(prng, prng->below(30) == 0 ? limits::kErrorTextBytesMax : 60);
  switch (prng->below(20)) {
    case 0:
    case 1:
      return retry(*id, later, error);
    case 2:
      return retry(*id, later, std::nullopt);
    case 3:
      return give_back(*id);
    case 4:
      return die(*id, static_cast<DeadReason>(prng->below(4)), error);
    case 5:
      return move_lease(*id, add_session());
    case 6:  // The ones that fail again and again: their attempts go round the ring.
      retry(*id, later, error);
      due(*id);
      return lease(*id, add_session());
    default:
      return finish(*id, prng->below(30) == 0 ? Exit::cancelled : Exit::acked,
                    prng->below(2) == 0 ? "worker" : "");
  }
}

void LegalBatches::random_waiting_change(Prng* prng) {
  switch (prng->below(10)) {
    case 0:
      if (const auto id = pick(prng, JobState::dead)) finish(*id, Exit::purged);
      return;
    case 1:
      if (const auto id = pick(prng, JobState::dead)) redrive(*id);
      return;
    case 2:
      if (const auto id = pick(prng, prng->below(2) == 0 ? JobState::ready : JobState::scheduled)) {
        const Clock clock = prng->below(2) == 0 ? Clock::engine : Clock::wall;
        reschedule(*id, now().engine + DurationMs{prng->between(1, 100'000)}, clock);
      }
      return;
    case 3:
      if (const auto id = pick(prng, JobState::scheduled)) finish(*id, Exit::expired);
      return;
    case 4:
      if (const auto id = pick(prng, JobState::ready)) finish(*id, Exit::dropped);
      return;
    case 5:
      if (!holds_.empty()) release_unique(holds_.begin()->first);
      return;
    default:
      if (const auto id = pick(prng, JobState::scheduled)) due(*id);
      return;
  }
}

void LegalBatches::random_producer_change(Prng* prng) {
  if (producers_.size() < 3 || prng->below(50) == 0) {
    ProducerId id{};
    const std::uint64_t number = ++producers_made_;
    for (std::size_t i = 0; i < 8; ++i) id[i] = static_cast<std::uint8_t>(number >> (56 - 8 * i));
    answer(id, 1, 1);
    return;
  }
  auto at = producers_.begin();
  std::advance(at, static_cast<std::ptrdiff_t>(prng->below(producers_.size())));
  const ProducerId id = at->first;
  if (producers_.size() > 6) return forget(id);
  std::uint64_t lowest = at->second.lowest_open;
  if (prng->below(3) == 0) lowest += prng->below(at->second.next_sequence - lowest + 1);
  std::vector<protocol::EnqueueResult> results(1 + prng->below(4));
  for (protocol::EnqueueResult& result : results) {
    result.id = JobId{1 + prng->below(1'000'000)};
    result.outcome = static_cast<protocol::EnqueueOutcome>(prng->below(3));
    result.state = static_cast<JobState>(prng->below(5));
    result.body_differs = prng->below(2) == 0;
    if (result.outcome == protocol::EnqueueOutcome::refused) result.code = Code::queue_full;
    result.retry_after_ms = static_cast<std::uint32_t>(prng->below(5'000));
  }
  answer(id, at->second.next_sequence, lowest, results);
}

void LegalBatches::random_change(Prng* prng, const RandomLimits& limits) {
  if (jobs_.size() > limits.live_target * 3 / 2) growing_ = false;
  if (jobs_.size() < limits.live_target / 2) growing_ = true;
  const std::uint64_t kind = prng->below(100);
  const std::uint64_t enqueues = growing_ ? 45 : 15;
  if (kind < enqueues) return random_enqueue(prng, limits);
  if (kind < 65) {
    // The head of the queue more often than not; in a batch of its own kind, many in a row.
    if (const auto id = pick(prng, JobState::ready)) lease(*id, add_session());
    return;
  }
  if (kind < 88) return random_end_of_lease(prng);
  if (kind < 96) return random_waiting_change(prng);
  if (kind < 99) return random_producer_change(prng);
  if (prng->below(6) == 0) return random_queue_change(prng);
  if (mark_.next_type < 8) add_type(fmt::format("type-{}", mark_.next_type));
}

LegalBatch LegalBatches::random_batch(Prng* prng, const RandomLimits& limits) {
  pass_time(prng->between(0, 200));
  if (queues_.empty()) {
    add_queue("first");
    QueueSettings with_history;
    with_history.history_count = 300;
    add_queue("with-history", with_history);
  }
  for (std::uint64_t n = 1 + prng->below(limits.changes_max); n > 0; --n) random_change(prng, limits);
  return take();
}

}  // namespace jobq
